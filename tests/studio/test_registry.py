"""What a person may do with model versions, and what they may not."""

from collections.abc import Iterator

import pytest

from app.again import KIND as AGAIN
from app.again import Again
from app.errors import NotAllowed, NotFound
from app.jobs import KIND
from app.records import JobState, ModelState, ModelVersion, NewModel
from app.registry import Registry
from mal_core import checkpoint
from mal_core.errors import CheckpointError
from tests.studio.conftest import NOW, Studio, make_weights
from tests.studio.trainer import model_in_use


@pytest.fixture
def registry(studio: Studio) -> Iterator[Registry]:
    again = Again(studio.settings, studio.store, studio.workflow)
    yield Registry(studio.store, studio.workflow, again)
    again.close()


def add(studio: Studio, seed: int, state: ModelState = ModelState.PROMOTED) -> ModelVersion:
    """A model made from the one in use, as a fine-tune leaves it; in use if it passed."""
    path = make_weights(studio.settings.models / "new", seed)
    sha256 = checkpoint.file_sha256(path)
    path.rename(path.with_name(f"{sha256}.safetensors"))
    model = NewModel(f"fine-tune {seed}", sha256, {}, studio.project.id, model_in_use(studio))
    return studio.store.publish(model, state, NOW)


def test_a_roll_back_goes_to_the_parent_and_the_proposals_follow(
    studio: Studio, registry: Registry
) -> None:
    bundled = model_in_use(studio)
    one, two = (add(studio, seed) for seed in (1, 2))
    assert (one.parent_id, two.parent_id) == (bundled, one.id)
    for wanted in (one.id, bundled):
        assert registry.roll_back(studio.project.id).id == wanted == model_in_use(studio)
    assert len(studio.store.list_jobs(studio.project.id, AGAIN)) == 2
    with pytest.raises(NotAllowed, match="nothing to go back to"):
        registry.roll_back(studio.project.id)
    registry.use(studio.project.id, two.id)
    assert model_in_use(studio) == two.id


@pytest.mark.parametrize("state", [ModelState.REJECTED, ModelState.UNDECIDED])
def test_a_model_that_did_not_pass_cannot_be_used(
    studio: Studio, registry: Registry, state: ModelState
) -> None:
    before, model = model_in_use(studio), add(studio, 1, state)
    with pytest.raises(NotAllowed):
        registry.use(studio.project.id, model.id)
    assert model_in_use(studio) == before


def test_damaged_weights_are_not_put_in_use(studio: Studio, registry: Registry) -> None:
    model = add(studio, 1)
    registry.roll_back(studio.project.id)
    before = model_in_use(studio)
    registry.path_of(model).write_bytes(b"weights")
    with pytest.raises(CheckpointError):
        registry.use(studio.project.id, model.id)
    assert model_in_use(studio) == before


def test_removed_weights_leave_their_row_and_cannot_be_used(
    studio: Studio, registry: Registry
) -> None:
    model = add(studio, 1)
    registry.roll_back(studio.project.id)
    assert registry.remove(studio.project.id, model.id) == model
    assert not registry.path_of(model).exists()
    assert studio.store.get_model(model.id) == model
    with pytest.raises(NotFound, match="were removed"):
        registry.use(studio.project.id, model.id)


def test_rejected_weights_can_be_removed(studio: Studio, registry: Registry) -> None:
    model = add(studio, 1, ModelState.REJECTED)
    registry.remove(studio.project.id, model.id)
    assert not registry.has_weights(model)


def test_weights_that_somebody_needs_stay(studio: Studio, registry: Registry) -> None:
    bundled, key = studio.store.get_model(model_in_use(studio)), studio.project.id
    parent, in_use = add(studio, 1), add(studio, 2)
    asked = add(studio, 3, ModelState.UNDECIDED)
    start = add(studio, 4, ModelState.REJECTED)
    job = studio.store.add_job(key, KIND, {"parent_id": start.id}, NOW)
    other = studio.store.add_project("Other", bundled.id, NOW)
    for project_id, model, reason in (
        (key, bundled, "not this project's own"),
        (key, in_use, "is in use"),
        (key, parent, "the way back"),
        (key, asked, "waits for your word"),
        (key, start, "a fine-tune starts from"),
        (other.id, start, "not this project's own"),
    ):
        with pytest.raises(NotAllowed, match=reason):
            registry.remove(project_id, model.id)
        assert registry.has_weights(model)
    studio.store.set_job(job.id, state=JobState.STOPPED)
    registry.remove(key, start.id)


def test_many_old_versions_are_kept(studio: Studio, registry: Registry) -> None:
    models = [add(studio, seed) for seed in range(1, 8)]
    assert all(registry.has_weights(model) for model in models)
    for model in reversed(models[:-1]):
        assert registry.roll_back(studio.project.id) == model
