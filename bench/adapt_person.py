"""A person at the canvas, simulated: brush strokes on the largest error, and what they take.

Unlike `mal_core.simulate`, which makes prompts for training on the crop's grid, this one paints at
image resolution and until the mask is good enough, as with the plain brush of the studio. Unlike
the straight strokes of `mal_core.annotator`, a stroke here follows a curved error.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.graph import MCP_Geometric

Mask = NDArray[np.bool_]
CORNERS_TOO = np.ones((3, 3), np.bool_)


@dataclass(frozen=True)
class Hand:
    """How a person draws and when they are content.

    Attributes:
        box_jitter: standard deviation of each side of a drawn box, as a share of its length; .04
            makes boxes agree with tight ones to an IoU of .88, as people's extreme clicks do.
        goal: IoU with the true mask at which the person stops.
        most: strokes after which they give up.
        reach: a stroke is at most this long, in mean sides of the box.
        brush: radius of the largest brush, in mean sides of the box; as in `mal_core.simulate`.

    Source: Papadopoulos et al., Extreme clicking, ICCV 2017, for the boxes.
    """

    box_jitter: float = 0.04
    goal: float = 0.9
    most: int = 20
    reach: float = 0.5
    brush: float = 0.07


@dataclass(frozen=True)
class Pace:
    """Seconds that each act takes.

    Attributes:
        box: drawing one by its four extreme points (Papadopoulos et al., ICCV 2017: 7 s).
        look: judging a mask. Assumed, not measured.
        stroke: one stroke, with finding its place and choosing the brush. Assumed, not measured.
    """

    box: float = 7.0
    look: float = 2.0
    stroke: float = 3.0

    def seconds(self, strokes: float) -> float:
        """From nothing to a mask the person is content with; they look after each stroke."""
        return self.box + self.look + strokes * (self.stroke + self.look)


@dataclass(frozen=True)
class Corrected:
    """A mask that a person is content with, or gave up on.

    Attributes:
        mask: (H, W) bool.
        touched: (H, W) bool, pixels that strokes changed.
        strokes: how many there were.
    """

    mask: Mask
    touched: Mask
    strokes: int


def correct(answer: Mask, truth: Mask, side: float, hand: Hand) -> Corrected:
    """Paint on the largest error until the mask is good enough.

    Args:
        answer: (H, W) bool, the proposal.
        truth: (H, W) bool, what it should be.
        side: mean side of the box, pixels.
        hand: the person.
    """
    part = _around(answer | truth)
    mask, wanted = answer.copy(), truth[part]
    strokes = 0
    while strokes < hand.most and iou(mask[part], wanted) < hand.goal:
        pixels, adds = draw_stroke(mask[part], wanted, hand.reach * side, hand.brush * side)
        mask[part][pixels] = adds
        strokes += 1
    return Corrected(mask, mask != answer, strokes)


def draw_stroke(answer: Mask, truth: Mask, longest: float, widest: float) -> tuple[Mask, bool]:
    """One stroke along the largest connected error, with a brush that suits it.

    The hand keeps to its side of the true outline: it adds nothing that is false.

    Args:
        answer: (H, W) bool.
        truth: (H, W) bool, different from the answer.
        longest: of a stroke, pixels.
        widest: radius of the largest brush, pixels.

    Returns:
        (H, W) bool, the pixels it sets; whether it adds them, else it takes them away.
    """
    missing, extra = largest_part(truth & ~answer), largest_part(answer & ~truth)
    adds = bool(missing.sum() >= extra.sum())
    path, radius = trace(missing if adds else extra, longest)
    swept = ndimage.distance_transform_edt(~path) <= min(radius, widest)
    return swept & (truth if adds else ~truth), adds


def largest_part(error: Mask) -> Mask:
    """The largest 8-connected part of a mask; all False if there is none."""
    parts, count = ndimage.label(error, CORNERS_TOO)
    if not count:
        return error
    sizes = np.bincount(parts.ravel())
    part: Mask = parts == 1 + int(np.argmax(sizes[1:]))
    return part


def trace(part: Mask, longest: float) -> tuple[Mask, float]:
    """The line along the middle of a connected part, from one end on, and the brush for it.

    Args:
        part: (H, W) bool, 8-connected, not empty.
        longest: where the line is cut, pixels.

    Returns:
        (H, W) bool, the line's pixels, all of the part; the radius that reaches the part's edge
        where it is widest along the line, pixels.
    """
    depth = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
    deepest = np.unravel_index(int(np.argmax(depth)), part.shape)
    one_end = _far_end(part, depth, deepest)[-1]
    line = np.array(_far_end(part, depth, one_end))
    steps = np.hypot(*np.diff(line, axis=0).T) if len(line) > 1 else np.zeros(0)
    line = line[np.concatenate([[0.0], np.cumsum(steps)]) <= longest]
    path = np.zeros_like(part)
    path[tuple(line.T)] = True
    return path, float(depth[path].max())


def iou(first: Mask, second: Mask) -> float:
    """Of two masks of one shape; 1 where both are empty."""
    either = int((first | second).sum())
    return int((first & second).sum()) / either if either else 1.0


def _around(mask: Mask) -> tuple[slice, slice]:
    """The rows and columns that hold all of a mask."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return slice(0), slice(0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _far_end(
    part: Mask, depth: NDArray[np.float64], start: tuple[np.intp, ...] | tuple[int, ...]
) -> list[tuple[int, ...]]:
    """The way through the middle of a part from a pixel to the one that is hardest to reach."""
    ways = MCP_Geometric(np.where(part, 1 / np.maximum(depth, 1), -1.0))
    costs, _ = ways.find_costs([start])
    costs[~part] = -1
    return list(ways.traceback(np.unravel_index(int(np.argmax(costs)), part.shape)))
