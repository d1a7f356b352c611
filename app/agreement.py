"""How far two people agree on the objects of the images in which both had a hand; pure.

Masks are matched one to one so that the sum of their IoUs is largest; a pair below MATCH is none:
each saw something the other did not. What is left is told in the words of detection (how many were
found by both), of masks (IoU, Boundary IoU of the pairs) and of categories (Cohen's kappa). A
person's masks are those they saved last themselves, whatever others made of them since; who
corrects another's mask has seen it, so that this tells how much people change, too.

Source: Kuhn, The Hungarian method, 1955 (by scipy); Kirillov et al., Panoptic Segmentation, CVPR
2019 (quality); Cohen, A coefficient of agreement for nominal scales, 1960 (kappa).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.optimize import linear_sum_assignment

from app.records import Revision
from app.session import MASK_STATES
from mal_core.masks import RLE, iou
from mal_core.metrics import boundary_iou, mean

MATCH = 0.5  # IoU from which on two masks are taken to mean one object


@dataclass(frozen=True)
class Shape:
    """One person's mask of an object."""

    instance_id: int
    category_id: int
    rle: RLE


@dataclass(frozen=True)
class Pair:
    """Two people's masks of one object."""

    first: Shape
    second: Shape
    iou: float
    boundary_iou: float

    @property
    def is_one_category(self) -> bool:
        """Whether both say it is the same kind of thing."""
        return self.first.category_id == self.second.category_id


@dataclass(frozen=True)
class Comparison:
    """Two people's masks of one image, matched.

    Attributes:
        pairs: what both found, by the first one's order.
        first_only: what only the first found.
        second_only: what only the second found.
    """

    pairs: Sequence[Pair]
    first_only: Sequence[Shape]
    second_only: Sequence[Shape]


@dataclass(frozen=True)
class Agreement:
    """Sums and means over the images two people both did; None where there is nothing to go by.

    Attributes:
        images: how many.
        matched: objects that both found.
        first_only: objects that only the first found.
        second_only: objects that only the second found.
        f1: objects found by both, as a share of the mean number either found.
        iou: mean over the matched.
        boundary_iou: mean over the matched.
        quality: sum of the IoUs of the matched over the mean number of objects (panoptic quality).
        kappa: agreement on the category of the matched, beyond chance.
    """

    images: int
    matched: int
    first_only: int
    second_only: int
    f1: float | None
    iou: float | None
    boundary_iou: float | None
    quality: float | None
    kappa: float | None


Hands = Mapping[int, Mapping[str, Sequence[Shape]]]
"""Each person's masks, by image and person."""


def hands(revisions: Iterable[Revision], images: Mapping[int, int]) -> Hands:
    """Who had a hand in which image, with the masks that each saved last and vouches for.

    Args:
        revisions: of a project, oldest first; what lost a race is somebody's word, too.
        images: image id by instance id; instances that are not in it are left out.
    """
    newest = {(one.instance_id, one.person): one for one in revisions if one.person}
    found: dict[int, dict[str, list[Shape]]] = {}
    for (key, person), one in sorted(newest.items()):
        if key in images and one.draft.state in MASK_STATES and one.draft.rle is not None:
            shape = Shape(key, one.draft.category_id, one.draft.rle)
            found.setdefault(images[key], {}).setdefault(person, []).append(shape)
    return found


def between(found: Hands) -> dict[tuple[str, str], dict[int, Comparison]]:
    """Every two people who had a hand in one image, with what comparing them shows by image."""
    pairs: dict[tuple[str, str], dict[int, Comparison]] = {}
    for image_id, people in found.items():
        for first, second in combinations(sorted(people), 2):
            compared = compare(people[first], people[second])
            pairs.setdefault((first, second), {})[image_id] = compared
    return dict(sorted(pairs.items()))


def compare(first: Sequence[Shape], second: Sequence[Shape]) -> Comparison:
    """Match two people's masks of one image."""
    table = np.array([[iou(a.rle, b.rle) for b in second] for a in first], np.float64)
    table = table.reshape(len(first), len(second))
    rows, columns = linear_sum_assignment(table, maximize=True)
    chosen = [(r, c) for r, c in zip(rows, columns, strict=True) if table[r, c] >= MATCH]
    pairs = [
        Pair(first[r], second[c], float(table[r, c]), boundary_iou(first[r].rle, second[c].rle))
        for r, c in chosen
    ]
    mine, theirs = {r for r, _ in chosen}, {c for _, c in chosen}
    return Comparison(
        pairs,
        [shape for place, shape in enumerate(first) if place not in mine],
        [shape for place, shape in enumerate(second) if place not in theirs],
    )


def summed(comparisons: Sequence[Comparison]) -> Agreement:
    """One agreement of two people from the images they both did."""
    pairs = [pair for one in comparisons for pair in one.pairs]
    first = sum(len(one.first_only) for one in comparisons)
    second = sum(len(one.second_only) for one in comparisons)
    objects = len(pairs) + (first + second) / 2
    return Agreement(
        images=len(comparisons),
        matched=len(pairs),
        first_only=first,
        second_only=second,
        f1=len(pairs) / objects if objects else None,
        iou=mean(pair.iou for pair in pairs),
        boundary_iou=mean(pair.boundary_iou for pair in pairs),
        quality=sum(pair.iou for pair in pairs) / objects if objects else None,
        kappa=kappa([(p.first.category_id, p.second.category_id) for p in pairs]),
    )


def kappa(labels: Sequence[tuple[int, int]]) -> float | None:
    """Cohen's kappa of two people's labels of the same things.

    Returns:
        1 for full agreement, 0 for what chance would give; None where there is no label, or both
        gave all things the same one, so that chance alone agrees.
    """
    if not labels:
        return None
    count = len(labels)
    first, second = (Counter(pair[place] for pair in labels) for place in (0, 1))
    by_chance = sum(first[label] * second[label] for label in first) / count**2
    if by_chance == 1.0:
        return None
    return (sum(a == b for a, b in labels) / count - by_chance) / (1 - by_chance)


def worst(comparisons: Mapping[int, Comparison]) -> list[tuple[int, Agreement]]:
    """Images by their quality, the one on which people agree least first."""
    rows = [(image_id, summed([one])) for image_id, one in comparisons.items()]
    rated = [(image_id, one) for image_id, one in rows if one.quality is not None]
    return sorted(rated, key=lambda row: (row[1].quality or 0.0, row[0]))
