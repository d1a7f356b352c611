"""Two people on one project through the whole flow; the browser of one is killed in it."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserType, Page, Route, expect

from app.auth import Sessions
from tests.e2e.canvas_page import CAT, CanvasPage, pick
from tests.e2e.conftest import FLAGS, find_chromium, shot
from tests.e2e.test_keep import SAVES, UNSENT, masks, shown, stored, stroke
from tests.e2e.test_team import add_users, log_in
from tests.serving import Studio

pytestmark = pytest.mark.slow
SHARED, OTHER = 2, 1  # images


class OwnBrowser:
    """A Chromium of our own with a folder that outlives it."""

    def __init__(self, kind: BrowserType, program: str, profile: Path) -> None:
        self._kind, self._program, self._profile = kind, program, profile
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> Page:
        """Start it on the same folder as before, and open a page."""
        told = self._profile / "DevToolsActivePort"
        told.unlink(missing_ok=True)
        command = [
            *(self._program, "--headless", *FLAGS, f"--user-data-dir={self._profile}"),
            *("--remote-debugging-port=0", "about:blank"),
        ]
        null = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=null, stderr=null, start_new_session=True)
        while not told.exists() or not (port := told.read_text().partition("\n")[0]):
            assert self._process.poll() is None
            time.sleep(0.05)
        (context,) = self._kind.connect_over_cdp(f"http://127.0.0.1:{port}").contexts
        page = context.new_page()
        page.set_viewport_size({"width": 1440, "height": 900})
        return page

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@pytest.fixture
def own(chromium: Browser, tmp_path: Path) -> Iterator[OwnBrowser]:
    opened = OwnBrowser(
        chromium.browser_type,
        find_chromium() or chromium.browser_type.executable_path,
        tmp_path / "profile",
    )
    yield opened
    opened.kill()


@pytest.fixture
def rita(chromium: Browser, team: Studio) -> Iterator[CanvasPage]:
    """The reviewer, in a browser that nothing happens to."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    yield enter(context.new_page(), team, "Rita")
    context.close()


@pytest.fixture(scope="module")
def team(studio: Studio) -> Studio:
    """Ada's studio: Bob annotates its photos, Rita reviews; what else Ada has is hers alone."""
    add_users(studio)
    with closing(connect(studio)) as database, database:
        database.execute(
            "INSERT INTO project"
            " (name, model_id, created_at, next_category, next_image, next_instance)"
            " SELECT 'Secret', model_id, created_at, 1, 1, 1 FROM project WHERE id = 1"
        )
    return studio


def connect(studio: Studio) -> sqlite3.Connection:
    return sqlite3.connect(studio.data / "studio.db")


def enter(page: Page, team: Studio, name: str) -> CanvasPage:
    log_in(page, team, name)
    canvas = CanvasPage(page, team.url)
    canvas.open()
    return canvas


