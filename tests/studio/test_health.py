"""Dataset health: every finding against a plain count of pixels on small dense masks."""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pil
from scipy import ndimage

from app.health.likeness import alike, hash_of
from app.health.limits import TITLES, Kind, Limits, rules
from app.health.pairs import find_pairs
from app.health.shapes import find_shapes, to_parts, to_strips
from app.records import Draft, State
from mal_core.masks import RLE, encode

ROOT = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH = 24, 30
EIGHT = np.ones((3, 3))
Pixels = NDArray[np.bool_]
LOOSE = Limits(tiny_area=12, tiny_side=3, huge_share=0.4, hollow_share=0.2, speck_share=0.1,
               leak_share=0.2, far_sides=0.5, double_iou=0.4, overlap_iou=0.3,
               nested_share=0.8)  # fmt: skip
"""Limits under which random blots show every finding."""


def blots(seed: int) -> Pixels:
    """A random mask: rectangles added and cut out, so that there are holes and parts."""
    random = np.random.default_rng(seed)
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    for _ in range(random.integers(0, 6)):
        y0, x0 = random.integers(0, HEIGHT), random.integers(0, WIDTH)
        height, width = random.integers(1, 14, 2)
        mask[y0 : y0 + height, x0 : x0 + width] = random.random() < 0.7
    return mask


def rle_of(mask: Pixels) -> RLE:
    return encode(mask, height=HEIGHT, width=WIDTH)


def draft_of(mask: Pixels, box: tuple[float, ...], state: State = State.ACCEPTED) -> Draft:
    x0, y0, x1, y1 = box
    return Draft(state, 1, (x0, y0, x1, y1), rle_of(mask))


def random_box(seed: int) -> tuple[float, ...]:
    x0, x1 = np.sort(np.random.default_rng(seed).uniform(0, WIDTH - 1, 2))
    y0, y1 = np.sort(np.random.default_rng(seed + 1).uniform(0, HEIGHT - 1, 2))
    return float(x0), float(y0), float(x1) + 1, float(y1) + 1


def tight(mask: Pixels) -> tuple[int, int, int, int]:
    ys, xs = np.nonzero(mask)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def reach_of(box: tuple[int, int, int, int]) -> int:
    return max(box[2] - box[0], box[3] - box[1])


