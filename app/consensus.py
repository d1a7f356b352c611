"""One set of masks of several people's of one image: whose is whose, and what lies between; pure.

Of two outlines the consensus is the one half way between them: a vote of two has only ties, which
would make every mask smaller or larger. Of three or more it is the majority of pixels.

Source: Raya and Udupa, Shape-based interpolation of multidimensional objects, IEEE TMI 1990 (half
way); Kuhn, The Hungarian method, 1955 (whose is whose, by app.agreement).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from app.agreement import Shape, compare
from mal_core.masks import RLE, decode_rect, encode, iou
from mal_core.metrics import boundary_iou

TWO = 2
Rect = tuple[int, int, int, int]


@dataclass(frozen=True)
class Thing:
    """One object of an image, as those saw it who did.

    Attributes:
        shapes: their masks, by person.
        iou: the lowest of any two; None where only one person saw it.
        boundary_iou: the lowest of any two; None where only one person saw it.
    """

    shapes: Mapping[str, Shape]
    iou: float | None
    boundary_iou: float | None

    @property
    def is_one_category(self) -> bool:
        """Whether all say it is the same kind of thing."""
        return len({shape.category_id for shape in self.shapes.values()}) == 1


def things_of(people: Mapping[str, Sequence[Shape]]) -> list[Thing]:
    """What several people's masks of one image mean together.

    The people come in order of their names; each one's masks are matched one to one with what the
    ones before agree on, so that the sum of IoUs is largest; a pair below MATCH is none.

    Args:
        people: each one's masks, by name; also of those who saw nothing.

    Returns:
        Every mask in exactly one thing, those of the first person first.
    """
    groups: list[dict[str, Shape]] = []
    for person in sorted(people):
        known = [Shape(place, 0, _rough(group)) for place, group in enumerate(groups)]
        found = compare(known, people[person])
        for pair in found.pairs:
            groups[pair.first.instance_id][person] = pair.second
        groups += [{person: shape} for shape in found.second_only]
    return [_thing(group) for group in groups]


def agree(thing: Thing, voters: int, least: float) -> bool:
    """Whether all saw an object, as one kind, with outlines at least this alike."""
    is_seen = len(thing.shapes) == voters and thing.iou is not None and thing.iou >= least
    return is_seen and thing.is_one_category


def consensus(thing: Thing, voters: int) -> RLE | None:
    """One mask of those that several people drew of one object.

    Args:
        thing: the object.
        voters: how many people looked, also those who saw nothing there; two or more.

    Returns:
        Half way between the two of two people; the pixels that more than half of three or more
        have. None where no pixel is left, or one of two saw nothing.
    """
    masks = [shape.rle for _, shape in sorted(thing.shapes.items())]
    if voters == TWO:
        return halfway(*masks) if len(masks) == TWO else None
    made = vote(masks, voters // 2 + 1)
    return made if made.area else None


def vote(masks: Sequence[RLE], need: int) -> RLE:
    """The pixels that at least `need` masks of one image hold."""
    if (rect := _around(masks)) is None:
        return masks[0]
    votes = np.sum([decode_rect(mask, rect) for mask in masks], axis=0, dtype=np.int64)
    return _encode(np.asarray(votes >= need, np.bool_), rect, masks[0])


def halfway(first: RLE, second: RLE) -> RLE:
    """The mask with the outline half way between two: their signed distances sum to 0 or more.

    It holds what both hold and nothing that neither does. A pixel as far inside one as it is
    outside the other is in.
    """
    if not first.area or not second.area or (rect := _around([first, second])) is None:
        return first if not first.area else second  # half way to nothing is nothing
    depth = _depth(decode_rect(first, rect)) + _depth(decode_rect(second, rect))
    return _encode(depth >= 0, rect, first)


def _depth(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(H, W) how deep each pixel is inside a mask, in pixels; negative outside of it."""
    room = np.pad(mask, 1)  # the outside begins at the edge of the window
    inside = np.asarray(distance_transform_edt(room), np.float64)
    outside = np.asarray(distance_transform_edt(~room), np.float64)
    return (inside - outside)[1:-1, 1:-1]


def _around(masks: Iterable[RLE]) -> Rect | None:
    """The rectangle of whole pixels around all masks; None where they are empty."""
    boxes = [mask.box for mask in masks if mask.box is not None]
    if not boxes:
        return None
    x0, y0 = (int(min(box[side] for box in boxes)) for side in (0, 1))
    x1, y1 = (int(max(box[side] for box in boxes)) for side in (2, 3))
    return x0, y0, x1, y1


def _encode(mask: NDArray[np.bool_], rect: Rect, like: RLE) -> RLE:
    return encode(mask, x0=rect[0], y0=rect[1], height=like.height, width=like.width)


def _rough(group: Mapping[str, Shape]) -> RLE:
    """What those who saw an object agree on; for matching only."""
    masks = [shape.rle for shape in group.values()]
    return vote(masks, len(masks) // 2 + 1)


def _thing(group: Mapping[str, Shape]) -> Thing:
    pairs = list(combinations([shape.rle for shape in group.values()], 2))
    return Thing(
        group,
        min((iou(a, b) for a, b in pairs), default=None),
        min((boundary_iou(a, b) for a, b in pairs), default=None),
    )
