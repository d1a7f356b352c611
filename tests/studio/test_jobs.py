"""Fine-tunes: what becomes of a child that learns, fails, is stopped or lies."""

import errno
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.again import KIND as AGAIN
from app.again import Again
from app.errors import NotAllowed, StudioError, Unavailable
from app.jobs import KIND, Jobs
from app.records import Job, JobState, ModelState, State
from mal_core import checkpoint, coco
from tests.studio.conftest import PHOTOS, Studio, blob
from tests.studio.trainer import (
    DIE,
    LEARN,
    WAIT,
    begun,
    ended,
    judged,
    learned,
    model_in_use,
    open_jobs,
    run,
    wait_for,
)

Child = Callable[[str], None]
LIE = f"""
say("judged", **{judged(0.6)})
say("saved", sha256="0" * 64, best_epoch=1, n_train=1, n_boxes=0)
"""


@pytest.mark.slow
def test_corrections_become_new_weights_and_their_figures(studio: Studio) -> None:
    parent, category = model_in_use(studio), studio.categories[0].id
    boxes = [(0, (190, 60, 430, 330)), (0, (30, 20, 160, 120)), (1, (130, 30, 370, 290)),
             (2, (300, 40, 340, 380))]  # fmt: skip
    for index, box in boxes:
        image = studio.images[index]
        proposed = studio.workflow.propose(image.id, box, category, "Ada").instance
        right = replace(proposed.draft, state=State.ACCEPTED, rle=blob(image, *map(int, box[:2])))
        studio.workflow.save(proposed.id, 1, right, "Ada", "accept")
    jobs, again = open_jobs(studio)
    job = run(jobs, studio)
    assert (job.state, job.error) == (JobState.DONE, "")
    (model,) = (m for m in studio.store.list_models(studio.project.id) if m.job_id == job.id)
    result = job.result
    state = ModelState.REJECTED if result["best_epoch"] == 0 else ModelState.UNDECIDED
    assert model.state is state  # too few held-out masks to say more
    assert model_in_use(studio) == parent
    assert (model.parent_id, model.sha256) == (parent, result["sha256"])
    assert checkpoint.load(studio.workflow.weights_path(model)).sha256 == model.sha256
    epochs = [row["epoch"] for row in job.progress["curve"]]
    assert epochs == list(range(len(epochs)))
    assert 2 < len(epochs) <= 6
    assert result["n_train"] + result["after"]["n"] == len(boxes)
    left = {path.name for path in (studio.settings.jobs / str(job.id)).iterdir()}
    assert left == {"train.json", "held-out.json", "log.txt", "new.safetensors.compare.json"}
    close(jobs, again)


@pytest.mark.parametrize(
    ("after", "best_epoch", "n", "state"),
    [
        pytest.param(0.75, 1, 12, ModelState.PROMOTED, id="better"),
        pytest.param(0.25, 1, 12, ModelState.REJECTED, id="worse"),
        pytest.param(0.75, 0, 12, ModelState.REJECTED, id="the parent itself"),
        pytest.param(0.75, 1, 3, ModelState.UNDECIDED, id="judged by too few"),
    ],
)
def test_only_weights_that_pass_are_put_in_use(
    studio: Studio, jobs: Jobs, child: Child, weights: Path,
    after: float, best_epoch: int, n: int, state: ModelState,
) -> None:  # fmt: skip
    child(learned(weights, after, best_epoch, n))
    before = model_in_use(studio)
    job = run(jobs, studio)
    *_, model = studio.store.list_models(studio.project.id)
    assert job.state is JobState.DONE
    assert (model.state, job.result["state"]) == (state, state)
    promoted = state is ModelState.PROMOTED
    assert model_in_use(studio) == (model.id if promoted else before)
    assert (model.name, model.job_id, model.parent_id) == (f"fine-tune {job.id}", job.id, before)
    assert (model.figures["n_masks"], model.figures["reason"]) == (3, job.result["reason"])
    path = studio.workflow.weights_path(model)
    assert path.name == f"{checkpoint.file_sha256(path)}.safetensors"
    assert bool(studio.store.list_jobs(studio.project.id, AGAIN)) == promoted


