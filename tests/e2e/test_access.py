"""What a screen reader and weak eyes meet: menus, dialogs and the banner, in light and dark."""

from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.e2e.canvas_page import CanvasPage, pick
from tests.e2e.conftest import Studio, shot
from tests.e2e.test_hands import violations
from tests.e2e.test_keep import refuse, stroke

pytestmark = pytest.mark.slow
PHONE: ViewportSize = {"width": 390, "height": 844}
DESK: ViewportSize = {"width": 1440, "height": 900}
Scheme = Literal["light", "dark"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_menus_dialogs_and_the_banner_have_no_violation(
    canvas: CanvasPage, page: Page, scheme: Scheme, size: ViewportSize
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(size)
    name = f"{scheme}-{size['width']}"
    for key, part in (("q", "mask"), ("w", "view"), ("Shift+Q", "filter")):
        canvas.key(key)
        assert (part, violations(page, ".mal-studio")) == (part, [])
        shot(page, f"44-{part}-{name}")
        page.keyboard.press("Shift+Q" if part == "filter" else "Escape")
    for key, part in (("?", "keys"), ("/", "finder")):
        canvas.key(key)
        expect(page.get_by_role("dialog")).to_be_visible()
        assert (part, violations(page, "dialog[open]")) == (part, [])
        shot(page, f"44-{part}-{name}")
        page.keyboard.press("Escape")
    refuse(page)
    canvas.key("f")
    stroke(canvas, 100 if size == PHONE else 200, 120 if scheme == "light" else 180)
    expect(page.locator(".mal-banner")).to_be_visible()
    assert violations(page, ".mal-studio") == []
    shot(page, f"44-banner-{name}")
    page.unroute_all()
    page.evaluate("window.dispatchEvent(new Event('online'))")
    canvas.saved()


def test_the_tools_are_one_stop_of_tab_with_arrows_inside(canvas: CanvasPage, page: Page) -> None:
    canvas.view.focus()
    page.keyboard.press("Shift+Tab")
    focused = page.locator(":focus")
    before = focused.inner_text()
    page.keyboard.press("Home")
    expect(focused).to_have_text("Box")
    page.keyboard.press("ArrowUp")
    expect(focused).to_have_text("Keys")
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    expect(focused).to_have_text("Brush")
    page.keyboard.press("Enter")
    assert canvas.state["tool"] == "brush"
    page.keyboard.press("Tab")
    expect(canvas.view).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(focused).to_have_text("Brush")
    assert before != ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_dialog_of_a_lost_race_has_no_violation(
    canvas: CanvasPage, page: Page, chromium: Browser, studio: Studio, scheme: Scheme
) -> None:
    context = chromium.new_context(viewport=DESK, color_scheme=scheme)
    late = CanvasPage(context.new_page(), studio.url)
    late.open()
    late.choose_image(2)
    pick(late)
    stroke(canvas, 90, 100 if scheme == "light" else 200)
    canvas.saved()
    stroke(late, 250, 100 if scheme == "light" else 200)
    late.saved()
    expect(late.page.get_by_role("alert").first).to_contain_text("yours is kept")
    late.key("!")
    expect(late.page.get_by_role("dialog")).to_be_visible()
    for size in (DESK, PHONE):
        late.page.set_viewport_size(size)
        assert violations(late.page, "dialog[open]") == []
        shot(late.page, f"45-versus-{scheme}-{size['width']}")
    late.page.keyboard.press("1")
    late.saved()
    context.close()
