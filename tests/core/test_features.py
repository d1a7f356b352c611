"""Cached features are those that the network computes, in half precision."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mal_core.checkpoint import Checkpoint
from mal_core.coco import Dataset
from mal_core.dataset import Example, exact_examples, stack
from mal_core.features import FeatureCache

CPU = torch.device("cpu")


@pytest.fixture
def examples(
    tiny: Checkpoint, draw_dataset: Callable[[int, int], Dataset], tmp_path: Path
) -> list[Example]:
    return list(exact_examples(draw_dataset(0, 3), tmp_path / "images", tiny.crop))


def fill(cache: FeatureCache, tiny: Checkpoint, examples: list[Example], frozen: int) -> list[int]:
    return list(cache.fill(tiny.model, examples, frozen))


@pytest.mark.parametrize("frozen", [0, 1, 3])
def test_the_rest_of_the_network_goes_on_from_the_cache(
    tiny: Checkpoint, examples: list[Example], tmp_path: Path, frozen: int
) -> None:
    for weight in tiny.model.encoder.blocks.parameters():
        weight.data *= 5  # so that each block changes much
    cache = FeatureCache(tmp_path / "cache", len(examples))
    fill(cache, tiny, examples, frozen)
    batch = cache.batch(torch.arange(len(examples)), CPU)
    crops, planes, targets = stack(examples)
    with torch.inference_mode():
        whole = tiny.model(crops, planes)
        encoder = tiny.model.encoder
        tokens = encoder.finish(encoder.attend(batch.tokens, start=frozen))
        parts = tiny.model.decoder(tokens, batch.skips)
    assert all(torch.allclose(a, b, atol=0.02) for a, b in zip(whole, parts, strict=True))
    assert torch.allclose(batch.target, targets, atol=1e-3)


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
    assert fill(cache, tiny, examples, 1) == [1, 2, 3, 4, 5, 6]


def test_features_lie_on_disk_in_half_precision(
    tiny: Checkpoint, examples: list[Example], tmp_path: Path
) -> None:
    cache = FeatureCache(tmp_path / "cache", len(examples))
    fill(cache, tiny, examples, 1)
    numbers = (2 + 16) * 32 + 32 * 32**2 + 64 * 16**2 + 128 * 8**2 + 32**2
    size = sum(path.stat().st_size for path in (tmp_path / "cache").iterdir())
    assert 0 <= size - 2 * 6 * numbers < 1000  # but for the headers