def export(canvas: CanvasPage, to: Path) -> list[str]:
    """The masks of the shared image that the page exports, by the run-length codes in the zip."""
    page = canvas.page
    page.get_by_role("tab", name="Library").click()
    page.get_by_role("button", name="Export", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the checked zip").click()
    download.value.save_as(to)
    with zipfile.ZipFile(to) as archive:
        told = json.loads(archive.read("annotations.json"))
        assert json.loads(archive.read("report.json"))["min_iou"] == 1.0
    page.get_by_role("tab", name="Annotate").click()
    (image,) = [i["id"] for i in told["images"] if i["file_name"] == "chelsea.png"]
    return [a["segmentation"]["counts"] for a in told["annotations"] if a["image_id"] == image]


def accept(canvas: CanvasPage, *rows: int) -> None:
    for row in rows:
        pick(canvas, row)
        canvas.key("Enter")
        canvas.saved()


def test_one_is_killed_in_a_stroke_the_other_goes_on_and_nobody_s_mask_is_dropped(
    own: OwnBrowser, rita: CanvasPage, team: Studio, tmp_path: Path
) -> None:
    bob = enter(own.open(), team, "Bob")
    bob.choose_image(SHARED)
    for canvas, boxes in ((bob, [CAT, (20, 200, 140, 290)]), (rita, [(60, 40, 300, 300)])):
        for box in boxes:
            canvas.box(*box, category=3)
        pick(canvas)
        stroke(canvas, 400, 20, "Brush")
        canvas.saved()
    assert stored(team, SHARED) == shown(bob)
    assert stored(team, OTHER) == shown(rita)

    counted, proposed, waiting = draw_until_killed(own, bob, team)
    hers = go_on_alone(rita, team, [counted, proposed], tmp_path / "before.zip")

    # He comes back with the same folder: what waited in it goes out, and loses to hers.
    page = own.open()
    page.context.clear_cookies()
    bob = enter(page, team, "Bob")
    bob.choose_image(SHARED)
    bob.saved()
    told = re.compile("Rita saved mask 2 first.*yours is kept in the history")
    expect(page.get_by_role("alert").filter(has_text=told)).to_be_visible()
    assert masks(bob) == [counted, hers]
    bob.key("!")
    expect(page.locator(".mal-versus")).to_be_visible()
    expect(page.get_by_role("button", name="Take mine")).to_be_disabled()
    shot(page, "42-after-a-kill")
    page.keyboard.press("3")
    page.wait_for_function("window.malCanvas.state().instances.length === 3")
    bob.saved()
    assert masks(bob) == [counted, hers, waiting]
    assert stored(team, SHARED) == shown(bob)
    nobody_sees_what_they_may_not(bob, team)

    # The reviewer has the last word, and the export holds all of it.
    rita.choose_image(SHARED)
    expect(rita.page.locator(".mal-held")).to_be_hidden()
    accept(rita, 0, 2)
    assert export(rita, tmp_path / "after.zip") == [counted, hers, waiting]
    assert [state for _, _, state, _ in stored(team, SHARED)] == ["accepted"] * 3


def draw_until_killed(own: OwnBrowser, bob: CanvasPage, team: Studio) -> tuple[str, str, str]:
    """One save is counted and not answered, one does not get out, a stroke is under way: SIGKILL.

    Returns the mask that was counted, the one before the save that waits, and the one in it.
    """
    first, second = bob.state["instances"]

    def lose(route: Route) -> None:
        if route.request.url.endswith(f"/{first['id']}"):
            route.fetch()  # and its answer goes nowhere

    bob.page.route(SAVES, lose)
    stroke(bob, 400, 60, "Brush")
    counted = masks(bob)[0]
    while stored(team, SHARED)[0][3] != counted:
        bob.page.wait_for_timeout(50)
    pick(bob, 1)
    stroke(bob, 400, 250, "Brush")
    waiting = masks(bob)[1]
    bob.page.wait_for_function(UNSENT)
    bob.page.wait_for_timeout(300)  # it is on its way to the disk; a kill is not that quick
    bob.page.mouse.move(*bob.to_page((300, 270)))
    bob.page.mouse.down()
    bob.page.mouse.move(*bob.to_page((330, 280)), steps=4)
    own.kill()
    proposed = second["rle"]["counts"]
    assert len({first["rle"]["counts"], counted, proposed, waiting}) == 4
    return counted, proposed, waiting


def go_on_alone(rita: CanvasPage, team: Studio, left: list[str], to: Path) -> str:
    """She looks, goes on with her own, exports, and takes over once his lease has ended.

    Returns the mask that she made of his second one, and accepted.
    """
    rita.choose_image(SHARED)
    held = rita.page.locator(".mal-held")
    expect(held).to_contain_text("Bob is working on this image")
    assert masks(rita) == left
    rita.choose_image(OTHER, "PageUp")
    accept(rita, 0)
    assert export(rita, to) == left[:1]  # the other one is a proposal
    with closing(connect(team)) as database, database:  # a minute later
        database.execute("UPDATE lease SET expires_at = '2026-01-01T00:00:00.000000+00:00'")
    rita.choose_image(SHARED)
    expect(held).to_be_hidden()
    pick(rita, 1)
    stroke(rita, 400, 210, "Brush")
    rita.saved()
    accept(rita, 1)
    hers = masks(rita)[1]
    rita.choose_image(OTHER, "PageUp")
    return hers


def nobody_sees_what_they_may_not(bob: CanvasPage, team: Studio) -> None:
    """Not a project that he is no member of, nor what his role has not: no route, no page."""
    headers = {"x-mal-session": Sessions(team.data / "secret").mint("Bob")}
    for path, status in (("projects/1", 200), ("projects/2", 404), ("queue/2", 404),
                         ("accept/1", 403), ("export/1/a.zip", 403)):  # fmt: skip
        answer = bob.page.request.get(f"{team.url}/mal/{path}", headers=headers)
        assert (path, answer.status) == (path, status)
    CanvasPage(bob.page, f"{team.url}/?project=2").open()
    expect(bob.page.get_by_label("Project", exact=True)).to_have_value("Sample photos")
