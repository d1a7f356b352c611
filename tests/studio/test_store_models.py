"""The store's jobs and model versions: what outlasts a restart, and what may be used."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.errors import NotAllowed
from app.records import JobState, ModelState, NewModel, Project
from app.store import Store
from mal_core.errors import InputError

UNDECIDED = ModelState.UNDECIDED
NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def project(store: Store) -> Project:
    model = store.add_model(NewModel("bundled", "b" * 64, {}), ModelState.BUNDLED, NOW)
    return store.add_project("Leaves", model.id, NOW)


def test_a_job_keeps_what_is_not_changed(store: Store, project: Project) -> None:
    job = store.add_job(project.id, "train", {"epochs": 3}, NOW)
    store.set_job(job.id, state=JobState.RUNNING, progress={"step": 1})
    store.set_job(job.id, progress={"step": 2})
    assert [(j.state, j.progress) for j in store.open_jobs("train")] == [("running", {"step": 2})]
    assert store.open_jobs("another kind") == store.list_jobs(project.id, "another kind") == []
    done = store.set_job(job.id, state=JobState.DONE, result={"iou": 0.8}, ended_at=NOW)
    assert done == replace(
        job,
        state=JobState.DONE,
        progress={"step": 2},
        result={"iou": 0.8},
        ended_at=NOW,
    )
    assert (store.list_jobs(project.id, "train"), store.open_jobs("train")) == ([done], [])


def test_a_job_that_has_ended_stays_ended(store: Store, project: Project) -> None:
    job = store.add_job(project.id, "train", {}, NOW)
    store.set_job(job.id, state=JobState.STOPPED)
    with pytest.raises(NotAllowed):
        store.set_job(job.id, state=JobState.DONE)
    assert store.get_job(job.id).state is JobState.STOPPED


def test_each_launch_and_each_sign_of_life_is_on_record(store: Store, project: Project) -> None:
    job = store.add_job(project.id, "train", {"a": 1}, NOW)
    assert (job.launches, job.alive_at) == (0, None)
    later = NOW + timedelta(seconds=5)
    begun = store.launch_job(job.id, {"a": 1, "b": 2}, NOW)
    assert (begun.state, begun.launches, begun.params) == (JobState.RUNNING, 1, {"a": 1, "b": 2})
    store.beat_job(job.id, later)
    assert store.get_job(job.id) == replace(begun, alive_at=later)
    assert store.launch_job(job.id, job.params, later).launches == 2
    store.set_job(job.id, state=JobState.STOPPED)
    with pytest.raises(NotAllowed):
        store.launch_job(job.id, job.params, later)


def test_the_same_weights_are_known_once(store: Store, project: Project) -> None:
    again = store.add_model(NewModel("again", "b" * 64, {}), ModelState.BUNDLED, NOW)
    assert store.list_models(project.id) == [again]
    assert again.name == "bundled"


def test_publishing_weights_that_passed_uses_them(store: Store, project: Project) -> None:
    new = NewModel("new", "n" * 64, {"iou": 0.9}, project.id, parent_id=project.model_id)
    made = store.publish(new, ModelState.PROMOTED, NOW)
    assert (made.state, made.figures) == (ModelState.PROMOTED, {"iou": 0.9})
    assert store.get_project(project.id).model_id == made.id
    store.use_model(project.id, project.model_id)
    assert store.get_project(project.id) == project


def test_weights_that_passed_a_model_no_longer_in_use_wait_to_be_chosen(
    store: Store, project: Project
) -> None:
    parent = NewModel("parent", "p" * 64, {}, project.id, parent_id=project.model_id)
    used = store.publish(parent, ModelState.PROMOTED, NOW)
    store.use_model(project.id, project.model_id)  # rolled back while the child was trained
    child = NewModel("child", "c" * 64, {}, project.id, parent_id=used.id)
    made = store.publish(child, ModelState.PROMOTED, NOW)
    assert made.state is ModelState.PROMOTED
    assert store.get_project(project.id) == project
    assert store.use_model(project.id, made.id).model_id == made.id


def test_weights_that_did_not_pass_are_kept_but_cannot_be_used(
    store: Store, project: Project
) -> None:
    made = store.publish(NewModel("new", "n" * 64, {}, project.id), ModelState.REJECTED, NOW)
    assert made in store.list_models(project.id)
    with pytest.raises(NotAllowed, match="was rejected"):
        store.use_model(project.id, made.id)
    assert store.get_project(project.id) == project


def test_a_model_of_another_project_is_neither_seen_nor_used(
    store: Store, project: Project
) -> None:
    other = store.add_project("Other", project.model_id, NOW)
    made = store.publish(NewModel("new", "n" * 64, {}, other.id), ModelState.PROMOTED, NOW)
    assert made not in store.list_models(project.id)
    with pytest.raises(NotAllowed, match="another project"):
        store.use_model(project.id, made.id)


def test_a_person_decides_on_weights_that_the_gate_could_not_judge(
    store: Store, project: Project
) -> None:
    one, two = (
        store.publish(NewModel(n, n * 64, {}, project.id, project.model_id), UNDECIDED, NOW)
        for n in "xy"
    )
    with pytest.raises(NotAllowed, match="waits for your word"):
        store.use_model(project.id, one.id)
    assert store.decide_model(one.id, ModelState.REJECTED).state is ModelState.REJECTED
    assert store.get_project(project.id) == project
    assert store.decide_model(two.id, ModelState.PROMOTED).state is ModelState.PROMOTED
    assert store.get_project(project.id).model_id == two.id
    for model in (one, two):
        with pytest.raises(NotAllowed, match="nothing to decide"):
            store.decide_model(model.id, ModelState.PROMOTED)


def test_weights_that_come_out_again_are_judged_anew(store: Store, project: Project) -> None:
    new = NewModel("new", "n" * 64, {"iou": 0.1}, project.id, parent_id=project.model_id)
    first = store.publish(new, ModelState.REJECTED, NOW)
    again = store.publish(replace(new, figures={"iou": 0.9}), ModelState.PROMOTED, NOW)
    assert again == replace(first, state=ModelState.PROMOTED, figures={"iou": 0.9})
    assert store.get_project(project.id).model_id == first.id
    kept = store.publish(new, ModelState.REJECTED, NOW)
    assert kept == again


def test_notes_are_kept_and_are_not_endless(store: Store, project: Project) -> None:
    assert store.note_model(project.model_id, "good on leaves").notes == "good on leaves"
    with pytest.raises(InputError, match="2000 characters, got 2001"):
        store.note_model(project.model_id, "x" * 2001)
    assert store.get_model(project.model_id).notes == "good on leaves"


def test_who_uses_a_model_is_known(store: Store, project: Project) -> None:
    other = store.add_project("Other", project.model_id, NOW)
    assert store.users_of_model(project.model_id) == [project, other]
    assert store.users_of_model(project.model_id + 1) == []
