"""The shape of masks, from their runs alone: areas, boxes, parts, and what is wrong with them.

Each mask is taken apart into strips, the runs of its pixels within one column. All masks of an
image are measured together, in a few passes over all of their strips; nothing is decoded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from app.health.limits import Kind, Limits
from app.records import Draft, State
from mal_core.masks import RLE

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Strips:
    """The pixels of masks of one image as runs within columns, by mask, column and row.

    Attributes:
        height: rows of the image.
        width: columns of the image.
        owner: (S,) index of the mask.
        column: (S,) of the image.
        top: (S,) first row.
        bottom: (S,) row after the last.
    """

    height: int
    width: int
    owner: Ints
    column: Ints
    top: Ints
    bottom: Ints


@dataclass(frozen=True)
class Parts:
    """The parts of masks: pixels that touch by side or corner.

    Attributes:
        owner: (P,) index of the mask, ascending.
        area: (P,) pixels.
        box: (P, 4) tight x0, y0, x1, y1, half-open pixels.
    """

    owner: Ints
    area: Ints
    box: Ints


def to_strips(masks: Sequence[RLE]) -> Strips:
    """Take masks of one image apart.

    Args:
        masks: one or more, all of the same size.
    """
    height, width = masks[0].height, masks[0].width
    starts, stops, owners = [], [], []
    for index, mask in enumerate(masks):
        ends = np.cumsum(mask.runs)
        stop = ends[1::2]
        start = ends[0::2][: stop.size]
        starts.append(start)
        stops.append(stop)
        owners.append(np.full(stop.size, index, np.int64))
    start, stop, owner = (np.concatenate(one) for one in (starts, stops, owners))
    is_some = stop > start
    start, stop, owner = start[is_some], stop[is_some], owner[is_some]
    first = start // height
    count = (stop - 1) // height - first + 1  # columns that a run crosses
    column = np.repeat(first, count) + _count_up(count)
    begin = column * height
    return Strips(
        height,
        width,
        np.repeat(owner, count),
        column,
        np.maximum(np.repeat(start, count) - begin, 0),
        np.minimum(np.repeat(stop, count) - begin, height),
    )


def to_parts(strips: Strips) -> Parts:
    """Join strips that touch by side or corner."""
    count = strips.owner.size
    if count == 0:
        nothing = np.zeros(0, np.int64)
        return Parts(nothing, nothing, nothing.reshape(0, 4))
    one, other = _touching(strips)
    graph = coo_array((np.ones(one.size, np.bool_), (one, other)), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    order = np.argsort(label, kind="stable")  # each part's strips together, still by mask
    first = np.flatnonzero(np.diff(label[order], prepend=-1))
    column, top, bottom = (v[order] for v in (strips.column, strips.top, strips.bottom))
    corners = (
        np.minimum.reduceat(column, first),
        np.minimum.reduceat(top, first),
        np.maximum.reduceat(column, first) + 1,
        np.maximum.reduceat(bottom, first),
    )
    owner = strips.owner[order][first]
    by_owner = np.argsort(owner, kind="stable")
    area = np.add.reduceat(bottom - top, first)
    return Parts(owner[by_owner], area[by_owner], np.stack(corners, axis=1)[by_owner])


def find_shapes(drafts: Sequence[Draft], limits: Limits) -> tuple[dict[Kind, Flags], Ints]:
    """Say what is wrong with each instance of an image by itself.

    Args:
        drafts: (N) instances with a mask, all of one image.
        limits: where a finding begins.

    Returns:
        (N,) bool by kind, and the (N,) areas of the masks in pixels.
    """
    masks = [draft.rle for draft in drafts if draft.rle is not None]
    if not masks:
        return {}, np.zeros(0, np.int64)
    strips = to_strips(masks)
    parts = to_parts(strips)
    form = _Form(strips, parts, len(masks))
    boxes = np.array([draft.box for draft in drafts], np.float64).reshape(-1, 4)
    is_drawn = np.array([draft.state is State.CORRECTED for draft in drafts], np.bool_)
    found = dict(_by_size(form, strips, limits)) | dict(_by_box(form, strips, boxes, limits))
    for kind in (Kind.BOX, Kind.LEAK):
        found[kind] &= ~is_drawn
    found |= dict(_by_parts(form, parts, limits))
    is_some = form.area > 0
    some = {kind: flags & is_some for kind, flags in found.items()}
    return some | {Kind.EMPTY: ~is_some}, form.area


class _Form:
    """Area, tight box and largest part of each mask; of an empty mask, zeros."""

    def __init__(self, strips: Strips, parts: Parts, count: int) -> None:
        self.area = np.bincount(strips.owner, strips.bottom - strips.top, count).astype(np.int64)
        self.box = np.zeros((count, 4), np.int64)
        self.largest = np.zeros(count, np.int64)  # index among the parts
        if parts.owner.size:
            first = np.flatnonzero(np.diff(parts.owner, prepend=-1))
            owners = parts.owner[first]
            self.box[owners, :2] = np.minimum.reduceat(parts.box[:, :2], first)
            self.box[owners, 2:] = np.maximum.reduceat(parts.box[:, 2:], first)
            reach = (parts.box[:, 2:] - parts.box[:, :2]).max(axis=1)
            by_area = np.lexsort((-reach, -parts.area, parts.owner))  # of two alike the longer
            self.largest[owners] = by_area[first]


def _by_size(form: _Form, strips: Strips, limits: Limits) -> Iterator[tuple[Kind, Flags]]:
    x0, y0, x1, y1 = form.box.T
    narrow = np.minimum(x1 - x0, y1 - y0) < limits.tiny_side
    yield Kind.TINY, (form.area < limits.tiny_area) | narrow
    yield Kind.HUGE, form.area > limits.huge_share * strips.height * strips.width
    yield Kind.BORDER, (x0 == 0) | (y0 == 0) | (x1 == strips.width) | (y1 == strips.height)


def _by_box(
    form: _Form, strips: Strips, boxes: Floats, limits: Limits
) -> Iterator[tuple[Kind, Flags]]:
    yield Kind.BOX, _box_ious(form.box.astype(np.float64), boxes) < limits.box_iou
    x0, y0, x1, y1 = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], axis=1).T
    owner = strips.owner
    rows = np.minimum(strips.bottom, y1[owner]) - np.maximum(strips.top, y0[owner])
    rows = np.where((strips.column >= x0[owner]) & (strips.column < x1[owner]), rows, 0.0)
    inside = np.bincount(owner, np.maximum(rows, 0.0), form.area.size)
    yield Kind.LEAK, form.area - inside > limits.leak_share * form.area
    extent = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    yield Kind.HOLLOW, form.area < limits.hollow_share * extent


def _by_parts(form: _Form, parts: Parts, limits: Limits) -> Iterator[tuple[Kind, Flags]]:
    count = form.area.size
    is_speck = parts.area < limits.speck_share * form.area[parts.owner]
    yield Kind.SPECKS, np.bincount(parts.owner, is_speck, count) > 0
    if parts.owner.size == 0:
        yield Kind.FAR, np.zeros(count, np.bool_)
        return
    core = parts.box[form.largest[parts.owner]]
    low = np.maximum(core[:, :2], parts.box[:, :2])
    gap = (low - np.minimum(core[:, 2:], parts.box[:, 2:])).max(axis=1)
    reach = (core[:, 2:] - core[:, :2]).max(axis=1)
    yield Kind.FAR, np.bincount(parts.owner, gap > limits.far_sides * reach, count) > 0


def _box_ious(one: Floats, other: Floats) -> Floats:
    """(N,) IoU of pairs of boxes (N, 4)."""
    sides = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    shared = np.prod(np.maximum(sides, 0.0), axis=1)
    areas = np.prod(one[:, 2:] - one[:, :2], axis=1) + np.prod(other[:, 2:] - other[:, :2], axis=1)
    return np.asarray(shared / (areas - shared), np.float64)


def _touching(strips: Strips) -> tuple[Ints, Ints]:
    """Pairs of strips of one mask in neighbouring columns that touch."""
    line = strips.owner * (strips.width + 1) + strips.column  # a gap between two masks
    step = strips.height + 2
    tops, bottoms = line * step + strips.top, line * step + strips.bottom
    first = np.searchsorted(bottoms, (line + 1) * step + strips.top, "left")
    last = np.searchsorted(tops, (line + 1) * step + strips.bottom, "right")
    count = np.maximum(last - first, 0)
    return np.repeat(np.arange(line.size), count), np.repeat(first, count) + _count_up(count)


def _count_up(count: Ints) -> Ints:
    """0 to n - 1 for each n of (K,) `count`, one after the other."""
    end = np.cumsum(count)
    total = int(end[-1]) if end.size else 0
    return np.arange(total) - np.repeat(end - count, count)
