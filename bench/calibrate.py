"""Fit the score's calibration on training images; say what it is worth on others.

    python bench/calibrate.py TRAIN/ EVAL_PUBLIC/ [--weights W.safetensors] [--out C.json]

Each sub-folder holds annotations.json (COCO, with masks) and images/. A sample of images of each,
drawn by a seed, is looked at, and of an image a few boxes. The file goes beside the weights.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mal_core import calibrate, coco  # noqa: E402
from mal_core.calibrate import calibration_error, features  # noqa: E402
from mal_core.dataset import labelled, load_image  # noqa: E402
from mal_core.masks import iou  # noqa: E402
from mal_core.predictor import Predictor  # noqa: E402

BUNDLED = ROOT / "weights" / "mal-small-256.safetensors"
Floats = NDArray[np.float64]


def main() -> None:
    """Fit, write, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("eval", type=Path)
    parser.add_argument("--weights", type=Path, default=BUNDLED)
    parser.add_argument("--out", type=Path, help="default: beside the weights")
    parser.add_argument("--images", type=int, default=16, help="of each training source")
    parser.add_argument("--eval-images", type=int, default=40, help="of each source to judge by")
    parser.add_argument("--boxes", type=int, default=6, help="of an image, at most")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    predictor = Predictor.load(arguments.weights)
    random = np.random.default_rng(arguments.seed)
    table, ious = collect(predictor, arguments.train, arguments.images, arguments.boxes, random)
    calibration = calibrate.fit(table, ious)
    notes = {"masks": len(ious), "images_per_source": arguments.images, "seed": arguments.seed}
    out = arguments.out or calibrate.beside(arguments.weights)
    calibrate.save(calibration, out, predictor.checkpoint.sha256, notes)
    print(calibration)
    print("| masks | n | score | mean score | mean IoU | correlation | ECE | mean error |")
    print("|---|---|---|---|---|---|---|---|")
    report("train", calibration, table, ious)
    random = np.random.default_rng(arguments.seed)
    found = collect(predictor, arguments.eval, arguments.eval_images, arguments.boxes, random)
    report("eval_public", calibration, *found)


def collect(
    predictor: Predictor, folder: Path, images: int, boxes: int, random: np.random.Generator
) -> tuple[Floats, Floats]:
    """Features (N, 3) and IoUs (N,) of a sample of every source's tight boxes."""
    tables, ious = [], []
    for source in sorted(p.parent for p in folder.glob("*/annotations.json")):
        pairs = labelled(coco.read(source / "annotations.json"))
        for index in tqdm(draw(len(pairs), images, random), desc=source.name, disable=None):
            record, every = pairs[index]
            some = [every[i] for i in draw(len(every), boxes, random)]
            prediction = predictor.predict(
                load_image(source / "images", record), [a.box for a in some]
            )
            masks = prediction.masks()
            tables.append(features(prediction, masks))
            ious += [iou(m, a.rle) for m, a in zip(masks, some, strict=True) if a.rle is not None]
    return np.concatenate(tables), np.array(ious)


def draw(total: int, count: int, random: np.random.Generator) -> list[int]:
    """At most `count` of `total` numbers, ascending."""
    return sorted(random.choice(total, min(count, total), replace=False).tolist())


def report(name: str, calibration: calibrate.Calibration, table: Floats, ious: Floats) -> None:
    """Two rows: the raw score and the calibrated one."""
    raw = 1 / (1 + np.exp(-table[:, 0]))
    for kind, score in (("raw", raw), ("calibrated", calibration.apply(table))):
        correlation = np.corrcoef(score, ious)[0, 1]
        error, distance = calibration_error(score, ious), np.abs(score - ious).mean()
        cells = (score.mean(), ious.mean(), correlation, error, distance)
        print(f"| {name} | {len(ious)} | {kind} | " + " | ".join(f"{c:.4f}" for c in cells) + " |")


if __name__ == "__main__":
    main()
