"""Two people annotate one image unseen by each other, and a reviewer makes one set of masks."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Browser, Page, expect

from app.accounts import Accounts
from app.people import Role
from app.store import Store
from tests.e2e.canvas_page import CanvasPage, pick
from tests.e2e.conftest import Studio, shot
from tests.e2e.test_team import PASSWORD, log_in

pytestmark = pytest.mark.slow
ROLES = {"Bob": Role.ANNOTATOR, "Cora": Role.ANNOTATOR, "Rita": Role.REVIEWER}
Visit = Callable[[str], Page]


@pytest.fixture
def visit(chromium: Browser, studio: Studio) -> Iterator[Visit]:
    """A browser in which somebody is logged in: `visit("Bob")`."""
    with closing(Store(studio.data / "studio.db")) as store:
        accounts = Accounts(store)
        for name in ("Ada", *ROLES):  # the first one is the studio's admin
            user = accounts.add_user(name, PASSWORD.format(name), is_admin=name == "Ada", by="test")
            if name in ROLES:
                accounts.set_role(1, user.id, ROLES[name], "test")
    contexts = []

    def open_page(name: str) -> Page:
        contexts.append(chromium.new_context(viewport={"width": 1440, "height": 900}))
        page = contexts[-1].new_page()
        log_in(page, studio, name)
        return page

    yield open_page
    for context in contexts:
        context.close()


def annotate(page: Page, studio: Studio, right: int) -> CanvasPage:
    """Draw a box on the first image, and vouch for its mask."""
    canvas = CanvasPage(page, studio.url)
    page.wait_for_function("window.malCanvas && window.malCanvas.state().image_id")
    expect(page.locator(".mal-duty")).to_contain_text("You see only your own masks")
    assert canvas.state["instances"] == []
    canvas.box(60, 40, right, 300)
    pick(canvas)
    canvas.key("Enter")
    canvas.saved()
    assert [one["person"] for one in canvas.state["instances"]] == [
        page.locator(".mal-who b").inner_text()
    ]
    return canvas


def test_two_annotate_unseen_and_a_reviewer_merges(visit: Visit, studio: Studio) -> None:
    rita = visit("Rita")
    rita.get_by_role("tab", name="Library").click()
    for name in ("Bob", "Cora"):
        rita.get_by_role("checkbox", name=name).check()
    rita.get_by_label("Given to two people").click()
    rita.get_by_role("option", name="Every image").click()
    rita.get_by_role("button", name="Deal out what is free").click()
    expect(rita.get_by_text("12 images given")).to_be_visible()
    shot(rita, "team-deal")

    bob, cora = visit("Bob"), visit("Cora")
    for page, right in ((bob, 300), (cora, 310)):  # at the same time: neither waits
        annotate(page, studio, right)
        expect(page.locator(".mal-held")).to_be_hidden()
    shot(cora, "team-blind")
    for page in (bob, cora):
        page.get_by_role("button", name="Done with this image").click()
        page.wait_for_function("window.malCanvas.state().image_id === 2")  # the next of theirs

    rita.get_by_role("tab", name="Insight").click()
    rita.get_by_role("button", name="Compare people").click()
    rita.get_by_role("button", name="coffee.png").click()
    expect(rita.get_by_role("img", name="Mask of Cora")).to_be_visible()
    rita.get_by_label("Object 1: take").select_option(label="Bob's mask")
    shot(rita, "team-merge")
    rita.get_by_role("button", name="Merge this image").click()
    expect(rita.get_by_text("Merged: it is in the next export")).to_be_visible()

    rita.get_by_role("tab", name="Library").click()
    rita.get_by_role("button", name="Export", exact=True).click()
    expect(rita.get_by_text("1 mask on 6 images exported")).to_be_visible()
