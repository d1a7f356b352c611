"""Two people on one project: one works on an image, the other sees it and waits, or takes over."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from app.auth import Sessions
from tests.e2e.canvas_page import CanvasPage, pick
from tests.e2e.conftest import Studio, shot

pytestmark = pytest.mark.slow
Visit = Callable[[str], CanvasPage]


@pytest.fixture
def visit(chromium: Browser, studio: Studio) -> Iterator[Visit]:
    """Open the studio as somebody: `visit("Ann")`."""
    contexts = []

    def open_page(person: str) -> CanvasPage:
        token = Sessions(studio.data / "secret").mint(person)

        def sign(route: Route) -> None:
            route.continue_(headers=route.request.headers | {"x-mal-session": token})

        context = chromium.new_context(viewport={"width": 1440, "height": 900})
        contexts.append(context)
        page = context.new_page()
        page.route("**/mal/**", sign)
        page.on("dialog", lambda dialog: dialog.accept())
        canvas = CanvasPage(page, studio.url)
        canvas.open()
        return canvas

    yield open_page
    for context in contexts:
        context.close()


def beat(page: Page) -> None:
    """Have the page give a sign of life now, as it does every 20 seconds."""
    with page.expect_response("**/mal/here"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_one_works_the_other_looks_skips_and_takes_over(visit: Visit) -> None:
    ann = visit("Ann")
    first = ann.box(60, 40, 300, 300)
    ann.choose_image(2)
    ann.box(30, 8, 400, 300)
    ann.choose_image(1, "PageUp")
    beat(ann.page)

    bob = visit("Bob")
    banner = bob.page.locator(".mal-held")
    expect(banner).to_contain_text("Ann is working on this image")
    expect(bob.page.locator(".mal-company")).to_have_text("Ann is here")
    expect(bob.page.locator(".mal-people").first).to_have_text("Ann")
    shot(bob.page, "40-held")
    pick(bob)
    bob.key("Enter")
    expect(bob.page.locator(".mal-say")).to_contain_text("Ann is working on this image")
    assert bob.instance(first["number"])["state"] == "proposed"
    bob.key("Space")  # to the other image, since Ann has this one
    bob.page.wait_for_function("window.malCanvas.state().image_id === 2")
    assert bob.state["held_by"] == ""
    bob.choose_image(1, "PageUp")
    expect(banner).to_be_visible()
    ann.page.route("**/mal/here", lambda route: route.abort())  # she does not hear of it
    bob.page.get_by_role("button", name="Take over").click()
    expect(banner).to_be_hidden()
    pick(bob)
    bob.key("Enter")
    bob.saved()

    pick(ann)
    ann.tool("Eraser")
    ann.drag([(150, 150), (190, 150)])
    ann.saved()
    ann.page.unroute("**/mal/here")
    beat(ann.page)
    expect(ann.page.locator(".mal-held")).to_contain_text("Bob is working on this image")
    expect(ann.page.get_by_role("alert")).to_contain_text("kept in the history as revision")
    shot(ann.page, "41-taken-over")
    assert ann.instance(first["number"])["state"] == "accepted"
    ann.key("!")  # both masks, side by side
    expect(ann.page.locator(".mal-versus")).to_be_visible()
    ann.page.keyboard.press("Escape")


def test_a_comment_shows_up_at_the_next_sign_of_life(visit: Visit) -> None:
    ann, bob = visit("Ann"), visit("Bob")
    for canvas in (ann, bob):
        canvas.choose_image(2)
    bob.page.get_by_role("button", name="Comments").click()
    bob.page.get_by_role("textbox", name="Comment").fill("Is this one cat?")
    bob.page.get_by_role("button", name="Comment", exact=True).click()
    expect(bob.page.get_by_text("Is this one cat?").first).to_be_visible()
    beat(ann.page)
    expect(ann.page.locator(".mal-comments .mal-count")).to_have_text("1")


def test_who_leaves_the_page_frees_the_image_at_once(visit: Visit) -> None:
    ann = visit("Ann")
    ann.choose_image(2)
    ann.choose_image(3)
    beat(ann.page)
    bob = visit("Bob")
    bob.choose_image(2)
    bob.choose_image(3)
    expect(bob.page.locator(".mal-held")).to_be_visible()
    with bob.page.expect_response("**/mal/here"):
        with ann.page.expect_response("**/mal/here"):
            ann.page.evaluate("window.dispatchEvent(new Event('pagehide'))")
        bob.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(bob.page.locator(".mal-held")).to_contain_text("Ann has left this image")
    bob.page.get_by_role("button", name="Work on it").click()
    expect(bob.page.locator(".mal-held")).to_be_hidden()
