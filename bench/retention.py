"""Retention of masks: one network learned from boxes alone and from masks, and their IoU's ratio.

    python bench/retention.py DATA/ --out RUNS/ [--steps 700] [--seeds 1] [-- more flags of train]

DATA/ holds train/ and eval_public/. Each run is `python -m mal_core train` with the same seed,
crops and steps; only the supervision differs. Runs that are finished are not run again, a killed
one goes on. Prints, for every kind and seed, the IoU on eval_public and on its coco slice, at the
threshold that suits each kind best on a slice of the TRAINING data, and the ratio boxes / masks.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.sources import train_flags  # noqa: E402
from mal_core import coco  # noqa: E402
from mal_core.dataset import labelled, load_image  # noqa: E402
from mal_core.evaluate import fill_box  # noqa: E402
from mal_core.masks import iou  # noqa: E402
from mal_core.predictor import SUSPICIOUS_FILL, Predictor  # noqa: E402

KINDS = ("masks", "boxes")
SMALL = "--dim 192 --depth 4 --heads 3 --crop-size 128 --longest 512 --batch-size 24 --rate 1e-3"
RECIPE = (
    "--momentum 0.995 --prompt-share 0 --crf-warmup 0.2"  # nobody shows the box: it is the lesson
)
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
TUNING_IMAGES = 40


def main() -> None:
    """Train what is missing, measure it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--device", default="auto")
    arguments, more = parser.parse_known_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    print("| seed | kind | threshold | eval_public | mean over sources | coco | coco box |")
    print("|---|---|---|---|---|---|---|")
    ratios = []
    for seed in range(arguments.seeds):
        rows = {kind: one_run(arguments, kind, seed, more) for kind in KINDS}
        for kind, row in rows.items():
            cells = [row[k] for k in ("threshold", "all", "sources", "coco", "coco_box")]
            print(f"| {seed} | {kind} | " + " | ".join(f"{c:.4f}" for c in cells) + " |")
        ratios.append([rows["boxes"][key] / rows["masks"][key] for key in ("all", "coco")])
    means, spread = np.mean(ratios, 0), np.std(ratios, 0)
    for name, mean, deviation in zip(("eval_public", "coco"), means, spread, strict=True):
        print(f"retention on {name}: {mean:.3f} +- {deviation:.3f} over {len(ratios)} seeds")


def one_run(
    arguments: argparse.Namespace, kind: str, seed: int, more: Sequence[str]
) -> dict[str, float]:
    """Train one kind with one seed, unless it is there, and measure it."""
    out = arguments.out.resolve() / f"{kind}-{seed}.safetensors"
    if not out.exists():
        words = [*SMALL.split(), *RECIPE.split(), "--steps", str(arguments.steps), *more]
        words += ["--supervision", kind, "--seed", str(seed), "--device", arguments.device]
        command = [
            sys.executable,
            "-m",
            "mal_core",
            "train",
            *train_flags(arguments.data / "train"),
        ]
        subprocess.run([*command, "--out", str(out), "--resume", *words], cwd=ROOT, check=True)
    figures = out.with_suffix(".json")
    if not figures.exists():
        figures.write_text(json.dumps(measure(out, arguments.data, arguments.device)))
    row: dict[str, float] = json.loads(figures.read_text())
    return row


def measure(weights: Path, data: Path, device: str) -> dict[str, float]:
    """IoU on eval_public at the threshold that is best on the first images of train/coco."""
    predictor = Predictor.load(weights, device)
    tuning = coco.read(data / "train" / "coco" / "annotations.json").first(TUNING_IMAGES)
    tried = [row[0] for row in score(predictor, tuning, data / "train" / "coco", THRESHOLDS)]
    best = THRESHOLDS[int(np.argmax(np.mean(tried, 0)))]
    rows = {
        path.parent.name: list(score(predictor, coco.read(path), path.parent, (best,)))
        for path in tqdm(sorted((data / "eval_public").glob("*/annotations.json")), disable=None)
    }
    ious = {name: [row[0][0] for row in values] for name, values in rows.items()}
    fills = np.array([row[1][0] for row in rows["coco"]])
    return {
        "threshold": best,
        "all": float(np.mean([iou for values in ious.values() for iou in values])),
        "sources": float(np.mean([np.mean(values) for values in ious.values()])),
        "coco": float(np.mean(ious["coco"])),
        "coco_box": float(np.mean([row[2] for row in rows["coco"]])),
        "coco_above": float((fills > SUSPICIOUS_FILL[1]).mean()),
        "coco_below": float((fills < SUSPICIOUS_FILL[0]).mean()),
    }


def score(
    predictor: Predictor, data: coco.Dataset, source: Path, thresholds: Sequence[float]
) -> Iterator[tuple[list[float], list[float], float]]:
    """For each instance: IoU and share of the box at each threshold, and the full box's IoU."""
    for record, annotations in labelled(data):
        image = load_image(source / "images", record)
        prediction = predictor.predict(image, [a.box for a in annotations])
        for index, annotation in enumerate(annotations):
            assert annotation.rle is not None
            full = fill_box(annotation.box, annotation.rle)
            masks = [prediction.rle(index, threshold) for threshold in thresholds]
            ious = [iou(mask, annotation.rle) for mask in masks]
            yield ious, [m.area / full.area for m in masks], iou(full, annotation.rle)


if __name__ == "__main__":
    main()
