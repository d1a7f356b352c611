"""How fast instances come in and go out, in how much memory, and how long a person waits meanwhile.

    python bench/exchange.py [--instances 100000] [--per-image 100] [--formats coco yolo-seg ...]
                             [--export-only]

Writes synthetic masks (ellipses with a hole on 640 x 480 images, a thousand different ones) into a
studio of its own in a temporary folder; no model and no pixels of images are involved. Seconds are
of the processor, as the machine may be busy with other things: of the writing alone, of the proof
that reads it back, of a dry run and of an import into a copy. Memory is the largest the process had
until then, after the writing, after the proof and at the end. While the import goes on, a person
saves a mask every tenth of a second; their longest wait is of the clock.
"""

import argparse
import cProfile
import pstats
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import cycle, islice, pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
from PIL import Image as Pil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.exchange import Exporter, Importer, get_format  # noqa: E402
from app.images import path_of  # noqa: E402
from app.records import Draft, ModelState, NewInstance, NewModel, State, TakenImage  # noqa: E402
from app.settings import Settings  # noqa: E402
from app.store import Store  # noqa: E402
from mal_core.masks import RLE, encode  # noqa: E402

WIDTH, HEIGHT = 640, 480
NOW = datetime(2026, 11, 25, tzinfo=UTC)


def main() -> None:
    """Fill a project, then export it and import that into a copy, once a format."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--instances", type=int, default=100_000)
    parser.add_argument("--per-image", type=int, default=100)
    parser.add_argument("--formats", nargs="+", default=["coco"])
    parser.add_argument("--export-only", action="store_true")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    options = parser.parse_args()
    print("| format | instances | write | proof | zip MB | MB filled, written, proved, in", end="")
    print(" | dry run | import | a save waits ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.formats:
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(data_dir=Path(folder))
            store = Store(settings.database)
            profile = cProfile.Profile()
            print(measure(settings, store, name, options, profile), flush=True)
            store.close()
            if options.profile:
                pstats.Stats(profile).sort_stats("cumulative").print_stats(40)


def measure(
    settings: Settings,
    store: Store,
    name: str,
    options: argparse.Namespace,
    profile: cProfile.Profile,
) -> str:
    """One format's line of the table."""
    model = store.add_model(NewModel("bundled", "b" * 64, {}), ModelState.BUNDLED, NOW)
    full, copy = (store.add_project(title, model.id, NOW).id for title in ("Full", "Copy"))
    n_images = -(-options.instances // options.per_image)
    fill(settings, store, full, n_images, options.per_image)
    fill(settings, store, copy, n_images, 0)
    peaks, marks = [peak()], [time.process_time()]

    def write(*arguments: Any) -> None:  # noqa: ANN401 - those of every format
        get_format(name).write(*arguments)
        marks.append(time.process_time())
        peaks.append(peak())

    format_ = replace(get_format(name), write=write)
    if options.profile:
        profile.enable()
    report = Exporter(settings, store).run(full, format_, now=NOW)
    marks.append(time.process_time())
    peaks.append(peak())
    waits = [0.0]
    for dry_run in (True, False) if not options.export_only else ():
        with person_at_work(settings, store, full, waits if not dry_run else []):
            Importer(settings, store).run(
                copy, format_, [report.path], person="bench", now=NOW, dry_run=dry_run
            )
        marks.append(time.process_time())
    profile.disable()
    peaks.append(peak())
    took = [f"{after - before:.1f}" for before, after in pairwise(marks)] + ["-", "-"]
    size = report.path.stat().st_size / 2**20
    return (
        f"| {name} | {report.n_compared} | {took[0]} | {took[1]} | {size:.1f}"
        f" | {', '.join(f'{value:.0f}' for value in peaks)} | {took[2]} | {took[3]}"
        f" | {np.median(waits) * 1000:.0f}, at most {max(waits) * 1000:.0f} |"
    )


def peak() -> float:
    """The most memory that the process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def person_at_work(
    settings: Settings, store: Store, project: int, waits: list[float]
) -> Iterator[None]:
    """Let somebody save a mask every tenth of a second, and note how long each takes."""
    _, instance = next(iter(store.list_project_instances(project)))
    own, over = Store(settings.database), Event()

    def work() -> None:
        head = instance
        while not over.wait(0.1):
            start = time.perf_counter()
            head = own.save_instance(head.id, head.draft, head.version, "me", "brush", NOW)
            waits.append(time.perf_counter() - start)

    person = Thread(target=work)
    person.start()
    try:
        yield
    finally:
        over.set()
        person.join()
        own.close()


def fill(settings: Settings, store: Store, project: int, n_images: int, per_image: int) -> None:
    """Add images that share one raster, each with its masks."""
    categories = [store.add_category(project, f"kind {n}").id for n in range(10)]
    pool = list(islice(blobs(), 1000))
    masks = cycle(pool)
    with store.transaction():
        for place in range(n_images):
            sha256 = f"{place:064x}"
            taken = TakenImage(sha256, sha256, "png", WIDTH, HEIGHT, f"{place:06d}.png", "")
            image, _ = store.add_image(project, taken, NOW)
            raster = path_of(settings, image)
            raster.parent.mkdir(parents=True, exist_ok=True)
            if not raster.exists():
                Pil.new("1", (WIDTH, HEIGHT)).save(raster)
            chosen = list(islice(masks, per_image))
            store.put_instances(new(image.id, chosen, categories), "me", "", NOW)


def new(image_id: int, masks: Sequence[RLE], categories: Sequence[int]) -> list[NewInstance]:
    """Masks as accepted instances."""
    made = []
    for place, rle in enumerate(masks):
        assert rle.box is not None
        x0, y0, x1, y1 = map(float, rle.box)
        category = categories[place % len(categories)]
        made.append(NewInstance(image_id, Draft(State.ACCEPTED, category, (x0, y0, x1, y1), rle)))
    return made


def blobs() -> Iterator[RLE]:
    """Ellipses of 10 to 60 pixels with a hole, somewhere in the image, without end."""
    chance = np.random.default_rng(0)
    while True:
        height, width = chance.integers(10, 60, 2)
        rows, columns = np.mgrid[:height, :width]
        far = ((columns + 0.5) / width - 0.5) ** 2 + ((rows + 0.5) / height - 0.5) ** 2
        x0, y0 = (int(chance.integers(0, side - 60)) for side in (WIDTH, HEIGHT))
        yield encode((far < 0.25) & (far > 0.02), x0=x0, y0=y0, height=HEIGHT, width=WIDTH)


if __name__ == "__main__":
    main()
