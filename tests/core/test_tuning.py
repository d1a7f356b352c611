"""Epochs over cached features: what teaches, what holds back, and what survives a stop."""

import errno
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mal_core import tuning as tunings
from mal_core.checkpoint import Checkpoint
from mal_core.coco import Dataset
from mal_core.config import CRFConfig, LossConfig
from mal_core.dataset import pictures_of
from mal_core.features import Batch, FeatureCache
from mal_core.finetune_config import FinetuneConfig
from mal_core.losses import box_only_loss, distil_losses, mask_losses
from mal_core.material import Material
from mal_core.memory import Portions
from mal_core.model import MAL
from mal_core.tuning import Caches, Event, Tuning

Draw = Callable[[int, int], Dataset]
CPU = torch.device("cpu")
QUICK = FinetuneConfig(
    epochs=4,
    epoch_steps=1,
    patience=0,
    batch_size=4,
    views=1,
    tuned_blocks=1,
    decoder_rate=1e-3,
    encoder_rate=1e-3,
    distil_crops=3,
    distil_batch=2,
    pull=0.0,
)
ID = {"parent": "a"}


def fill(tiny: Checkpoint, material: Material, folder: Path) -> Caches:
    made = {
        "train": list(material.lessons(tiny.crop, QUICK)),
        "held_out": list(material.exam(tiny.crop)),
        "elsewhere": list(material.elsewhere(tiny.crop, QUICK)),
    }
    caches = {name: FeatureCache(folder / name, len(made[name])) for name in made}
    for name, cache in caches.items():
        assert list(cache.fill(tiny.model, made[name], 2, Portions(4)))
    return Caches(**caches)


@pytest.fixture
def caches(tiny: Checkpoint, draw_dataset: Draw, tmp_path: Path) -> Caches:
    """Six crops with masks, four held out, three of other photos."""
    train, held_out = draw_dataset(0, 3), draw_dataset(3, 2)
    photos = tmp_path / "images"
    return fill(
        tiny, Material(train, held_out, photos, photos=pictures_of(photos)), tmp_path / "features"
    )


@pytest.fixture
def boxes(tiny: Checkpoint, draw_dataset: Draw, tmp_path: Path) -> Caches:
    """Six crops of which only the boxes are known, and nothing else."""
    train = draw_dataset(0, 3)
    train = replace(train, annotations=[replace(a, rle=None) for a in train.annotations])
    return fill(tiny, Material(train, train.first(0), tmp_path / "images"), tmp_path / "boxes")


def tune(
    tiny: Checkpoint, caches: Caches, folder: Path, config: FinetuneConfig = QUICK
) -> tuple[list[Event], MAL]:
    """A whole run of a copy of the network."""
    folder.mkdir(exist_ok=True)
    model = deepcopy(tiny.model)
    tuning = Tuning(model, config, 0.5, Portions(config.batch_size))
    return list(tuning.run(caches, folder, ID)), model


def curve(events: list[Event]) -> list[tuple[object, ...]]:
    return [(e["epoch"], e["loss"], e["held_out_iou"]) for e in events if e["event"] == "epoch"]


def distance(first: MAL, second: MAL) -> float:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return float(sum((a - b).detach().square().sum() for a, b in pairs))


def equal(first: MAL, second: MAL) -> bool:
    theirs = second.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in first.state_dict().items())


def answers(model: MAL, batch: Batch) -> tuple[Tensor, Tensor]:
    tokens = model.encoder.finish(model.encoder.attend(batch.tokens, start=2))
    coarse, fine = model.decoder(tokens, batch.skips)
    return coarse, fine


def test_masks_teach_by_their_weighted_loss(
    tiny: Checkpoint, caches: Caches, tmp_path: Path
) -> None:
    still = replace(QUICK, epochs=1, decoder_rate=0.0, encoder_rate=0.0)
    events, _ = tune(tiny, caches, tmp_path / "run", still)
    batch = caches.train.batch(torch.arange(6), CPU)
    coarse, fine = answers(tiny.model, batch)
    expected = mask_losses(coarse, fine, batch.target, batch.weight).mean()
    assert events[-1]["loss"] == pytest.approx(float(expected.detach()), abs=1e-5)


@pytest.mark.parametrize(("least", "steps"), [(1, 2), (2, 2), (3, 4), (5, 6)])
def test_few_crops_are_passed_over_again_in_an_epoch(
    tiny: Checkpoint,
    caches: Caches,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    least: int,
    steps: int,
) -> None:
    seen: list[int] = []
    real = FeatureCache.batch

    def batch(self: FeatureCache, rows: Tensor, device: torch.device) -> Batch:
        if self is caches.train:
            seen.extend(rows.tolist())
        return real(self, rows, device)

    monkeypatch.setattr(FeatureCache, "batch", batch)
    tune(tiny, caches, tmp_path / "run", replace(QUICK, epochs=1, epoch_steps=least))
    assert len(seen) == 6 * steps // 2  # two steps of 4 and 2 crops are a pass
    for start in range(0, len(seen), 6):
        assert sorted(seen[start : start + 6]) == list(range(6))


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_boxes_teach_by_bags_mean_field_and_colours(
    tiny: Checkpoint, boxes: Caches, tmp_path: Path, weight: float
) -> None:
    still = replace(QUICK, epochs=2, decoder_rate=0.0, encoder_rate=0.0, box_weight=weight)
    events, _ = tune(tiny, boxes, tmp_path / "run", still)
    batch = boxes.train.batch(torch.arange(6), CPU)
    fine = answers(tiny.model, batch)[1]
    # The second epoch is beyond the warm-ups, so its two steps weigh the terms alike.
    losses, _ = box_only_loss(fine, batch.guess, batch.boxes, 0.5, LossConfig(), CRFConfig())
    expected = weight * float(losses.detach().mean())
    assert events[-1]["loss"] == pytest.approx(expected, abs=1e-5)
    assert expected > 0


