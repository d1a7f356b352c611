"""Two browsers as two users on one project: who is let in, and what each may see and do."""

import io
import sqlite3
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from app.auth import Sessions
from app.cli import main
from tests.e2e.canvas_page import CAT, CanvasPage, pick
from tests.e2e.conftest import Studio, shot, violations

pytestmark = pytest.mark.slow
PASSWORD = "correct horse of {}"


def add_users(studio: Studio) -> None:
    """Ada, who is admin of the studio, Bob and Rita, by the command line, while it serves."""
    for name, role in (("Ada", ""), ("Bob", "annotator"), ("Rita", "reviewer")):
        words = ["--data-dir", str(studio.data), "user", "add", name, "--password-stdin"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdin", io.StringIO(PASSWORD.format(name)))
            assert main([*words, *(["--project", "1", "--role", role] if role else [])]) == 0


@pytest.fixture(scope="module")
def team(studio: Studio) -> Studio:
    """A studio that had no users when it began, and now has three."""
    add_users(studio)
    return studio


def log_in(page: Page, studio: Studio, name: str) -> None:
    page.goto(studio.url)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD.format(name))
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".mal-who b")).to_have_text(name, timeout=120_000)


@pytest.fixture
def browsers(chromium: Browser, team: Studio) -> Iterator[dict[str, Page]]:
    """A browser for each user; none of them logs an error or runs into the policy."""
    pages, errors = {}, []
    for name in ("Bob", "Rita", "Ada"):
        context = chromium.new_context(viewport={"width": 1440, "height": 900})
        page = pages[name] = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(m.text) if "Policy" in m.text else None)
        log_in(page, team, name)
    yield pages
    for page in pages.values():
        page.context.close()
    assert errors == []


def test_two_people_share_a_project_and_nobody_sees_what_they_may_not(
    browsers: dict[str, Page], team: Studio
) -> None:
    ada, bob, rita = (browsers[name] for name in ("Ada", "Bob", "Rita"))
    ada.get_by_role("tab", name="Library").click()
    ada.get_by_label("Name of a project").fill("Secret")
    ada.get_by_role("button", name="Create").click()
    expect(ada.get_by_label("Project", exact=True)).to_have_value("Secret")

    drawing = CanvasPage(bob, f"{team.url}/?project=2")
    drawing.open()  # the address asks for Ada's project; Bob gets his own
    expect(bob.get_by_label("Project", exact=True)).to_have_value("Sample photos")
    expect(bob.get_by_role("tab", name="Admin")).to_be_hidden()
    headers = {"x-mal-session": Sessions(team.data / "secret").mint("Bob")}
    for path, status in (("projects/1", 200), ("projects/2", 404), ("projects/3", 404)):
        assert bob.request.get(f"{team.url}/mal/{path}", headers=headers).status == status

    drawing.choose_image(2)
    made = drawing.box(*CAT, category=3)
    drawing.choose_image(1, "PageUp")

    judging = CanvasPage(rita, team.url)
    judging.open()
    judging.choose_image(2)
    pick(judging)
    shot(rita, "team-reviewer")
    judging.key("Enter")
    judging.saved()
    accepted = judging.state["instances"][0]
    assert (accepted["id"], accepted["state"]) == (made["id"], "accepted")

    judging.choose_image(1, "PageUp")

    with sqlite3.connect(team.data / "studio.db") as database:
        people = database.execute("SELECT person, state FROM revision ORDER BY id").fetchall()
    database.close()
    assert people == [("Bob", "proposed"), ("Rita", "accepted")]

    drawing.choose_image(2)  # what Rita accepted is not his to change any more
    pick(drawing)
    expect(bob.get_by_role("button", name="Reject")).to_be_disabled()
    expect(bob.locator(".mal-selected")).to_contain_text("Only a reviewer changes it")
    before = drawing.state["instances"]
    drawing.tool("Eraser")
    drawing.drag([(150, 150), (190, 150)])
    expect(bob.locator(".mal-say")).to_contain_text("Rita accepted mask 1: only a reviewer")
    assert drawing.state["instances"] == before


TABS = ("Annotate", "Library", "Train", "Insight", "Health", "History", "Admin")


def test_a_screen_reader_finds_its_way_on_every_page(
    browsers: dict[str, Page], team: Studio
) -> None:
    ada, found = browsers["Ada"], []
    for theme in ("light", "dark"):
        ada.goto(f"{team.url}/?__theme={theme}")
        expect(ada.locator(".mal-who b")).to_have_text("Ada")
        for tab in TABS:
            ada.get_by_role("tab", name=tab).click()
            expect(ada.locator("[aria-label='Empty value']:visible")).to_have_count(0)
            found += [(theme, tab, *one) for one in violations(ada, "body")]
    assert found == []


OFFERED = {  # a button, its tab, and who has it in a project
    "Accept all above": ("Annotate", "RA"),
    "Add a category": ("Annotate", "A"),
    "Add the sample photos": ("Library", "A"),
    "Create": ("Library", "A"),
    "Propose masks for boxes": ("Library", "A"),
    "Export": ("Library", "RA"),
    "Fine-tune": ("Train", "A"),
    "Download": ("Train", "RA"),
    "Roll back": ("Train", "A"),
    "Check now": ("Health", "RA"),
    "Restore": ("History", "RA"),
    "Audit log": ("History", "A"),
    "Newest": ("History", "BRA"),
}


def test_nobody_is_offered_what_their_role_refuses(browsers: dict[str, Page], team: Studio) -> None:
    for name, page in browsers.items():
        CanvasPage(page, team.url).open()
        for button, (tab, whose) in OFFERED.items():
            page.get_by_role("tab", name=tab).click()
            found = page.locator(f"button:has-text('{button}'), [aria-label='{button}']").first
            expect(found).to_be_attached()
            expect(found).to_be_visible(visible=name[0] in whose)
    bob = browsers["Bob"]
    bob.get_by_role("tab", name="Train").click()
    expect(bob.get_by_text("Admins of this project fine-tune")).to_be_visible()
    shot(bob, "team-annotator-train")
    bob.locator("button", has_text="Fine-tune").first.evaluate("button => button.click()")
    expect(bob.get_by_role("alert")).to_contain_text("as annotator of this project you may not")


def test_who_is_disabled_is_out_at_once_and_who_logs_out_is_out(
    browsers: dict[str, Page], team: Studio
) -> None:
    ada, bob, rita = (browsers[name] for name in ("Ada", "Bob", "Rita"))
    ada.get_by_role("tab", name="Admin").click()
    expect(ada.get_by_role("cell", name="annotator")).to_be_visible()
    ada.get_by_label("User", exact=True).click()
    ada.get_by_role("option", name="Bob").click()
    shot(ada, "team-admin")
    ada.get_by_role("button", name="Disable", exact=True).click()
    expect(ada.get_by_text("Bob: disabled.")).to_be_visible()
    bob.reload()
    expect(bob.get_by_role("button", name="Log in")).to_be_visible()
    bob.get_by_label("Name").fill("Bob")
    bob.get_by_label("Password").fill(PASSWORD.format("Bob"))
    bob.get_by_role("button", name="Log in").click()
    expect(bob.get_by_role("alert")).to_have_text("name or password is wrong")
    shot(bob, "team-login")
    rita.get_by_role("button", name="Log out").click()
    expect(rita.get_by_role("button", name="Log in")).to_be_visible()
    rita.go_back()
    expect(rita.get_by_role("button", name="Log in")).to_be_visible()
