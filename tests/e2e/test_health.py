"""Dataset health: what is planted is found, and each finding leads through exactly its masks."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image as Pil
from playwright.sync_api import Locator, Page, expect

from mal_core.masks import encode
from tests.e2e.canvas_page import CanvasPage
from tests.e2e.conftest import Studio, shot
from tests.e2e.desk import Corners, Desk
from tests.e2e.test_hands import violations

pytestmark = pytest.mark.slow
PHOTOS = Path(skimage.data.__file__).parent
COFFEE, CAT = (600, 400), (451, 300)
CUP, AGAIN, SPOON, SPECK = (
    (170, 15, 412, 340),
    (175, 20, 412, 345),
    (430, 45, 560, 335),
    (20, 360, 25, 366),
)
PLANTED = {"Tiny masks": "1 on 1 image", "Probably drawn twice": "2 on 1 image"}


def plant(desk: Desk, folder: Path) -> list[int]:
    """A project with a copy of a photo, a tiny mask and an object drawn twice."""
    with Pil.open(PHOTOS / "chelsea.png") as photo:
        photo.resize((300, 200)).save(folder / "chelsea-again.jpg", quality=70)
    names = (PHOTOS / "coffee.png", PHOTOS / "chelsea.png", folder / "chelsea-again.jpg")
    desk.begin_project("Planted", names)
    project = desk.project(2)
    images = [image["id"] for image in project["images"]]
    category = project["categories"][0]["id"]
    for box in (CUP, SPOON, AGAIN, SPECK):
        add(desk, images[0], category, box, COFFEE)
    add(desk, images[1], category, (30, 8, 400, 290), CAT)
    return images


def add(desk: Desk, image_id: int, category_id: int, box: Corners, size: tuple[int, int]) -> None:
    """An oval mask in a box."""
    x0, y0, x1, y1 = box
    x, y = ((2 * np.arange(side) + 1) / side - 1 for side in (x1 - x0, y1 - y0))
    oval = x**2 + y[:, None] ** 2 <= 1
    rle = encode(oval, x0=x0, y0=y0, width=size[0], height=size[1])
    desk.add(image_id, category_id, box, rle)


def row(page: Page, title: str) -> Locator:
    return page.locator(".mal-findings li").filter(has_text=title)


def selected(canvas: CanvasPage) -> int:
    """The number of the mask that is selected."""
    state = canvas.state
    return next(i["number"] for i in state["instances"] if i["id"] == state["selected"])


def walk(canvas: CanvasPage, masks: int) -> list[int]:
    """Wait until a finding's first mask is selected; the numbers of all, by Space, round once."""
    canvas.page.wait_for_function(
        "n => { const s = window.malCanvas.state(); return s.selected && s.left.masks === n; }",
        arg=masks,
    )
    numbers = [selected(canvas)]
    for _ in range(masks):
        canvas.page.keyboard.press("Space")
        numbers.append(selected(canvas))
    return numbers


def check(page: Page) -> None:
    page.get_by_role("tab", name="Health").click()
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_text("Checked at")).to_be_visible()
    expect(page.get_by_text("changed since")).to_have_count(0)


def test_what_is_planted_is_found_and_led_to(page: Page, studio: Studio, tmp_path: Path) -> None:
    desk, canvas = Desk(page, studio.url), CanvasPage(page, studio.url)
    images = plant(desk, tmp_path)
    page.get_by_role("tab", name="Health").click()
    expect(page.get_by_text("Not checked yet. 3 images to look at.")).to_be_visible()
    check(page)
    for title, count in PLANTED.items():
        expect(row(page, title)).to_contain_text(count)
    expect(page.locator(".mal-findings li button").filter(has_text="Look")).to_have_count(2)
    copies = page.get_by_role("group", name="Group 1")
    expect(copies.get_by_role("img")).to_have_count(2)
    expect(page.locator(".js-plotly-plot")).to_have_count(4, timeout=120_000)  # a large script
    shot(page, "50-health")
    assert violations(page, "[role=tabpanel]:not([style*='none'])") == []

    page.get_by_role("button", name="Look at probably drawn twice").press("Enter")
    first, second, around = walk(canvas, 2)
    assert {first, second} == {1, 3}
    assert around == first
    expect(page.get_by_text("From Health: Probably drawn twice")).to_be_visible()
    shot(page, "51-health-queue")
    page.keyboard.press("Delete")
    canvas.saved()
    page.wait_for_function("window.malCanvas.state().left.masks === 1")

    page.get_by_role("tab", name="Health").click()
    expect(page.get_by_text("1 image changed since: check again")).to_be_visible()
    check(page)
    expect(row(page, "Probably drawn twice")).to_have_count(0)
    page.get_by_role("button", name="Look at tiny masks").click()
    assert walk(canvas, 1) == [4, 4]

    page.get_by_role("tab", name="Health").click()
    copies.get_by_role("button", name="Open chelsea-again.jpg").click()
    page.wait_for_function("id => window.malCanvas.state().image_id === id", arg=images[2])
    page.get_by_role("button", name="Clear filter").click()
    expect(page.get_by_text("From Health")).to_be_hidden()
