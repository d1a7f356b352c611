"""Fine-tunes: what becomes of a child that learns, fails, dies, is stopped or lies."""

import errno
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import NotAllowed, StudioError
from app.jobs import KIND, Jobs
from app.records import Job, JobState, ModelState, State
from mal_core import checkpoint, coco
from tests.studio.conftest import NOW, PHOTOS, Studio, blob, make_weights

# A child that acts as the trainer would, but for the learning. Its arguments: folder, weights.
TRAINER = """
import json, shutil, sys
from pathlib import Path
folder, weights = map(Path, sys.argv[1:])
def say(event, **fields): print(json.dumps({"event": event, **fields}), flush=True)
"""
LEARN = """
say("cache", done=1, total=2)
say("epoch", epoch=0, epochs=1, loss=None, held_out_iou=0.5)
say("epoch", epoch=1, epochs=1, loss=0.25, held_out_iou=0.75)
say("judged", before={"instance_iou": 0.5, "n": 3}, after={"instance_iou": AFTER, "n": 3},
    categories={})
shutil.copy(weights, folder / "new.safetensors")
say("saved", sha256="SHA", best_epoch=BEST, n_train=6)
"""
LIE = """
say("judged", before={"instance_iou": 0.5}, after={"instance_iou": 0.6, "n": 1})
say("saved", sha256="0" * 64, best_epoch=1, n_train=1)
"""
WAIT = """
import time
(folder / "features-1").mkdir()
(folder / "features-1" / "big").write_bytes(b"0" * 1000)
say("cache", done=1, total=2)
time.sleep(600)
"""
Child = Callable[[str], None]


@pytest.fixture
def jobs(studio: Studio) -> Iterator[Jobs]:
    """Jobs of a studio with two accepted masks on each of two photos."""
    for index in (0, 0, 1, 1):
        studio.add(index, State.ACCEPTED)
    opened = Jobs(studio.settings, studio.store, studio.workflow)
    yield opened
    opened.close()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return make_weights(tmp_path / "learned", seed=1)


