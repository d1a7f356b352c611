"""What a fine-tune learns from and is judged by; pure.

Images are split, never instances. An image's part is fixed the first time it is used, so that no
later job trains on what an earlier one was judged by.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import NotAllowed
from app.records import Box, Category, Draft, Image, Instance, Split, State
from mal_core import coco
from mal_core.masks import difference

HELD_OUT_SHARE = 0.25
MIN_MASKS, MIN_BOXES, MIN_IMAGES = 4, 8, 2
REVIEWED = frozenset({State.ACCEPTED, State.CORRECTED})


@dataclass(frozen=True)
class Labels:
    """What is known of one image.

    Attributes:
        masks: accepted and corrected instances whose mask holds a pixel.
        boxes: instances that no person has reviewed, with or without a proposed mask.
    """

    image: Image
    masks: list[Instance] = field(default_factory=list)
    boxes: list[Instance] = field(default_factory=list)


def gather(pairs: Iterable[tuple[Image, Instance]]) -> list[Labels]:
    """Group what can be learned from by image, in order of number.

    Rejected and deleted instances, and reviewed masks without a pixel, are left out.
    """
    groups: dict[int, Labels] = {}
    for image, instance in pairs:
        rle, state = instance.draft.rle, instance.draft.state
        if state in REVIEWED and rle is not None and rle.area:
            groups.setdefault(image.id, Labels(image)).masks.append(instance)
        elif state is State.PROPOSED:
            groups.setdefault(image.id, Labels(image)).boxes.append(instance)
    return sorted(groups.values(), key=lambda labels: labels.image.number)


def check_enough(known: Sequence[Labels], *, boxes_do: bool) -> None:
    """Refuse to learn from next to nothing.

    Args:
        known: all there is.
        boxes_do: whether boxes without a reviewed mask count, too.

    Raises:
        NotAllowed: with what there is and what it takes.
    """
    counts = [len(k.masks) + boxes_do * len(k.boxes) for k in known]
    total, images = sum(counts), sum(count > 0 for count in counts)
    least = MIN_BOXES if boxes_do else MIN_MASKS
    if total >= least and images >= MIN_IMAGES:
        return
    if boxes_do:
        kind, advice = "boxes", "draw or import some more"
    else:
        kind, advice = "accepted or corrected masks", "accept or correct some more"
    raise NotAllowed(
        f"learning needs {least} {kind} on {MIN_IMAGES} images;"
        f" there are {total} on {images}: {advice}"
    )


def choose_splits(known: Sequence[Labels]) -> Mapping[int, Split]:
    """Decide the part of each image that has none yet: about a quarter is held out.

    Args:
        known: all images with labels; those that have a part keep it.

    Returns:
        The part of each image by its id. Held out are those that bring the share of every
        category, masks and boxes, nearest to a quarter; with ties, those whose hash comes first,
        so that names and order of upload do not matter. Images with the same pixels get the same
        part. Where two or more images have reviewed masks, one of them is held out.
    """
    groups: dict[str, list[Labels]] = {}
    for labels in sorted(known, key=lambda k: k.image.sha256):
        groups.setdefault(labels.image.sha256, []).append(labels)
    parts = [_known_part(group) for group in groups.values()]
    chosen = _hold_out(_count(list(groups.values())), parts)
    return {
        labels.image.id: labels.image.split or (Split.HELD_OUT if held else Split.TRAIN)
        for group, held in zip(groups.values(), chosen, strict=True)
        for labels in group
    }


def snapshot(
    known: Sequence[Labels],
    splits: Mapping[int, Split],
    categories: Sequence[Category],
    paths: Mapping[int, Path],
    proposals: Mapping[int, Draft],
) -> Mapping[Split, coco.Dataset]:
    """Freeze what to learn from and what to judge by, each as a COCO data set.

    Args:
        known: images with their labels.
        splits: the part of each image, by id.
        categories: all of the project.
        paths: image file relative to the image folder, by image id.
        proposals: the newest proposal of each instance that had one, by instance id.

    Returns:
        To train on: masks with the pixels a person touched ("mal_touched") and whether they were
        accepted ("mal_vouched"), and unreviewed boxes without a mask. Held out: masks alone.

    Raises:
        NotAllowed: nothing lies on an image that may be trained on.
    """
    numbers = {category.id: category.number for category in categories}
    names = [coco.CategoryRecord(c.number, c.name) for c in categories]
    images: dict[Split, list[coco.ImageRecord]] = {part: [] for part in Split}
    entries: dict[Split, list[coco.Annotation]] = {part: [] for part in Split}
    for labels in known:
        image, part = labels.image, splits[labels.image.id]
        made = [_mask_entry(image, i, numbers, proposals.get(i.id)) for i in labels.masks]
        if part is Split.TRAIN:
            made += [_box_entry(image, i, numbers) for i in labels.boxes]
        if made:
            name = paths[image.id].as_posix()
            images[part].append(coco.ImageRecord(image.number, name, image.width, image.height))
            entries[part] += made
    if not entries[Split.TRAIN]:
        raise NotAllowed(
            "everything labelled so far lies on held-out images, which are never trained on:"
            " label one more image"
        )
    return {part: coco.Dataset(images[part], names, entries[part]) for part in Split}


def _known_part(group: Sequence[Labels]) -> Split | None:
    return next((labels.image.split for labels in group if labels.image.split), None)


def _count(groups: Sequence[Sequence[Labels]]) -> NDArray[np.float64]:
    """(G, 1 + 2 C): images, then instances, then reviewed masks of each category, by group."""
    keys = sorted({i.draft.category_id for g in groups for k in g for i in [*k.masks, *k.boxes]})
    counts = np.zeros((len(groups), 1 + 2 * len(keys)))
    for row, group in zip(counts, groups, strict=True):
        for labels in group:
            row[0] += 1
            for instance in [*labels.masks, *labels.boxes]:
                row[1 + keys.index(instance.draft.category_id)] += 1
            for instance in labels.masks:
                row[1 + len(keys) + keys.index(instance.draft.category_id)] += 1
    return counts


def _hold_out(counts: NDArray[np.float64], parts: Sequence[Split | None]) -> NDArray[np.bool_]:
    """Choose greedily the groups whose holding out evens the shares most.

    Args:
        counts: (G, N) what each group holds of each kind.
        parts: the groups' parts where they are fixed.
    """
    held = np.array([part is Split.HELD_OUT for part in parts], np.bool_)
    free = np.array([part is None for part in parts], np.bool_)
    total = counts.sum(0).clip(min=1)

    def error(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((((sums / total) - HELD_OUT_SHARE) ** 2).sum(-1))

    def gains() -> NDArray[np.float64]:
        sums = counts[held].sum(0)
        return np.where(free & ~held, error(sums) - error(sums + counts), -np.inf)

    while free.any() and (gain := gains()).max() > 1e-12:
        held[gain.argmax()] = True
    judges = _judges(counts)
    if judges.sum() >= MIN_IMAGES and not (held & judges).any() and (free & judges).any():
        held[np.where(judges, gains(), -np.inf).argmax()] = True
    return held


def _judges(counts: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Groups that have reviewed masks; all of them where none has."""
    kinds = (counts.shape[1] - 1) // 2
    reviewed = np.asarray(counts[:, 1 + kinds :].sum(1) > 0)
    return reviewed if reviewed.any() else np.ones_like(reviewed)


def _mask_entry(
    image: Image, instance: Instance, numbers: Mapping[int, int], proposal: Draft | None
) -> coco.Annotation:
    draft = instance.draft
    extra: dict[str, Any] = {"mal_vouched": draft.state is State.ACCEPTED}
    if draft.rle is not None and proposal is not None and proposal.rle is not None:
        touched = difference(proposal.rle, draft.rle)
        if touched.area:
            extra["mal_touched"] = touched.to_coco()
    return coco.Annotation(
        id=instance.number,
        image_id=image.number,
        category_id=numbers[draft.category_id],
        box=_hull(draft),
        rle=draft.rle,
        extra=extra,
    )


def _box_entry(image: Image, instance: Instance, numbers: Mapping[int, int]) -> coco.Annotation:
    category = numbers[instance.draft.category_id]
    return coco.Annotation(instance.number, image.number, category, instance.draft.box, None)


def _hull(draft: Draft) -> Box:
    """The box a person would draw around the mask as it is now: it may have outgrown its box."""
    x0, y0, x1, y1 = draft.box
    if draft.rle is None or draft.rle.box is None:
        return draft.box
    a, b, c, d = draft.rle.box
    return min(x0, a), min(y0, b), max(x1, c), max(y1, d)
