"""Measure a predictor on a COCO file: IoU from boxes, beside what the full box would get."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mal_core.coco import Annotation, Dataset
from mal_core.dataset import jitter_box, labelled, load_image
from mal_core.geometry import box_to_rect
from mal_core.masks import RLE, encode, iou
from mal_core.metrics import boundary_iou, class_mean, mean, size_class
from mal_core.predictor import Predictor


@dataclass(frozen=True)
class InstanceScore:
    """How one instance fared; every IoU is 0 to 1."""

    annotation_id: int
    category_id: int
    area: int  # of the true mask, pixels
    iou: float
    boundary_iou: float
    box_iou: float  # of the filled box with the true mask
    fill: float  # of the answer's area in the box's
    expected_iou: float  # what the predictor itself expected
    jittered_iou: float | None
    seconds: float  # box -> run-length code, its share of the image's batch
    image_id: int
    answer: RLE


@dataclass(frozen=True)
class Figures:
    """The means over a data set."""

    n: int
    instance_iou: float
    class_iou: float
    boundary_iou: float
    small: float | None
    medium: float | None
    large: float | None
    jittered_iou: float | None
    box_iou: float
    seconds_per_box: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def score_instances(
    predictor: Predictor,
    dataset: Dataset,
    folder: Path,
    *,
    threshold: float | None = None,
    jitter: float = 0.0,
    seed: int = 0,
) -> Iterator[list[InstanceScore]]:
    """Predict every labelled image and compare.

    Args:
        predictor: what to measure.
        dataset: images, boxes and true masks; crowds and box-only annotations are left out.
        folder: where the image files are.
        threshold: mask probability; None for the checkpoint's.
        jitter: standard deviation of a second run's box sides, fraction of their length; 0: none.
        seed: of that jitter.

    Yields:
        The scores of one image at a time.

    Raises:
        BadImage: an image is missing or of another size.
    """
    random = np.random.default_rng(seed)
    for record, annotations in labelled(dataset):
        image = load_image(folder, record)
        boxes = [a.box for a in annotations]
        begin = time.perf_counter()
        prediction = predictor.predict(image, boxes)
        masks = prediction.masks(threshold)
        seconds = (time.perf_counter() - begin) / len(boxes)
        moved: Sequence[RLE | None] = [None] * len(boxes)
        if jitter:
            hurried = [jitter_box(box, jitter, random, record) for box in boxes]
            moved = predictor.predict(image, hurried).masks(threshold)
        answers = zip(annotations, masks, moved, prediction.scores, strict=True)
        yield [_score(a, mask, other, float(s), seconds) for a, mask, other, s in answers]


def fill_box(box: tuple[float, float, float, float], like: RLE) -> RLE:
    """The mask that fills a box of an image as large as `like`'s."""
    x0, y0, x1, y1 = box_to_rect(box, like.height, like.width)
    full = np.ones((y1 - y0, x1 - x0), np.bool_)
    return encode(full, x0=x0, y0=y0, height=like.height, width=like.width)


def _score(
    annotation: Annotation, mask: RLE, jittered: RLE | None, expected: float, seconds: float
) -> InstanceScore:
    truth = annotation.rle
    assert truth is not None
    full = fill_box(annotation.box, truth)
    return InstanceScore(
        annotation_id=annotation.id,
        category_id=annotation.category_id,
        area=truth.area,
        iou=iou(mask, truth),
        boundary_iou=boundary_iou(mask, truth),
        box_iou=iou(full, truth),
        fill=mask.area / full.area,
        expected_iou=expected,
        jittered_iou=None if jittered is None else iou(jittered, truth),
        seconds=seconds,
        image_id=annotation.image_id,
        answer=mask,
    )


def summarise(scores: Sequence[InstanceScore]) -> Figures:
    """Means of one or more instance scores.

    Raises:
        ValueError: if there are none.
    """
    if not scores:
        raise ValueError("there is no instance with a mask to measure on")
    by_size = {
        name: mean(s.iou for s in scores if size_class(s.area) == name)
        for name in ("small", "medium", "large")
    }
    ious = [s.iou for s in scores]
    return Figures(
        n=len(scores),
        instance_iou=float(np.mean(ious)),
        class_iou=class_mean(ious, [s.category_id for s in scores])[0],
        boundary_iou=float(np.mean([s.boundary_iou for s in scores])),
        small=by_size["small"],
        medium=by_size["medium"],
        large=by_size["large"],
        jittered_iou=mean(s.jittered_iou for s in scores if s.jittered_iou is not None),
        box_iou=float(np.mean([s.box_iou for s in scores])),
        seconds_per_box=float(np.median([s.seconds for s in scores])),
    )


def by_category(scores: Sequence[InstanceScore]) -> Mapping[int, float]:
    """Mean IoU of each category id."""
    return class_mean([s.iou for s in scores], [s.category_id for s in scores])[1]
