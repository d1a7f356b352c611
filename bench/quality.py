"""IoU from boxes on every data set of a folder, beside what the full box would get.

    python bench/quality.py EVAL_PUBLIC/ [--threshold 0.5] [--weights W.safetensors]

Each sub-folder holds annotations.json (COCO, with masks) and images/. Prints a Markdown table.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mal_core import coco  # noqa: E402
from mal_core.evaluate import Figures, InstanceScore, score_instances, summarise  # noqa: E402
from mal_core.predictor import Predictor  # noqa: E402

BUNDLED = ROOT / "weights" / "mal-small-256.safetensors"
COLUMNS = (
    *("instance_iou", "class_iou", "boundary_iou", "small", "medium", "large", "jittered_iou"),
    "box_iou",
)


def main() -> None:
    """Measure each data set, then all instances together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--weights", type=Path, default=BUNDLED)
    arguments = parser.parse_args()
    predictor = Predictor.load(arguments.weights)
    print(f"torch {torch.__version__}, threshold {arguments.threshold or 'of the checkpoint'}\n")
    print("| set | n | " + " | ".join(COLUMNS) + " |")
    print("|---|---|" + "---|" * len(COLUMNS))
    every: list[InstanceScore] = []
    figures = []
    for source in sorted(p.parent for p in arguments.folder.glob("*/annotations.json")):
        scores = measure(predictor, source, arguments.threshold)
        figures.append(summarise(scores))
        print(to_row(source.name, figures[-1]), flush=True)
        every += scores
    print(to_row("**all instances**", summarise(every)))
    over_sources = np.mean([f.instance_iou for f in figures])
    expected = [s.expected_iou for s in every]
    agreement = np.corrcoef(expected, [s.iou for s in every])[0, 1]
    print(
        f"\nMean over data sets: {over_sources:.4f}. Correlation of score and IoU: {agreement:.3f}"
    )


def measure(predictor: Predictor, source: Path, threshold: float | None) -> list[InstanceScore]:
    """All instances of one data set, tight boxes and a second time with 5 % jitter."""
    data = coco.read(source / "annotations.json")
    parts = score_instances(predictor, data, source / "images", threshold=threshold, jitter=0.05)
    bar = tqdm(parts, total=len(data.images), desc=source.name, disable=None)
    return [score for part in bar for score in part]


def to_row(name: str, figures: Figures) -> str:
    """One line of the table."""
    values = figures.to_dict()
    cells = ["-" if values[c] is None else f"{values[c]:.4f}".lstrip("0") for c in COLUMNS]
    return f"| {name} | {figures.n} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
