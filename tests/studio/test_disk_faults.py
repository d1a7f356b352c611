"""A full, a broken, a read-only disk at each write point of an act: the old state or the new one.

The disk refuses at the first write point, then at the second, and so on until the act succeeds, so
that every one had its turn. An act that fails says so in an error of ours and changes nothing; one
that succeeds in spite of it is done whole. The last one, on a disk that is sound again, is.
"""

import hashlib
import itertools
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from app.backup import back_up
from app.errors import DiskFull, StudioError, Unavailable
from app.exchange import Exporter, get_format
from app.images import Intake, path_of
from app.images.decode import answer
from app.jobs import KIND, NEW_WEIGHTS, Jobs
from app.library import Library
from app.records import State
from app.store import Store
from mal_core import checkpoint
from tests.studio.conftest import NOW, Studio, make_weights
from tests.studio.faults import Disk, watched_disk
from tests.studio.trainer import judged, model_in_use

pytestmark = [pytest.mark.soak, pytest.mark.sqlite]  # whose disk it is
Scale = Callable[[int, int], int]
Tell = Callable[[str], None]
# Of what kind the disk is, and whether it stays so.
WAYS = (("full", True), ("broken", False), ("full", False), ("broken", True), ("read-only", True))
ROWS = ("instance", "revision", "image", "project", "model_version", "job", "audit")
MOST = 500  # write points of an act here


@pytest.fixture
def disk() -> Iterator[Disk]:
    with watched_disk() as watched:
        yield watched


@dataclass
class Act:
    """Something that writes.

    Attributes:
        do: does it, once more each time.
        prepare: is done before each try, on a sound disk.
        spared: where files may come and go at a failure, since nothing on record names them.
    """

    do: Callable[[], object]
    prepare: Callable[[], object] = lambda: None
    spared: tuple[str, ...] = ()


