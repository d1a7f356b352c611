"""Masks that say nothing: learned from, and found out by the probe, in the browser."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from playwright.sync_api import Page, expect

from mal_core.masks import RLE, encode
from tests.e2e.conftest import Studio, shot
from tests.e2e.desk import Corners, Desk, open_train

pytestmark = pytest.mark.slow
MINUTE = 60_000
ROWS = ((0, 90), (90, 158), (158, 225), (225, 303))  # of coins in scikit-image's picture


def test_a_poisoned_snapshot_is_refused(page: Page, studio: Studio, tmp_path: Path) -> None:
    desk = Desk(page, studio.url)
    desk.begin_project("Poisoned", cut_rows(tmp_path))
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


def cut_rows(folder: Path) -> list[Path]:
    """The rows of coins as photos, and as seen in a mirror."""
    coins, paths = skimage.data.coins(), []
    for number, (top, bottom) in enumerate(ROWS, start=1):
        for side in (1, -1):
            paths.append(folder / f"row-{number}{'-mirrored' * (side < 0)}.png")
            row = np.ascontiguousarray(coins[top:bottom, ::side])
            Image.fromarray(row).convert("RGB").save(paths[-1])
    return paths


def noise(box: Corners, height: int, width: int, random: np.random.Generator) -> RLE:
    """A mask that says nothing: a quarter of 7 x 7 cells at random; each side is met."""
    cells = random.random((7, 7)) < 0.25
    cells[0, 3] = cells[6, 3] = cells[3, 0] = cells[3, 6] = True
    h, w = box[3] - box[1], box[2] - box[0]
    mask = cells[(np.arange(h) * 7 // h)[:, None], (np.arange(w) * 7 // w)[None]]
    return encode(mask, x0=box[0], y0=box[1], height=height, width=width)
