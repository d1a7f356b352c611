"""Training: what teaches, what is kept, and that a run goes on where it stopped."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from mal_core import checkpoint, trainer
from mal_core.checkpoint import Checkpoint
from mal_core.coco import Dataset
from mal_core.config import CropConfig, LossConfig, ModelConfig, Recipe, TrainConfig, ViewConfig
from mal_core.errors import CheckpointError, TrainingError
from mal_core.evaluate import score_instances, summarise
from mal_core.model import MAL
from mal_core.pool import Pictures, Pool, Source, decode
from mal_core.predictor import Predictor
from mal_core.trainer import Event, HeldOut, Training, collapse, fit, identify

Draw = Callable[[int, int], Dataset]
CPU = torch.device("cpu")
CROP = CropConfig(size=64)
QUICK = TrainConfig(steps=6, batch_size=4, rate=1e-3, min_area=0.0, evaluate_every=3)
SMALL = ModelConfig(dim=32, depth=2, heads=2, crop_size=64, registers=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.fixture
def source(draw_dataset: Draw, tmp_path: Path) -> Source:
    return Source(draw_dataset(0, 4), tmp_path / "images")


@pytest.fixture
def held_out(draw_dataset: Draw, tmp_path: Path, source: Source) -> HeldOut:
    return HeldOut(draw_dataset(10, 2), tmp_path / "images")


def make_pool(source: Source, folder: Path, supervision: str = "mixed") -> Pool:
    assert not any(decode([source], folder, 1024))
    return Pool([source], Pictures(folder), 0, supervision)


def start(folder: Path, recipe: Recipe, model: ModelConfig = SMALL) -> Training:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = MAL(model)
    fabric = Fabric(accelerator="cpu", devices=1)
    return Training(network, CropConfig(size=model.crop_size), recipe, fabric, folder)


def weights(training: Training) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in training.teacher.module.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def timeless(events: list[Event]) -> list[dict[str, Any]]:
    return [{k: v for k, v in e.items() if k != "crops_per_second"} for e in events]


@pytest.mark.slow
def test_shapes_are_learned_from_boxes_alone(
    source: Source, held_out: HeldOut, folder: Path
) -> None:
    """Eight discs whose masks nobody shows; the full box is what a lazy network would say."""
    train = replace(QUICK, steps=160, batch_size=8, rate=2e-3, momentum=0.9)
    loss = LossConfig(crf_warmup=0.2)
    training = start(folder, Recipe(train, replace(ViewConfig(), prompt_share=0.0), loss))
    pool = make_pool(source, folder, "boxes")
    assert len(pool) == 8
    assert pool.n_masks == 0
    list(training.steps(pool))
    parts = score_instances(Predictor(training.snapshot(), CPU), held_out.dataset, held_out.folder)
    figures = summarise([score for part in parts for score in part])
    assert figures.box_iou < 0.82
    assert figures.instance_iou > figures.box_iou + 0.08


def test_a_resumed_run_is_the_uninterrupted_one(source: Source, folder: Path) -> None:
    recipe = Recipe(replace(QUICK, drop_path=0.2), replace(ViewConfig(), stroke_share=0.5))
    pool = make_pool(source, folder)
    whole = start(folder, recipe)
    events = list(whole.steps(pool))
    halted = start(folder, recipe)
    first = [event for _, event in zip(range(3), halted.steps(pool), strict=False)]
    halted.save({"data": "x"})
    resumed = start(folder, recipe)
    assert resumed.resume({"data": "x"}).step == 3
    second = list(resumed.steps(pool))
    assert timeless(first + second) == timeless(events)
    assert same(weights(resumed), weights(whole))


def test_parts_of_a_batch_add_up_to_the_batch(source: Source, folder: Path) -> None:
    pool = make_pool(source, folder)
    runs = []
    for accumulate in (1, 2):
        training = start(folder, Recipe(replace(QUICK, steps=2, accumulate=accumulate)))
        runs.append((list(training.steps(pool)), weights(training)))
    for first, second in zip(*(events for events, _ in runs), strict=True):
        assert first["loss"] == pytest.approx(second["loss"], rel=1e-4)
    for name, value in runs[0][1].items():
        torch.testing.assert_close(value, runs[1][1][name], atol=1e-4, rtol=1e-3)


def test_masks_and_boxes_teach_side_by_side(source: Source, folder: Path) -> None:
    half = [replace(a, rle=None) if a.id % 2 else a for a in source.dataset.annotations]
    mixed = replace(source, dataset=replace(source.dataset, annotations=half))
    training = start(folder, Recipe(replace(QUICK, batch_size=16)))
    event = next(training.steps(make_pool(mixed, folder)))
    assert event["mask"] > 0
    assert event["pairwise"] > 0
    assert 0 <= event["taught"] <= 1


@pytest.mark.parametrize(
    ("supervision", "present", "absent"),
    [("boxes", "pairwise", "mask"), ("masks", "mask", "pairwise")],
)
def test_one_kind_of_supervision_uses_its_own_terms(
    source: Source, folder: Path, supervision: str, present: str, absent: str
) -> None:
    training = start(folder, Recipe(replace(QUICK, supervision=supervision)))
    event = next(training.steps(make_pool(source, folder, supervision)))
    assert present in event
    assert absent not in event


def test_a_look_keeps_the_best_teacher(source: Source, held_out: HeldOut, folder: Path) -> None:
    training = start(folder, Recipe(QUICK))
    events = list(fit(training, make_pool(source, folder), held_out, {}))
    looks = [event for event in events if event["event"] == "look"]
    assert [look["step"] for look in looks] == [3, 6]
    assert looks[0]["best"]
    assert set(looks[0]) >= {"iou", "boundary_iou", "box_iou", "below", "above"}
    out = folder / "out.safetensors"
    training.finish(out, {"note": "here"})
    best = max(looks, key=lambda look: look["iou"])
    loaded = Predictor.load(out, "cpu")
    parts = score_instances(loaded, held_out.dataset, held_out.folder)
    figures = summarise([score for part in parts for score in part])
    assert figures.instance_iou == pytest.approx(best["iou"], abs=0.01)
    assert loaded.checkpoint.metadata["note"] == "here"
    assert loaded.checkpoint.threshold == 0.5


def test_patience_ends_a_run_that_gains_nothing(
    source: Source, held_out: HeldOut, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Training, "_note", lambda self, iou: self._lose())
    lose = lambda self: setattr(  # noqa: E731
        self, "position", replace(self.position, looks=self.position.looks + 1)
    )
    monkeypatch.setattr(Training, "_lose", lose, raising=False)
    train = replace(QUICK, steps=50, evaluate_every=1, patience=2)
    events = list(fit(start(folder, Recipe(train)), make_pool(source, folder), held_out, {}))
    assert events[-1] == {"event": "stopped", "step": 2}


def test_a_gradient_that_is_not_finite_stops_the_run_and_names_the_step(
    source: Source, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = start(folder, Recipe(QUICK))
    steps = training.steps(make_pool(source, folder))
    next(steps)
    before = {k: v.clone() for k, v in training.teacher.module.state_dict().items()}
    honest = trainer.mask_losses
    monkeypatch.setattr(trainer, "mask_losses", lambda *args: honest(*args) * torch.nan)
    with pytest.raises(TrainingError, match="step 2: the gradient is not finite"):
        next(steps)
    assert same(weights(training), before)
    assert training.position.step == 1


def test_another_recipe_or_other_data_cannot_resume(source: Source, folder: Path) -> None:
    training = start(folder, Recipe(QUICK))
    origin = {"parent": "random"}
    training.save(identify(training.recipe, SMALL, "data", origin))
    other = Recipe(replace(QUICK, rate=1e-4))
    with pytest.raises(TrainingError, match="differs in data, train"):
        start(folder, other).resume(identify(other, SMALL, "more data", origin))
    training.resume(identify(training.recipe, SMALL, "data", origin))


@pytest.mark.parametrize("damage", [b"", b"torn", None], ids=["empty", "text", "half"])
def test_a_damaged_state_is_refused(folder: Path, damage: bytes | None) -> None:
    training = start(folder, Recipe(QUICK))
    training.save({})
    path = folder / "state.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] if damage is None else damage)
    with pytest.raises(CheckpointError, match="not a whole training state"):
        training.resume({})


def test_a_full_disk_is_said_and_leaves_the_old_state(
    source: Source, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = start(folder, Recipe(replace(QUICK, save_minutes=0.0)))
    events = fit(training, make_pool(source, folder), None, {})
    kinds = [next(events)["event"] for _ in range(2)]
    assert kinds == ["step", "kept"]
    old = (folder / "state.safetensors").read_bytes()

    def refuse(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mal_core.runstate.write_whole", refuse)
    rest = list(events)
    assert {"event": "not_kept", "step": 2, "reason": "No space left on device"} in rest
    assert rest[-2]["step"] == 6
    assert (folder / "state.safetensors").read_bytes() == old


def test_processes_that_disagree_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = start(folder, Recipe(QUICK))
    training.check_agreement()
    monkeypatch.setattr(Training, "_over_all", lambda self, value: 1.01 * value + 1)
    with pytest.raises(TrainingError, match="different weights"):
        training.check_agreement()


def test_the_start_is_not_changed_by_decoding_twice(source: Source, folder: Path) -> None:
    first, second = (start(folder, Recipe(QUICK)) for _ in range(2))
    pool = make_pool(source, folder)
    assert next(first.steps(pool))["loss"] == next(second.steps(pool))["loss"]


def test_the_rate_climbs_and_falls() -> None:
    config = TrainConfig(steps=100, rate=1.0, warmup=0.1, last_rate=0.2)
    rates = [config.rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == pytest.approx(1.0)
    assert rates[99] == pytest.approx(0.2, abs=0.001)
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_collapse_counts_the_flagged_shares(
    tiny: Checkpoint, held_out: HeldOut, source: Source
) -> None:
    parts = score_instances(Predictor(tiny, CPU), held_out.dataset, held_out.folder)
    score = next(iter(parts))[0]
    fills = [0.0, 0.04, 0.5, 0.96]
    assert collapse([replace(score, fill=fill) for fill in fills]) == (0.5, 0.25)


def test_the_paper_s_recipe_is_the_published_one() -> None:
    recipe = Recipe.paper()
    assert recipe.train.rate == pytest.approx(4.8e-5)
    assert (recipe.train.batch_size, recipe.train.threshold) == (32, 0.1)
    assert recipe.train.steps == 10 * 860_001 // 32
    assert (recipe.loss.mil_weight, recipe.loss.crf_weight) == (4.0, 0.5)
    assert recipe.loss.mil_warmup * recipe.train.steps == pytest.approx(1000, rel=1e-4)
    assert recipe.crf.iterations == 100
    assert json.dumps(identify(recipe, ModelConfig.paper(), "", {}))


@pytest.mark.slow
def test_the_paper_s_network_trains_with_its_recipe(source: Source, folder: Path) -> None:
    model = replace(ModelConfig.paper(), backbone="vit_tiny_patch16_224", crop_size=64)
    paper = Recipe.paper()
    train = replace(paper.train, steps=2, batch_size=2, min_area=0.0)
    training = start(folder, replace(paper, train=train), model)
    events = list(training.steps(make_pool(source, folder, "boxes")))
    assert [event["step"] for event in events] == [1, 2]
    out = folder / "paper.safetensors"
    training.finish(out, {})
    assert checkpoint.load(out).threshold == 0.1
