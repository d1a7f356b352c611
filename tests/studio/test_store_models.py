"""The store's jobs and model versions: what outlasts a restart, and what may be used."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.errors import NotAllowed
from app.records import JobState, ModelState, NewModel, Project
from app.store import Store

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "studio.db")
    yield opened
    opened.close()


@pytest.fixture
def project(store: Store) -> Project:
    model = store.add_model(NewModel("bundled", "b" * 64, {}), ModelState.BUNDLED, NOW)
    return store.add_project("Leaves", model.id, NOW)


def test_a_job_keeps_what_is_not_changed(store: Store, project: Project) -> None:
    job = store.add_job(project.id, "train", {"epochs": 3}, NOW)
    store.set_job(job.id, state=JobState.RUNNING, progress={"step": 1})
    store.set_job(job.id, progress={"step": 2})
    assert [(j.state, j.progress) for j in store.running_jobs()] == [("running", {"step": 2})]
    done = store.set_job(job.id, state=JobState.DONE, result={"iou": 0.8}, ended_at=NOW)
    assert done == replace(
        job,
        state=JobState.DONE,
        progress={"step": 2},
        result={"iou": 0.8},
        ended_at=NOW,
    )
    assert (store.list_jobs(project.id), store.running_jobs()) == ([done], [])


def test_a_job_that_has_ended_stays_ended(store: Store, project: Project) -> None:
    job = store.add_job(project.id, "train", {}, NOW)
    store.set_job(job.id, state=JobState.STOPPED)
    with pytest.raises(NotAllowed):
        store.set_job(job.id, state=JobState.DONE)
    assert store.get_job(job.id).state is JobState.STOPPED


def test_the_same_weights_are_known_once(store: Store, project: Project) -> None:
    again = store.add_model(NewModel("again", "b" * 64, {}), ModelState.BUNDLED, NOW)
    assert store.list_models(project.id) == [again]
    assert again.name == "bundled"


def test_publishing_weights_that_passed_uses_them(store: Store, project: Project) -> None:
    new = NewModel("new", "n" * 64, {"iou": 0.9}, project.id, parent_id=project.model_id)
    made = store.publish(new, use=True, now=NOW)
    assert (made.state, made.figures) == (ModelState.PROMOTED, {"iou": 0.9})
    assert store.get_project(project.id).model_id == made.id
    store.use_model(project.id, project.model_id)
    assert store.get_project(project.id) == project


def test_weights_that_passed_a_model_no_longer_in_use_wait_to_be_chosen(
    store: Store, project: Project
) -> None:
    parent = NewModel("parent", "p" * 64, {}, project.id, parent_id=project.model_id)
    used = store.publish(parent, use=True, now=NOW)
    store.use_model(project.id, project.model_id)  # rolled back while the child was trained
    child = NewModel("child", "c" * 64, {}, project.id, parent_id=used.id)
    made = store.publish(child, use=True, now=NOW)
    assert made.state is ModelState.PROMOTED
    assert store.get_project(project.id) == project
    assert store.use_model(project.id, made.id).model_id == made.id


def test_weights_that_did_not_pass_are_kept_but_cannot_be_used(
    store: Store, project: Project
) -> None:
    made = store.publish(NewModel("new", "n" * 64, {}, project.id), use=False, now=NOW)
    assert made in store.list_models(project.id)
    with pytest.raises(NotAllowed, match="was rejected"):
        store.use_model(project.id, made.id)
    assert store.get_project(project.id) == project


def test_a_model_of_another_project_is_neither_seen_nor_used(
    store: Store, project: Project
) -> None:
    other = store.add_project("Other", project.model_id, NOW)
    made = store.publish(NewModel("new", "n" * 64, {}, other.id), use=True, now=NOW)
    assert made not in store.list_models(project.id)
    with pytest.raises(NotAllowed, match="another project"):
        store.use_model(project.id, made.id)
