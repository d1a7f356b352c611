"""Polygons along the edges of pixels: filled again, they are the mask."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mal_core import polygons
from mal_core.errors import BadMask
from mal_core.masks import RLE, Mask, encode, polygons_to_rle
from mal_core.polygons import (
    Ring,
    join_rings,
    mask_to_rings,
    masks_to_rings,
    rings_to_polygons,
)

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def whole(mask: Mask) -> RLE:
    return encode(mask, x0=2, y0=1, height=mask.shape[0] + 2, width=mask.shape[1] + 3)


def from_text(*rows: str) -> Mask:
    return np.array([[c == "#" for c in row] for row in rows])


def signed_area(ring: Ring) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


@settings(max_examples=300, deadline=None)
@given(mask=MASKS)
def test_the_union_of_the_filled_rings_is_the_mask(mask: Mask) -> None:
    rle = whole(mask)
    rings = mask_to_rings(rle)
    if mask.any():
        polygons = rings_to_polygons(rings)
        assert polygons_to_rle(polygons, rle.height, rle.width) == rle
    else:
        assert rings == []


@settings(max_examples=300, deadline=None)
@given(mask=MASKS.filter(np.any))
def test_all_rings_joined_to_one_are_still_the_mask(mask: Mask) -> None:
    rle = whole(mask)
    one = join_rings(mask_to_rings(rle))
    assert polygons_to_rle(rings_to_polygons([one]), rle.height, rle.width) == rle


@settings(max_examples=100, deadline=None)
@given(mask=MASKS)
def test_the_rings_enclose_as_many_pixels_as_the_mask_has(mask: Mask) -> None:
    """Bridges enclose nothing, and holes are walked the other way round."""
    assert sum(map(signed_area, mask_to_rings(whole(mask)))) == mask.sum()


@settings(max_examples=100, deadline=None)
@given(masks=st.lists(MASKS, max_size=6), pixels=st.sampled_from([1, 60, 2**18]))
def test_masks_walked_together_have_the_rings_they_have_alone(
    masks: list[Mask], pixels: int
) -> None:
    rles = [whole(mask) for mask in masks]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(polygons, "_CANVAS", pixels)
        together = masks_to_rings(rles)
    alone = [mask_to_rings(rle) for rle in rles]
    assert [[r.tolist() for r in rings] for rings in together] == [
        [r.tolist() for r in rings] for rings in alone
    ]


def test_a_rectangle_has_four_corners_clockwise_from_the_top_left() -> None:
    (ring,) = mask_to_rings(whole(from_text("###", "###")))
    assert ring.tolist() == [[2, 1], [5, 1], [5, 3], [2, 3]]


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        pytest.param(["#.", ".#"], 2, id="pixels that touch by a corner are two parts"),
        pytest.param([".#", "#."], 2, id="in the other direction as well"),
        pytest.param(["###", "#.#", "###"], 1, id="a ring is one"),
        pytest.param(["#####", "#...#", "#.#.#", "#...#", "#####"], 2, id="an island is another"),
        pytest.param(["####", "#.##", "##.#", "####"], 1, id="holes that touch by a corner"),
    ],
)
def test_each_part_has_one_ring(rows: list[str], parts: int) -> None:
    assert len(mask_to_rings(whole(from_text(*rows)))) == parts


def test_outlines_too_long_for_the_memory_are_refused() -> None:
    zigzag = [value for _ in range(300) for value in (0.0, 0.0, 16384.0, 16384.0)]
    with pytest.raises(BadMask, match="shorter than 4,000,000 pixels"):
        polygons_to_rle([zigzag], 16384, 16384)
