"""Act 3 in the browser: twelve corrections, one click, a verdict, a proposal that improves, back.

The person of this story wants a coin together with its tray, everything in the box: masks that
differ from the model's in one way, so that little is enough to learn from. On common photos that
is wrong, and the probe would refuse it; this studio is run without one.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from mal_core.masks import RLE, iou
from tests.e2e.canvas_page import CanvasPage
from tests.e2e.coins import (
    COINS,
    COINS_PHOTO,
    ROWS,
    UNSEEN,
    Desk,
    filled,
    open_train,
    tray,
    upload_rows,
)
from tests.e2e.conftest import Studio, shot

pytestmark = pytest.mark.slow
MINUTE = 60_000
BUNDLED = Path("weights/mal-small-256.safetensors")
NOBODY = 2  # the id of a sample on which the person draws meanwhile


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The studio with the bundled weights, and no probe beside them."""
    folder = tmp_path_factory.mktemp("studio")
    weights = shutil.copy(BUNDLED, folder)
    server = Studio(folder, "--weights", str(weights))
    server.start()
    yield server
    server.stop()


def unseen_coin(desk: Desk) -> dict[str, Any]:
    (coin,) = desk.instances(COINS_PHOTO)
    return coin


def test_twelve_corrections_one_click_a_verdict_and_the_way_back(
    page: Page, studio: Studio, tmp_path: Path
) -> None:
    desk = Desk(page, studio.url)
    canvas = CanvasPage(page, studio.url)
    for image_id in range(2, COINS_PHOTO + 1):
        canvas.choose_image(image_id)
    before = canvas.box(*UNSEEN, category=5)
    upload_rows(page, tmp_path)
    photos = desk.project(1)["images"][-4:]
    for photo, (top, bottom), coins in zip(photos, ROWS, COINS, strict=True):
        for coin in coins:
            box = tray(coin, top)
            desk.correct(photo["id"], 5, box, filled(box, bottom - top, photo["width"]))

    open_train(page)
    expect(
        page.get_by_text("12 reviewed masks on 4 images. Boxes without review: 1.")
    ).to_be_visible()
    page.get_by_role("button", name="Fine-tune").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    page.get_by_role("tab", name="Annotate").click()  # the person keeps drawing
    canvas.choose_image(NOBODY + 1, key="PageUp")
    canvas.choose_image(NOBODY, key="PageUp")
    drawn = canvas.box(30, 8, 400, 300, category=3)
    canvas.key("Enter")
    canvas.saved()

    open_train(page)
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=3 * MINUTE)
    asked = page.get_by_role("button", name="Use the new weights")
    expect(asked).to_be_visible(timeout=8 * MINUTE)
    expect(page.get_by_text("too few to judge by")).to_be_visible()
    expect(page.get_by_alt_text("Held-out coin").first).to_be_visible()
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="Mask IoU"))
    old, new = (float(cell) for cell in row.get_by_role("cell").all_inner_texts()[2:4])
    assert new > old
    shot(page, "09-verdict")
    asked.click()
    expect(page.get_by_text("You chose the new weights")).to_be_visible()
    expect(page.get_by_role("cell", name="fine-tune 1 (in use)")).to_be_visible()
    expect(page.get_by_text("proposed again by the model in use: 1.")).to_be_visible()
    shot(page, "16-promoted")
    wanted = filled(UNSEEN, 303, 384)
    after = unseen_coin(desk)
    assert after["model"].startswith("fine-tune 1")
    assert iou(RLE.from_coco(after["rle"]), wanted) > iou(RLE.from_coco(before["rle"]), wanted)
    (kept,) = desk.instances(NOBODY)
    assert (kept["id"], kept["rle"], kept["state"]) == (drawn["id"], drawn["rle"], "accepted")

    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("cell", name="mal-small-256 (in use)")).to_be_visible()
    wait_for_model(page, desk, "mal-small-256")
    assert unseen_coin(desk)["rle"] == before["rle"]
    page.get_by_role("tab", name="Insight").click()
    expect(page.get_by_text("13 masks finished, 1 wait for review")).to_be_visible()
    shot(page, "18-insight")


def wait_for_model(page: Page, desk: Desk, name: str) -> None:
    for _ in range(300):
        if unseen_coin(desk)["model"] == name:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"the coin was never proposed again by {name}")
