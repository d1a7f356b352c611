"""Pens and fingers: strokes whose width follows the pressure, and strokes that a pinch ends."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, expect

from tests.e2e.canvas_page import CanvasPage
from tests.e2e.conftest import Studio, shot
from tests.e2e.test_drawing import decoded, stored
from tests.e2e.test_hands import touch

pytestmark = pytest.mark.slow
CHELSEA, SIZE = 2, (300, 451)
Mask = NDArray[np.bool_]


@pytest.fixture
def tablet(chromium: Browser, studio: Studio) -> Iterator[CanvasPage]:
    """The second sample on a tablet, with a mask that is selected."""
    context = chromium.new_context(viewport={"width": 820, "height": 1180}, has_touch=True)
    canvas = CanvasPage(context.new_page(), studio.url)
    canvas.open()
    canvas.choose_image(CHELSEA)
    if not canvas.state["instances"]:
        canvas.box(150, 120, 260, 220, category=3)
    canvas.page.get_by_role("listbox", name="Masks").get_by_role("option").first.click()
    yield canvas
    context.close()


def mask(canvas: CanvasPage, studio: Studio) -> Mask:
    """The mask on screen, once the database holds the same."""
    canvas.saved()
    counts = canvas.instance(1)["rle"]["counts"]
    assert stored(studio, CHELSEA)[1][1] == counts
    return decoded(counts, SIZE)


def pen(page: Page, canvas: CanvasPage, y: float) -> None:
    """A stroke from left to right that is pressed harder and harder."""
    session = page.context.new_cdp_session(page)

    def send(kind: str, x: float, force: float, buttons: int = 1) -> None:
        px, py = canvas.to_page((x, y))
        event = {"type": kind, "x": px, "y": py, "force": force, "buttons": buttons}
        more = {"button": "left", "pointerType": "pen", "clickCount": 1}
        session.send("Input.dispatchMouseEvent", {**event, **more})

    send("mousePressed", 40, 0.1)
    for step in range(1, 31):
        send("mouseMoved", 40 + 10 * step, max(0.1, step / 30))
    send("mouseReleased", 340, 0, 0)


@pytest.mark.parametrize("is_on", [False, True], ids=["off", "on"])
def test_a_pen_paints_as_wide_as_it_is_pressed_where_that_is_wanted(
    tablet: CanvasPage, studio: Studio, is_on: bool
) -> None:
    page = tablet.page
    before = mask(tablet, studio)
    if is_on:
        tablet.key("Shift+p")
        expect(page.locator(".mal-say")).to_have_text("Pen pressure on.")
    tablet.tool("Brush")
    pen(page, tablet, 40 + 200 * is_on)
    added = mask(tablet, studio) & ~before
    widths = [int(added[:, x].sum()) for x in (45, 120, 200, 260, 335)]
    assert max(np.diff(widths)) == 0 or is_on
    assert not is_on or (widths == sorted(widths) and widths[-1] >= 5 * widths[0])
    assert widths[-1] in range(18, 22)
    shot(page, f"43-pen-{is_on}")
    tablet.key("Control+z")
    assert np.array_equal(mask(tablet, studio), before)


def test_a_finger_paints_and_a_second_one_takes_the_stroke_back_and_pans(
    tablet: CanvasPage, studio: Studio
) -> None:
    page = tablet.page
    session = page.context.new_cdp_session(page)
    before = mask(tablet, studio)
    tablet.tool("Brush")
    points = [tablet.to_page((300 + 10 * step, 280)) for step in range(6)]
    touch(session, "touchStart", points[:1])
    for point in points[1:]:
        touch(session, "touchMove", [point])
    touch(session, "touchEnd", [])
    painted = mask(tablet, studio)
    assert (painted & ~before)[280, 300:350].all()

    view = tablet.state["view"]
    first, second = tablet.to_page((100, 60)), tablet.to_page((160, 60))
    touch(session, "touchStart", [first])
    touch(session, "touchMove", [(first[0] + 9, first[1])])
    touch(session, "touchStart", [(first[0] + 9, first[1]), second])
    for by in range(10, 60, 10):
        touch(session, "touchMove", [(first[0] + 9, first[1] + by), (second[0], second[1] + by)])
    touch(session, "touchEnd", [])
    assert np.array_equal(mask(tablet, studio), painted)
    assert tablet.state["view"]["y"] > view["y"] + 30