@pytest.mark.parametrize("use", [True, False])
def test_a_person_decides_where_the_gate_cannot(
    studio: Studio, jobs: Jobs, child: Child, weights: Path, use: bool
) -> None:
    child(learned(weights, 0.4, n=3))
    before, job = model_in_use(studio), run(jobs, studio)
    model = jobs.decide(job.id, use=use)
    assert model.state is (ModelState.PROMOTED if use else ModelState.REJECTED)
    assert model_in_use(studio) == (model.id if use else before)
    result = studio.store.get_job(job.id).result
    assert (result["decided"], result["in_use"], result["state"]) == (True, use, model.state)
    assert bool(studio.store.list_jobs(studio.project.id, AGAIN)) == use
    with pytest.raises(NotAllowed, match="nothing to decide"):
        jobs.decide(job.id, use=use)


def test_there_is_nothing_to_decide_on_without_weights(
    studio: Studio, jobs: Jobs, child: Child
) -> None:
    child("sys.exit(1)")
    with pytest.raises(NotAllowed, match="no weights"):
        jobs.decide(run(jobs, studio).id, use=True)


def test_a_job_tells_how_far_it_is(studio: Studio, jobs: Jobs, child: Child, weights: Path) -> None:
    child(learned(weights, 0.75))
    job = run(jobs, studio)
    assert job.progress["stage"] == "saved"
    assert job.progress["notices"] == ["half the batch: memory is short"]
    curve = [(row["epoch"], row["loss"]) for row in job.progress["curve"]]
    assert curve == [(0, None), (1, 0.25)]


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
            DIE,
            "given up after 3 attempts: .* killed by signal 9, perhaps for lack of memory",
            id="is killed each time",
        ),
        pytest.param(
            LEARN + LIE + "shutil.copy(weights, folder / 'new.safetensors')",
            "not the ones the child wrote",
            id="names another hash",
        ),
        pytest.param(LIE, "cannot read new.safetensors", id="leaves no weights"),
        pytest.param(
            "(folder / 'new.safetensors').write_bytes(b'weights')" + LIE,
            "new.safetensors is not a whole",
            id="leaves damaged weights",
        ),
        pytest.param(
            "say('saved', sha256='0' * 64, best_epoch=1)", "internal error: KeyError",
            id="is not judged",
        ),
    ],
)  # fmt: skip
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


def test_a_stopped_job_ends_its_child_and_changes_nothing(
    studio: Studio, jobs: Jobs, child: Child
) -> None:
    child(WAIT)
    job = begun(jobs, studio)
    assert jobs._child is not None
    process = jobs._child[1]
    before = model_in_use(studio)
    jobs.stop(job.id)
    stopped = ended(studio, job.id)
    assert (stopped.state, stopped.error) == (JobState.STOPPED, "")
    assert process.has_ended
    assert model_in_use(studio) == before
    with pytest.raises(NotAllowed, match="does not run any more"):
        jobs.stop(job.id)


def test_what_a_job_does_not_need_any_more_is_swept(
    studio: Studio, jobs: Jobs, child: Child
) -> None:
    child(WAIT.replace("time.sleep(600)", "sys.exit(1)"))
    job = run(jobs, studio)
    jobs.close()
    left = {path.name for path in (studio.settings.jobs / str(job.id)).iterdir()}
    assert left == {"train.json", "held-out.json", "log.txt"}


