"""Codes checked together: what the careful way makes of each one alone, or left to it."""

import random

import numpy as np
import pytest

from mal_core.bulk import Checked, measure
from mal_core.errors import BadMask
from mal_core.masks import RLE, encode


def random_mask(chance: random.Random) -> RLE:
    height, width = chance.randrange(1, 24), chance.randrange(1, 24)
    seed = np.random.default_rng(chance.randrange(2**32))
    share = chance.choice([0, 0.1, 0.5, 0.9, 1])
    return encode(seed.random((height, width)) < share, height=height, width=width)


def spoil(text: str, chance: random.Random) -> str:
    """Another text: a character changed, cut, added, or a number written with one too many."""
    place = chance.randrange(len(text))
    return chance.choice(
        [
            text[:place] + chr(chance.randrange(40, 120)) + text[place + 1 :],
            text[:place],
            text + chr(chance.randrange(48, 112)),
            text[:place] + chance.choice(["P0", "o0", "oO", "P", "0", "ä"]) + text[place:],
        ]
    )


@pytest.fixture(scope="module")
def values() -> list[dict[str, object]]:
    chance = random.Random(7)
    made: list[dict[str, object]] = []
    for turn in range(3000):
        rle = random_mask(chance)
        text = rle.counts if turn % 2 else spoil(rle.counts, chance)
        made.append({"size": [rle.height, rle.width], "counts": text})
    return made


def alone(value: dict[str, object]) -> RLE | None:
    try:
        return RLE.from_coco(value)
    except BadMask:
        return None


def test_what_is_found_sound_together_is_sound_alone_and_measured_alike(
    values: list[dict[str, object]],
) -> None:
    checked = Checked(values)
    found = 0
    for value in values:
        mask, wanted = checked.get(value), alone(value)
        if mask is not None:
            found += 1
            assert wanted is not None
            assert (mask, mask.area, mask.box) == (wanted, wanted.area, wanted.box)
            assert np.array_equal(mask.runs, wanted.runs)
    assert found > len(values) / 3


def test_only_what_is_not_as_pycocotools_writes_it_is_left_to_the_careful_way(
    values: list[dict[str, object]],
) -> None:
    checked = Checked(values)
    for value in values:
        wanted = alone(value)
        is_canonical = wanted is not None and wanted.counts == value["counts"]
        assert (checked.get(value) is not None) == is_canonical


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="none"),
        pytest.param([[1, 2, 3, 4, 5, 6]], id="polygons"),
        pytest.param({"size": [2, 2], "counts": [4]}, id="runs in a list"),
        pytest.param({"size": [2, True], "counts": "4"}, id="a truth as a size"),
        pytest.param({"size": [2, 20000], "counts": "4"}, id="too large a size"),
        pytest.param({"size": [2], "counts": "4"}, id="half a size"),
        pytest.param({"counts": "4"}, id="no size"),
        pytest.param({"size": [2, 2], "counts": ""}, id="no counts"),
        pytest.param({"size": [2, 2], "counts": "o" * 40}, id="an endless number"),
    ],
)
def test_anything_else_is_left_alone(value: object) -> None:
    assert Checked([value]).get(value) is None


def test_masks_measured_together_know_what_they_would_find_alone() -> None:
    chance = random.Random(3)
    masks = [random_mask(chance) for _ in range(1200)]
    measure(masks)
    for mask in masks:
        fresh = RLE(mask.height, mask.width, mask.counts)
        assert (mask.__dict__["area"], mask.__dict__["box"]) == (fresh.area, fresh.box)
