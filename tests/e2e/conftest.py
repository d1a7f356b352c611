"""A real server in a folder of its own, and a real Chromium that talks only to it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

from tests.e2e.canvas_page import CAT, PATIENCE, CanvasPage, pick
from tests.serving import ROOT, Studio

AXE = ROOT / "app" / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    server = Studio(tmp_path_factory.mktemp("studio"))
    server.start()
    yield server
    server.stop()


def find_chromium() -> str:
    """The system's browser; "" where Playwright has its own."""
    return next(filter(None, map(shutil.which, CHROMIUM)), "")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser a module: Playwright's event loop must be gone before other tests need one."""
    with sync_playwright() as playwright:
        path = find_chromium() or None
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, studio: Studio) -> Iterator[Page]:
    """A page at 1440 x 900 that must stay on this machine and log no error."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    errors: list[str] = []
    hosts: set[str] = set()

    def on_console(message: ConsoleMessage) -> None:
        # Chromium logs every answer of 400 and above; those are judged where they are caused.
        if message.type == "error" and "Failed to load resource" not in message.text:
            errors.append(message.text)

    def on_request(request: Request) -> None:
        if request.url.startswith("http"):
            hosts.add(urlsplit(request.url).netloc)

    opened.on("console", on_console)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("request", on_request)
    yield opened
    context.close()
    assert errors == []
    assert hosts <= {urlsplit(studio.url).netloc}


@pytest.fixture
def canvas(page: Page, studio: Studio) -> CanvasPage:
    """The second sample image with a mask on it that is selected."""
    opened = CanvasPage(page, studio.url)
    opened.open()
    opened.choose_image(2)
    if not opened.state["instances"]:
        opened.box(*CAT, category=3)
    pick(opened)
    page.on("dialog", lambda dialog: dialog.accept())  # it warns of unsent work when it is left
    return opened


def shot(page: Page, name: str) -> None:
    """Save a picture for the docs where STUDIO_SHOTS names a folder."""
    if folder := os.environ.get("STUDIO_SHOTS"):
        page.wait_for_timeout(400)
        page.screenshot(path=Path(folder) / f"{name}.png")


def violations(page: Page, selector: str) -> list[Any]:
    """What axe finds wrong in a part of the page: the rule and the elements."""
    page.add_script_tag(path=AXE)
    # Gradio names its upload buttons in other words than they show.
    script = """s => axe.run(document.querySelector(s), {resultTypes: ['violations'],
        rules: {'label-content-name-mismatch': {enabled: false}}})
        .then(r => r.violations.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 120))]))"""
    found: list[Any] = page.evaluate(script, selector)
    return found
