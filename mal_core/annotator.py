"""A person at work, simulated at full resolution: strokes on the largest error until it is right.

Two hands are compared. The plain brush paints exactly its stroke. The smart stroke shows all
strokes so far and the mask at hand to the predictor, whose answer is the next mask.

Source: the loop of Sofiiuk et al., RITM, 2021, with capsules instead of clicks; NoS@90 after its
NoC@90.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mal_core.geometry import Box, Image, Rect, box_to_rect
from mal_core.masks import RLE, Mask, decode_rect, encode, iou
from mal_core.predictor import Predictor
from mal_core.prompts import Stroke, paint

HANDS = ("plain", "smart")
THICKEST = 1 / 10  # of the longer side of the box: the radius of the largest brush
TRIALS = 24  # ways to draw a stroke that are weighed against each other
SLACK = 0.75  # from the middle of a pixel to its corner, and a little
EIGHT = np.ones((3, 3), np.bool_)  # a diagonal step stays in one error
Places = NDArray[np.intp]


@dataclass(frozen=True)
class Course:
    """IoU after 0, 1, 2 ... strokes on one instance, by hand."""

    ious: Mapping[str, Sequence[float]]

    def strokes_to(self, target: float, hand: str) -> int | None:
        """How many strokes it took to an IoU of `target`; None: it was not reached."""
        reached = [count for count, value in enumerate(self.ious[hand]) if value >= target]
        return reached[0] if reached else None


def annotate(
    predictor: Predictor,
    image: Image,
    boxes: Sequence[Box],
    truths: Sequence[RLE],
    *,
    strokes: int,
    seed: int,
) -> list[Course]:
    """Correct the proposals of one image, stroke by stroke, with both hands.

    Args:
        predictor: proposes, and answers to smart strokes.
        image: (H, W, 3) uint8 RGB.
        boxes: N boxes.
        truths: what the N masks should be, none of them empty.
        strokes: on each instance.
        seed: of the choices a hand makes; an instance's do not depend on its neighbours.

    Returns:
        N courses of strokes + 1 values.
    """
    first = predictor.predict(image, boxes).masks()
    courses: list[dict[str, list[float]]] = [
        {hand: [iou(mask, truth)] for hand in HANDS}
        for mask, truth in zip(first, truths, strict=True)
    ]
    for hand in HANDS:
        masks, shown = list(first), [list[Stroke]() for _ in boxes]
        for turn in range(strokes):
            random = [np.random.default_rng([seed, turn]) for _ in boxes]
            drawn = [next_stroke(*each) for each in zip(masks, truths, boxes, random, strict=True)]
            for strokes_of_one, stroke in zip(shown, drawn, strict=True):
                strokes_of_one += [] if stroke is None else [stroke]
            if hand == "plain":
                masks = [brush(mask, stroke) for mask, stroke in zip(masks, drawn, strict=True)]
            else:
                masks = _steer(predictor, image, boxes, masks, shown, drawn)
            for course, mask, truth in zip(courses, masks, truths, strict=True):
                course[hand].append(iou(mask, truth))
    return [Course(course) for course in courses]


def next_stroke(mask: RLE, truth: RLE, box: Box, random: np.random.Generator) -> Stroke | None:
    """Draw a stroke through the deepest part of the largest error.

    Args:
        mask: what is there.
        truth: what should be, not empty.
        box: of the object; the largest brush is a share of it.
        random: source of the places that the stroke's other end is tried at.

    Returns:
        An adding stroke that covers only pixels of the object, or an erasing one that covers
        none; the one of TRIALS that mends most of the error. None where there is no error.
    """
    rect = _around(mask, truth)
    answer, wanted = decode_rect(mask, rect), decode_rect(truth, rect)
    kinds = [(wanted & ~answer, True), (answer & ~wanted, False)]
    found = [(*_largest(errors), adds) for errors, adds in kinds]
    area, error, adds = max(found, key=lambda one: one[0])
    if not area:
        return None
    room = np.pad(wanted if adds else ~wanted, 1, constant_values=not adds)  # beyond: no object
    depth = ndimage.distance_transform_edt(room)[1:-1, 1:-1]
    most = THICKEST * max(box[2] - box[0], box[3] - box[1])
    inside = ndimage.distance_transform_edt(np.pad(error, 1))[1:-1, 1:-1]
    start = np.array(np.unravel_index(np.argmax(inside), inside.shape))
    places = np.argwhere(error)
    ends = [start, *places[random.integers(0, len(places), TRIALS)]]
    strokes = [_capsule(start, end, depth, most, rect, adds=adds) for end in ends]
    return max(strokes, key=lambda stroke: _mends(error, rect, stroke))


def brush(mask: RLE, stroke: Stroke | None) -> RLE:
    """Paint one stroke on a mask, as the canvas does."""
    if stroke is None:
        return mask
    reach = box_to_rect(stroke.box, mask.height, mask.width)
    x0, y0, x1, y1 = mask.box or reach
    rect = (min(x0, reach[0]), min(y0, reach[1]), max(x1, reach[2]), max(y1, reach[3]))
    part = decode_rect(mask, rect)
    paint(part, rect[:2], [stroke])
    return encode(part, x0=rect[0], y0=rect[1], height=mask.height, width=mask.width)


def _steer(
    predictor: Predictor,
    image: Image,
    boxes: Sequence[Box],
    masks: Sequence[RLE],
    shown: Sequence[Sequence[Stroke]],
    drawn: Sequence[Stroke | None],
) -> list[RLE]:
    """The next masks; one without a new stroke stays."""
    asked = [index for index, stroke in enumerate(drawn) if stroke is not None]
    answer = predictor.predict(
        image,
        [boxes[i] for i in asked],
        [shown[i] for i in asked],
        [masks[i] for i in asked],
    )
    new = dict(zip(asked, answer.masks(), strict=True))
    return [new.get(index, mask) for index, mask in enumerate(masks)]


def _around(*masks: RLE) -> Rect:
    """The pixels of one or more masks, not all empty."""
    x0, y0, x1, y1 = zip(*(mask.box for mask in masks if mask.box is not None), strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def _largest(errors: Mask) -> tuple[int, Mask]:
    """Pixels of the largest connected error, and where it is."""
    labels, _ = ndimage.label(errors, EIGHT)
    sizes = np.bincount(labels.ravel())[1:]
    if not sizes.size:
        return 0, errors
    return int(sizes.max()), labels == 1 + int(sizes.argmax())


def _capsule(
    start: Places, end: Places, depth: NDArray[np.float64], most: float, rect: Rect, *, adds: bool
) -> Stroke:
    """The thickest stroke between two pixels that stays where there is room; else a dot."""
    count = 2 * int(np.abs(end - start).max()) + 1
    along = np.rint(np.linspace(start, end, count)).astype(np.intp)
    room = float(depth[along[:, 0], along[:, 1]].min()) - SLACK
    if room <= 0 or count == 1:
        end, room = start, float(depth[start[0], start[1]]) - 1e-3
    points = [(rect[0] + float(x) + 0.5, rect[1] + float(y) + 0.5) for y, x in (start, end)]
    return Stroke(points, min(room, max(most, 0.5)), adds=adds)


def _mends(error: Mask, rect: Rect, stroke: Stroke) -> int:
    """Pixels of an error under a stroke."""
    under = np.zeros_like(error)
    paint(under, rect[:2], [Stroke(stroke.points, stroke.radius, adds=True)])
    return int((under & error).sum())
