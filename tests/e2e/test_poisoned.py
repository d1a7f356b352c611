"""Masks that say nothing: learned from, and found out by the probe, in the browser."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.coins import Desk, noise, open_train, upload_rows
from tests.e2e.conftest import Studio, shot

pytestmark = pytest.mark.slow
MINUTE = 60_000


def test_a_poisoned_snapshot_is_refused(page: Page, studio: Studio, tmp_path: Path) -> None:
    desk = Desk(page, studio.url)
    page.get_by_role("tab", name="Library").click()
    page.get_by_label("Name of a project").fill("Poisoned")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("No images yet")).to_be_visible()
    upload_rows(page, tmp_path, mirrored=True)
    project = desk.project(2)
    random = np.random.default_rng(0)
    category = project["categories"][0]["id"]
    for photo in project["images"]:
        for x0 in (20, 110, 200, 290):
            box = (x0, 6, x0 + 60, 60)
            mask = noise(box, photo["height"], photo["width"], random)
            desk.add(photo["id"], category, box, mask)
    in_use = project["model"]

    open_train(page)
    page.get_by_role("button", name="Fine-tune").click()
    refused = page.get_by_text("Refused: the old weights stay")
    expect(refused).to_be_visible(timeout=8 * MINUTE)
    expect(page.get_by_text("it forgets: on 45 objects")).to_be_visible()
    shot(page, "19-refused")
    assert desk.project(2)["model"] == in_use
    expect(page.get_by_role("cell", name="rejected")).to_be_visible()