def test_the_pull_keeps_weights_near_the_parent(
    tiny: Checkpoint, caches: Caches, tmp_path: Path
) -> None:
    unguided = replace(caches, held_out=FeatureCache(tmp_path / "nobody", 0))  # the last epoch
    gaps = []
    for pull in (0.0, 100.0, 1000.0):
        run = tmp_path / f"{pull}"
        gaps.append(distance(tiny.model, tune(tiny, unguided, run, replace(QUICK, pull=pull))[1]))
    assert gaps[0] > 1.2 * gaps[1] > 1.2**2 * gaps[2] > 0


def test_the_strongest_pull_gives_the_parent_back(
    tiny: Checkpoint, caches: Caches, tmp_path: Path
) -> None:
    strong = replace(QUICK, decoder_rate=0.5, encoder_rate=0.5, pull=1000.0, warmup_share=0.0)
    unguided = replace(caches, held_out=FeatureCache(tmp_path / "nobody", 0))
    _, model = tune(tiny, unguided, tmp_path / "run", replace(strong, epochs=1, batch_size=8))
    assert equal(model, tiny.model)


def test_distillation_keeps_answers_near_the_parent_s(
    tiny: Checkpoint, caches: Caches, tmp_path: Path
) -> None:
    unguided = replace(caches, held_out=FeatureCache(tmp_path / "nobody", 0))
    batch, gaps = caches.elsewhere.batch(torch.arange(3), CPU), []
    for weight in (0.0, 30.0):
        config = replace(QUICK, distil_weight=weight)
        _, model = tune(tiny, unguided, tmp_path / f"{weight}", config)
        gap = distil_losses(answers(model, batch)[1], batch.guess).detach().mean()
        gaps.append(float(gap))
    assert gaps[1] < 0.5 * gaps[0]


def test_short_memory_changes_the_speed_and_nothing_else(
    tiny: Checkpoint, caches: Caches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, model = tune(tiny, caches, tmp_path / "plain")
    real = Tuning._logits

    def short(self: Tuning, batch: Batch) -> tuple[Tensor, Tensor]:
        if len(batch.tokens) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(self, batch)

    monkeypatch.setattr(Tuning, "_logits", short)
    scarce, other = tune(tiny, caches, tmp_path / "scarce")
    texts = [e["text"] for e in scarce if e["event"] == "notice"]
    assert texts == [f"memory was short: crops are computed {n} at a time" for n in (2, 1)]
    for first, second in zip(curve(events), curve(scarce), strict=True):
        assert first == pytest.approx(second, abs=1e-4)
    assert distance(model, other) < 1e-3 * distance(model, tiny.model)


@pytest.mark.parametrize("done", [0, 1, 3, 4])
def test_a_run_that_was_stopped_goes_on_along_the_same_curve(
    tiny: Checkpoint, caches: Caches, tmp_path: Path, done: int
) -> None:
    whole, expected = tune(tiny, caches, tmp_path / "whole")
    folder = tmp_path / "stopped"
    folder.mkdir()
    first = Tuning(deepcopy(tiny.model), QUICK, 0.5, Portions(4))
    seen = []
    for event in first.run(caches, folder, ID):
        seen.append(event)
        if event["epoch"] == done:
            break
    model = deepcopy(tiny.model)
    second = Tuning(model, QUICK, 0.5, Portions(4))
    second.resume(folder, ID)
    events = list(second.run(caches, folder, ID))
    assert curve(events) == curve(whole)
    assert events[: len(seen)] == seen or not done  # told again as they were
    assert equal(model, expected)


def test_a_state_that_cannot_be_kept_is_said_and_the_run_goes_on(
    tiny: Checkpoint, caches: Caches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tunings, "save_state", full)
    events, _ = tune(tiny, caches, tmp_path / "run")
    texts = [event["text"] for event in events if event["event"] == "notice"]
    assert len(texts) == QUICK.epochs
    assert "epoch 1 could not be kept (No space left on device)" in texts[0]
    assert len(curve(events)) == 1 + QUICK.epochs


def test_a_gpu_trains_all_blocks_and_a_cpu_the_last_two() -> None:
    config = FinetuneConfig()
    assert config.frozen_blocks(10, "cpu") == 8
    assert config.frozen_blocks(10, "cuda") == 0
    assert config.frozen_blocks(1, "cpu") == 0
