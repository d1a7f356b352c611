"""How well a mask fits: mask IoU, Boundary IoU, and means by class and size.

Source: Boundary IoU after Cheng et al., CVPR 2021 (boundary width 2 % of the image diagonal);
size classes are COCO's (32^2 and 96^2 pixels of mask area).
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_cdt

from mal_core.masks import RLE, Mask, decode_crop

BOUNDARY_SHARE = 0.02
SMALL, MEDIUM = 32**2, 96**2
RESAMPLES, CHUNK = 10_000, 500


def boundary_iou(first: RLE, second: RLE) -> float:
    """IoU of the bands of 2 % of the image diagonal along the inside of two masks' outlines.

    Args:
        first: a mask.
        second: a mask of the same image.

    Returns:
        0 to 1; 1 if both masks are empty.
    """
    if first.box is None or second.box is None:
        return 1.0 if first.box is None and second.box is None else 0.0
    width = max(1, round(BOUNDARY_SHARE * math.hypot(first.height, first.width)))
    band, other = (_band(rle, width) for rle in (first, second))
    return iou_of_parts(band, other)


def iou_of_parts(first: tuple[Mask, int, int], second: tuple[Mask, int, int]) -> float:
    """IoU of two masks that are each known on a rectangle only: (mask (h, w), x0, y0)."""
    (a, ax, ay), (b, bx, by) = first, second
    x0, y0 = max(ax, bx), max(ay, by)
    x1, y1 = min(ax + a.shape[1], bx + b.shape[1]), min(ay + a.shape[0], by + b.shape[0])
    both = 0
    if x1 > x0 and y1 > y0:
        part_a = a[y0 - ay : y1 - ay, x0 - ax : x1 - ax]
        part_b = b[y0 - by : y1 - by, x0 - bx : x1 - bx]
        both = int((part_a & part_b).sum())
    either = int(a.sum()) + int(b.sum()) - both
    return both / either if either else 1.0


def size_class(area: int) -> str:
    """COCO's "small", "medium" or "large" for a mask area in pixels."""
    if area < SMALL:
        return "small"
    return "medium" if area < MEDIUM else "large"


def mean(values: Iterable[float]) -> float | None:
    """Arithmetic mean; None of nothing."""
    numbers = list(values)
    return float(np.mean(numbers)) if numbers else None


def class_mean(
    values: Sequence[float], classes: Sequence[int]
) -> tuple[float, Mapping[int, float]]:
    """Mean over classes of the mean within each class, and those means.

    Args:
        values: (N,) one an instance, N >= 1.
        classes: (N,) the class of each.
    """
    groups: dict[int, list[float]] = {}
    for value, name in zip(values, classes, strict=True):
        groups.setdefault(name, []).append(value)
    means = {name: float(np.mean(group)) for name, group in sorted(groups.items())}
    return float(np.mean(list(means.values()))), means


@dataclass(frozen=True)
class Interval:
    """A mean and where it lies with 95 % confidence.

    Attributes:
        n: values behind it.
    """

    mean: float
    low: float
    high: float
    n: int


def paired_bootstrap(
    differences: Sequence[float], clusters: Sequence[Hashable], seed: int = 0
) -> Interval:
    """The mean of paired differences, and its 95 % percentile interval.

    Whole clusters are drawn, with replacement, 10,000 times: the instances of an image share its
    light and its objects, so they are no independent draws. With one cluster the interval is the
    mean itself and says nothing.

    Args:
        differences: (N,) after minus before, one an instance, N >= 1.
        clusters: (N,) what each belongs to, such as the id of its image.
        seed: of the draws.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13.
    """
    values = np.asarray(differences, np.float64)
    places = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
    rows = np.array([places[name] for name in clusters])
    sums, counts = np.bincount(rows, values), np.bincount(rows)
    random, share = np.random.default_rng(seed), np.full(len(places), 1 / len(places))
    means = []
    for start in range(0, RESAMPLES, CHUNK):
        draws = random.multinomial(len(places), share, min(CHUNK, RESAMPLES - start))
        means.append(draws @ sums / (draws @ counts))  # (CHUNK,)
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return Interval(float(values.mean()), float(low), float(high), len(values))


def _band(rle: RLE, width: int) -> tuple[Mask, int, int]:
    """The mask pixels at most `width` king's moves from a pixel outside it (or the image)."""
    mask, x0, y0 = decode_crop(rle)
    distance = distance_transform_cdt(np.pad(mask, 1), metric="chessboard")[1:-1, 1:-1]
    return mask & (distance <= width), x0, y0
