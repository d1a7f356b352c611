"""Metrics equal their definitions, written out pixel by pixel."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from mal_core.masks import Mask, decode_crop, encode
from mal_core.metrics import (
    boundary_iou,
    class_mean,
    iou_of_parts,
    mean,
    paired_bootstrap,
    size_class,
)

HEIGHT, WIDTH = 90, 120  # diagonal 150: a band of 3 pixels


def blob(seed: int) -> Mask:
    """A few overlapping rectangles, some of them at the border of the image."""
    random = np.random.default_rng(seed)
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    for _ in range(4):
        y, x = random.integers(-10, HEIGHT - 10), random.integers(-10, WIDTH - 10)
        h, w = random.integers(5, 45, 2)
        mask[max(0, y) : y + h, max(0, x) : x + w] = True
    return mask


def erode(mask: Mask) -> Mask:
    """Keep pixels whose 3x3 neighbourhood lies in the mask; the image's outside does not."""
    padded = np.pad(mask, 1)
    views = [padded[y : y + HEIGHT, x : x + WIDTH] for y in range(3) for x in range(3)]
    return np.logical_and.reduce(views)


def brute_force_band(mask: Mask) -> Mask:
    inner = mask
    for _ in range(round(0.02 * math.hypot(HEIGHT, WIDTH))):
        inner = erode(inner)
    return mask & ~inner


def dense_iou(first: Mask, second: Mask) -> float:
    either = int((first | second).sum())
    return int((first & second).sum()) / either if either else 1.0


@pytest.mark.parametrize("seed", range(12))
def test_boundary_iou_compares_what_erosion_takes_away(seed: int) -> None:
    first, second = blob(seed), blob(seed) | blob(seed + 100)
    expected = dense_iou(brute_force_band(first), brute_force_band(second))
    got = boundary_iou(*(encode(mask, height=HEIGHT, width=WIDTH) for mask in (first, second)))
    assert got == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("first", "second", "value"), [(0, 0, 1.0), (0, 1, 0.0), (1, 0, 0.0)])
def test_boundary_iou_of_empty_masks(first: int, second: int, value: float) -> None:
    full = np.ones((HEIGHT, WIDTH), np.bool_)
    masks = [encode(full * bool(k), height=HEIGHT, width=WIDTH) for k in (first, second)]
    assert boundary_iou(*masks) == value


def test_the_band_is_one_pixel_wide_even_in_a_tiny_image() -> None:
    full, ring = np.ones((5, 5), np.bool_), np.ones((5, 5), np.bool_)
    ring[1:4, 1:4] = False
    assert boundary_iou(*(encode(m, height=5, width=5) for m in (full, ring))) == 1.0


@pytest.mark.parametrize("seed", range(8))
def test_iou_of_parts_equals_iou_of_the_whole_masks(seed: int) -> None:
    masks = [blob(seed), blob(seed + 50)]
    parts = [decode_crop(encode(mask, height=HEIGHT, width=WIDTH)) for mask in masks]
    assert iou_of_parts(*parts) == pytest.approx(dense_iou(*masks))


def test_parts_that_lie_apart_share_nothing() -> None:
    part = np.ones((3, 3), np.bool_)
    assert iou_of_parts((part, 0, 0), (part, 3, 0)) == 0
    assert iou_of_parts((part, 9, 9), (part, 0, 0)) == 0
    wide = np.ones((20, 20), np.bool_)
    assert iou_of_parts((wide, 0, 0), (wide, 25, 0)) == 0
    assert iou_of_parts((part & False, 0, 0), (part & False, 5, 5)) == 1


@pytest.mark.parametrize(
    ("area", "name"),
    [(1, "small"), (1023, "small"), (1024, "medium"), (9215, "medium"), (9216, "large")],
)
def test_size_classes_are_those_of_coco(area: int, name: str) -> None:
    assert size_class(area) == name


def test_the_mean_of_nothing_is_nothing() -> None:
    assert mean([]) is None
    assert mean(value for value in (0.25, 0.75)) == 0.5


def test_each_class_counts_once_however_many_instances_it_has() -> None:
    total, means = class_mean([1.0, 1.0, 0.4, 0.0], [7, 7, 7, 2])
    assert means == pytest.approx({2: 0.0, 7: 0.8})
    assert total == pytest.approx(0.4)


def test_the_bootstrap_of_two_images_is_known() -> None:
    """Drawing two of two gives (a, a), (a, b) twice, (b, b): tails of a quarter each."""
    got = paired_bootstrap([-0.1, 0.3], [1, 2])
    assert (got.mean, got.low, got.high, got.n) == (pytest.approx(0.1), -0.1, 0.3, 2)


@pytest.mark.parametrize("count", [10, 30])
def test_the_bootstrap_of_zeros_and_ones_is_the_binomial(count: int) -> None:
    """The sum of `count` draws of 0 or 1 is Binomial(count, share of ones)."""
    ones = count * 3 // 10
    got = paired_bootstrap([1.0] * ones + [0.0] * (count - ones), range(count))
    expected = binom(count, ones / count).ppf((0.025, 0.975)) / count
    assert (got.low, got.high) == pytest.approx(tuple(expected), abs=1 / count + 1e-9)
    assert got.mean == pytest.approx(ones / count)


def test_instances_of_an_image_are_no_independent_draws() -> None:
    random = np.random.default_rng(0)
    values = random.normal(0.02, 0.1, 12)
    alone = paired_bootstrap(values, range(12))
    copies = np.repeat(values, 5)  # five objects an image, all alike: nothing more is known
    grouped = paired_bootstrap(copies, np.repeat(range(12), 5))
    assert (grouped.low, grouped.high) == pytest.approx((alone.low, alone.high))
    naive = paired_bootstrap(copies, range(60))
    assert naive.high - naive.low < 0.6 * (alone.high - alone.low)
    assert (grouped.n, naive.n) == (60, 60)


def test_an_image_counts_by_its_instances() -> None:
    got = paired_bootstrap([0.0, 0.0, 0.0, 1.0], ["a", "a", "a", "b"])
    assert (got.mean, got.low, got.high) == (0.25, 0.0, 1.0)


def test_the_bootstrap_is_a_function_of_its_seed() -> None:
    values = np.random.default_rng(1).normal(0, 1, 9)
    first, second, other = (paired_bootstrap(values, range(9), seed) for seed in (0, 0, 1))
    assert first == second != other
    assert other.low == pytest.approx(first.low, abs=0.05)


@pytest.mark.parametrize("count", [1, 7])
def test_one_image_gives_no_interval(count: int) -> None:
    values = [0.1 * k for k in range(count)]
    got = paired_bootstrap(values, [3] * count)
    assert got.low == pytest.approx(got.mean) == pytest.approx(got.high)
