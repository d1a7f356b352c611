"""Agreement of annotators and consensus of masks, each against brute force on tiny images."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.agreement import (
    MATCH,
    Rule,
    Shape,
    compare,
    consensus,
    grouped,
    kappa,
    summed,
    vote,
    worst,
)
from mal_core.masks import RLE, decode, encode, iou
from mal_core.metrics import boundary_iou

HEIGHT, WIDTH = 6, 9


def square(x0: int, y0: int, x1: int, y1: int) -> RLE:
    dense = np.zeros((HEIGHT, WIDTH), np.bool_)
    dense[y0:y1, x0:x1] = True
    return encode(dense, height=HEIGHT, width=WIDTH)


def shapes(*masks: RLE, category: int = 1) -> list[Shape]:
    return [Shape(number, category, mask) for number, mask in enumerate(masks, start=1)]


boxes = st.tuples(st.integers(0, 8), st.integers(0, 5), st.integers(1, 9), st.integers(1, 6))
masks = boxes.filter(lambda box: box[0] < box[2] and box[1] < box[3]).map(lambda b: square(*b))
people = st.lists(masks, max_size=4).map(lambda found: shapes(*found))


def best_sum(first: Sequence[Shape], second: Sequence[Shape]) -> float:
    """The largest sum of IoUs that a matching can have, by trying all."""
    few, many = sorted((first, second), key=len)
    tries = itertools.permutations(many, len(few))
    return max(sum(iou(a.rle, b.rle) for a, b in zip(few, one, strict=True)) for one in tries)


@settings(max_examples=60, deadline=None)
@given(people, people)
def test_the_matching_has_the_largest_sum_of_ious_of_all(
    first: list[Shape], second: list[Shape]
) -> None:
    found = compare(first, second)
    assert all(pair.iou >= MATCH for pair in found.pairs)
    assert sorted(
        [p.first.instance_id for p in found.pairs] + [s.instance_id for s in found.first_only]
    ) == [s.instance_id for s in first]
    assert sorted(
        [p.second.instance_id for p in found.pairs] + [s.instance_id for s in found.second_only]
    ) == [s.instance_id for s in second]
    kept = sum(pair.iou for pair in found.pairs)
    if not first or not second:
        assert kept == 0
        return
    # What is below MATCH may be in the best matching, and is dropped: it is less than that a pair.
    dropped = min(len(first), len(second)) - len(found.pairs)
    assert kept <= best_sum(first, second) + 1e-9 < kept + dropped * MATCH + 1e-6


@settings(max_examples=40, deadline=None)
@given(people, people)
def test_agreement_does_not_depend_on_who_is_named_first(
    first: list[Shape], second: list[Shape]
) -> None:
    one, other = summed([compare(first, second)]), summed([compare(second, first)])
    assert (one.f1, one.matched) == (other.f1, other.matched)
    assert (one.first_only, one.second_only) == (other.second_only, other.first_only)
    assert one.quality == pytest.approx(other.quality)


def test_agreement_of_a_person_with_themselves_is_full() -> None:
    found = shapes(square(0, 0, 3, 3), square(4, 1, 9, 6))
    total = summed([compare(found, found)])
    assert (total.f1, total.iou, total.boundary_iou, total.quality) == (1.0, 1.0, 1.0, 1.0)
    assert (total.images, total.matched, total.kappa) == (1, 2, None)


def test_the_sums_over_images_are_those_of_their_parts() -> None:
    a, b = square(0, 0, 4, 4), square(0, 0, 4, 3)
    near = compare(shapes(a), shapes(b, square(6, 0, 9, 6)))
    far = compare(shapes(square(0, 0, 2, 2)), shapes(square(5, 3, 9, 6)))
    total = summed([near, far])
    assert (total.images, total.matched, total.first_only, total.second_only) == (2, 1, 1, 2)
    assert total.iou == pytest.approx(12 / 16)
    assert total.boundary_iou == boundary_iou(a, b)
    assert total.f1 == pytest.approx(2 * 1 / (2 * 1 + 1 + 2))
    assert total.quality == pytest.approx((12 / 16) / (1 + 3 / 2))
    assert [image for image, _ in worst({7: near, 8: far, 9: compare([], [])})] == [8, 7]


def test_nothing_agrees_on_nothing() -> None:
    total = summed([compare([], [])])
    assert (total.f1, total.iou, total.quality, total.kappa) == (None, None, None, None)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=12))
def test_kappa_is_what_is_left_of_agreement_beyond_chance(labels: list[tuple[int, int]]) -> None:
    count = len(labels)
    chance = sum(a == b for (a, _), (_, b) in itertools.product(labels, labels))
    if count == 0 or chance == count**2:
        assert kappa(labels) is None
        return
    by_chance = chance / count**2
    observed = sum(a == b for a, b in labels) / count
    assert kappa(labels) == pytest.approx((observed - by_chance) / (1 - by_chance))


@settings(max_examples=40, deadline=None)
@given(st.lists(masks, min_size=1, max_size=5), st.integers(1, 5))
def test_a_vote_counts_every_pixel(found: list[RLE], need: int) -> None:
    counts = sum(decode(mask).astype(int) for mask in found)
    assert np.array_equal(decode(vote(found, need)), np.asarray(counts) >= need)


def test_an_empty_mask_has_a_vote_that_counts_nowhere() -> None:
    empty = encode(np.zeros((HEIGHT, WIDTH), np.bool_), height=HEIGHT, width=WIDTH)
    assert vote([empty, square(0, 0, 2, 2)], 1) == square(0, 0, 2, 2)
    assert vote([empty, empty], 1).box is None


@pytest.mark.parametrize(
    ("rule", "voters", "expected"),
    [
        pytest.param(Rule.EITHER, 2, square(0, 0, 6, 4), id="what anyone has"),
        pytest.param(Rule.BOTH, 2, square(2, 0, 4, 4), id="what both have"),
        pytest.param(Rule.MAJORITY, 2, square(2, 0, 4, 4), id="of two, the majority is both"),
        pytest.param(Rule.MAJORITY, 3, square(2, 0, 4, 4), id="two of three"),
        pytest.param(Rule.BOTH, 3, None, id="the third saw nothing there"),
    ],
)
def test_one_mask_of_two(rule: Rule, voters: int, expected: RLE | None) -> None:
    group = {"Ann": Shape(5, 2, square(0, 0, 4, 4)), "Bob": Shape(6, 1, square(2, 0, 6, 4))}
    made = consensus(group, voters, rule)
    assert (None if made is None else made.rle) == expected
    if made is not None:
        assert (made.category_id, made.instance_id) == (1, 5)


def test_the_category_is_what_most_say() -> None:
    group = {name: Shape(1, category, square(0, 0, 2, 2)) for name, category in
             (("Ann", 1), ("Bob", 2), ("Cy", 2))}  # fmt: skip
    made = consensus(group, 3, Rule.MAJORITY)
    assert made is not None
    assert made.category_id == 2


def test_three_people_s_masks_become_objects_by_who_saw_them() -> None:
    here, there = square(0, 0, 3, 3), square(5, 2, 9, 6)
    groups = grouped({"Cy": shapes(here), "Ann": shapes(here, there), "Bob": shapes(there)})
    assert [sorted(group) for group in groups] == [["Ann", "Cy"], ["Ann", "Bob"]]
    assert grouped({}) == []
