"""Boxes from a file become masks in the background: paused, killed, gone on with, in the queue."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.canvas_page import CanvasPage
from tests.e2e.conftest import Studio, shot

pytestmark = pytest.mark.slow
N_BOXES = 40


def coco_boxes() -> str:
    """Boxes without a mask all over coffee.png."""
    image = {"id": 1, "file_name": "coffee.png", "width": 600, "height": 400}
    boxes = [[20 + 60 * (n % 8), 20 + 70 * (n // 8), 80, 60] for n in range(N_BOXES)]
    annotations = [
        {"id": n, "image_id": 1, "category_id": 1, "bbox": box} for n, box in enumerate(boxes, 1)
    ]
    categories = [{"id": 1, "name": "object"}]
    return json.dumps({"images": [image], "annotations": annotations, "categories": categories})


def open_library(page: Page, studio: Studio) -> Locator:
    """The Library page; returns the button that begins."""
    CanvasPage(page, studio.url).open()
    page.get_by_role("tab", name="Library").click()
    return page.get_by_role("button", name="Propose masks for boxes without one")


def test_imported_boxes_get_masks_over_a_pause_and_a_kill(
    page: Page, studio: Studio, tmp_path: Path
) -> None:
    source = tmp_path / "boxes.json"
    source.write_text(coco_boxes())
    start = open_library(page, studio)
    page.locator("input[type=file]").nth(2).set_input_files(source)
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator(".mal-report").filter(has_text="40 instances on 1 image")).to_be_visible()

    elsewhere = page.context.new_page()
    open_elsewhere = open_library(elsewhere, studio)
    expect(elsewhere.get_by_text("get a proposal, in the background")).to_be_visible()

    start.click()
    bar = page.get_by_role("progressbar", name="Proposing masks")
    expect(bar).to_be_visible()
    status = page.get_by_role("status").filter(has_text="Proposing masks")
    page.get_by_role("button", name="Pause").click()
    expect(status).to_contain_text("paused")
    expect(start).to_be_disabled()
    open_elsewhere.click()
    told = elsewhere.get_by_text("masks are being proposed for this project already")
    expect(told).to_be_visible()
    expect(open_elsewhere).to_be_disabled()
    elsewhere.close()
    shot(page, "13-batch-paused")

    studio.kill()
    studio.start()
    open_library(page, studio)
    expect(status).to_contain_text("paused")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    studio.kill()
    studio.start()
    open_library(page, studio)
    expect(page.get_by_text("Finished: 40 of 40 boxes on 1 image.")).to_be_visible(timeout=120_000)
    expect(bar).to_be_hidden()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden()
    shot(page, "14-batch-finished")

    canvas = CanvasPage(page, studio.url)
    canvas.open()
    assert len(canvas.state["instances"]) == N_BOXES
    assert all(i["rle"] and i["state"] == "proposed" for i in canvas.state["instances"])
    assert {i["version"] for i in canvas.state["instances"]} == {2}
