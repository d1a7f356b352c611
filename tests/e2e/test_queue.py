"""The queue, accepting in bulk, reviewing: the database equals what the screen showed."""

import sqlite3
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.canvas_page import CanvasPage
from tests.e2e.conftest import Studio, shot
from tests.e2e.test_hands import violations

pytestmark = pytest.mark.slow
CUP, SPOON, SAUCER, CAT = (
    (170, 15, 412, 340),
    (320, 45, 425, 335),
    (75, 60, 480, 395),
    (30, 8, 400, 300),
)
Rows = dict[int, tuple[str, float | None, str]]


def stored(studio: Studio, image_id: int) -> Rows:
    """State, score and reason of an image's masks at their heads, by number."""
    query = """SELECT instance.number, state, score, reason FROM instance
               JOIN revision ON revision.id = instance.head_id
               WHERE image_id = ? AND state != 'deleted'"""
    with sqlite3.connect(f"file:{studio.data}/studio.db?mode=ro", uri=True) as database:
        return {number: tuple(rest) for number, *rest in database.execute(query, (image_id,))}


def agree(canvas: CanvasPage, studio: Studio) -> dict[int, str]:
    """Wait until all is saved; the states on screen are the database's. Returns them."""
    canvas.saved()
    shown = {i["number"]: i["state"] for i in canvas.state["instances"]}
    kept = stored(studio, canvas.state["image_id"])
    assert shown == {number: state for number, (state, *_) in kept.items()}
    return shown


def comments(studio: Studio) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{studio.data}/studio.db?mode=ro", uri=True) as database:
        query = "SELECT image_id, instance_id, person, text FROM comment ORDER BY id"
        return database.execute(query).fetchall()


def left(page: Page, masks: int, images: int) -> None:
    """Wait until so much is left, as the panel says it, too."""
    wanted = f"s => s.left.masks === {masks} && s.left.images === {images}"
    page.wait_for_function(f"({wanted})(window.malCanvas.state())")
    text = f"{masks} left on {images} image" + ("s" if images > 1 else "")
    expect(page.get_by_role("region", name="Queue")).to_contain_text(text)


def at(page: Page, image_id: int, number: int) -> None:
    """Wait until a mask is selected on an image."""
    page.wait_for_function(
        """([image, number]) => {
          const {image_id, instances, selected} = window.malCanvas.state();
          return image_id === image && instances.find(i => i.id === selected)?.number === number;
        }""",
        arg=[image_id, number],
    )


@pytest.fixture
def canvas(page: Page, studio: Studio) -> CanvasPage:
    """The first image, with three masks on it and one on the second."""
    opened = CanvasPage(page, studio.url)
    opened.open()
    if not stored(studio, 2):
        for box, category in ((CUP, 2), (SPOON, 1), (SAUCER, 1)):
            opened.box(*box, category=category)
        opened.choose_image(2)
        opened.box(*CAT, category=3)
        opened.open()
    return opened


def order_of(studio: Studio) -> list[int]:
    """The first image's masks, the least certain first."""
    rows = stored(studio, 1)
    return sorted(rows, key=lambda number: rows[number][1] or 0.0)


def test_space_goes_through_the_queue_across_images_and_filters_narrow_it(
    canvas: CanvasPage, page: Page, studio: Studio
) -> None:
    left(page, 4, 2)
    first, second, third = order_of(studio)
    for number in (first, second, third):
        canvas.key("Space")
        at(page, 1, number)
    shot(page, "30-queue")
    canvas.key("Space")
    at(page, 2, 4)
    expect(page.locator(".mal-say")).to_contain_text("4 left. Mask 4, cat")
    canvas.key("Shift+Space")
    at(page, 1, third)

    canvas.key("Shift+Q")
    expect(page.get_by_label("State")).to_be_focused()
    page.get_by_role("group", name="Filter").get_by_label("Category").select_option("cat")
    left(page, 1, 1)
    shot(page, "31-filter")
    canvas.key("Space")
    at(page, 2, 4)
    page.get_by_role("spinbutton", name="Least score, percent").fill("100")
    page.get_by_role("spinbutton", name="Least score, percent").press("Tab")
    expect(page.get_by_text("No mask passes this filter.")).to_be_visible()
    assert violations(page, ".mal-studio") == []
    page.get_by_role("button", name="Clear filter").click()
    left(page, 4, 2)


def test_one_key_accepts_and_goes_on_and_undo_brings_the_mask_back_into_the_queue(
    canvas: CanvasPage, page: Page, studio: Studio
) -> None:
    first, second, _ = order_of(studio)
    canvas.key("Space")
    at(page, 1, first)
    canvas.key("y")
    at(page, 1, second)
    left(page, 3, 2)
    assert agree(canvas, studio)[first] == "accepted"
    canvas.key("Control+z")
    left(page, 4, 2)
    assert set(agree(canvas, studio).values()) == {"proposed"}


