"""After another model came into use: only what no person has touched is proposed again."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from app.again import KIND, Again
from app.errors import NotFound
from app.records import (
    Draft,
    Instance,
    JobState,
    ModelState,
    ModelVersion,
    NewModel,
    State,
    Wish,
)
from app.workflow import Workflow
from mal_core import checkpoint
from tests.studio.conftest import NOW, Studio, blob, make_weights
from tests.studio.trainer import ended, wait_for

BOX = (10.0, 20.0, 60.0, 90.0)


@pytest.fixture
def again(studio: Studio) -> Iterator[Again]:
    opened = Again(studio.settings, studio.store, studio.workflow)
    yield opened
    opened.close()


def propose(studio: Studio, image: int = 0) -> Instance:
    key, category = studio.images[image].id, studio.categories[0].id
    return studio.workflow.propose(key, BOX, category, "Ada").instance


def another_model(studio: Studio) -> ModelVersion:
    """A second network, in use from now on."""
    path = make_weights(studio.settings.models / "new", 1)
    sha256 = checkpoint.file_sha256(path)
    path.rename(path.with_name(f"{sha256}.safetensors"))
    parent = studio.store.get_project(studio.project.id).model_id
    model = NewModel("other", sha256, {}, studio.project.id, parent)
    made = studio.store.add_model(model, ModelState.PROMOTED, NOW)
    studio.store.use_model(studio.project.id, made.id)
    return made


def save(studio: Studio, instance: Instance, reason: str, **changes: object) -> Instance:
    draft = replace(instance.draft, **changes)  # type: ignore[arg-type]
    return studio.workflow.save(instance.id, instance.version, draft, "Ada", reason)


def run(studio: Studio, again: Again) -> dict[str, object]:
    job = ended(studio, again.start(studio.project.id).id)
    assert (job.state, job.error) == (JobState.DONE, "")
    return dict(job.result)


def test_untouched_proposals_follow_the_model_in_use_and_nothing_else_does(
    studio: Studio, again: Again
) -> None:
    fresh, elsewhere = propose(studio), propose(studio, 1)
    mask = blob(studio.images[0])
    corrected = save(studio, propose(studio), "brush", state=State.CORRECTED, rle=mask)
    touched = [
        corrected,
        save(studio, propose(studio), "accept", state=State.ACCEPTED),
        save(studio, propose(studio), "reject", state=State.REJECTED),
        save(studio, corrected_one(studio), "undo", state=State.PROPOSED),
        studio.workflow.delete(propose(studio).id, 1, "Ada"),
        studio.add(masked=False),
        studio.add(state=State.ACCEPTED),
    ]
    other = another_model(studio)
    assert run(studio, again)["changed"] == 2
    assert [studio.store.get_instance(i.id) for i in touched] == touched
    for old in (fresh, elsewhere):
        new = studio.store.get_instance(old.id)
        assert (new.version, new.draft.model_id, new.draft.box) == (2, other.id, old.draft.box)
        assert (new.person, new.reason) == ("", "proposed again")
        assert new.draft.rle != old.draft.rle
    assert run(studio, again) == {"changed": 0, "waiting": 1}  # the one a person came back from


def corrected_one(studio: Studio) -> Instance:
    mask = blob(studio.images[0])
    return save(studio, propose(studio), "brush", state=State.CORRECTED, rle=mask)


def test_a_roll_back_brings_the_old_masks_back_without_asking_the_model(
    studio: Studio, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = propose(studio)
    first = studio.store.get_project(studio.project.id).model_id
    another_model(studio)
    run(studio, again)
    studio.store.use_model(studio.project.id, first)
    monkeypatch.setattr(Workflow, "_label", None)
    assert run(studio, again)["changed"] == 1
    assert studio.store.get_instance(old.id).draft == old.draft


def test_a_category_that_was_changed_meanwhile_stays(studio: Studio, again: Again) -> None:
    old, category = propose(studio), studio.categories[1].id
    save(studio, old, "category", category_id=category)
    another_model(studio)
    run(studio, again)
    draft = studio.store.get_instance(old.id).draft
    assert (draft.category_id, draft.state) == (category, State.PROPOSED)
    assert draft.rle != old.draft.rle


def test_a_person_who_is_faster_wins(
    studio: Studio, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, label = propose(studio), studio.workflow._label
    another_model(studio)

    def meanwhile(*arguments: object) -> tuple[Draft, object]:
        save(studio, old, "accept", state=State.ACCEPTED)
        return label(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(studio.workflow, "_label", meanwhile)
    assert run(studio, again)["changed"] == 0
    head = studio.store.get_instance(old.id)
    assert (head.draft.state, head.draft.rle, head.version) == (State.ACCEPTED, old.draft.rle, 2)


def test_it_can_be_stopped_and_leaves_the_rest(
    studio: Studio, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    instances = [propose(studio) for _ in range(3)]
    another_model(studio)
    do_one = studio.workflow.propose_again

    def stop_then_do(instance_id: int) -> bool:
        again.wish(1, Wish.STOP)
        return do_one(instance_id)

    monkeypatch.setattr(studio.workflow, "propose_again", stop_then_do)
    job = ended(studio, again.start(studio.project.id).id)
    assert (job.state, job.result["changed"]) == (JobState.STOPPED, 1)
    versions = [studio.store.get_instance(i.id).version for i in instances]
    assert versions == [2, 1, 1]


def test_what_a_former_studio_left_is_gone_on_with(studio: Studio, again: Again) -> None:
    old = propose(studio)
    another_model(studio)
    job = studio.store.add_job(studio.project.id, KIND, {}, NOW)
    studio.store.launch_job(job.id, {}, NOW)
    again.recover()
    assert ended(studio, job.id).result == {"changed": 1, "waiting": 1}
    assert studio.store.get_instance(old.id).version == 2


def test_weights_that_are_gone_fail_the_job_with_the_reason(studio: Studio, again: Again) -> None:
    propose(studio)
    other = another_model(studio)
    studio.workflow.weights_path(other).unlink()
    job = ended(studio, again.start(studio.project.id).id)
    assert job.state is JobState.FAILED
    assert "cannot read" in job.error


def test_an_image_that_cannot_be_read_does_not_hold_up_the_rest(
    studio: Studio, again: Again
) -> None:
    bad, good = propose(studio, 0), propose(studio, 1)
    another_model(studio)
    fresh = Workflow(studio.settings, studio.store)  # which has not decoded it yet
    for path in studio.settings.images.rglob(f"{studio.images[0].sha256}.*"):
        path.unlink()
    again._workflow = fresh
    assert run(studio, again)["changed"] == 1
    assert studio.store.get_instance(bad.id).version == 1
    assert studio.store.get_instance(good.id).version == 2


def test_its_progress_is_on_record(studio: Studio, again: Again) -> None:
    propose(studio)
    another_model(studio)
    job = again.start(studio.project.id)
    begun = {"done": 0, "total": 1, "images": 1}
    wait_for(studio, job.id, lambda job: begun.items() <= job.progress.items())


def test_a_model_must_be_there_to_be_adopted(studio: Studio) -> None:
    other = another_model(studio)
    path = studio.workflow.weights_path(other)
    first = studio.workflow.weights_path(studio.store.get_model(1))
    path.write_bytes(first.read_bytes())
    with pytest.raises(NotFound, match="are damaged"):
        studio.workflow.adopt(other.sha256, other.name)
