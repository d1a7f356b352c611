"""What a fine-tune costs the person who goes on drawing: box to painted mask, idle and training.

Starts the studio as bench/latency.py does, with the probe's masks as what was labelled. Draws boxes
on a 640 x 480 and a 12 MP photo, clicks Fine-tune, and draws the same boxes again while it learns.
Prints the medians and 90th percentiles in milliseconds, and the ratio of the medians.

    python bench/live.py [--boxes 12] [--threads 2]
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.images import Intake  # noqa: E402
from app.library import Library  # noqa: E402
from app.settings import PHOTOS, Settings  # noqa: E402
from app.store import Store  # noqa: E402
from bench.latency import FLAGS, SIZES, STATE, draw_boxes, make_project, serve  # noqa: E402
from mal_core import coco  # noqa: E402

Totals = Mapping[tuple[int, int], list[float]]


def main() -> None:
    """Draw, train and draw, and print one line for each photo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boxes", type=int, default=12, help="measured boxes of each photo")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        make_project(data)
        add_labels(data)
        with serve(data, arguments.threads) as url, sync_playwright() as playwright:
            path = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(url)
            idle = draw(page, arguments.boxes)
            start_training(page)
            training = draw(page, arguments.boxes)
            lasted = is_training(page)
            browser.close()
    print_table(idle, training)
    if not lasted:
        raise SystemExit("the fine-tune ended before the last box: draw fewer with --boxes")


def add_labels(data: Path) -> None:
    """The photos of the probe and its masks, as if a person had made them."""
    settings = Settings(data_dir=data)
    store = Store(settings.database)
    with Intake(settings) as intake:
        library = Library(settings, store, intake)
        project = store.list_projects()[0].id
        names = [image.file_name for image in coco.read(settings.probe).images]
        for step in library.add_files(project, [PHOTOS / name for name in names]):
            assert step.added, step.line
        report = library.import_files(project, "coco", [settings.probe], "bench")
        assert report.n_masks, report.problems
    store.close()


def draw(page: Page, count: int) -> Totals:
    """Milliseconds from each released box to its painted mask, by size of the photo."""
    totals = {}
    page.wait_for_function(f"window.malCanvas && {STATE}.image_id")
    for number, size in enumerate(SIZES, start=1):
        canvas = page.locator(".mal-studio canvas").first
        for _ in range(len(SIZES)):
            if page.evaluate(STATE)["image_id"] != number:
                canvas.focus()
                page.keyboard.press("PageDown" if number > 1 else "PageUp")
                page.wait_for_timeout(1000)
        page.wait_for_function(f"{STATE}.image_id === {number}")
        totals[size] = [row["total"] for row in draw_boxes(page, size, count)]
    return totals


def start_training(page: Page) -> None:
    """Click the one button, and come back to the canvas when it has begun to learn."""
    page.get_by_role("tab", name="Train").click()
    page.get_by_role("button", name="Fine-tune").click()
    expect(page.get_by_role("progressbar")).to_be_visible(timeout=60_000)
    page.get_by_role("tab", name="Annotate").click()


def is_training(page: Page) -> bool:
    """Whether the job still runs."""
    page.get_by_role("tab", name="Train").click()
    return page.get_by_role("progressbar").is_visible()


def print_table(idle: Totals, training: Totals) -> None:
    """Markdown, a line a photo."""
    print("| photo | idle, median (p90) | training, median (p90) | ratio |\n|---|---|---|---|")
    for size in idle:
        (low, high), (slow, slowest) = (
            np.percentile(totals[size], (50, 90)) for totals in (idle, training)
        )
        name = f"{size[0]} x {size[1]}"
        print(
            f"| {name} | {low:.0f} ({high:.0f}) | {slow:.0f} ({slowest:.0f}) | {slow / low:.2f} |"
        )


if __name__ == "__main__":
    main()
