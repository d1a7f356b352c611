"""Never lose a stroke: after every mishap the database equals what the screen showed."""

import re
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.e2e.canvas_page import CanvasPage, pick
from tests.e2e.conftest import Studio, shot

pytestmark = pytest.mark.slow
SAVES = re.compile(r"/mal/annotations/\d+$")  # and not the list of an image's masks
UNSENT = "window.malCanvas.state().pending > 0"
SHOWN = """wanted => JSON.stringify(wanted) ===
  JSON.stringify(window.malCanvas.state().instances.map(({rle}) => rle.counts))"""


def stored(studio: Studio, image_id: int) -> list[tuple[Any, ...]]:
    """An image's masks as the database has them."""
    connection = sqlite3.connect(studio.data / "studio.db")
    rows = connection.execute(
        "SELECT instance.id, instance.version, state, counts FROM instance"
        " JOIN revision ON revision.id = head_id"
        " WHERE image_id = ? AND state != 'deleted' ORDER BY instance.number",
        (image_id,),
    ).fetchall()
    connection.close()
    return rows


def shown(canvas: CanvasPage) -> list[tuple[Any, ...]]:
    """The masks of the open image as the screen has them."""
    items = canvas.state["instances"]
    return [(i["id"], i["version"], i["state"], i["rle"]["counts"]) for i in items]


def masks(canvas: CanvasPage) -> list[str]:
    return [counts for *_, counts in shown(canvas)]


def stroke(canvas: CanvasPage, x: float, y: float, tool: str = "Eraser") -> None:
    """One stroke on the selected mask, not waiting for the server."""
    canvas.tool(tool)
    canvas.drag([(x, y), (x + 30, y)])


def refuse(page: Page) -> None:
    page.route(SAVES, lambda route: route.abort())


def test_strokes_and_a_box_of_a_cut_off_page_go_out_when_the_network_is_back(
    canvas: CanvasPage, page: Page, studio: Studio
) -> None:
    stroke(canvas, 420, 60, "Brush")
    page.context.set_offline(True)
    for y in (90, 120, 150):
        stroke(canvas, 420, y, "Brush")
    canvas.tool("Box")
    canvas.drag([(200, 200), (300, 280)])
    expect(page.locator(".mal-banner")).to_contain_text("1 mask and 1 box on chelsea.png")
    shot(page, "18-offline")
    before = masks(canvas)
    assert stored(studio, 2)[0][3] != before[0]
    page.context.set_offline(False)
    canvas.saved()
    expect(page.locator(".mal-banner")).to_be_hidden()
    assert masks(canvas)[: len(before)] == before
    assert len(masks(canvas)) == len(before) + 1
    assert stored(studio, 2) == shown(canvas)


def test_strokes_outlive_a_server_that_is_killed_and_restarted_in_their_middle(
    canvas: CanvasPage, page: Page, studio: Studio
) -> None:
    stroke(canvas, 10, 60, "Brush")
    studio.kill()
    stroke(canvas, 10, 90, "Brush")
    canvas.tool("Box")
    canvas.drag([(60, 200), (160, 290)])
    before = masks(canvas)
    studio.start()
    canvas.saved()
    assert masks(canvas)[: len(before)] == before
    assert stored(studio, 2) == shown(canvas)


def test_unsent_strokes_and_undo_outlive_a_reload(
    canvas: CanvasPage, page: Page, studio: Studio
) -> None:
    first = masks(canvas)
    stroke(canvas, 150, 40)
    canvas.saved()
    second = masks(canvas)
    refuse(page)
    stroke(canvas, 150, 200)
    third = masks(canvas)
    assert len({str(one) for one in (first, second, third)}) == 3
    page.wait_for_function(UNSENT)
    canvas.open()
    canvas.choose_image(2)
    assert masks(canvas) == third
    page.unroute(SAVES)
    page.evaluate("window.dispatchEvent(new Event('online'))")
    canvas.saved()
    assert stored(studio, 2) == shown(canvas)
    for key, wanted in (("Control+z", second), ("Control+z", first), ("Control+Shift+z", second)):
        canvas.key(key)
        canvas.saved()
        assert masks(canvas) == wanted
        assert stored(studio, 2) == shown(canvas)


def test_unsent_strokes_of_a_page_that_crashed_are_sent_by_the_next(
    canvas: CanvasPage, page: Page, studio: Studio
) -> None:
    refuse(page)
    stroke(canvas, 200, 120)
    page.wait_for_function(UNSENT)
    left = masks(canvas)
    page.wait_for_timeout(300)  # it is on its way to the disk; a crash is not that quick
    page.close(run_before_unload=False)
    following = CanvasPage(page.context.new_page(), studio.url)
    following.open()
    following.choose_image(2)
    following.saved()
    assert masks(following) == left
    assert stored(studio, 2) == shown(following)


def test_a_session_that_ended_drops_no_stroke(
    canvas: CanvasPage, page: Page, studio: Studio
) -> None:
    old: list[str] = []

    def expire(route: Route) -> None:
        token = route.request.headers["x-mal-session"]
        old.append(token)
        if token == old[0]:
            body = '{"error": {"code": "forbidden", "message": "reload the page"}}'
            route.fulfill(status=403, body=body, content_type="application/json")
        else:
            route.continue_()

    page.route(SAVES, expire)
    page.wait_for_timeout(1100)  # a token made in the same second would be the same
    stroke(canvas, 250, 120)
    canvas.saved()
    assert len(set(old)) == 2
    assert canvas.state["messages"] == []
    assert stored(studio, 2) == shown(canvas)


@pytest.fixture
def second_context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    yield context
    context.close()


@pytest.mark.parametrize("key", ["1", "2", "3"])
def test_of_two_at_once_the_late_one_compares_and_chooses_by_key(
    canvas: CanvasPage, studio: Studio, second_context: BrowserContext, key: str
) -> None:
    late = CanvasPage(second_context.new_page(), studio.url)
    late.open()
    late.choose_image(2)
    pick(late)
    stroke(canvas, 80 + 60 * int(key), 160)
    canvas.saved()
    stroke(late, 80 + 60 * int(key), 220)
    mine = masks(late)
    late.saved()
    expect(late.page.get_by_role("alert").first).to_contain_text("yours is kept")
    assert shown(late) == shown(canvas)
    theirs = masks(late)
    late.key("!")
    expect(late.page.get_by_role("dialog")).to_be_visible()
    shot(late.page, f"19-versus-{key}")
    late.page.keyboard.press(key)
    expect(late.page.get_by_role("dialog")).to_be_hidden()
    wanted = {"1": theirs, "2": mine, "3": [*theirs, mine[0]]}[key]
    late.page.wait_for_function(SHOWN, arg=wanted)
    late.saved()
    assert masks(late) == wanted
    assert stored(studio, 2) == shown(late)
