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
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.sources import train_flags  # noqa: E402
from mal_core import coco  # noqa: E402
from mal_core.evaluate import score_instances  # noqa: E402
from mal_core.predictor import Predictor  # noqa: E402

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
    folder = data / "train" / "coco" / "images"
    by_threshold = {t: mean_iou(predictor, tuning, folder, t) for t in THRESHOLDS}
    best = max(by_threshold, key=lambda t: by_threshold[t])
    scores = {}
    for path in sorted((data / "eval_public").glob("*/annotations.json")):
        parts = score_instances(predictor, coco.read(path), path.parent / "images", threshold=best)
        scores[path.parent.name] = [score for part in parts for score in part]
    ious = {name: [s.iou for s in values] for name, values in scores.items()}
    return {
        "threshold": best,
        "all": float(np.mean([iou for values in ious.values() for iou in values])),
        "sources": float(np.mean([np.mean(values) for values in ious.values()])),
        "coco": float(np.mean(ious["coco"])),
        "coco_box": float(np.mean([s.box_iou for s in scores["coco"]])),
        "coco_above": float(np.mean([s.fill > 0.95 for s in scores["coco"]])),
        "coco_below": float(np.mean([s.fill < 0.05 for s in scores["coco"]])),
    }


def mean_iou(predictor: Predictor, data: coco.Dataset, folder: Path, threshold: float) -> float:
    """Instance-mean IoU at one threshold."""
    parts = score_instances(predictor, data, folder, threshold=threshold)
    return float(np.mean([score.iou for part in parts for score in part]))


if __name__ == "__main__":
    main()
