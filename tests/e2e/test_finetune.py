"""Act 3 in the browser: twelve corrections, one click, promoted, a proposal that improves, back.

The objects are discs that differ from what is around them by the direction of their grain alone:
new for the bundled weights, and no contradiction to what they know, so that the probe stands.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from bench.adapt_data import draw_rings
from mal_core.coco import Annotation
from mal_core.masks import RLE, iou
from tests.e2e.canvas_page import CanvasPage
from tests.e2e.conftest import Studio, shot
from tests.e2e.desk import Corners, Desk, open_train

pytestmark = pytest.mark.slow
PATIENCE = 15 * 60_000  # milliseconds; a busy machine learns slowly
PHOTOS, CORRECTED = 33, 12  # two discs on each; the last photo's are left as they are proposed
EARLIER = 52  # masks that were accepted before


def test_twelve_corrections_one_click_promoted_and_the_way_back(
    page: Page, studio: Studio, tmp_path: Path
) -> None:
    desk = Desk(page, studio.url)
    canvas = CanvasPage(page, studio.url)
    discs = draw_rings(tmp_path, PHOTOS, seed=4, hole=0)
    desk.begin_project("Discs", [tmp_path / image.file_name for image in discs.images])
    project = desk.project(2)
    photos, category = [photo["id"] for photo in project["images"]], project["categories"][0]["id"]
    wanted = {a.id: a for a in discs.annotations}
    for number, disc in wanted.items():
        photo, box = photos[disc.image_id - 1], corners_of(disc)
        if number <= EARLIER:
            desk.add(photo, category, box, mask_of(disc))
        elif number <= EARLIER + CORRECTED:
            desk.correct(photo, category, box, mask_of(disc))
        else:
            desk.propose(photo, category, box)
    before = desk.instances(photos[-1])

    open_train(page)
    expect(page.get_by_text("64 reviewed masks on 32 images")).to_be_visible()
    page.get_by_role("button", name="Fine-tune").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    page.get_by_role("tab", name="Annotate").click()  # the person keeps drawing
    canvas.page.wait_for_function(f"window.malCanvas.state().image_id === {photos[0]}")
    drawn = canvas.box(90, 2, 160, 60)
    canvas.key("Enter")
    canvas.saved()

    open_train(page)
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("learning, 2 of 3")).to_be_visible(timeout=PATIENCE)
    shot(page, "08-learning")
    expect(page.get_by_text("Promoted: the new weights were")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("surely better: held-out IoU +")).to_be_visible()
    expect(page.get_by_text("45 objects of common photos")).to_be_visible()
    expect(page.get_by_alt_text("Held-out object").first).to_be_visible()
    page.get_by_text("Worst with the new weights").scroll_into_view_if_needed()
    shot(page, "09-verdict")
    page.get_by_role("tab", name="Train").scroll_into_view_if_needed()
    expect(page.get_by_role("cell", name="fine-tune 1 (in use)")).to_be_visible()
    expect(page.get_by_text("proposed again by the model in use: 2.")).to_be_visible()
    shot(page, "16-promoted")
    after = desk.instances(photos[-1])
    assert all(instance["model"].startswith("fine-tune 1") for instance in after)
    goals = [mask_of(disc) for disc in wanted.values() if disc.image_id == PHOTOS]
    assert nearness(after, goals) > nearness(before, goals)
    kept = next(i for i in desk.instances(photos[0]) if i["id"] == drawn["id"])
    assert (kept["rle"], kept["state"]) == (drawn["rle"], "accepted")

    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("cell", name="mal-small-256 (in use)")).to_be_visible()
    wait_for_model(page, desk, photos[-1], "mal-small-256")
    assert [i["rle"] for i in desk.instances(photos[-1])] == [i["rle"] for i in before]
    page.get_by_role("tab", name="Insight").click()
    expect(page.get_by_text("65 masks finished, 2 wait for review")).to_be_visible()
    shot(page, "18-insight")


def corners_of(disc: Annotation) -> Corners:
    x0, y0, x1, y1 = map(int, disc.box)
    return x0, y0, x1, y1


def mask_of(disc: Annotation) -> RLE:
    assert disc.rle is not None
    return disc.rle


def nearness(instances: list[dict[str, Any]], goals: list[RLE]) -> float:
    """Mean IoU of masks with what a person would want."""
    pairs = zip(instances, goals, strict=True)
    return float(np.mean([iou(RLE.from_coco(i["rle"]), goal) for i, goal in pairs]))


def wait_for_model(page: Page, desk: Desk, image_id: int, name: str) -> None:
    for _ in range(300):
        if {instance["model"] for instance in desk.instances(image_id)} == {name}:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"the proposals were never made again by {name}")
