"""What needs no network: the full box, the ellipse in it, and GrabCut started from it.

    python bench/baselines.py eval_public/coco/annotations.json eval_public/coco/images [--limit N]

Prints instance-mean IoU of each, masks clipped to the box. GrabCut is OpenCV's (5 rounds), on the
box with a fifth of its side around it.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mal_core import coco  # noqa: E402
from mal_core.dataset import labelled, load_image  # noqa: E402
from mal_core.geometry import Box, Crop, Image, Rect, box_to_rect  # noqa: E402
from mal_core.masks import decode  # noqa: E402

ROUNDS = 5
Mask = NDArray[np.bool_]


def main() -> None:
    """Measure all three on each instance with a mask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--limit", type=int, help="the first N images only")
    arguments = parser.parse_args()
    data = coco.read(arguments.data)
    data = data.first(arguments.limit) if arguments.limit else data
    cv2.setRNGSeed(0)
    rows = []
    for record, annotations in tqdm(labelled(data), disable=None):
        image = load_image(arguments.images, record)
        for annotation in annotations:
            assert annotation.rle is not None
            truth = decode(annotation.rle)
            answers = (fill_box, draw_ellipse, cut)
            rows.append([iou(answer(image, annotation.box), truth) for answer in answers])
    means = np.mean(rows, 0)
    print(f"{len(rows)} instances: box {means[0]:.4f}, ellipse {means[1]:.4f}, ", end="")
    print(f"GrabCut {means[2]:.4f}")


def iou(mask: Mask, truth: Mask) -> float:
    """Of two masks of one image."""
    return float((mask & truth).sum() / max(1, (mask | truth).sum()))


def fill_box(image: Image, box: Box) -> Mask:
    """Every pixel the box touches."""
    mask = np.zeros(image.shape[:2], np.bool_)
    x0, y0, x1, y1 = box_to_rect(box, *mask.shape)
    mask[y0:y1, x0:x1] = True
    return mask


def draw_ellipse(image: Image, box: Box) -> Mask:
    """The ellipse that touches the four sides."""
    x0, y0, x1, y1 = box
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    across = (columns + 0.5 - (x0 + x1) / 2) / ((x1 - x0) / 2)
    down = (rows + 0.5 - (y0 + y1) / 2) / ((y1 - y0) / 2)
    ellipse: Mask = across**2 + down**2 <= 1
    return ellipse


def cut(image: Image, box: Box) -> Mask:
    """GrabCut from the box; the filled box where it finds no object at all."""
    full = fill_box(image, box)
    window = box_to_rect(Crop.around(box, 0.2).window, *full.shape)
    labels = np.where(_part(full, window), cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    if (labels == cv2.GC_BGD).sum() < 1:
        return full
    pixels = np.ascontiguousarray(_part(image, window))
    models = np.zeros((2, 1, 65), np.float64)
    try:
        cv2.grabCut(pixels, labels, None, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # too few pixels to tell colours apart
        return full
    found = np.zeros_like(full)
    _part(found, window)[:] = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    return found & full if found.any() else full


def _part(array: NDArray[np.generic], rect: Rect) -> NDArray[np.generic]:
    x0, y0, x1, y1 = rect
    return array[y0:y1, x0:x1]


if __name__ == "__main__":
    main()
