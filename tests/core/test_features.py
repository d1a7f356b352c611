"""Cached features are those that the network computes, in half precision."""

import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mal_core.checkpoint import Checkpoint
from mal_core.coco import Dataset
from mal_core.dataset import Example, exact_examples, stack
from mal_core.encoder import Skips
from mal_core.errors import TrainingError
from mal_core.features import FeatureCache
from mal_core.memory import Portions

CPU = torch.device("cpu")


@pytest.fixture
def examples(
    tiny: Checkpoint, draw_dataset: Callable[[int, int], Dataset], tmp_path: Path
) -> list[Example]:
    return list(exact_examples(draw_dataset(0, 3), tmp_path / "images", tiny.crop))


def fill(cache: FeatureCache, tiny: Checkpoint, examples: list[Example], frozen: int) -> list[int]:
    return list(cache.fill(tiny.model, examples, frozen, Portions(4)))


@pytest.mark.parametrize("frozen", [0, 1, 3])
def test_the_rest_of_the_network_goes_on_from_the_cache(
    tiny: Checkpoint, examples: list[Example], tmp_path: Path, frozen: int
) -> None:
    for weight in tiny.model.encoder.blocks.parameters():
        weight.data *= 5  # so that each block changes much
    cache = FeatureCache(tmp_path / "cache", len(examples))
    fill(cache, tiny, examples, frozen)
    batch = cache.batch(torch.arange(len(examples)), CPU)
    whole_batch = stack(examples)
    with torch.inference_mode():
        whole = tiny.model(whole_batch.crop, whole_batch.planes)
        encoder = tiny.model.encoder
        tokens = encoder.finish(encoder.attend(batch.tokens, start=frozen))
        parts = tiny.model.decoder(tokens, batch.skips)
    assert all(torch.allclose(a, b, atol=0.02) for a, b in zip(whole, parts, strict=True))
    assert torch.allclose(batch.target, whole_batch.target, atol=1e-3)
    assert torch.equal(batch.weight, torch.ones_like(batch.target))
    assert bool(batch.has_mask.all())
    grid = torch.cat([batch.boxes.image, batch.boxes.box[:, None], batch.boxes.valid[:, None]], 1)
    assert torch.allclose(grid, whole_batch.grid, atol=1e-2)


def test_rows_come_back_in_the_order_asked_for(
    tiny: Checkpoint, examples: list[Example], tmp_path: Path
) -> None:
    cache = FeatureCache(tmp_path / "cache", len(examples))
    fill(cache, tiny, examples, 1)
    some, one = cache.batch(torch.tensor([4, 0, 4]), CPU), cache.batch(torch.tensor([4]), CPU)
    assert some.tokens.shape == (3, 2 + 16, 32)
    assert torch.equal(some.tokens[0], some.tokens[2])
    assert torch.equal(some.skips.f2[0], one.skips.f2[0])
    assert not torch.equal(some.tokens[0], some.tokens[1])
    assert some.tokens.dtype == torch.float32


def test_filling_tells_how_many_are_done(
    tiny: Checkpoint, examples: list[Example], tmp_path: Path
) -> None:
    cache = FeatureCache(tmp_path / "cache", len(examples))
    assert len(cache) == 6
    assert fill(cache, tiny, examples, 1) == [4, 6]


def test_features_lie_on_disk_in_half_precision(
    tiny: Checkpoint, examples: list[Example], tmp_path: Path
) -> None:
    cache = FeatureCache(tmp_path / "cache", len(examples))
    fill(cache, tiny, examples, 1)
    numbers = (2 + 16) * 32 + 32 * 32**2 + 64 * 16**2 + 128 * 8**2 + 8 * 32**2 + 1
    assert (tmp_path / "cache" / "features.raw").stat().st_size == 2 * 6 * numbers


def test_a_crop_without_a_mask_comes_with_the_parent_s_guess(
    tiny: Checkpoint, examples: list[Example], tmp_path: Path
) -> None:
    mixed = [replace(e, has_mask=torch.tensor(n % 2 == 0)) for n, e in enumerate(examples)]
    cache = FeatureCache(tmp_path / "cache", len(mixed))
    fill(cache, tiny, mixed, 1)
    batch = cache.batch(torch.arange(6), CPU)
    with torch.inference_mode():
        whole = tiny.model(stack(mixed).crop, stack(mixed).planes)[1]
    assert batch.has_mask.tolist() == [True, False] * 3
    assert torch.allclose(batch.guess[1::2], whole[1::2], atol=0.02)
    assert not batch.guess[::2].any()


def test_a_whole_cache_of_the_same_key_is_used_again(
    tiny: Checkpoint, examples: list[Example], tmp_path: Path
) -> None:
    first = FeatureCache(tmp_path / "cache", 6, "a")
    fill(first, tiny, examples, 1)
    again = FeatureCache(tmp_path / "cache", 6, "a")
    assert fill(again, tiny, [], 1) == [6]  # no example is looked at
    rows = torch.arange(6)
    assert torch.equal(again.batch(rows, CPU).tokens, first.batch(rows, CPU).tokens)


@pytest.mark.parametrize(("count", "key"), [(5, "a"), (6, "b")])
def test_a_cache_of_another_run_is_made_anew(
    tiny: Checkpoint, examples: list[Example], tmp_path: Path, count: int, key: str
) -> None:
    fill(FeatureCache(tmp_path / "cache", 6, "a"), tiny, examples, 1)
    assert len(fill(FeatureCache(tmp_path / "cache", count, key), tiny, examples[:count], 1)) == 2


def test_a_cache_that_was_not_finished_is_made_anew(
    tiny: Checkpoint, examples: list[Example], tmp_path: Path
) -> None:
    cache = FeatureCache(tmp_path / "cache", 6, "a")
    begun = cache.fill(tiny.model, examples, 1, Portions(4))
    assert next(begun) == 4
    assert isinstance(begun, Iterator)
    begun.close()  # type: ignore[attr-defined]
    assert list((tmp_path / "cache").iterdir()) == []
    assert fill(FeatureCache(tmp_path / "cache", 6, "a"), tiny, examples, 1) == [4, 6]


def test_a_full_disk_is_an_error_and_takes_no_room(
    tiny: Checkpoint, examples: list[Example], tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))  # a file may not grow beyond it
    try:
        with pytest.raises(TrainingError, match="cannot keep the features of 6 crops"):
            fill(FeatureCache(tmp_path / "cache", 6), tiny, examples, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "cache").iterdir()) == []


def test_short_memory_makes_the_same_features(
    tiny: Checkpoint, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caches = [FeatureCache(tmp_path / name, len(examples)) for name in ("plain", "scarce")]
    fill(caches[0], tiny, examples, 1)
    real, portions = tiny.model.encoder.embed, Portions(4)

    def short(crops: Tensor, planes: Tensor) -> tuple[Tensor, Skips]:
        if len(crops) > 1:
            raise MemoryError
        return real(crops, planes)

    monkeypatch.setattr(tiny.model.encoder, "embed", short)
    assert list(caches[1].fill(tiny.model, examples, 1, portions)) == [4, 5, 6]
    assert portions.size == 1
    plain, scarce = (cache.batch(torch.arange(6), CPU) for cache in caches)
    assert torch.allclose(plain.tokens, scarce.tokens, atol=1e-2)
    assert torch.equal(plain.target, scarce.target)