def test_a_child_that_does_not_listen_is_killed(
    studio: Studio, jobs: Jobs, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.children.STOP_SECONDS", 0.2)
    child("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAIT)
    job = begun(jobs, studio)
    jobs.stop(job.id)
    assert ended(studio, job.id).state is JobState.STOPPED


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


def test_of_two_jobs_asked_for_at_once_one_waits_and_follows(
    studio: Studio, jobs: Jobs, child: Child
) -> None:
    child(WAIT)
    first = begun(jobs, studio)
    second = jobs.start(studio.project.id)
    third = jobs.start(studio.project.id)
    assert (second.state, third.state) == (JobState.QUEUED, JobState.QUEUED)
    jobs.stop(third.id)
    assert ended(studio, third.id).state is JobState.STOPPED
    assert studio.store.get_job(second.id).state is JobState.QUEUED
    jobs.stop(first.id)
    assert wait_for(studio, second.id, lambda job: job.progress != {}).state is JobState.RUNNING
    assert studio.store.get_job(first.id).state is JobState.STOPPED


def test_a_job_starts_from_the_model_that_is_in_use_when_its_turn_comes(
    studio: Studio, jobs: Jobs, child: Child, weights: Path
) -> None:
    child(f"if folder.name == '1': time.sleep(0.5)\n{learned(weights, 0.75)}")
    first, second = (jobs.start(studio.project.id) for _ in range(2))
    ended(studio, second.id)
    (made,) = (m for m in studio.store.list_models(studio.project.id) if m.job_id == first.id)
    assert studio.store.get_job(second.id).params["parent_id"] == made.id


def test_too_few_masks_start_no_job(studio: Studio) -> None:
    studio.add(0, State.ACCEPTED)
    jobs, again = open_jobs(studio)
    for boxes_do in (False, True):
        with pytest.raises(NotAllowed, match="there are 1 on 1"):
            jobs.start(studio.project.id, boxes_do=boxes_do)
    close(jobs, again)
    assert studio.store.list_jobs(studio.project.id, KIND) == []
    assert all(s.image.split is None for s in studio.store.list_images(studio.project.id))


def test_boxes_alone_are_enough_to_adapt_from(studio: Studio, weights: Path, child: Child) -> None:
    for index in (0, 0, 0, 1, 1, 1, 2, 2, 2):
        studio.add(index, masked=index > 0)
    jobs, again = open_jobs(studio)
    child(learned(weights, 0.75))
    with pytest.raises(NotAllowed, match="accepted or corrected masks"):
        jobs.start(studio.project.id)
    job = ended(studio, jobs.start(studio.project.id, boxes_do=True).id)
    assert (job.state, job.params["n_masks"], job.params["n_boxes"]) == (JobState.DONE, 0, 6)
    assert frozen(studio, job, "held-out").annotations == []
    assert [a.rle for a in frozen(studio, job, "train").annotations] == [None] * 6
    close(jobs, again)


def test_a_job_that_cannot_be_frozen_leaves_nothing_behind(
    studio: Studio, jobs: Jobs, child: Child, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    child(learned(weights, 0.75))
    with monkeypatch.context() as patch:
        patch.setattr(coco, "save", full)
        with pytest.raises(StudioError, match="could not be started: No space left on device"):
            jobs.start(studio.project.id)
    assert studio.store.list_jobs(studio.project.id, KIND) == []
    assert run(jobs, studio).state is JobState.DONE


@pytest.mark.parametrize(
    ("where", "error"),
    [("Child", OSError(errno.EAGAIN, "no process left")), ("open_vault", Unavailable("no store"))],
    ids=["child", "images"],
)
def test_a_job_that_cannot_be_started_says_so(
    studio: Studio, jobs: Jobs, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(f"app.jobs.{where}", refuse)
    job = run(jobs, studio)
    assert (job.state, job.launches) == (JobState.FAILED, 1)
    assert job.error == f"the training could not be started: {error.args[-1]}"


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


def test_weights_that_answer_no_numbers_are_not_used(
    studio: Studio, jobs: Jobs, child: Child, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise checkpoint.CheckpointError("the weights of fine-tune 1 answer no numbers")

    child(learned(weights, 0.75))
    before = model_in_use(studio)
    monkeypatch.setattr("app.predictors._try_out", none)
    job = run(jobs, studio)
    assert (job.state, job.error[-17:]) == (JobState.FAILED, "answer no numbers")
    assert model_in_use(studio) == before


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
        fuller.add(index)
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


def close(jobs: Jobs, again: Again) -> None:
    jobs.close()
    again.close()
