"""Which instances of a file the project has already: each is matched at most once, none doubled."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from app.records import Box, Draft, Revision, State
from app.session import MASK_STATES
from mal_core.masks import iou

ALIKE = 0.8
"""IoU from which two outlines of one category are the same object."""


class Fate(StrEnum):
    """What becomes of an instance of a file."""

    NEW = "new"  # it is added
    KNOWN = "known"  # the project has it, or had it
    FILLED = "filled"  # a proposal of the project takes its mask over
    REPLACED = "replaced"  # the project has it with another outline, which the file's follows
    DIFFERENT = "different"  # the project has it with another outline, which stays


@dataclass(frozen=True)
class Verdict:
    """What becomes of one instance of a file.

    Attributes:
        fate: what becomes of it.
        head: the revision of the project that it is; None if it is new.
        iou: of the two outlines.
    """

    fate: Fate
    head: Revision | None = None
    iou: float = 1.0


def judge(
    drafts: Sequence[Draft],
    history: Sequence[Revision],
    shown: Iterable[Draft] = (),
    *,
    replace: bool = False,
) -> list[Verdict]:
    """Match the instances of one image with those of the project.

    Args:
        drafts: what the file states, as the project would store it.
        history: every revision of the image's instances, oldest first.
        shown: what an export of the project's instances would show; equal to this is known, too.
        replace: whether the file's outline takes the place of another one.

    Returns:
        A verdict for each draft. Equal to any revision, or to an earlier draft of the file: known.
        Else the nearest unmatched instance of its category, if the outlines are alike.
    """
    heads = {r.instance_id: r for r in history if not r.is_conflict}
    keys = {_key(r.draft): r.instance_id for r in history}
    verdicts: list[Verdict | None] = [None] * len(drafts)
    seen = {_key(draft) for draft in shown}
    for place, draft in enumerate(drafts):
        key = _key(draft)
        if key in keys:
            verdicts[place] = Verdict(Fate.KNOWN, heads.get(keys[key]))
        elif key in seen:
            verdicts[place] = Verdict(Fate.KNOWN)
        seen.add(key)
    taken = {v.head.instance_id for v in verdicts if v is not None and v.head is not None}
    free = [head for key, head in heads.items() if key not in taken]
    waiting = [place for place, verdict in enumerate(verdicts) if verdict is None]
    for place, head, value in _alike(drafts, waiting, free):
        verdicts[place] = Verdict(_fate(drafts[place], head, replace=replace), head, value)
    return [verdict or Verdict(Fate.NEW) for verdict in verdicts]


def _alike(
    drafts: Sequence[Draft], waiting: Sequence[int], heads: Sequence[Revision]
) -> list[tuple[int, Revision, float]]:
    """Pairs of a waiting draft and a head, the most alike first, each at most once."""
    if not waiting or not heads:
        return []
    boxes = np.array([_tight(head.draft) for head in heads])
    categories = np.array([head.draft.category_id for head in heads])
    pairs: list[tuple[float, int, int]] = []
    for place in waiting:
        near = _box_ious(np.array(_tight(drafts[place])), boxes)
        close = np.flatnonzero((near > 0) & (categories == drafts[place].category_id))
        for number in close.tolist():
            value = _likeness(drafts[place], heads[number].draft, float(near[number]))
            if value >= ALIKE:
                pairs.append((value, place, number))
    chosen: list[tuple[int, Revision, float]] = []
    places, numbers = set[int](), set[int]()
    for value, place, number in sorted(pairs, key=lambda pair: -pair[0]):
        if place not in places and number not in numbers:
            places.add(place)
            numbers.add(number)
            chosen.append((place, heads[number], value))
    return chosen


def _likeness(one: Draft, other: Draft, box_iou: float) -> float:
    """IoU of two masks; of their boxes where one has no mask."""
    if one.rle is None or other.rle is None:
        return box_iou
    areas = sorted((one.rle.area, other.rle.area))
    return iou(one.rle, other.rle) if areas[0] >= ALIKE * areas[1] else 0.0


def _fate(draft: Draft, head: Revision, *, replace: bool) -> Fate:
    """What becomes of a draft that is alike, but not equal."""
    if draft.rle is None:
        return Fate.KNOWN
    if head.draft.state is State.PROPOSED:
        return Fate.FILLED
    # What a person took out comes back by their own hand only.
    return Fate.REPLACED if replace and head.draft.state in MASK_STATES else Fate.DIFFERENT


def _key(draft: Draft) -> tuple[int, str | Box]:
    """What makes two instances the same; a mask's box follows from the mask."""
    return draft.category_id, draft.box if draft.rle is None else draft.rle.counts


def _tight(draft: Draft) -> Box:
    if draft.rle is None or draft.rle.box is None:
        return draft.box
    x0, y0, x1, y1 = map(float, draft.rle.box)
    return x0, y0, x1, y1


def _box_ious(one: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of one box (4,) with each of (N, 4)."""
    sides = np.minimum(one[2:], boxes[:, 2:]) - np.maximum(one[:2], boxes[:, :2])
    shared = np.clip(sides, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (one[2:] - one[:2]).prod()
    ious: NDArray[np.float64] = shared / (areas - shared)
    return ious
