"""The same canvas for fingers, for keys alone, for a screen reader, and for two people at once."""

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect

from tests.e2e.canvas_page import CanvasPage
from tests.e2e.conftest import Studio, shot, violations

pytestmark = pytest.mark.slow


@pytest.fixture
def phone(chromium: Browser, studio: Studio) -> Iterator[CanvasPage]:
    context = chromium.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, device_scale_factor=2
    )
    canvas = CanvasPage(context.new_page(), studio.url)
    canvas.open()
    yield canvas
    context.close()


def touch(session: CDPSession, kind: str, points: list[tuple[float, float]]) -> None:
    fingers = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
    session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})


def test_one_finger_draws_a_box_and_two_fingers_zoom(phone: CanvasPage) -> None:
    page = phone.page
    session = page.context.new_cdp_session(page)
    phone.view.scroll_into_view_if_needed()
    (ax, ay), (bx, by) = phone.to_page((170, 15)), phone.to_page((412, 340))
    touch(session, "touchStart", [(ax, ay)])
    for step in range(1, 11):
        touch(session, "touchMove", [(ax + (bx - ax) * step / 10, ay + (by - ay) * step / 10)])
    touch(session, "touchEnd", [])
    page.wait_for_function("window.malCanvas.state().instances.length === 1")
    phone.saved()
    shot(page, "13-phone")

    before = phone.state["scale"]
    x, y = phone.to_page((300, 200))
    touch(session, "touchStart", [(x - 30, y)])
    touch(session, "touchStart", [(x - 30, y), (x + 30, y)])
    for step in range(1, 9):
        touch(session, "touchMove", [(x - 30 - 5 * step, y), (x + 30 + 5 * step, y)])
    touch(session, "touchEnd", [])
    assert phone.state["scale"] > 1.5 * before
    assert len(phone.state["instances"]) == 1


@pytest.mark.parametrize("tab", ["Annotate", "Library", "Train"])
def test_no_page_is_wider_than_a_phone(phone: CanvasPage, tab: str) -> None:
    phone.page.get_by_role("tab", name=tab).click()
    phone.page.wait_for_timeout(500)
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_box_is_drawn_accepted_and_undone_by_keys_alone(page: Page, studio: Studio) -> None:
    canvas = CanvasPage(page, studio.url)
    canvas.open()
    canvas.choose_image(2)
    for key in ("b", "Enter", "ArrowLeft", "ArrowUp", "Shift+ArrowRight", "Enter"):
        canvas.key(key)
    page.wait_for_function("window.malCanvas.state().instances.length === 1")
    canvas.saved()
    canvas.key("Enter")
    canvas.saved()
    assert canvas.state["instances"][0]["state"] == "accepted"
    for _ in range(2):
        canvas.key("Control+z")
    canvas.saved()
    assert canvas.state["instances"] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_canvas_has_no_accessibility_violation(
    page: Page, studio: Studio, scheme: Literal["light", "dark"]
) -> None:
    page.emulate_media(color_scheme=scheme)
    canvas = CanvasPage(page, studio.url)
    canvas.open()
    assert violations(page, ".mal-studio") == []
    shot(page, f"14-{scheme}")


def test_who_saves_late_is_told_and_both_masks_are_kept(
    page: Page, chromium: Browser, studio: Studio
) -> None:
    first = CanvasPage(page, studio.url)
    first.open()
    first.choose_image(2)
    made = first.box(60, 40, 380, 280)
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    second = CanvasPage(context.new_page(), studio.url)
    second.open()
    second.choose_image(2)
    for canvas, spot in ((first, (200, 100)), (second, (200, 200))):
        canvas.page.get_by_role("listbox", name="Masks").get_by_role("option").first.click()
        canvas.tool("Eraser")
        canvas.drag([spot, (spot[0] + 30, spot[1])])
        canvas.saved()
    expect(second.page.get_by_role("alert")).to_contain_text("yours is kept")
    shot(second.page, "15-conflict")
    assert second.instance(made["number"])["rle"] == first.instance(made["number"])["rle"]
    context.close()


def test_a_hostile_category_name_is_shown_as_text(page: Page, studio: Studio) -> None:
    name = "<img src=x onerror=alert(1)>"
    canvas = CanvasPage(page, studio.url)
    canvas.open()
    page.get_by_role("tab", name="Library").click()
    page.get_by_role("textbox", name="New category", exact=True).fill(name)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".mal-chips").get_by_text(name)).to_be_visible()
    assert page.locator("img[src='x']").count() == 0