def extent(box: tuple[float, ...]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def shared(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    sides = [min(one[a + 2], other[a + 2]) - max(one[a], other[a]) for a in (0, 1)]
    return max(sides[0], 0) * max(sides[1], 0)


def by_hand(draft: Draft, mask: Pixels, limits: Limits) -> set[Kind]:
    """What is wrong with one instance, from its pixels one by one."""
    area = int(mask.sum())
    if area == 0:
        return {Kind.EMPTY}
    box = tight(mask)
    x0, y0, x1, y1 = box
    inside = np.zeros_like(mask)
    inside[int(np.floor(draft.box[1])) : int(np.ceil(draft.box[3])),
           int(np.floor(draft.box[0])) : int(np.ceil(draft.box[2]))] = True  # fmt: skip
    common = shared(box, draft.box)
    labels, count = ndimage.label(mask, EIGHT)
    parts = [labels == n for n in range(1, count + 1)]
    core = tight(max(parts, key=lambda part: (part.sum(), reach_of(tight(part)))))
    gaps = [
        max(max(core[a], t[a]) - min(core[a + 2], t[a + 2]) for a in (0, 1))
        for t in map(tight, parts)
    ]
    is_drawn = draft.state is State.CORRECTED
    answers = {
        Kind.TINY: area < limits.tiny_area or min(x1 - x0, y1 - y0) < limits.tiny_side,
        Kind.HUGE: area > limits.huge_share * HEIGHT * WIDTH,
        Kind.BORDER: bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()),
        Kind.BOX: not is_drawn
        and common / (extent(box) + extent(draft.box) - common) < limits.box_iou,
        Kind.LEAK: not is_drawn and (mask & ~inside).sum() > limits.leak_share * area,
        Kind.HOLLOW: area < limits.hollow_share * extent(draft.box),
        Kind.SPECKS: any(part.sum() < limits.speck_share * area for part in parts),
        Kind.FAR: any(gap > limits.far_sides * reach_of(core) for gap in gaps),
    }
    return {kind for kind, answer in answers.items() if answer}


def found_in(drafts: list[Draft], limits: Limits) -> list[set[Kind]]:
    flags, _ = find_shapes(drafts, limits)
    return [{kind for kind, flag in flags.items() if flag[i]} for i in range(len(drafts))]


MASKS = [blots(seed) for seed in range(150)]
DRAFTS = [
    draft_of(mask, random_box(1000 + n), State.CORRECTED if n % 5 == 0 else State.PROPOSED)
    for n, mask in enumerate(MASKS)
]


def test_findings_are_what_counting_pixels_gives() -> None:
    found = found_in(DRAFTS, LOOSE)
    assert found == [by_hand(d, m, LOOSE) for d, m in zip(DRAFTS, MASKS, strict=True)]
    alone = {Kind.NO_MASK, Kind.DOUBLE, Kind.NESTED, Kind.OVERLAP}
    assert set.union(*found) == set(Kind) - alone  # each was put to the test


def test_many_masks_together_are_what_each_is_alone() -> None:
    assert found_in(DRAFTS[:40], LOOSE) == [found_in([draft], LOOSE)[0] for draft in DRAFTS[:40]]


@pytest.mark.parametrize("axis", [0, 1], ids=["upside down", "mirrored"])
def test_findings_do_not_depend_on_which_way_an_image_is_turned(axis: int) -> None:
    turned = []
    for draft, mask in zip(DRAFTS, MASKS, strict=True):
        x0, y0, x1, y1 = draft.box
        box = (WIDTH - x1, y0, WIDTH - x0, y1) if axis else (x0, HEIGHT - y1, x1, HEIGHT - y0)
        turned.append(draft_of(np.flip(mask, axis), box, draft.state))
    assert found_in(turned, LOOSE) == found_in(DRAFTS, LOOSE)


def test_parts_are_those_of_eight_neighbours_with_their_areas_and_boxes() -> None:
    masks = [mask for mask in MASKS if mask.any()]
    parts = to_parts(to_strips([rle_of(mask) for mask in masks]))
    for index, mask in enumerate(masks):
        labels, count = ndimage.label(mask, EIGHT)
        wanted = sorted(
            (int((labels == n).sum()), *tight(labels == n)) for n in range(1, count + 1)
        )
        mine = parts.owner == index
        rows = zip(parts.area[mine].tolist(), parts.box[mine].tolist(), strict=True)
        assert sorted((area, *box) for area, box in rows) == wanted


@pytest.mark.parametrize("fill", [np.zeros, np.ones], ids=["empty", "full"])
def test_a_mask_of_nothing_and_a_mask_of_all_have_strips_and_parts(
    fill: Callable[..., Pixels],
) -> None:
    mask = fill((HEIGHT, WIDTH), np.bool_)
    strips = to_strips([rle_of(mask)])
    assert strips.owner.size == (WIDTH if mask.any() else 0)
    assert to_parts(strips).area.tolist() == ([HEIGHT * WIDTH] if mask.any() else [])


def square(side: int, x0: int = 5, y0: int = 5, height: int = 0) -> Pixels:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[y0 : y0 + (height or side), x0 : x0 + side] = True
    return mask


def speck(pixels: int) -> Pixels:
    """A hundred pixels in all: one part, and a few pixels far enough not to touch it."""
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[2:12, 2:12] = True
    mask[11, 2 : 2 + pixels] = False
    mask[20, 2 : 2 + pixels] = True
    return mask


def twins(gap: int) -> Pixels:
    return square(5, x0=1) | square(4, x0=6 + gap)


BOX = (5.0, 5.0, 15.0, 15.0)
WHOLE = (0.0, 0.0, float(WIDTH), float(HEIGHT))


@pytest.mark.parametrize(
    ("kind", "limits", "mask", "box", "expected"),
    [
        pytest.param(Kind.TINY, {"tiny_area": 25}, square(5), BOX, False, id="area at"),
        pytest.param(Kind.TINY, {"tiny_area": 26}, square(5), BOX, True, id="area below"),
        pytest.param(Kind.TINY, {"tiny_area": 1, "tiny_side": 4}, square(4), BOX, False, id="side"),
        pytest.param(Kind.TINY, {"tiny_area": 1, "tiny_side": 5}, square(9, height=4), BOX, True,
                     id="side below"),
        pytest.param(Kind.HUGE, {"huge_share": 100 / 720}, square(10), BOX, False, id="share at"),
        pytest.param(Kind.HUGE, {"huge_share": 99 / 720}, square(10), BOX, True, id="share above"),
        pytest.param(Kind.HOLLOW, {"hollow_share": 0.25}, square(5), BOX, False, id="fill at"),
        pytest.param(Kind.HOLLOW, {"hollow_share": 0.26}, square(5), BOX, True, id="fill below"),
        pytest.param(Kind.BOX, {"box_iou": 0.5}, square(10, height=5), BOX, False, id="boxes at"),
        pytest.param(Kind.BOX, {"box_iou": 0.51}, square(10, height=5), BOX, True, id="boxes off"),
        pytest.param(Kind.LEAK, {"leak_share": 0.5}, square(10), (5, 5, 10, 15), False, id="out"),
        pytest.param(Kind.LEAK, {"leak_share": 0.49}, square(10), (5, 5, 10, 15), True, id="outer"),
        pytest.param(Kind.LEAK, {"leak_share": 0.0}, square(10), (5.9, 5.9, 14.1, 14.1), False,
                     id="a pixel that the box touches is inside"),
        pytest.param(Kind.SPECKS, {"speck_share": 0.03}, speck(3), WHOLE, False, id="speck at"),
        pytest.param(Kind.SPECKS, {"speck_share": 0.031}, speck(3), WHOLE, True, id="speck below"),
        pytest.param(Kind.SPECKS, {"speck_share": 0.9}, speck(0), WHOLE, False, id="one part"),
        pytest.param(Kind.FAR, {"far_sides": 1.0}, twins(5), WHOLE, False, id="far at"),
        pytest.param(Kind.FAR, {"far_sides": 1.0}, twins(6), WHOLE, True, id="far beyond"),
        pytest.param(Kind.BORDER, {}, square(5, x0=0), WHOLE, True, id="left"),
        pytest.param(Kind.BORDER, {}, square(5, x0=1, y0=1), WHOLE, False, id="one pixel off"),
    ],
)  # fmt: skip
def test_a_finding_begins_exactly_at_its_limit(
    kind: Kind,
    limits: dict[str, Any],
    mask: Pixels,
    box: tuple[float, ...],
    expected: bool,
) -> None:
    (found,) = found_in([draft_of(mask, box)], replace(Limits(), **limits))
    assert (kind in found) is expected


def pairs_by_hand(categories: list[int], masks: list[Pixels]) -> set[tuple[Kind, int, int]]:
    found = set()
    for one, other in combinations(range(len(masks)), 2):
        common = int((masks[one] & masks[other]).sum())
        iou = common / int((masks[one] | masks[other]).sum())
        inside = common / min(int(masks[one].sum()), int(masks[other].sum()))
        is_same = categories[one] == categories[other]
        if is_same and iou >= LOOSE.double_iou:
            found.add((Kind.DOUBLE, one, other))
        elif is_same and inside >= LOOSE.nested_share:
            found.add((Kind.NESTED, one, other))
        elif iou >= LOOSE.overlap_iou:
            found.add((Kind.OVERLAP, one, other))
    return found


def test_pairs_are_what_comparing_pixels_gives_whatever_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.health.pairs._ROWS", 32)  # fewer than there are
    masks = [mask for mask in MASKS if mask.any()]
    categories = [n % 2 for n in range(len(masks))]
    areas = np.array([mask.sum() for mask in masks], np.int64)
    codes = [rle_of(mask) for mask in masks]
    found = {(kind, *pair) for kind, pair in find_pairs(codes, areas, categories, LOOSE)}
    assert found == pairs_by_hand(categories, masks)
    assert {kind for kind, *_ in found} == {Kind.DOUBLE, Kind.NESTED, Kind.OVERLAP}
    last = len(masks) - 1
    back = find_pairs(codes[::-1], areas[::-1], categories[::-1], LOOSE)
    assert {(kind, last - two, last - one) for kind, (one, two) in back} == found


def groups_by_hand(hashes: list[int], bits: int) -> set[frozenset[int]]:
    groups = {frozenset([n]) for n in range(len(hashes))}
    for one, other in combinations(range(len(hashes)), 2):
        if (hashes[one] ^ hashes[other]).bit_count() <= bits:
            merged = [group for group in groups if group & {one, other}]
            groups = groups - set(merged) | {frozenset().union(*merged)}
    return {group for group in groups if len(group) > 1}


@pytest.mark.parametrize("bits", [0, 1, 4, 64])
def test_groups_are_what_comparing_each_pair_gives(
    bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.health.likeness._PAIRS", 2000)  # fewer than there are
    random = np.random.default_rng(bits)
    bases = random.integers(0, 2**63, 25)
    hashes = [int(b) ^ sum(1 << int(k) for k in set(random.integers(0, 64, random.integers(0, 6))))
              for b in random.choice(bases, 150)]  # fmt: skip
    found = alike(hashes, bits)
    assert {frozenset(group) for group in found} == groups_by_hand(hashes, bits)
    assert all(group == sorted(group) for group in found)
    assert found == sorted(found)
    order = random.permutation(len(hashes))
    shuffled = alike([hashes[n] for n in order], bits)
    assert {frozenset(int(order[n]) for n in group) for group in shuffled} == set(
        map(frozenset, found)
    )


def test_no_images_are_no_groups() -> None:
    assert alike([], 6) == []
    assert alike([5], 6) == []


def scene(seed: int, size: tuple[int, int]) -> Pil.Image:
    """Something with light and shade, as photos have."""
    noise = np.random.default_rng(seed).random((9, 9))
    return Pil.fromarray((255 * noise).astype(np.uint8)).convert("RGB").resize(size, 3)


def test_a_copy_of_another_size_is_alike_and_another_scene_is_not() -> None:
    pictures = [scene(1, (160, 120)), scene(2, (160, 120)), scene(1, (90, 70)), scene(3, (160, 99))]
    assert alike([hash_of(one) for one in pictures], Limits().alike_bits) == [[0, 2]]


def test_the_guide_tells_each_finding_with_the_same_numbers() -> None:
    guide = (ROOT / "docs" / "health.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", guide, re.MULTILINE))
    for kind, rule in rules(Limits()).items():
        assert re.findall(r"\d+", rows[TITLES[kind]]) == re.findall(r"\d+", rule), kind


def test_every_limit_stands_in_the_words() -> None:
    before = " ".join(rules(Limits()).values())
    shown = {"tiny_area": 77, "tiny_side": 77, "huge_share": 0.77, "hollow_share": 0.77,
             "box_iou": 0.77, "leak_share": 0.77, "speck_share": 0.77, "far_sides": 77.0,
             "double_iou": 0.77, "overlap_iou": 0.77, "nested_share": 0.77}  # fmt: skip
    for name, value in shown.items():
        changed = " ".join(rules(replace(Limits(), **{name: value})).values())
        assert changed.count("77") == before.count("77") + 1, name
    assert set(rules(Limits())) == set(Kind)
