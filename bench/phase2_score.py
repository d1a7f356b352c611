"""Phase 2's yardstick: detections of held-out images, and COCO's average precision of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection import MaskRCNN

from bench.phase2_data import category_numbers, shrink
from mal_core.coco import Dataset, write
from mal_core.dataset import load_image
from mal_core.masks import encode

Detection = dict[str, Any]  # as in COCO's result files
BATCH = 64  # masks brought to the image's size at once


@dataclass(frozen=True)
class Precision:
    """COCO's average precision, 0 to 1: over IoU .50 to .95, and at two of those."""

    ap: float
    ap50: float
    ap75: float


def average_precision(
    truth: Dataset, detections: Sequence[Detection], kind: str = "segm", most: int = 100
) -> Precision:
    """Average precision by faster-coco-eval.

    Args:
        truth: images, categories and masks of persons.
        detections: of those images, as in COCO's result files.
        kind: "segm" for masks, "bbox" for boxes.
        most: detections of an image that count, best scores first; COCO's own number is 100.
    """
    if not detections:
        return Precision(0.0, 0.0, 0.0)
    known = COCO(to_coco(truth))
    evaluation = COCOeval_faster(known, known.loadRes(list(detections)), kind)
    evaluation.params.maxDets = [most]
    evaluation.evaluate()
    evaluation.accumulate()
    return summarise(evaluation.eval["precision"])


def summarise(precision: NDArray[np.floating]) -> Precision:
    """Means of COCOeval's table (T, R, K, A, M) over objects of all sizes and the most detections.

    T are the IoU limits .50, .55 to .95, R recalls, K categories; -1 is a category without truth.
    """
    table = precision[:, :, :, 0, -1]  # (T, R, K)

    def mean(part: NDArray[np.floating]) -> float:
        known = part[part > -1]
        return float(known.mean()) if known.size else 0.0

    return Precision(mean(table), mean(table[0]), mean(table[5]))


def to_coco(data: Dataset) -> dict[str, Any]:
    """A data set as the object that COCO evaluators read."""
    document: dict[str, Any] = orjson.loads(write(data))
    return document


@torch.inference_mode()
def detect(
    network: MaskRCNN, data: Dataset, images: Path, long_side: int
) -> Iterator[list[Detection]]:
    """Yield the detections of each image of a data set, masks at the image's own size."""
    network.eval()
    device = next(network.parameters()).device
    ids = {number: key for key, number in category_numbers(data).items()}
    for record in data.images:
        pixels, scale = shrink(load_image(images, record), long_side)
        found = network([pixels.to(device).float() / 255])[0]
        corners = found["boxes"].cpu().double().numpy() / scale
        masks = to_masks(found["masks"], record.height, record.width)
        yield [
            {
                "image_id": record.id,
                "category_id": ids[int(label)],
                "bbox": [*map(float, (box[0], box[1], box[2] - box[0], box[3] - box[1]))],
                "score": float(score),
                "segmentation": encode(mask, height=record.height, width=record.width).to_coco(),
            }
            for label, score, box, mask in zip(
                found["labels"].cpu(), found["scores"].cpu(), corners, masks, strict=True
            )
        ]


def to_masks(probs: Tensor, height: int, width: int) -> Iterator[NDArray[np.bool_]]:
    """Yield (height, width) masks of (N, 1, h, w) probabilities of an image that was shrunk."""
    for start in range(0, len(probs), BATCH):
        part = probs[start : start + BATCH]
        if part.shape[2:] != (height, width):
            part = F.interpolate(part, (height, width), mode="bilinear")
        yield from (part[:, 0] > 0.5).cpu().numpy()
