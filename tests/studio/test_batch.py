"""Boxes to masks in batch: every box exactly once, whatever stops, kills or damages on the way."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.again import Again
from app.batch import KIND, Batch
from app.errors import NotAllowed
from app.images import path_of
from app.records import Instance, Job, JobState, State, Wish
from app.workflow import Workflow
from tests.studio.conftest import NOW, Studio
from tests.studio.trainer import ended, wait_for

ROOT = Path(__file__).resolve().parent.parent.parent
SERVER = """
import os, sys, time
from pathlib import Path
from app.batch import Batch
from app.settings import Settings
from app.store import Store
from app.workflow import Workflow
settings = Settings.from_environment(os.environ, data_dir=Path(sys.argv[1]),
                                     weights=Path(sys.argv[2]), device="cpu", threads=1)
for _ in sys.stdin:  # a line begins a studio: a fork, so that only the first pays for the imports
    if (studio := os.fork()) == 0:
        store = Store(settings.database)
        Batch(settings, store, Workflow(settings, store)).recover()
        time.sleep(600)
    print(studio, flush=True)
    os.wait()
"""


@pytest.fixture
def batch(studio: Studio) -> Iterator[Batch]:
    opened = Batch(studio.settings, studio.store, studio.workflow)
    yield opened
    opened.close()


def boxes(studio: Studio, *images: int) -> list[Instance]:
    """Boxes without a mask on the images with these indices."""
    return [studio.add(image, masked=False) for image in images]


def run(studio: Studio, batch: Batch) -> Job:
    return ended(studio, batch.start(studio.project.id).id)


def versions(studio: Studio, instances: list[Instance]) -> list[int]:
    return [studio.store.get_instance(i.id).version for i in instances]


def hold(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], None]) -> None:
    """Do something before each box."""
    propose = Workflow.propose_bare

    def propose_after(workflow: Workflow, instance_id: int) -> bool:
        act(instance_id)
        return propose(workflow, instance_id)

    monkeypatch.setattr(Workflow, "propose_bare", propose_after)


def test_every_box_without_a_mask_gets_a_proposal_and_nothing_else_changes(
    studio: Studio, batch: Batch
) -> None:
    bare = boxes(studio, 0, 1, 0)
    rejected = boxes(studio, 0)[0]
    draft = replace(rejected.draft, state=State.REJECTED)
    others = [
        studio.add(),
        studio.add(state=State.ACCEPTED),
        studio.workflow.save(rejected.id, 1, draft, "Ada", "reject"),
        studio.workflow.delete(boxes(studio, 0)[0].id, 1, "Ada"),
    ]
    job = run(studio, batch)
    assert (job.state, job.error) == (JobState.DONE, "")
    assert job.progress == {"done": 3, "total": 3, "images": 2}
    assert job.result == {"changed": 3, "waiting": 3}
    assert [studio.store.get_instance(other.id) for other in others] == others
    for old in bare:
        new = studio.store.get_instance(old.id)
        assert (new.version, new.person, new.draft.state) == (2, "", State.PROPOSED)
        assert new.draft.rle is not None
        assert (new.draft.box, new.draft.category_id) == (old.draft.box, old.draft.category_id)
    assert run(studio, batch).result == {"changed": 0, "waiting": 0}


def test_a_second_start_while_one_runs_or_is_paused_says_so(
    studio: Studio, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes(studio, 0, 0)
    hold(monkeypatch, lambda _: batch.wish(1, Wish.PAUSE))
    batch.start(studio.project.id)
    wait_for(studio, 1, lambda job: job.progress.get("done") == 1)
    with pytest.raises(NotAllowed, match="are being proposed for this project already"):
        batch.start(studio.project.id)
    assert len(studio.store.list_jobs(studio.project.id, KIND)) == 1


def test_a_pause_outlives_the_studio_and_going_on_asks_no_box_twice(
    studio: Studio, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare, asked = boxes(studio, 0, 0, 1, 1, 2), []

    def pause_after(instance_id: int) -> None:
        asked.append(instance_id)
        batch.wish(1, Wish.PAUSE)

    hold(monkeypatch, pause_after)
    batch.start(studio.project.id)
    for done in range(1, 5):  # more pauses than a job has attempts
        wait_for(studio, 1, lambda job, n=done: (job.progress.get("done"), job.launches) == (n, 0))  # type: ignore[misc]
        batch.close()
        batch = Batch(studio.settings, studio.store, studio.workflow)
        batch.recover()
        assert studio.store.get_job(1).wish is Wish.PAUSE
        assert sum(versions(studio, bare)) == len(bare) + done
        batch.wish(1, Wish.GO)
    job = wait_for(studio, 1, lambda job: job.progress["done"] == 5)
    assert asked == [i.id for i in bare]
    assert job.progress == {"done": 5, "total": 5, "images": 3}
    assert ended(studio, 1).state is JobState.DONE
    batch.close()


def test_a_paused_round_does_not_hold_up_another_project(studio: Studio, batch: Batch) -> None:
    boxes(studio, 0)
    paused = studio.store.add_job(studio.project.id, KIND, {"wish": "pause"}, NOW)
    model = studio.store.get_project(studio.project.id).model_id
    other = studio.store.add_project("Other", model, NOW)
    assert ended(studio, batch.start(other.id).id).state is JobState.DONE
    assert studio.store.get_job(paused.id).state is JobState.QUEUED


@pytest.mark.parametrize("wish", [Wish.GO, Wish.PAUSE], ids=["running", "paused"])
def test_a_stop_leaves_the_rest_and_the_next_round_takes_it_up(
    studio: Studio, batch: Batch, monkeypatch: pytest.MonkeyPatch, wish: Wish
) -> None:
    bare = boxes(studio, 0, 0, 0)
    wishes = iter([wish])
    hold(monkeypatch, lambda _: batch.wish(1, next(wishes, Wish.STOP)))
    batch.start(studio.project.id)
    if wish is Wish.PAUSE:
        wait_for(studio, 1, lambda job: (job.progress.get("done"), job.launches) == (1, 0))
        batch.wish(1, Wish.STOP)
    job, done = ended(studio, 1), 1 if wish is Wish.PAUSE else 2
    assert (job.state, job.progress["done"]) == (JobState.STOPPED, done)
    assert versions(studio, bare) == [2] * done + [1] * (3 - done)
    with pytest.raises(NotAllowed, match="has ended"):
        batch.wish(1, Wish.GO)
    monkeypatch.undo()
    assert run(studio, batch).result == {"changed": 3 - done, "waiting": 3 - done}


def test_a_stop_cannot_be_taken_back(studio: Studio) -> None:
    job = studio.store.add_job(studio.project.id, KIND, {}, NOW)
    assert studio.store.wish_job(job.id, Wish.STOP).wish is Wish.STOP
    with pytest.raises(NotAllowed, match="being stopped already"):
        studio.store.wish_job(job.id, Wish.GO)


def test_an_image_that_is_damaged_is_reported_and_the_rest_is_done(
    studio: Studio, batch: Batch
) -> None:
    bare = boxes(studio, 0, 0, 1, 2)
    path = path_of(studio.settings, studio.images[0])
    path.write_bytes(path.read_bytes()[:-1000])
    whole = path.read_bytes()
    thin = replace(studio.draft(1, masked=False), box=(5.0, 5.0, 5.0001, 50.0))
    studio.store.add_instance(studio.images[1].id, thin, "Ada", "import", NOW)
    job = run(studio, batch)
    assert (job.state, job.progress["done"], job.progress["failed"]) == (JobState.DONE, 5, 3)
    damaged, too_thin = job.progress["errors"]
    assert damaged.startswith("coffee.png: the stored raster of coffee.png is missing or damaged")
    assert damaged.endswith("(2 boxes)")
    assert too_thin.startswith("chelsea.png: ")
    assert versions(studio, bare) == [1, 1, 2, 2]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_box_in_hand_at_two_kills_is_left_as_it_is_and_the_rest_is_done(
    studio: Studio, before: int
) -> None:
    bare = boxes(studio, 0, 0, 1)
    progress = {"done": 0, "total": 3, "images": 2, "in_hand": bare[1].id}
    progress |= {"deaths": {str(bare[1].id): before}} if before else {}
    left = studio.store.add_job(studio.project.id, KIND, {}, NOW)
    studio.store.launch_job(left.id, {}, NOW)
    studio.store.set_job(left.id, progress=progress)
    batch = Batch(studio.settings, studio.store, studio.workflow)
    batch.recover()
    job = ended(studio, left.id)
    batch.close()
    spared = [] if before else [2]
    assert versions(studio, bare) == [2, *(spared or [1]), 2]
    assert (job.state, job.progress["done"]) == (JobState.DONE, 3)
    assert job.progress.get("errors", []) == (
        [] if spared else ["coffee.png: the studio ended 2 times while a box was in hand"]
    )


def test_a_pause_has_nothing_in_hand_and_what_is_in_hand_is_written_before_it_is_done(
    studio: Studio, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare, in_hand = boxes(studio, 0, 0), []

    def look(_: int) -> None:
        in_hand.append(studio.store.get_job(1).progress["in_hand"])
        batch.wish(1, Wish.PAUSE)

    hold(monkeypatch, look)
    batch.start(studio.project.id)
    job = wait_for(studio, 1, lambda job: job.progress.get("done") == 1)
    assert in_hand == [bare[0].id]
    assert job.progress == {"done": 1, "total": 2, "images": 1}


def test_of_many_errors_the_first_are_told_and_all_are_counted(
    studio: Studio, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes(studio, *[0] * 25)

    def fail(_: Workflow, instance_id: int) -> bool:
        raise MemoryError(instance_id)

    monkeypatch.setattr(Workflow, "propose_bare", fail)
    job = run(studio, batch)
    assert (job.state, job.progress["failed"]) == (JobState.DONE, 25)
    assert len(job.progress["errors"]) == 20
    assert job.progress["errors"][0] == "coffee.png: internal: MemoryError(1)"


def test_a_box_that_a_person_settles_while_the_model_runs_is_left_to_them(
    studio: Studio, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare, label = boxes(studio, 0)[0], studio.workflow._label

    def meanwhile(*arguments: object) -> object:
        studio.workflow.delete(bare.id, 1, "Bo")
        return label(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(studio.workflow, "_label", meanwhile)
    job = run(studio, batch)
    assert (job.result["changed"], job.progress.get("failed")) == (0, None)
    assert studio.store.get_instance(bare.id).draft.state is State.DELETED


def test_rounds_of_both_kinds_take_turns(
    studio: Studio, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = Again(studio.settings, studio.store, studio.workflow)
    boxes(studio, 0, 0, 0)
    for _ in range(3):
        studio.add()  # a mask of no model: proposing again asks for it
    at_once, most = [0], [0]

    def slow(_: Workflow, instance_id: int) -> bool:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        time.sleep(0.05)
        at_once[0] -= 1
        return bool(instance_id)

    monkeypatch.setattr(Workflow, "propose_bare", slow)
    monkeypatch.setattr(Workflow, "propose_again", slow)
    started = [part.start(studio.project.id) for part in (batch, again)]
    assert [ended(studio, job.id).result["changed"] for job in started] == [3, 3]
    assert most == [1]
    again.close()


@pytest.mark.slow
def test_kills_of_the_studio_mid_way_leave_every_box_asked_exactly_once(
    studio: Studio, batch: Batch
) -> None:
    bare = boxes(studio, *[0, 1, 2] * 20)
    job = studio.store.add_job(studio.project.id, KIND, {}, NOW)
    arguments = [str(studio.settings.data_dir), str(studio.settings.weights)]
    command, pipe = [sys.executable, "-c", SERVER, *arguments], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        for kill in range(1, 5):  # more kills than a job has attempts
            server.stdin.write("\n")
            server.stdin.flush()
            pid = int(server.stdout.readline())
            try:
                wait_for(studio, job.id, lambda job, n=kill: job.progress.get("done", 0) >= 10 * n)  # type: ignore[misc]
            finally:
                os.kill(pid, signal.SIGKILL)
    left = versions(studio, bare).count(1)
    assert 0 < left <= 20
    batch.recover()
    done = ended(studio, job.id)
    assert (done.state, done.result["changed"]) == (JobState.DONE, left)
    assert done.progress == {"done": 60, "total": 60, "images": 3}
    assert versions(studio, bare) == [2] * 60
    assert all(len(studio.store.list_revisions(i.id)) == 2 for i in bare)
