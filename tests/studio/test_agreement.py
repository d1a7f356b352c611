"""Agreement of annotators, against brute force on tiny images."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.agreement import MATCH, Shape, between, compare, hands, kappa, summed, worst
from app.errors import Conflict
from app.pages.agreement import agreement_html
from app.records import State
from mal_core.masks import RLE, encode, iou
from mal_core.metrics import boundary_iou
from tests.studio.conftest import NOW, Studio, blob

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


def test_a_person_s_masks_are_those_they_saved_last_themselves(studio: Studio) -> None:
    store, made = studio.store, studio.add(0, State.CORRECTED)
    other = replace(made.draft, rle=blob(studio.images[0], 20, 30))
    store.save_instance(made.id, other, 1, "Bob", "brush", NOW)
    third = replace(made.draft, rle=blob(studio.images[0], 30, 40))
    with pytest.raises(Conflict):  # it is Cy's word all the same
        store.save_instance(made.id, third, 1, "Cy", "brush", NOW)
    lone, gone = studio.add(1, State.ACCEPTED), studio.add(0, State.ACCEPTED)
    rejected = replace(gone.draft, state=State.REJECTED)
    store.save_instance(gone.id, rejected, 1, "Ada", "reject", NOW)
    proposed = studio.add(0)
    store.save_instance(proposed.id, proposed.draft, 1, "", "proposed again", NOW)
    images = {made.id: 1, lone.id: 2, gone.id: 1, proposed.id: 1}
    found = hands(store.list_project_revisions(studio.project.id), images)
    assert {key: {who: [s.rle for s in shapes] for who, shapes in people.items()}
            for key, people in found.items()} == {
        1: {"Ada": [made.draft.rle], "Bob": [other.rle], "Cy": [third.rle]},
        2: {"Ada": [lone.draft.rle]},
    }  # fmt: skip
    pairs = between(found)
    assert list(pairs) == [("Ada", "Bob"), ("Ada", "Cy"), ("Bob", "Cy")]
    assert pairs["Ada", "Bob"] == {1: compare(found[1]["Ada"], found[1]["Bob"])}
    assert hands(store.list_project_revisions(studio.project.id), {}) == {}


def test_the_table_names_pairs_and_leads_to_where_they_differ_most(studio: Studio) -> None:
    first, second = shapes(square(0, 0, 4, 4)), shapes(square(0, 0, 4, 3), square(6, 0, 9, 6))
    pairs = {("<b>Ann", "Bob"): {7: compare(first, second), 8: compare(first, first)}}
    html = agreement_html(pairs, {7: "seven.png", 8: "eight.png"}, studio.project.id)
    assert "&lt;b&gt;Ann" in html
    assert "<b>Ann" not in html
    assert html.index("seven.png") < html.index("eight.png")
    assert "data-mal-image='7'" in html
    assert "Two people" in agreement_html({}, {}, studio.project.id)
