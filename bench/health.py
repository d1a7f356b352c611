"""How long a look at the health of a large project takes, and what it costs others meanwhile.

    python bench/health.py [--images 10000] [--per-image 10]

Writes synthetic masks (ellipses with a hole on 640 x 480 images, as bench/exchange.py does) and a
small picture of its own for each image into a studio in a temporary folder. Wall seconds, and
seconds of the processor in brackets. While the check runs, another thread saves a mask every 50 ms:
*save* is how long that takes beside it, and without it.
"""

import argparse
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image as Pil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.health import Health  # noqa: E402
from app.health.likeness import alike  # noqa: E402
from app.images import thumbnail_path  # noqa: E402
from app.records import ModelState, NewModel  # noqa: E402
from app.settings import Settings  # noqa: E402
from app.store import Store  # noqa: E402
from bench.exchange import fill  # noqa: E402

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def main() -> None:
    """Fill a project, check it twice, and group hashes alone."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--per-image", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        store = Store(settings.database)
        model = store.add_model(NewModel("bundled", "b" * 64, {}), ModelState.BUNDLED, NOW)
        project = store.add_project("Full", model.id, NOW).id
        fill(settings, store, project, options.images, options.per_image)
        draw(settings, store, project)
        health = Health(settings, store, lambda: NOW)
        saver = Saver(store, project)
        saver.rest(2)
        print(f"{options.images} images, {options.images * options.per_image} instances")
        print("first check", timed(lambda: saver.beside(lambda: check(health, project))))
        print(f"save, median and p95: {saver.alone()} alone, {saver.meanwhile()} beside it")
        print("second check, a few images changed", timed(lambda: check(health, project)))
        print("images that changed", timed(lambda: health.changed(project)))
        report = health.report(project)
        assert report is not None
        print({str(kind): len(found) for kind, found in report.found.items()}, len(report.alike))
        store.close()
    for count in (1_000, 10_000, 100_000):
        print(f"groups of {count} hashes", timed(lambda n=count: group(n)))  # type: ignore[misc]
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def draw(settings: Settings, store: Store, project: int) -> None:
    """Give each image a picture of its own."""
    for summary in store.list_images(project):
        noise = np.random.default_rng(summary.image.number).random((12, 16, 3))
        picture = Pil.fromarray((255 * noise).astype(np.uint8)).resize((160, 120), 3)
        picture.save(thumbnail_path(settings, summary.image), "JPEG", quality=85)


def check(health: Health, project: int) -> None:
    """Look through a project."""
    for _ in health.check(project):
        pass


def group(count: int) -> None:
    """Group random hashes of which every tenth has a near twin."""
    chance = np.random.default_rng(0)
    hashes = [int(value) for value in chance.integers(0, 2**63, count)]
    hashes[::10] = [value ^ 5 for value in hashes[1::10]]
    assert len(alike(hashes, 6)) >= count // 10


def timed(act: Callable[[], object]) -> str:
    """How long an act takes, in words."""
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return f"{time.perf_counter() - wall:.2f} s ({time.process_time() - cpu:.2f})"


class Saver:
    """Saves masks now and then, and notes how long each took."""

    def __init__(self, store: Store, project: int) -> None:
        self._store = store
        images = [summary.image.id for summary in store.list_images(project)]
        self._ids = [store.list_instances(image)[0].id for image in images[:20]]
        self._took: dict[bool, list[float]] = {True: [], False: []}

    def rest(self, seconds: float) -> None:
        """Save while nothing else goes on."""
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            self._save(is_beside=False)

    def beside(self, act: Callable[[], object]) -> None:
        """Save as long as an act goes on."""
        over = threading.Event()

        def go() -> None:
            while not over.is_set():
                self._save(is_beside=True)

        thread = threading.Thread(target=go)
        thread.start()
        act()
        over.set()
        thread.join()

    def alone(self) -> str:
        """Median and 95th percentile of a save by itself."""
        return _told(self._took[False])

    def meanwhile(self) -> str:
        """The same beside the act."""
        return _told(self._took[True])

    def _save(self, *, is_beside: bool) -> None:
        took = self._took[is_beside]
        head = self._store.get_instance(self._ids[len(took) % len(self._ids)])
        draft = replace(head.draft, flagged=not head.draft.flagged)
        start = time.perf_counter()
        self._store.save_instance(head.id, draft, head.version, "bench", "brush", NOW)
        took.append(time.perf_counter() - start)
        time.sleep(0.05)


def _told(seconds: list[float]) -> str:
    milliseconds = [1000 * one for one in seconds]
    p95 = statistics.quantiles(milliseconds, n=20)[-1]
    return f"{statistics.median(milliseconds):.1f} / {p95:.1f} ms"


if __name__ == "__main__":
    main()