@pytest.fixture
def child(studio: Studio, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Child:
    """Gives every job this script as its child."""

    def act(script: str) -> None:
        def command(_: Jobs, job: Job) -> list[str]:
            folder = str(studio.settings.jobs / str(job.id))
            return [sys.executable, "-c", TRAINER + script, folder, str(weights)]

        monkeypatch.setattr(Jobs, "_command", command)

    return act


def learned(weights: Path, after: float, best_epoch: int = 1) -> str:
    """The script of a child that reaches this held-out IoU, from 0.5."""
    script = LEARN.replace("AFTER", str(after)).replace("BEST", str(best_epoch))
    return script.replace("SHA", checkpoint.file_sha256(weights))


def run(jobs: Jobs, studio: Studio) -> Job:
    """Start a job, wait for its end, and read it back."""
    job = jobs.start(studio.project.id)
    join(jobs)
    return studio.store.get_job(job.id)


def join(jobs: Jobs) -> None:
    assert jobs._follower is not None
    jobs._follower.join(120)
    assert not jobs._follower.is_alive()


def wait_for_event(jobs: Jobs, studio: Studio) -> Job:
    """Start a job and wait until its child has said something."""
    job = jobs.start(studio.project.id)
    while studio.store.get_job(job.id).state is not JobState.RUNNING:
        time.sleep(0.01)
    return studio.store.get_job(job.id)


def model_in_use(studio: Studio) -> int:
    return studio.store.get_project(studio.project.id).model_id


@pytest.mark.slow
def test_corrections_become_new_weights_that_are_used_only_if_they_pass(studio: Studio) -> None:
    parent, category = model_in_use(studio), studio.categories[0].id
    boxes = [(0, (190, 60, 430, 330)), (0, (30, 20, 160, 120)), (1, (130, 30, 370, 290)),
             (2, (300, 40, 340, 380))]  # fmt: skip
    for index, box in boxes:
        image = studio.images[index]
        proposed = studio.workflow.propose(image.id, box, category, "Ada").instance
        right = replace(proposed.draft, state=State.ACCEPTED, rle=blob(image, *map(int, box[:2])))
        studio.workflow.save(proposed.id, 1, right, "Ada", "accept")
    job = run(Jobs(studio.settings, studio.store, studio.workflow), studio)
    assert (job.state, job.error) == (JobState.DONE, "")
    (model,) = (m for m in studio.store.list_models(studio.project.id) if m.job_id == job.id)
    result = job.result
    passed = result["best_epoch"] > 0 and (
        result["after"]["instance_iou"] >= result["before"]["instance_iou"]
    )
    assert result["promoted"] == passed
    assert model.state is (ModelState.PROMOTED if passed else ModelState.REJECTED)
    assert model_in_use(studio) == (model.id if passed else parent)
    assert (model.parent_id, model.sha256) == (parent, result["sha256"])
    assert checkpoint.load(studio.workflow.weights_path(model)).sha256 == model.sha256
    epochs = [row["epoch"] for row in job.progress["curve"]]
    assert epochs == list(range(len(epochs)))
    assert 2 < len(epochs) <= 6
    assert result["n_train"] + result["after"]["n"] == len(boxes)
    left = {path.name for path in (studio.settings.jobs / str(job.id)).iterdir()}
    assert left == {"train.json", "held-out.json", "log.txt", "new.safetensors.compare.json"}


@pytest.mark.parametrize(
    ("after", "best_epoch", "promoted"),
    [
        pytest.param(0.75, 1, True, id="better"),
        pytest.param(0.5, 1, True, id="equal"),
        pytest.param(0.25, 1, False, id="worse"),
        pytest.param(0.5, 0, False, id="the parent itself"),
    ],
)
def test_only_weights_that_pass_are_put_in_use(
    studio: Studio, jobs: Jobs, child: Child, weights: Path,
    after: float, best_epoch: int, promoted: bool,
) -> None:  # fmt: skip
    child(learned(weights, after, best_epoch))
    before = model_in_use(studio)
    job = run(jobs, studio)
    *_, model = studio.store.list_models(studio.project.id)
    assert job.state is JobState.DONE
    assert job.result["promoted"] is promoted
    assert model.state is (ModelState.PROMOTED if promoted else ModelState.REJECTED)
    assert model_in_use(studio) == (model.id if promoted else before)
    assert (model.name, model.job_id, model.parent_id) == (f"fine-tune {job.id}", job.id, before)
    path = studio.workflow.weights_path(model)
    assert path.name == f"{checkpoint.file_sha256(path)}.safetensors"


def test_a_job_tells_how_far_it_is(studio: Studio, jobs: Jobs, child: Child, weights: Path) -> None:
    child(learned(weights, 0.75))
    progress = run(jobs, studio).progress
    assert progress["stage"] == "saved"
    assert [(row["epoch"], row["loss"]) for row in progress["curve"]] == [(0, None), (1, 0.25)]


@pytest.mark.parametrize(
    ("script", "error"),
    [
        pytest.param("sys.exit('error: no room')", "status 1: error: no room", id="says why"),
        pytest.param("sys.exit(3)", "status 3: no message", id="says nothing"),
        pytest.param("pass", "status 0: no message", id="ends without a result"),
        pytest.param("1 / 0", "ZeroDivisionError", id="has a bug"),
        pytest.param("print('Epoch 1 of 5')", "no event but 'Epoch 1 of 5", id="prints words"),
        pytest.param("print('[1, 2]')", r"no event but '\[1, 2\]", id="prints a list"),
        pytest.param("print('{}')", r"no event but '\{\}", id="prints an empty object"),
        pytest.param(
            "sys.stdout.buffer.write(bytes(range(256)))", "no event but", id="prints bytes"
        ),
        pytest.param(
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "killed by signal 9, perhaps for lack of memory",
            id="is killed",
        ),
        pytest.param(
            LEARN.replace("AFTER", "0.9").replace("BEST", "1"),
            "not the ones the child wrote",
            id="names another hash",
        ),
        pytest.param(
            LIE,
            "cannot read new.safetensors",
            id="leaves no weights",
        ),
        pytest.param(
            "(folder / 'new.safetensors').write_bytes(b'weights')" + LIE,
            "new.safetensors is not a whole",
            id="leaves damaged weights",
        ),
    ],
)
def test_a_child_that_goes_wrong_fails_its_job_and_changes_nothing(
    studio: Studio, jobs: Jobs, child: Child, script: str, error: str
) -> None:
    models = studio.store.list_models(studio.project.id)
    before = model_in_use(studio)
    child(script)
    job = run(jobs, studio)
    assert job.state is JobState.FAILED
    assert pytest.raises(AssertionError, match=error).matches(AssertionError(job.error)), job.error
    assert studio.store.list_models(studio.project.id) == models
    assert model_in_use(studio) == before
    assert not (studio.settings.jobs / str(job.id) / "new.safetensors").exists()


def test_a_stopped_job_ends_its_child_and_changes_nothing(
    studio: Studio, jobs: Jobs, child: Child
) -> None:
    child(WAIT)
    job = wait_for_event(jobs, studio)
    process = jobs._children[job.id]
    before = model_in_use(studio)
    jobs.stop(job.id)
    join(jobs)
    stopped = studio.store.get_job(job.id)
    assert (stopped.state, stopped.error) == (JobState.STOPPED, "")
    assert process.poll() is not None
    assert model_in_use(studio) == before
    assert not list((studio.settings.jobs / str(job.id)).glob("features-*"))
    with pytest.raises(NotAllowed, match="does not run any more"):
        jobs.stop(job.id)


def test_a_child_that_does_not_listen_is_killed(
    studio: Studio, jobs: Jobs, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.STOP_SECONDS", 0.2)
    child("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAIT)
    job = wait_for_event(jobs, studio)
    jobs.stop(job.id)
    join(jobs)
    assert studio.store.get_job(job.id).state is JobState.STOPPED


def test_a_job_that_ended_by_itself_is_too_late_to_stop(
    studio: Studio, jobs: Jobs, child: Child, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = Jobs._publish

    def press_stop_meanwhile(self: Jobs, job: Job, result: dict[str, object]) -> None:
        with pytest.raises(NotAllowed):
            jobs.stop(job.id)
        publish(self, job, result)

    monkeypatch.setattr(Jobs, "_publish", press_stop_meanwhile)
    child(learned(weights, 0.75))
    assert run(jobs, studio).state is JobState.DONE


def test_one_fine_tune_runs_at_a_time(studio: Studio, jobs: Jobs, child: Child) -> None:
    child(WAIT)
    job = wait_for_event(jobs, studio)
    with pytest.raises(NotAllowed, match="wait for it or stop it first"):
        jobs.start(studio.project.id)
    assert [found.id for found in studio.store.list_jobs(studio.project.id)] == [job.id]


def test_too_few_masks_start_no_job(studio: Studio) -> None:
    studio.add(0, State.ACCEPTED)
    with pytest.raises(NotAllowed, match="there are 1 on 1"):
        Jobs(studio.settings, studio.store, studio.workflow).start(studio.project.id)
    assert studio.store.list_jobs(studio.project.id) == []
    assert all(s.image.split is None for s in studio.store.list_images(studio.project.id))


def test_the_end_of_the_server_stops_what_runs(studio: Studio, jobs: Jobs, child: Child) -> None:
    child(WAIT)
    job = wait_for_event(jobs, studio)
    jobs.close()
    assert studio.store.get_job(job.id).state is JobState.STOPPED


def test_what_a_crash_left_open_is_closed_at_the_next_start(studio: Studio, jobs: Jobs) -> None:
    store, key = studio.store, studio.project.id
    queued, running, done = (store.add_job(key, KIND, {}, NOW).id for _ in range(3))
    for job_id in (running, done):
        store.set_job(job_id, state=JobState.RUNNING)
    store.set_job(done, state=JobState.DONE)
    left = studio.settings.jobs / str(running) / "features-x"
    left.mkdir(parents=True)
    jobs.recover()
    states = [store.get_job(job_id).state for job_id in (queued, running, done)]
    assert states == [JobState.FAILED, JobState.FAILED, JobState.DONE]
    assert "start it again" in store.get_job(queued).error
    assert not left.exists()


def test_a_job_that_cannot_begin_is_on_record_as_failed(
    studio: Studio, jobs: Jobs, child: Child, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    child(learned(weights, 0.75))
    with monkeypatch.context() as patch:
        patch.setattr(coco, "save", full)
        with pytest.raises(StudioError, match="could not be started: No space left on device"):
            jobs.start(studio.project.id)
    (job,) = studio.store.list_jobs(studio.project.id)
    assert (job.state, job.error[-23:]) == (JobState.FAILED, "No space left on device")
    assert run(jobs, studio).state is JobState.DONE


def test_weights_are_put_in_use_and_the_job_closed_in_one_step(
    studio: Studio, jobs: Jobs, child: Child, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, set_job = model_in_use(studio), studio.store.set_job

    def fail_at_the_end(job_id: int, **changes: object) -> Job:
        if changes.get("state") is JobState.DONE:
            raise StudioError("the disk is full")
        return set_job(job_id, **changes)  # type: ignore[arg-type]

    monkeypatch.setattr(studio.store, "set_job", fail_at_the_end)
    child(learned(weights, 0.75))
    job = run(jobs, studio)
    assert (job.state, job.error) == (JobState.FAILED, "the disk is full")
    assert model_in_use(studio) == before


def test_a_job_that_another_server_closed_stays_as_it_is(
    studio: Studio, jobs: Jobs, child: Child
) -> None:
    child(WAIT)
    job = wait_for_event(jobs, studio)
    Jobs(studio.settings, studio.store, studio.workflow).recover()
    closed = studio.store.get_job(job.id)
    jobs.close()
    assert studio.store.get_job(job.id) == closed
    assert closed.state is JobState.FAILED


def test_what_was_judged_by_once_is_never_learned_from(
    studio: Studio, jobs: Jobs, child: Child, weights: Path
) -> None:
    child(learned(weights, 0.25))
    first = run(jobs, studio)
    library, intake = studio.library()
    with intake:
        names = ("astronaut.png", "coins.png", "motorcycle_left.png")
        for _ in library.add_files(studio.project.id, [PHOTOS / name for name in names]):
            pass
    images = [summary.image for summary in studio.store.list_images(studio.project.id)]
    fuller = replace(studio, images=images)
    for index in range(2, 6):
        fuller.add(index, State.CORRECTED)
    second = run(jobs, studio)
    held_out, train = (
        {image.file_name for job in (first, second) for image in frozen(studio, job, part).images}
        for part in ("held-out", "train")
    )
    assert not held_out & train
    assert len(held_out | train) == 6
    assert set(first.params["held_out_images"]) <= set(second.params["held_out_images"])


def test_the_masks_a_job_learned_from_are_frozen_and_on_record(
    studio: Studio, jobs: Jobs, child: Child, weights: Path
) -> None:
    studio.add(2, State.PROPOSED)
    child(learned(weights, 0.25))
    job = run(jobs, studio)
    instances = [i for image in studio.images for i in studio.store.list_instances(image.id)]
    reviewed = {i.number: i for i in instances if i.draft.state is State.ACCEPTED}
    assert job.params["versions"] == {str(i.id): 1 for i in reviewed.values()}
    annotations = [
        a for part in ("train", "held-out") for a in frozen(studio, job, part).annotations
    ]
    assert {a.id: a.rle for a in annotations} == {n: i.draft.rle for n, i in reviewed.items()}


def test_a_folder_left_by_another_life_of_the_database_is_no_obstacle(
    studio: Studio, jobs: Jobs, child: Child, weights: Path
) -> None:
    folder = studio.settings.jobs / "1"
    folder.mkdir(parents=True)
    shutil.copy(weights, folder / "new.safetensors")
    child(learned(weights, 0.75))
    assert run(jobs, studio).state is JobState.DONE


def frozen(studio: Studio, job: Job, part: str) -> coco.Dataset:
    return coco.read(studio.settings.jobs / str(job.id) / f"{part}.json")
