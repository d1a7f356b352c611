"""Pairs of masks on one image that share too much."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from app.health.limits import Kind, Limits
from mal_core.masks import RLE

_ROWS = 256  # of the table of all pairs that is looked at at a time
Pair = tuple[int, int]


def find_pairs(
    masks: Sequence[RLE], areas: NDArray[np.int64], categories: Sequence[int], limits: Limits
) -> Iterator[tuple[Kind, Pair]]:
    """Look at each pair of an image once; it is found by the first rule that it meets.

    Args:
        masks: (N), not empty, all of one size.
        areas: (N,) pixels of each.
        categories: (N) of each.
        limits: where a finding begins.

    Yields:
        The kind, and the indices of the two, the lower first.
    """
    codes = [mask.to_coco() for mask in masks]
    for start in range(0, len(codes), _ROWS):
        ious = coco_mask.iou(codes[start : start + _ROWS], codes, [0] * len(codes))
        rows, columns = np.nonzero(np.triu(ious, start + 1))
        for row, other in zip(rows.tolist(), columns.tolist(), strict=True):
            one, iou = start + row, float(ious[row, other])
            shared = round(iou * (areas[one] + areas[other]) / (1 + iou))
            is_same = categories[one] == categories[other]
            inside = shared / int(min(areas[one], areas[other]))
            if (kind := _judge(iou, inside, limits, is_same=is_same)) is not None:
                yield kind, (one, other)


def _judge(iou: float, inside: float, limits: Limits, *, is_same: bool) -> Kind | None:
    if is_same and iou >= limits.double_iou:
        return Kind.DOUBLE
    if is_same and inside >= limits.nested_share:
        return Kind.NESTED
    return Kind.OVERLAP if iou >= limits.overlap_iou else None
