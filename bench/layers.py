"""What lists cost where images are annotated blind, and what dealing images out costs.

    python bench/layers.py [--images 2000] [--per-image 50] [--share 0.1]

Writes small masks into a store in a temporary folder, reads its lists for everybody and for one
annotator, before and after two people got a share of the images together. Milliseconds of the
processor, the median of five.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.assignments import Assignments  # noqa: E402
from app.people import Role  # noqa: E402
from app.records import (  # noqa: E402
    Draft,
    ModelState,
    NewInstance,
    NewModel,
    State,
    TakenImage,
)
from app.store import Store  # noqa: E402
from mal_core.masks import RLE  # noqa: E402

NOW = datetime(2026, 11, 26, tzinfo=UTC)
MASK = RLE.from_coco({"size": [30, 40], "counts": [100, 50, 1050]})
PEOPLE = ("Ann", "Bob")


def main() -> None:
    """Fill a project, read it, deal it out, and read it again."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--per-image", type=int, default=50)
    parser.add_argument("--share", type=float, default=0.1, help="that two people do")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "studio.db")
        project, image = fill(store, options.images, options.per_image)
        read(store, project, image, None)
        begin, wall = time.process_time(), time.perf_counter()
        given = Assignments(store, lambda: NOW).distribute(project, PEOPLE, options.share, "Pat")
        spent = (time.process_time() - begin, time.perf_counter() - wall)
        print(f"{given.given} assignments in {spent[0]:.1f} s of the processor, {spent[1]:.1f} s")
        for person in (None, "Ann"):
            read(store, project, image, person)
        store.close()


def fill(store: Store, images: int, per_image: int) -> tuple[int, int]:
    """A project with two annotators; its id, and that of an image."""
    model = store.add_model(NewModel("b", "b" * 64, {}), ModelState.BUNDLED, NOW)
    project = store.add_project("P", model.id, NOW)
    category = store.add_category(project.id, "c")
    for name in PEOPLE:
        user = store.add_user(name, "no hash", is_admin=False, now=NOW)
        store.set_role(project.id, user.id, Role.ANNOTATOR)
    draft = Draft(State.PROPOSED, category.id, (1.0, 2.0, 30.0, 20.0), MASK, 0.5)
    keys = []
    for n in range(images):
        taken = TakenImage(f"r{n}", f"s{n}", "png", 40, 30, f"{n}.png", "")
        keys.append(store.add_image(project.id, taken, NOW)[0].id)
    new = [NewInstance(key, draft) for key in keys for _ in range(per_image)]
    store.add_instances(new, "Ada", "box", NOW)
    return project.id, keys[7]


def read(store: Store, project: int, image: int, person: str | None) -> None:
    """Time each list for everybody, or for one person."""
    acts: dict[str, Callable[[], object]] = {
        "sketches": lambda: store.list_sketches(project, person),
        "images": lambda: store.list_images(project, person),
        "instances of one image": lambda: store.list_instances(image, viewer=person),
    }
    cells = [f"{name} {median(act):.1f}" for name, act in acts.items()]
    print(f"{person or 'everybody'}: {', '.join(cells)} ms")


def median(act: Callable[[], object]) -> float:
    """Milliseconds of the processor."""
    found = []
    for _ in range(5):
        begin = time.process_time()
        act()
        found.append(1000 * (time.process_time() - begin))
    return statistics.median(found)


if __name__ == "__main__":
    main()
