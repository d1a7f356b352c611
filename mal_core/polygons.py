"""From a mask to polygons along the edges of its pixels, so that filling them gives the mask back.

A polygon's points lie on the corners of pixels, and every pixel counts as inside or outside by its
centre. Holes and parts are joined to one ring by bridges: lines walked there and back, which change
nothing where a polygon is filled by the even-odd or the winding rule.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mal_core.masks import RLE, Mask, decode_crop

Ring = NDArray[np.int64]  # (N, 2) x, y of corners; the last point is joined to the first
_Crop = tuple[Mask, int, int]  # pixels, and the corner of the image where they lie
_CANVAS = 2**18  # pixels that masks are laid out on together


def mask_to_rings(rle: RLE) -> list[Ring]:
    """One closed ring for each part of a mask, its holes joined in by bridges.

    Returns:
        Rings of pixel corners, x in 0..width and y in 0..height, parts by their topmost pixel;
        parts touch by sides (4-neighbours). Empty for an empty mask.
    """
    return masks_to_rings([rle])[0]


def masks_to_rings(masks: Sequence[RLE]) -> list[list[Ring]]:
    """The rings of many masks, as `mask_to_rings` finds them; small ones are walked together."""
    found: list[list[Ring]] = []
    batch: list[_Crop] = []
    width = height = 0
    for rle in masks:
        crop = decode_crop(rle)
        rows, columns = crop[0].shape
        width, height = width + columns + 1, max(height, rows)
        if batch and width * height > _CANVAS:
            found += _walk_together(batch)
            batch, width, height = [], columns + 1, rows
        batch.append(crop)
    return found + _walk_together(batch)


def _walk_together(crops: Sequence[_Crop]) -> list[list[Ring]]:
    """Lay crops out side by side, a column apart, and walk around all their parts at once."""
    widths = [mask.shape[1] + 1 for mask, _, _ in crops]
    starts = np.cumsum([0, *widths])
    canvas = np.zeros((max((m.shape[0] for m, _, _ in crops), default=0), starts[-1]), np.bool_)
    for (mask, _, _), start in zip(crops, starts.tolist(), strict=False):
        canvas[: mask.shape[0], start : start + mask.shape[1]] = mask
    found: list[list[Ring]] = [[] for _ in crops]
    for group in _trace_parts(canvas):
        owner = int(np.searchsorted(starts, group[0][0, 0], "right")) - 1
        _, x0, y0 = crops[owner]
        found[owner].append(join_rings(group) + np.array([x0 - starts[owner], y0], np.int64))
    return found


def _trace_parts(canvas: Mask) -> Iterable[list[Ring]]:
    """The outer ring of each part, by its topmost pixel, and then those of its holes."""
    if not canvas.size:
        return []
    parts, _ = ndimage.label(canvas)
    groups: dict[int, list[Ring]] = {}
    height, width = canvas.shape
    for ring in _trace(np.pad(canvas, 1)):
        x, y = ring[0].tolist()  # topmost, then leftmost
        if y < height and x < width and canvas[y, x]:
            groups[int(parts[y, x])] = [ring]
        else:  # the pixel above the hole is of the part that has the hole, which came before
            groups[int(parts[y - 1, x])].append(ring[::-1])
    return groups.values()


def join_rings(rings: Sequence[Ring]) -> Ring:
    """Join rings to one by bridges from each to the nearest point of those before it.

    Args:
        rings: at least one ring of three points or more.
    """
    joined = rings[0]
    for ring in rings[1:]:
        near = int(np.square(joined - ring[0]).sum(axis=1).argmin())
        loop = [joined[: near + 1], ring, ring[:1], joined[near:]]
        joined = np.concatenate(loop)
    return joined


def rings_to_polygons(rings: Sequence[Ring]) -> list[list[float]]:
    """COCO's form: a flat [x, y, x, y, ...] for each ring."""
    return [ring.reshape(-1).astype(float).tolist() for ring in rings]


def _trace(padded: Mask) -> list[Ring]:
    """Walk all edges between inside and outside.

    Corners on one line pair up to segments: along a row the first with the second, the third with
    the fourth, and so along a column. Where two pixels touch by a corner only, that corner stands
    twice, so that the parts stay apart.

    Args:
        padded: (h + 2, w + 2) bool, a border of False around the mask.

    Returns:
        Each ring from its topmost, then leftmost corner to the right, in corners of the mask.
    """
    north_west, north_east = padded[:-1, :-1], padded[:-1, 1:]
    south_west, south_east = padded[1:, :-1], padded[1:, 1:]
    turns = (north_west ^ north_east ^ south_west ^ south_east).nonzero()
    cross = (north_west == south_east) & (north_east == south_west) & (north_west != north_east)
    y_cross, x_cross = cross.nonzero()
    falls = north_west[y_cross, x_cross]  # the two pixels lie north-west and south-east
    one, two = np.zeros_like(y_cross), np.ones_like(y_cross)
    y = np.concatenate([turns[0], y_cross, y_cross])
    x = np.concatenate([turns[1], x_cross, x_cross])
    alone = np.zeros_like(turns[0])
    # The twin that ends the segment on its left comes first in its row; in its column the one that
    # ends the segment above it.
    rank_row = np.concatenate([alone, one, two])
    rank_column = np.concatenate([alone, np.where(falls, one, two), np.where(falls, two, one)])
    beside = _partners(np.lexsort((rank_row, x, y)))
    across = _partners(np.lexsort((rank_column, y, x)))
    return _walk(np.stack([x, y], axis=1), beside, across, np.lexsort((rank_row, x, y)).tolist())


def _partners(order: NDArray[np.intp]) -> list[int]:
    """Who is paired with whom when neighbours in an order are pairs."""
    partner = np.empty(order.size, np.int64)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return partner.tolist()


def _walk(points: Ring, beside: list[int], across: list[int], order: list[int]) -> list[Ring]:
    """Follow segments in turn along row and column until each ring closes."""
    seen = [False] * len(order)
    rings = []
    for start in order:
        if seen[start]:
            continue
        path: list[int] = []
        at = start
        while not seen[at]:
            other = beside[at]
            path += (at, other)
            seen[at] = seen[other] = True
            at = across[other]
        rings.append(points[path])
    return rings
