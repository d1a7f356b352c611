"""What the canvas asks for, below the routes: images and models kept, provenance kept."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app import workflow as module
from app.errors import Conflict, NotAllowed, NotFound
from app.images import load_image
from app.records import Image, Instance, ModelState, ModelVersion, NewModel, State
from app.settings import Settings
from app.workflow import Workflow
from mal_core import calibrate, checkpoint
from mal_core.calibrate import Calibration
from mal_core.errors import BadBox, CheckpointError
from mal_core.predictor import Predictor
from tests.studio.conftest import NOW, Studio, blob, make_weights

BOX = (10.0, 20.0, 60.0, 90.0)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ids of the images decoded so far."""
    ids: list[int] = []

    def count(settings: Settings, image: Image) -> np.ndarray:
        ids.append(image.id)
        return load_image(settings, image)

    monkeypatch.setattr(module, "load_image", count)
    return ids


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the weight files loaded so far."""
    names: list[str] = []
    load = Predictor.load

    def count(path: Path, device: str) -> Predictor:
        names.append(path.name)
        return load(path, device)

    monkeypatch.setattr(Predictor, "load", count)
    return names


def propose(studio: Studio, image: int = 0) -> Instance:
    key, category = studio.images[image].id, studio.categories[0].id
    return studio.workflow.propose(key, BOX, category, "Ada").instance


def add_model(studio: Studio, seed: int) -> ModelVersion:
    """A second network of the project, as a fine-tune would have left it."""
    studio.settings.models.mkdir(exist_ok=True)
    path = make_weights(studio.settings.models / "new", seed)
    sha256 = checkpoint.file_sha256(path)
    path.rename(path.with_name(f"{sha256}.safetensors"))
    model = NewModel(f"fine-tune {seed}", sha256, {}, project_id=studio.project.id)
    return studio.store.add_model(model, ModelState.PROMOTED, NOW)


def test_an_image_is_decoded_once_however_many_boxes_are_drawn(
    studio: Studio, decoded: list[int], loaded: list[str]
) -> None:
    studio.workflow.open_image(studio.images[0].id)
    for _ in range(3):
        propose(studio)
    assert decoded == [studio.images[0].id]
    assert len(loaded) == 1


def test_the_images_used_last_are_kept_within_the_limit(
    studio: Studio, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    coffee, chelsea, rocket = (image.id for image in studio.images)
    sizes = [3 * image.width * image.height for image in studio.images]
    monkeypatch.setattr(module, "CACHED_BYTES", sum(sizes) - 1)
    for key in (coffee, chelsea, coffee, rocket, coffee, chelsea):
        studio.workflow.open_image(key)
    assert decoded == [coffee, chelsea, rocket, chelsea]


def test_an_image_above_the_limit_is_kept_while_it_is_used(
    studio: Studio, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHED_BYTES", 1)
    for index in (0, 0, 1, 1):
        studio.workflow.open_image(studio.images[index].id)
    assert decoded == [studio.images[0].id, studio.images[1].id]


def test_two_models_are_kept_ready_and_no_third(studio: Studio, loaded: list[str]) -> None:
    tiny, *others = studio.store.list_models(studio.project.id), add_model(studio, 1)
    models = [*tiny, *others, add_model(studio, 2)]
    for index in (0, 1, 0, 2, 0, 1):
        studio.store.use_model(studio.project.id, models[index].id)
        propose(studio)
    names = [studio.workflow.weights_path(model).name for model in models]
    assert loaded == [names[0], names[1], names[2], names[1]]


@pytest.mark.both
def test_a_model_put_in_use_proposes_the_next_box(studio: Studio) -> None:
    old = propose(studio).draft
    model = add_model(studio, 1)
    studio.store.use_model(studio.project.id, model.id)
    new = propose(studio).draft
    assert (old.model_id, new.model_id) == (studio.project.model_id, model.id)
    assert old.score != new.score


@pytest.mark.both
def test_undo_of_a_new_proposal_brings_back_who_made_the_old_mask(studio: Studio) -> None:
    first = propose(studio)
    studio.store.use_model(studio.project.id, add_model(studio, 1).id)
    key, category = studio.images[0].id, first.draft.category_id
    known = (first.id, first.version)
    second = studio.workflow.propose(key, BOX, category, "Ada", known).instance
    assert second.draft.rle != first.draft.rle
    undone = studio.workflow.save(first.id, second.version, first.draft, "Ada", "undo")
    assert undone.draft == first.draft
    redone = studio.workflow.save(first.id, undone.version, second.draft, "Ada", "redo")
    assert redone.draft == second.draft


def test_weights_that_are_not_those_on_record_are_not_used(studio: Studio) -> None:
    model = add_model(studio, 1)
    make_weights(studio.workflow.weights_path(model), seed=2)
    studio.store.use_model(studio.project.id, model.id)
    with pytest.raises(NotFound, match="fine-tune 1 are damaged: roll back"):
        propose(studio)
    assert studio.store.list_instances(studio.images[0].id) == []


def test_weights_that_are_gone_are_named_without_their_folder(studio: Studio) -> None:
    model = add_model(studio, 1)
    studio.workflow.weights_path(model).unlink()
    studio.store.use_model(studio.project.id, model.id)
    with pytest.raises(CheckpointError, match=f"cannot read {model.sha256}") as caught:
        propose(studio)
    assert str(studio.settings.data_dir) not in str(caught.value)


def test_a_proposal_equals_the_predictors_answer(studio: Studio, tiny_weights: Path) -> None:
    pixels = load_image(studio.settings, studio.images[0])
    answer = Predictor.load(tiny_weights, "cpu").predict(pixels, [BOX])
    draft = propose(studio).draft
    assert (draft.rle, draft.score) == (answer.masks()[0], float(answer.scores[0]))
    assert draft.state is State.PROPOSED
    assert draft.model_id == studio.project.model_id


def test_a_score_is_calibrated_where_the_weights_came_with_a_calibration(
    studio: Studio, tiny_weights: Path, tmp_path: Path
) -> None:
    weights = shutil.copy(tiny_weights, tmp_path / "bundled.safetensors")
    sha256 = checkpoint.file_sha256(weights)
    curve = Calibration(bias=-0.5, score=0.8, fill=0.3, size=0.02)
    calibrate.save(curve, calibrate.beside(weights), sha256, {})
    raw = propose(studio).draft
    calibrate.keep(weights, studio.settings.models, sha256)
    draft = propose(studio).draft
    answer = Predictor.load(weights, "cpu").predict(
        load_image(studio.settings, studio.images[0]), [BOX]
    )
    (expected,) = curve.apply(calibrate.features(answer, answer.masks()))
    assert draft.rle == raw.rle
    assert draft.score == pytest.approx(expected)
    assert raw.score == float(answer.scores[0])
    other = add_model(studio, 5)
    studio.store.use_model(studio.project.id, other.id)
    pixels = load_image(studio.settings, studio.images[0])
    own = Predictor.load(studio.workflow.weights_path(other), "cpu").predict(pixels, [BOX])
    assert propose(studio).draft.score == float(own.scores[0])


def test_a_box_outside_its_image_is_refused(studio: Studio) -> None:
    with pytest.raises(BadBox, match="holds no pixel"):
        studio.workflow.propose(studio.images[0].id, (700, 0, 800, 50), 1, "Ada")
    assert studio.store.list_instances(studio.images[0].id) == []


def test_an_instance_is_proposed_anew_on_its_own_image_only(studio: Studio) -> None:
    known = (studio.add(0).id, 1)
    with pytest.raises(NotAllowed, match="not one of image"):
        studio.workflow.propose(studio.images[1].id, BOX, 1, "Ada", known)


@pytest.mark.both
def test_a_corrected_mask_keeps_the_score_and_model_it_descends_from(studio: Studio) -> None:
    proposed = propose(studio)
    wanted = replace(proposed.draft, rle=blob(studio.images[0]), state=State.CORRECTED,
                     score=None, model_id=None, flagged=False)  # fmt: skip
    saved = studio.workflow.save(proposed.id, 1, wanted, "Bo", "brush")
    assert saved.draft == replace(
        wanted,
        score=proposed.draft.score,
        model_id=proposed.draft.model_id,
        flagged=proposed.draft.flagged,
    )
    assert (saved.person, saved.reason, saved.version) == ("Bo", "brush", 2)


def test_a_mask_that_undo_brings_back_comes_with_its_own_score_and_model(studio: Studio) -> None:
    old = propose(studio)
    studio.store.use_model(studio.project.id, add_model(studio, 1).id)
    key, category = studio.images[0].id, studio.categories[0].id
    known = (old.id, old.version)
    new = studio.workflow.propose(key, BOX, category, "Ada", known).instance
    wanted = replace(old.draft, score=None, model_id=None)
    back = studio.workflow.save(old.id, new.version, wanted, "Ada", "undo")
    assert new.draft.rle != old.draft.rle
    assert back.draft == old.draft


@pytest.mark.both
def test_a_deleted_instance_keeps_its_mask_for_undo(studio: Studio) -> None:
    instance = studio.add()
    gone = studio.workflow.delete(instance.id, 1, "Bo")
    assert gone.draft == replace(instance.draft, state=State.DELETED)


@pytest.mark.both
def test_a_late_save_raises_and_is_kept(studio: Studio) -> None:
    instance = studio.add()
    studio.workflow.delete(instance.id, 1, "Bo")
    with pytest.raises(Conflict, match="Bo saved version 2 first") as caught:
        studio.workflow.save(instance.id, 1, instance.draft, "Ada", "brush")
    assert studio.store.list_revisions(instance.id)[-1].id == caught.value.kept


def reject(studio: Studio, instance: Instance) -> Instance:
    wanted = replace(instance.draft, state=State.REJECTED)
    return studio.workflow.save(instance.id, instance.version, wanted, "Ada", "reject")


@pytest.mark.both
def test_a_restarted_studio_proposes_the_same(studio: Studio) -> None:
    again = Workflow(studio.settings, studio.store)
    key, category = studio.images[0].id, studio.categories[0].id
    assert again.propose(key, BOX, category, "Ada").instance.draft == propose(studio).draft
