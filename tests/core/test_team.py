"""Worker processes: who dies is followed by another, and nothing is tried for ever."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from mal_core import team
from mal_core.coco import Annotation, CategoryRecord, ImageRecord
from mal_core.errors import MALError
from mal_core.shards import Shard, cut
from mal_core.team import DEATHS_IN_A_ROW, POISON, STRIKES, Job, label_together

JOB = Job("w", "cpu", "torch", "none", 1, {}, "images", "shards", "coco")


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers without a network, which start at once."""
    monkeypatch.setattr(
        team, "PROGRAM", [sys.executable, str(Path(__file__).parent / "fake_worker.py")]
    )


def shards_of(*names: str) -> list[Shard]:
    """One image with two boxes a shard."""
    work = []
    for key, name in enumerate(names):
        box = (1.0, 1.0, 5.0, 5.0)
        boxes = [Annotation(2 * key + i, key, 1, box, None) for i in range(2)]
        work.append((ImageRecord(key, name, 9, 9), boxes))
    return cut(work, [CategoryRecord(1, "a")], {}, 2)


def fates(shards: Sequence[Shard], workers: int) -> dict[str, list[str]]:
    """For each image why its boxes have no mask."""
    found = {}
    for report in label_together(JOB, workers, shards):
        for image in report["images"]:
            assert image["file_name"] not in found
            found[image["file_name"]] = [error["reason"] for error in image["failed"]]
    return found


@pytest.mark.parametrize("workers", [1, 2, 9])
def test_each_shard_is_done_once(workers: int) -> None:
    names = [f"{number}.png" for number in range(7)]
    assert fates(shards_of(*names), workers) == {name: [] for name in names}
    assert fates([], workers) == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_image_that_keeps_killing_workers_is_given_up_and_the_rest_done(workers: int) -> None:
    found = fates(shards_of("a.png", "deadly.png", "b.png"), workers)
    assert found == {"a.png": [], "deadly.png": [POISON] * 2, "b.png": []}


def test_an_image_costs_only_so_many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = team.Worker._start

    def count(self: team.Worker) -> object:
        started.append(1)
        return start(self)

    monkeypatch.setattr(team.Worker, "_start", count)
    fates(shards_of("deadly.png", "a.png"), 1)
    assert len(started) == STRIKES + 1


def test_workers_that_only_die_end_the_run() -> None:
    images = [f"deadly-{number}" for number in range(DEATHS_IN_A_ROW)]
    one = cut([pair for shard in shards_of(*images) for pair in shard.work],
              [CategoryRecord(1, "a")], {}, 999)  # fmt: skip
    with pytest.raises(MALError, match=f"keep dying, the last {DEATHS_IN_A_ROW} on shard 000000"):
        fates(one, 2)


def test_a_program_that_cannot_start_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "PROGRAM", [sys.executable, "-c", ""])
    with pytest.raises(MALError, match="keep dying"):
        fates(shards_of("a.png"), 1)


def test_what_a_worker_cannot_do_is_told_and_stops_the_others() -> None:
    with pytest.raises(MALError, match="the disk is full"):
        fates(shards_of("a.png", "fault", *map(str, range(50))), 2)


def test_who_stops_listening_stops_the_workers() -> None:
    workers: list[team.Worker] = []
    make = team.Worker.__init__

    def note(self: team.Worker, job: Job) -> None:
        workers.append(self)
        make(self, job)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(team.Worker, "__init__", note)
        run = label_together(JOB, 2, shards_of(*map(str, range(50))))
        next(run)
        processes = [worker._process for worker in workers if worker._process]
        run.close()
    assert processes
    assert all(process.poll() is not None for process in processes)