def test_all_above_a_score_are_shown_accepted_and_taken_back_as_one(
    canvas: CanvasPage, page: Page, studio: Studio
) -> None:
    first, second, third = order_of(studio)
    score = stored(studio, 1)[second][1]
    assert score is not None
    percent = int(score * 100)
    above = [n for n, row in {**stored(studio, 1), **stored(studio, 2)}.items()
             if (row[1] or 0.0) >= percent / 100]  # fmt: skip
    assert first not in above
    canvas.key("Shift+Y")
    slider = page.get_by_role("slider", name="Least score, percent")
    slider.fill(str(percent))
    accept = page.get_by_role("button", name=f"Accept {len(above)}", exact=True)
    expect(accept).to_be_visible()
    chosen = {i["number"] for i in canvas.state["instances"] if i["id"] in canvas.state["chosen"]}
    assert chosen == {second, third}
    assert page.locator(".mal-crop").count() == len(above)
    page.wait_for_timeout(500)
    shot(page, "32-bulk")
    assert violations(page, ".mal-studio") == []
    accept.click()
    undo = page.locator(".mal-message").get_by_role("button", name="Undo")
    expect(undo).to_be_visible()
    left(page, 4 - len(above), 1)
    shown = agree(canvas, studio)
    assert {n for n, state in shown.items() if state == "accepted"} == {second, third}
    reasons = [row[2] for row in stored(studio, 1).values() if row[0] == "accepted"]
    assert len(set(reasons)) == 1
    undo.click()
    left(page, 4, 2)
    assert set(agree(canvas, studio).values()) == {"proposed"}
    assert [row[0] for row in stored(studio, 2).values()] == ["proposed"]


def test_a_reviewer_accepts_or_sends_back_with_a_comment(
    canvas: CanvasPage, page: Page, studio: Studio
) -> None:
    masks = page.get_by_role("listbox", name="Masks").get_by_role("option")
    for row, y in ((0, 60), (1, 300)):
        masks.nth(row).click()
        canvas.tool("Eraser")
        canvas.drag([(300, y), (330, y)] if row == 0 else [(380, y), (400, y)])
    assert list(agree(canvas, studio).values()) == ["corrected", "corrected", "proposed"]
    canvas.key("Shift+R")
    left(page, 2, 1)
    canvas.key("Control+Shift+a")
    canvas.key("Space")
    sent = next(i for i in canvas.state["instances"] if i["id"] == canvas.state["selected"])
    canvas.key("u")
    field = page.get_by_role("textbox", name="Comment")
    expect(field).to_be_focused()
    page.keyboard.type("The rim belongs to it.")
    shot(page, "33-send-back")
    page.keyboard.press("Control+Enter")
    left(page, 1, 1)
    assert comments(studio) == [(1, sent["id"], "local", "The rim belongs to it.")]
    row = page.get_by_role("option").filter(has_text="Sent back")
    expect(row).to_have_count(1)
    expect(row.get_by_role("img", name="1 comment")).to_be_visible()
    assert stored(studio, 1)[sent["number"]][::2] == ("proposed", "send back")
    canvas.key("Enter")
    canvas.saved()
    expect(page.get_by_text("No corrected mask waits for a reviewer.")).to_be_visible()
    assert sorted(agree(canvas, studio).values()) == ["accepted", "proposed", "proposed"]
    shot(page, "34-reviewed")
    assert violations(page, ".mal-studio") == []

    canvas.key("Shift+R")
    left(page, 3, 2)
    canvas.key("Control+Shift+a")
    canvas.open()
    canvas.key("Space")  # what was sent back comes first, and says why
    at(page, 1, sent["number"])
    page.get_by_role("button", name="Comments").click()
    expect(page.get_by_text("The rim belongs to it.")).to_be_visible()
    expect(page.get_by_text("local (you)")).to_be_visible()


def test_a_box_of_the_next_image_has_its_mask_before_one_comes_there(
    canvas: CanvasPage, page: Page, studio: Studio
) -> None:
    with page.expect_request("**/mal/projects/*") as asked:
        canvas.open()
    token = {"x-mal-session": asked.value.headers["x-mal-session"]}
    before = set(stored(studio, 2))
    bare = {"image_id": 2, "state": "proposed", "category_id": 1, "box": [60, 60, 200, 200],
            "rle": None, "reason": "import", "request_id": "a bare box"}  # fmt: skip
    assert page.request.post(f"{studio.url}/mal/annotations", headers=token, data=bare).ok
    (number,) = set(stored(studio, 2)) - before
    canvas.open()
    for _ in range(100):
        if stored(studio, 2)[number][2] == "proposed ahead":
            break
        page.wait_for_timeout(200)
    assert stored(studio, 2)[number][2] == "proposed ahead"
    assert canvas.state["image_id"] == 1
    canvas.choose_image(2)
    assert canvas.instance(number)["rle"] is not None
    assert (canvas.state["selected"], canvas.state["undo"]) == (None, 0)
    agree(canvas, studio)