def save(studio: Studio, _: Path) -> Act:
    """A person's mask, with a checkpoint of the write-ahead log after it."""
    first = studio.add(0)
    with studio.store._write() as connection:
        connection.exec_driver_sql("PRAGMA wal_autocheckpoint = 1")

    def prepare() -> None:
        with closing(sqlite3.connect(studio.settings.data_dir / "studio.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def do() -> None:
        version = studio.store.get_instance(first.id).version
        draft = studio.draft(0, State.CORRECTED)
        studio.workflow.save(first.id, version, draft, "Ada", "brush " * 300)

    return Act(do, prepare)


def propose(studio: Studio, _: Path) -> Act:
    """A box that becomes a mask."""
    names = itertools.count()
    image, category = studio.images[0].id, studio.categories[0].id

    def do() -> None:
        box = (10.0, 20.0, 60.0, 90.0)
        studio.workflow.propose(image, box, category, "Ada", request_id=f"r{next(names)}")

    return Act(do)


def export(studio: Studio, _: Path) -> Act:
    """A zip of masks and images."""
    studio.add(0, State.ACCEPTED)
    exporter = Exporter(studio.settings, studio.store)
    how, key, times = get_format("coco"), studio.project.id, itertools.count()

    def do() -> None:
        now = NOW + timedelta(seconds=next(times))
        exporter.run(key, how, include_images=True, now=now)

    return Act(do)


def back_up_once(studio: Studio, folder: Path) -> Act:
    studio.add(0, State.ACCEPTED)
    names = itertools.count()
    (studio.settings.data_dir / "kept").mkdir()

    def do() -> None:
        target = studio.settings.data_dir / "kept" / f"{next(names)}.zip"
        back_up(studio.settings, studio.store, target, NOW)

    return Act(do)


def publish(studio: Studio, folder: Path) -> Act:
    """What a fine-tune learned, from its folder into use."""
    jobs = Jobs(studio.settings, studio.store, studio.workflow, Idle())  # type: ignore[arg-type]
    names, made = itertools.count(), {}

    def prepare() -> None:
        seed = next(names)
        now, parent = datetime.now(UTC), model_in_use(studio)
        params = {"parent_id": parent, "held_out_images": [1, 2], "n_masks": 1, "n_boxes": 1}
        job = studio.store.add_job(studio.project.id, KIND, params, now)
        made["job"] = studio.store.launch_job(job.id, params, now)
        place = studio.settings.jobs / str(job.id)
        place.mkdir(parents=True)
        weights = make_weights(folder / f"{seed}.safetensors", seed)
        shutil.move(weights, place / NEW_WEIGHTS)
        sha256 = checkpoint.file_sha256(place / NEW_WEIGHTS)
        made["result"] = {**judged(0.75), "sha256": sha256, "best_epoch": 1}

    return Act(lambda: jobs._publish(made["job"], made["result"]), prepare, ("models/", "jobs/"))


class Idle:
    """Proposes nothing again."""

    def start(self, project_id: int) -> None:
        pass


def upload(studio: Studio, folder: Path) -> Act:
    """A photo, and its raster and thumbnail; decoded here, so that its writes are seen, too."""
    intake = Intake(studio.settings)
    intake._decoder.ask = lambda source, place: answer(source, place, 10**8)  # type: ignore[method-assign]
    library = Library(studio.settings, studio.store, intake)
    photo, chance = folder / "new.png", np.random.default_rng(0)

    def prepare() -> None:
        Pil.fromarray(chance.integers(0, 255, (64, 64, 3), np.uint8)).save(photo)

    def do() -> None:
        (step,) = library.add_files(studio.project.id, [photo])
        assert step.added

    return Act(do, prepare, ("images/",))


def freeze(studio: Studio, _: Path) -> Act:
    """The start of a fine-tune: what it learns from is written down."""
    for index in (0, 0, 0, 1, 2):
        studio.add(index, State.ACCEPTED)
    jobs = Jobs(studio.settings, studio.store, studio.workflow, Idle())  # type: ignore[arg-type]
    jobs._worker.begin = lambda: None  # type: ignore[method-assign]
    return Act(lambda: jobs.start(studio.project.id), spared=("jobs/",))


ACTS = (save, propose, export, back_up_once, publish, upload, freeze)


def rows_of(studio: Studio) -> dict[str, str]:
    """A hash of each table's rows, read past the store."""
    with closing(sqlite3.connect(studio.settings.data_dir / "studio.db")) as connection:
        every = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        found = {}
        for (name,) in every:
            rows = sorted(map(repr, connection.execute(f"SELECT * FROM {name}")))
            found[name] = hashlib.sha256("".join(rows).encode()).hexdigest()
    return found


def state(studio: Studio) -> Mapping[str, str]:
    """The rows of each table, and which file has which name; but for the database's own."""
    found = rows_of(studio)
    root = studio.settings.data_dir
    for path in root.rglob("*"):
        if path.is_file() and not path.name.startswith("studio.db"):
            about = path.stat()
            found[path.relative_to(root).as_posix()] = f"{about.st_ino} {about.st_mtime_ns}"
    return found


@pytest.mark.parametrize("begin", ACTS, ids=lambda act: act.__name__)
def test_a_disk_that_refuses_anywhere_leaves_the_old_state_or_the_new(
    disk: Disk,
    studio: Studio,
    tmp_path: Path,
    scale: Scale,
    tell: Tell,
    begin: Callable[[Studio, Path], Act],
) -> None:
    act, counts = begin(studio, tmp_path), []
    for kind, stays in WAYS[: scale(1, len(WAYS))]:
        failed, went_on = go_through(disk, studio, act, kind, stays, scale(3, MOST))
        counts.append(f"{kind}{'' if stays else ' once'}: {failed} failed, {went_on} went on")
    assert list(studio.store.find_troubles()) == []
    with closing(Store(studio.settings.database)) as again:
        assert list(again.list_project_revisions(1)) == list(studio.store.list_project_revisions(1))
    for image in studio.store.list_all_images():
        assert checkpoint.file_sha256(path_of(studio.settings, image)) == image.sha256
    for model in studio.store.list_all_models():
        assert checkpoint.load(studio.workflow.weights_path(model)).sha256 == model.sha256
    tell(f"{begin.__name__}: {'; '.join(counts)}")


def go_through(
    disk: Disk, studio: Studio, act: Act, kind: str, stays: bool, tries: int
) -> tuple[int, int]:
    """Let the disk refuse at each write point, or at so many; how often the act failed, went on."""
    failed = went_on = 0
    for at in choose(count(disk, act), tries):
        act.prepare()
        before = state(studio)
        try:
            with disk.refusing(at, kind, stays=stays):
                act.do()
        except StudioError as error:
            check(error, kind, disk)
            after = state(studio)
            changed = {name for name, _ in before.items() ^ after.items()}
            assert all(name.startswith(act.spared) for name in changed) or kind == "read-only"
            assert [after[table] for table in ROWS] == [before[table] for table in ROWS]
            failed += 1
        else:
            assert state(studio) != before
            if not disk.has_refused:
                assert failed > 0
                return failed, went_on
            went_on += 1
    raise AssertionError("it never succeeded")


def count(disk: Disk, act: Act) -> int:
    """How many write points an act has."""
    act.prepare()
    with disk.refusing(0, "full", stays=True):
        act.do()
    assert disk.count > 0
    return disk.count


def choose(points: int, tries: int) -> list[int]:
    """Write points to refuse at: all, or some of which the first and the last are; then none."""
    if tries >= MOST:
        return [*range(1, MOST)]
    chosen = {1 + round(place * (points - 1) / (tries - 1)) for place in range(tries)}
    return [*sorted(chosen), 2 * points + MOST]


def check(error: StudioError, kind: str, disk: Disk) -> None:
    """Whether an error is of the right kind and says what has happened."""
    at = disk.points[disk.refuses_at - 1]
    by_sync = at.startswith("database") and at != "database write"
    wanted = DiskFull if kind == "full" and not by_sync else Unavailable
    assert type(error) is wanted, (at, error)
    assert "full" in str(error) or "No space" in str(error) or kind != "full" or by_sync
