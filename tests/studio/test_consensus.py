"""Consensus of several people's masks, each rule against brute force on tiny images."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.agreement import Shape
from app.consensus import agree, consensus, halfway, things_of, vote
from mal_core.masks import RLE, decode, encode, iou
from mal_core.metrics import boundary_iou

HEIGHT, WIDTH = 6, 9


def mask_of(dense: NDArray[np.bool_]) -> RLE:
    return encode(dense, height=HEIGHT, width=WIDTH)


def square(x0: int, y0: int, x1: int, y1: int) -> RLE:
    dense = np.zeros((HEIGHT, WIDTH), np.bool_)
    dense[y0:y1, x0:x1] = True
    return mask_of(dense)


def shapes(*masks: RLE, category: int = 1) -> list[Shape]:
    return [Shape(number, category, mask) for number, mask in enumerate(masks, start=1)]


bits = st.lists(st.booleans(), min_size=HEIGHT * WIDTH, max_size=HEIGHT * WIDTH)
masks = bits.map(lambda b: mask_of(np.array(b, np.bool_).reshape(HEIGHT, WIDTH)))
drawn = masks.filter(lambda mask: mask.area > 0)
corners = st.tuples(st.integers(0, 8), st.integers(0, 5), st.integers(1, 9), st.integers(1, 6))
squares = corners.filter(lambda c: c[0] < c[2] and c[1] < c[3]).map(lambda c: square(*c))


@settings(max_examples=40, deadline=None)
@given(st.lists(masks, min_size=1, max_size=5), st.integers(1, 5))
def test_a_vote_counts_every_pixel(found: list[RLE], need: int) -> None:
    counts = np.sum([decode(mask) for mask in found], axis=0)
    assert np.array_equal(decode(vote(found, need)), counts >= need)


def depth(dense: NDArray[np.bool_], at: tuple[int, int]) -> float:
    """The distance to the nearest pixel of the other side, by trying all; below 0 outside."""
    outside = [(y, x) for y in range(-1, HEIGHT + 1) for x in range(-1, WIDTH + 1)
               if not (0 <= y < HEIGHT and 0 <= x < WIDTH and dense[y, x])]  # fmt: skip
    inside = list(zip(*np.nonzero(dense), strict=True))
    other = outside if dense[at] else inside
    nearest = min(float(np.hypot(at[0] - y, at[1] - x)) for y, x in other)
    return nearest if dense[at] else -nearest


@settings(max_examples=25, deadline=None)
@given(drawn, drawn)
def test_half_way_is_where_the_two_signed_distances_cancel(first: RLE, second: RLE) -> None:
    a, b = decode(first), decode(second)
    made = decode(halfway(first, second))
    for at in itertools.product(range(HEIGHT), range(WIDTH)):
        assert made[at] == (depth(a, at) + depth(b, at) >= -1e-9), at
    assert np.array_equal(made & a & b, a & b)
    assert not (made & ~(a | b)).any()


@settings(max_examples=25, deadline=None)
@given(drawn, drawn)
def test_half_way_does_not_depend_on_who_is_named_first(first: RLE, second: RLE) -> None:
    assert halfway(first, second) == halfway(second, first)
    assert halfway(first, first) == first


def test_half_way_between_two_edges_is_the_edge_in_the_middle() -> None:
    made = decode(halfway(square(1, 1, 3, 5), square(1, 1, 7, 5)))
    assert np.array_equal(made[3], decode(square(1, 1, 5, 5))[3])


def test_half_way_to_nothing_is_nothing() -> None:
    empty = mask_of(np.zeros((HEIGHT, WIDTH), np.bool_))
    assert halfway(empty, square(0, 0, 2, 2)) == halfway(square(0, 0, 2, 2), empty) == empty
    assert vote([empty, square(0, 0, 2, 2)], 1) == square(0, 0, 2, 2)
    assert vote([empty, empty], 1).box is None


people = st.dictionaries(
    st.sampled_from(["Ann", "Bob", "Cy"]), st.lists(squares, max_size=3).map(lambda m: shapes(*m)),
    min_size=2,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(people)
def test_every_mask_is_of_one_thing_and_a_thing_has_one_of_each(
    found: dict[str, list[Shape]],
) -> None:
    things = things_of(found)
    for person, own in found.items():
        mine = [thing.shapes[person] for thing in things if person in thing.shapes]
        assert sorted(mine, key=lambda shape: shape.instance_id) == own
    for thing in things:
        pairs = list(itertools.combinations([s.rle for s in thing.shapes.values()], 2))
        assert thing.iou == (min(iou(a, b) for a, b in pairs) if pairs else None)
        assert thing.boundary_iou == (min(boundary_iou(a, b) for a, b in pairs) if pairs else None)
    if len(found) == 2:  # of two, no pair is left that would match
        alone = [[t.shapes[p].rle for t in things if set(t.shapes) == {p}] for p in sorted(found)]
        assert all(iou(a, b) <= 1 for a, b in itertools.product(*alone))


def test_three_people_s_masks_become_objects_by_who_saw_them() -> None:
    here, there = square(0, 0, 3, 3), square(5, 2, 9, 6)
    things = things_of({"Cy": shapes(here), "Ann": shapes(here, there), "Bob": shapes(there)})
    assert [sorted(thing.shapes) for thing in things] == [["Ann", "Cy"], ["Ann", "Bob"]]
    assert things_of({}) == things_of({"Ann": [], "Bob": []}) == []


A, B = square(0, 0, 4, 4), square(2, 0, 6, 4)


@pytest.mark.parametrize(
    ("found", "voters", "expected"),
    [
        pytest.param({"Ann": A, "Bob": A}, 2, A, id="both the same"),
        pytest.param({"Ann": square(0, 0, 4, 4), "Bob": square(0, 0, 6, 4)}, 2,
                     square(0, 0, 5, 4), id="of two, half way"),
        pytest.param({"Ann": A}, 2, None, id="one of two saw nothing"),
        pytest.param({"Ann": A, "Bob": B}, 3, square(2, 0, 4, 4), id="two of three"),
        pytest.param({"Ann": A, "Bob": B, "Cy": B}, 3, B, id="the majority of three"),
        pytest.param({"Ann": A}, 3, None, id="one of three"),
    ],
)  # fmt: skip
def test_one_mask_of_several(found: dict[str, RLE], voters: int, expected: RLE | None) -> None:
    alike = {name: [Shape(1, 1, mask)] for name, mask in found.items()}
    thing = things_of(alike)[0]
    group = type(thing)({name: own[0] for name, own in alike.items()}, None, None)
    assert consensus(group, voters) == expected


@pytest.mark.parametrize(
    ("found", "voters", "agrees"),
    [
        pytest.param({"Ann": (A, 1), "Bob": (A, 1)}, 2, True, id="all alike"),
        pytest.param({"Ann": (A, 1), "Bob": (A, 2)}, 2, False, id="as two kinds"),
        pytest.param({"Ann": (A, 1), "Bob": (A, 1)}, 3, False, id="the third saw nothing"),
        pytest.param({"Ann": (A, 1), "Bob": (square(0, 0, 3, 4), 1)}, 2, False, id="not enough"),
        pytest.param({"Ann": (A, 1)}, 2, False, id="one alone"),
    ],
)
def test_who_agrees(found: dict[str, tuple[RLE, int]], voters: int, agrees: bool) -> None:
    (thing,) = things_of({name: [Shape(1, kind, m)] for name, (m, kind) in found.items()})
    assert agree(thing, voters, 0.8) == agrees
