"""What the person says about a crop, as planes the network reads beside the picture.

Plane 0 is the box, 1 the mask answered before (-1..1), 2 and 3 the strokes that add and take away.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mal_core.geometry import Box, Crop

PLANES = 4
Point = tuple[float, float]
Places = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Stroke:
    """A brush stroke in image pixels: the disc of `radius` swept along `points`.

    Attributes:
        points: one or more (x, y), pixels of the image.
        radius: of the brush, pixels, above zero.
        adds: True for "this belongs to the object", False for "this does not".
    """

    points: Sequence[Point]
    radius: float
    adds: bool

    def __post_init__(self) -> None:
        numbers = [self.radius, *(v for point in self.points for v in point)]
        if not self.points or not all(map(math.isfinite, numbers)) or self.radius <= 0:
            raise ValueError("a stroke needs points and a radius above zero, all finite")

    @property
    def box(self) -> Box:
        """What it covers, at most; may leave the image."""
        xs, ys = zip(*self.points, strict=True)
        r = self.radius
        return min(xs) - r, min(ys) - r, max(xs) + r, max(ys) + r


def prompt_planes(
    crop: Crop, size: int, strokes: Sequence[Stroke] = (), previous: Tensor | None = None
) -> Tensor:
    """Draw the prompts of one crop.

    Args:
        crop: the window and its box.
        size: S, side of the crop.
        strokes: all strokes so far, in image pixels.
        previous: (s, s) logits answered before, or None.

    Returns:
        (4, S, S) float: box {0, 1}, previous mask [-1, 1], adding and erasing strokes {0, 1}.
    """
    planes = torch.zeros(PLANES, size, size)
    planes[0] = _draw_box(crop, size)
    if previous is not None:
        answer = 2 * previous.sigmoid() - 1
        planes[1] = F.interpolate(answer[None, None], (size, size), mode="bilinear")[0, 0]
    for stroke in strokes:
        hit = _draw_stroke(crop, size, stroke)
        planes[2][hit] = float(stroke.adds)  # the later stroke counts
        planes[3][hit] = float(not stroke.adds)
    return planes


def paint(mask: Mask, origin: tuple[int, int], strokes: Sequence[Stroke]) -> None:
    """Do to a mask what a brush does: the last stroke over a pixel decides.

    Args:
        mask: (h, w) bool, part of an image's mask; changed in place.
        origin: (x0, y0) of its first pixel in the image.
        strokes: in the order they were made, in image pixels.
    """
    height, width = mask.shape
    xs, ys = (first + 0.5 + np.arange(count, dtype=np.float64)
              for first, count in zip(origin, (width, height), strict=True))  # fmt: skip
    for stroke in strokes:
        mask[_under(xs, ys, stroke)] = stroke.adds


def _draw_box(crop: Crop, size: int) -> Tensor:
    centres = (torch.arange(size) + 0.5) / size
    x0, y0, x1, y1 = crop.relative_box()
    across = (centres > x0) & (centres < x1)
    down = (centres > y0) & (centres < y1)
    return (down[:, None] & across[None, :]).float()


def _draw_stroke(crop: Crop, size: int, stroke: Stroke) -> Tensor:
    """(S, S) bool: crop pixels whose centre, in the image, is within radius of the stroke."""
    x0, y0, x1, y1 = crop.window
    step = (np.arange(size) + 0.5) / size
    return torch.from_numpy(_under(x0 + (x1 - x0) * step, y0 + (y1 - y0) * step, stroke))


def _under(xs: Places, ys: Places, stroke: Stroke) -> Mask:
    """(len(ys), len(xs)) bool: which places of a sorted grid are within radius of the stroke."""
    hit = np.zeros((len(ys), len(xs)), np.bool_)
    starts = stroke.points[:-1] or stroke.points
    ends = stroke.points[1:] or stroke.points
    for start, end in zip(starts, ends, strict=True):
        columns = _near(xs, start[0], end[0], stroke.radius)
        rows = _near(ys, start[1], end[1], stroke.radius)
        gap = _squared_gap(xs[None, columns], ys[rows, None], start, end)
        hit[rows, columns] |= gap <= stroke.radius**2
    return hit


def _near(places: Places, start: float, end: float, radius: float) -> slice:
    """Which of the sorted (S,) places a piece of stroke can touch: a hand's stroke has many."""
    low, high = min(start, end) - radius, max(start, end) + radius
    return slice(int(np.searchsorted(places, low)), int(np.searchsorted(places, high, "right")))


def _squared_gap(xs: Places, ys: Places, start: Point, end: Point) -> Places:
    """(h, w) squared distances of the points of (1, w) xs and (h, 1) ys from a line segment."""
    (ax, ay), (bx, by) = start, end
    dx, dy = bx - ax, by - ay
    length = dx * dx + dy * dy or 1.0  # a dot has no length; its numerator is 0 as well
    along = np.clip(((xs - ax) * dx + (ys - ay) * dy) / length, 0, 1)
    gap: Places = (xs - ax - along * dx) ** 2 + (ys - ay - along * dy) ** 2
    return gap
