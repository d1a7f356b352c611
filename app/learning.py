"""What a fine-tune learns from and what decides about its result; pure but for the snapshot.

Images are split, never instances; an image's part is fixed the first time it is used, so that no
later job trains on what an earlier one was judged by.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import NotAllowed
from app.records import Box, Category, Image, Instance, Split, State
from mal_core import coco

HELD_OUT_SHARE = 0.25
MIN_MASKS, MIN_IMAGES = 4, 2
REVIEWED = frozenset({State.ACCEPTED, State.CORRECTED})
Labelled = Sequence[tuple[Image, Sequence[Instance]]]


@dataclass(frozen=True)
class Verdict:
    """Whether new weights may be used, and why."""

    promoted: bool
    reason: str


def reviewed_masks(pairs: Iterable[tuple[Image, Instance]]) -> Labelled:
    """Group the accepted and corrected masks that hold a pixel by image, in order of number.

    Raises:
        NotAllowed: fewer than 4 masks, or on fewer than 2 images.
    """
    groups: dict[int, tuple[Image, list[Instance]]] = {}
    for image, instance in pairs:
        rle = instance.draft.rle
        if instance.draft.state in REVIEWED and rle is not None and rle.area:
            groups.setdefault(image.id, (image, []))[1].append(instance)
    labelled = sorted(groups.values(), key=lambda pair: pair[0].number)
    count = sum(len(instances) for _, instances in labelled)
    if count < MIN_MASKS or len(labelled) < MIN_IMAGES:
        raise NotAllowed(
            f"fine-tuning needs {MIN_MASKS} accepted or corrected masks on {MIN_IMAGES} images; "
            f"there are {count} on {len(labelled)}: accept or correct some more"
        )
    return labelled


def choose_splits(images: Sequence[Image]) -> Mapping[int, Split]:
    """Decide the part of each image that has none yet: about a quarter is held out.

    Args:
        images: all images with reviewed masks; those that have a part keep it.

    Returns:
        The part of each image by its id. In the order of the images' hashes, so that the names or
        the order of upload do not matter; images with the same pixels get the same part.

    Raises:
        NotAllowed: all images belong to one part.
    """
    parts = {image.sha256: image.split for image in images if image.split is not None}
    held_out = sum(part is Split.HELD_OUT for part in parts.values())
    for sha256 in sorted({image.sha256 for image in images} - parts.keys()):
        wanted = held_out < HELD_OUT_SHARE * (len(parts) + 1)
        parts[sha256] = Split.HELD_OUT if wanted else Split.TRAIN
        held_out += wanted
    if len(set(parts.values())) < len(Split):
        raise NotAllowed(
            "fine-tuning needs reviewed images both to learn from and to judge by, and these are"
            " all of one kind: accept or correct masks on one more image"
        )
    return {image.id: image.split or parts[image.sha256] for image in images}


def snapshot(
    labelled: Labelled,
    splits: Mapping[int, Split],
    categories: Sequence[Category],
    paths: Mapping[int, Path],
) -> Mapping[Split, coco.Dataset]:
    """Freeze the masks of each part as a COCO data set.

    Args:
        labelled: images and their reviewed instances.
        splits: the part of each image, by id.
        categories: all of the project.
        paths: image file relative to the image folder, by image id.
    """
    return {
        part: _dataset([p for p in labelled if splits[p[0].id] is part], categories, paths)
        for part in Split
    }


def judge(result: Mapping[str, Any]) -> Verdict:
    """Promote only weights that are not worse on the held-out images.

    Args:
        result: the "judged" and "saved" events of the trainer, merged.
    """
    before, after = (float(result[key]["instance_iou"]) for key in ("before", "after"))
    change = f"held-out IoU {before:.4f} -> {after:.4f} on {result['after']['n']} masks"
    if result["best_epoch"] == 0:
        return Verdict(promoted=False, reason=f"no epoch beat the model in use ({before:.4f})")
    if not after >= before:  # nor if it is not a number
        return Verdict(promoted=False, reason=f"worse than the model in use: {change}")
    return Verdict(promoted=True, reason=f"not worse than the model before: {change}")


def _dataset(
    labelled: Labelled, categories: Sequence[Category], paths: Mapping[int, Path]
) -> coco.Dataset:
    numbers = {category.id: category.number for category in categories}
    images = [
        coco.ImageRecord(image.number, paths[image.id].as_posix(), image.width, image.height)
        for image, _ in labelled
    ]
    annotations = [
        coco.Annotation(
            id=instance.number,
            image_id=image.number,
            category_id=numbers[instance.draft.category_id],
            box=_hull(instance),
            rle=instance.draft.rle,
        )
        for image, instances in labelled
        for instance in instances
    ]
    names = [coco.CategoryRecord(c.number, c.name) for c in categories]
    return coco.Dataset(images=images, categories=names, annotations=annotations)


def _hull(instance: Instance) -> Box:
    """The box a person would draw around the mask as it is now: it may have outgrown its box."""
    x0, y0, x1, y1 = instance.draft.box
    rle = instance.draft.rle
    if rle is None or rle.box is None:
        return instance.draft.box
    a, b, c, d = rle.box
    return min(x0, a), min(y0, b), max(x1, c), max(y1, d)
