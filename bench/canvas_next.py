"""How long the next image of the queue takes to be painted after the key press that asks for it.

Starts the studio on photos of its own, 640 x 480 and 4000 x 3000, each with masks of which one is
to be reviewed, and drives a headless Chromium: Space, a pause to look at the mask, Space, ...; so
each image was fetched and decoded ahead. For comparison some images are opened that were not
(End of the strip and back). Prints milliseconds from the key press, or click, to the painted frame.

    python bench/canvas_next.py [--images 12] [--masks 20] [--pause 1.5] [--threads 1]
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch, as the launcher does

import numpy as np
import skimage.data
from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.images import Intake  # noqa: E402
from app.library import Library  # noqa: E402
from app.records import Draft, NewInstance, State  # noqa: E402
from app.settings import Settings  # noqa: E402
from app.store import Store  # noqa: E402
from bench.latency import FLAGS, SIZES, STATE, serve  # noqa: E402
from mal_core.masks import encode  # noqa: E402

LISTEN = """window.pressedAt = 0;
for (const kind of ["keyup", "click"]) {
  addEventListener(kind, (event) => { window.pressedAt = event.timeStamp; }, true);
}"""
OPENED = f"(last) => {STATE}.last_opening && {STATE}.last_opening.image_id !== last"


def main() -> None:
    """Measure both sizes, each with and without the image fetched ahead."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=12, help="of each size")
    parser.add_argument("--masks", type=int, default=20, help="on each image")
    parser.add_argument("--pause", type=float, default=1.5, help="seconds on an image")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    print("| image | masks | opened | n | median ms | largest ms |")
    print("|---|---|---|---|---|---|")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder, "data")
            make_project(data, size, arguments.images, arguments.masks)
            with serve(data, arguments.threads) as url, sync_playwright() as playwright:
                path = shutil.which("chromium") or shutil.which("google-chrome")
                browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
                page = browser.new_page(viewport={"width": 1440, "height": 900})
                page.goto(url)
                page.wait_for_function(f"window.malCanvas && {STATE}.last_opening")
                page.evaluate(LISTEN)
                page.locator(".mal-studio canvas").first.focus()
                page.keyboard.press("Space")  # to the queue's first mask, on whatever image
                ahead = [press_space(page, arguments.pause) for _ in range(arguments.images - 1)]
                cold = [click_far(page, arguments.images, i) for i in range(arguments.images // 2)]
                browser.close()
        print_row(size, arguments.masks, "ahead", ahead)
        print_row(size, arguments.masks, "not ahead", cold)


def print_row(size: tuple[int, int], masks: int, kind: str, times: Sequence[float]) -> None:
    """One line of the table."""
    cells = [f"{size[0]}x{size[1]}", str(masks), kind, str(len(times))]
    figures = [f"{statistics.median(times):.0f}", f"{max(times):.0f}"]
    print("| " + " | ".join([*cells, *figures]) + " |", flush=True)


def press_space(page: Page, pause: float) -> float:
    """Look at the open image for a while, then go on."""
    page.wait_for_timeout(1000 * pause)
    last = page.evaluate(STATE)["last_opening"]["image_id"]
    page.locator(".mal-studio canvas").first.focus()
    page.keyboard.press("Space")
    return painted_after(page, last)


def click_far(page: Page, count: int, turn: int) -> float:
    """Open an image that is neither kept nor fetched ahead."""
    page.wait_for_timeout(500)
    last = page.evaluate(STATE)["last_opening"]["image_id"]
    at = turn if turn % 2 else count - 2 - turn
    page.locator(".mal-thumb").nth(at).click()
    return painted_after(page, last)


def painted_after(page: Page, last: int) -> float:
    """Milliseconds from the last key or click to the frame of an image other than the last."""
    page.wait_for_function(OPENED, arg=last)
    opening = page.evaluate(STATE)["last_opening"]
    return float(opening["painted_at"] - page.evaluate("window.pressedAt"))


def make_project(data: Path, size: tuple[int, int], count: int, masks: int) -> None:
    """A project of photos of one size, each with masks, the first of which is to be reviewed."""
    settings = Settings(data_dir=data)
    data.mkdir(parents=True)
    store = Store(settings.database)
    with Intake(settings) as intake:
        library = Library(settings, store, intake)
        library.prepare_model()
        project = library.add_project("Next")
        paths = [save_photo(data / f"{number}.jpg", size, number) for number in range(count)]
        for step in library.add_files(project.id, paths):
            assert step.added, step.line
    category = store.list_categories(project.id)[0].id
    random = np.random.default_rng(0)
    for summary in store.list_images(project.id):
        drafts = [draft(size, category, index, random) for index in range(masks)]
        new = [NewInstance(summary.image.id, one) for one in drafts]
        store.add_instances(new, "bench", "import", datetime.now(UTC))
    store.close()


def save_photo(path: Path, size: tuple[int, int], number: int) -> Path:
    """A photo that differs from the others: the same one, shifted."""
    photo = Image.fromarray(np.roll(skimage.data.coffee(), 40 * number, axis=1))
    photo.resize(size, Image.Resampling.BICUBIC).save(path, quality=92)
    return path


def draft(size: tuple[int, int], category: int, index: int, random: np.random.Generator) -> Draft:
    """An ellipse somewhere on the image, a tenth to a third of its sides."""
    width, height = (int(random.uniform(0.1, 0.33) * side) for side in size)
    x0, y0 = int(random.uniform(0, size[0] - width)), int(random.uniform(0, size[1] - height))
    y, x = np.mgrid[:height, :width]
    inside = ((x + 0.5) / width - 0.5) ** 2 + ((y + 0.5) / height - 0.5) ** 2 <= 0.25
    rle = encode(inside, x0=x0, y0=y0, height=size[1], width=size[0])
    state = State.ACCEPTED if index else State.PROPOSED
    box = (float(x0), float(y0), float(x0 + width), float(y0 + height))
    return Draft(state, category, box, rle, score=float(random.uniform(0.3, 0.95)))


if __name__ == "__main__":
    main()
