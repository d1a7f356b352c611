"""Phase 2: an instance-segmentation network taught with MAL's masks, against a person's masks.

    python bench/phase2.py DATA.json IMAGES/ --weights W --eval-data DATA.json --eval-images IMAGES/
        [--limit 60] [--seeds 3] [--minutes 10 | --steps 600] --out FOLDER

Labels the boxes of DATA.json with the checkpoint W, then trains the same Mask R-CNN from the same
random start, with the same crops, on the masks of persons, on MAL's, and on the filled boxes, and
prints the mask AP of each on held-out images whose masks are by persons. Everything is kept in
FOLDER: a run that was killed goes on where it was when the same line is given again, and another
checkpoint in the same FOLDER finds the trainings that do not depend on it done.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.phase2_data import (  # noqa: E402
    KINDS,
    agreement,
    draw_images,
    fill_boxes,
    label_images,
    load_samples,
    read_labels,
)
from bench.phase2_score import average_precision, detect  # noqa: E402
from bench.phase2_train import Recipe, Run  # noqa: E402
from mal_core import coco  # noqa: E402
from mal_core.checkpoint import file_sha256  # noqa: E402
from mal_core.coco import Dataset  # noqa: E402
from mal_core.config import add_options, from_options  # noqa: E402
from mal_core.errors import TrainingError  # noqa: E402
from mal_core.files import write_whole  # noqa: E402
from mal_core.predictor import Predictor  # noqa: E402

BUNDLED = ROOT / "weights" / "mal-small-256.safetensors"
TIMED = 20  # steps that find out how many fit in --minutes
MEASURES = ("segm_ap", "segm_ap50", "segm_ap75", "bbox_ap")
Result = Mapping[str, float]


def main() -> None:
    """Label, train what is not trained yet, score, print."""
    arguments = build_parser().parse_args()
    torch.set_num_threads(arguments.threads)
    recipe = from_options(Recipe(), arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    truth = draw_images(coco.read(arguments.data), arguments.limit)
    held_out = draw_images(coco.read(arguments.eval_data), None)
    steps = plan(arguments, recipe, truth)
    mal = f"mal-{file_sha256(arguments.weights)[:8]}"
    labels = make_labels(arguments, truth, arguments.out / f"labels-{mal}")
    names = {"human": "human", "mal": mal, "box": "box"}
    results: dict[tuple[str, int], Result] = {}
    for seed in range(arguments.seeds):
        for kind in KINDS:
            results[kind, seed] = train_and_score(
                arguments, recipe, labels[kind], held_out, names[kind], seed, steps
            )
    print(f"\n{len(truth.images)} images, {len(truth.annotations)} instances, {steps} steps")
    for kind in KINDS[1:]:
        print(f"labels of kind {kind}: mean IoU {agreement(truth, labels[kind]):.4f}")
    print("\n" + "\n".join(to_table(results, arguments.seeds)))


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA.json")
    parser.add_argument("images", type=Path, metavar="IMAGES/")
    parser.add_argument("--eval-data", type=Path, required=True)
    parser.add_argument("--eval-images", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=BUNDLED)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="train on N images drawn at random")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10, help="of each training, about")
    parser.add_argument("--steps", type=int, help="of each training, instead of --minutes")
    parser.add_argument("--threads", type=int, default=1)
    add_options(parser, Recipe())
    return parser


def plan(arguments: argparse.Namespace, recipe: Recipe, truth: Dataset) -> int:
    """Steps of each training, found once for a folder, so that all its trainings are alike.

    Raises:
        TrainingError: the folder holds a run with other settings.
    """
    path = arguments.out / "settings.json"
    wanted = {
        "recipe": dataclasses.asdict(recipe),
        "data": file_sha256(arguments.data),
        "eval_data": file_sha256(arguments.eval_data),
        "limit": arguments.limit,
        "asked": arguments.steps or f"{arguments.minutes:g} minutes",
    }
    if path.exists():
        settings = json.loads(path.read_text(encoding="utf-8"))
        steps = int(settings.pop("steps"))
        if settings != wanted:
            changed = sorted(key for key in wanted if settings.get(key) != wanted[key])
            raise TrainingError(f"{arguments.out} holds a run with other settings: {changed}")
        return steps
    steps = arguments.steps or count_steps(arguments, recipe, truth)
    write_whole(path, json.dumps(wanted | {"steps": steps}, indent=1).encode())
    return steps


def count_steps(arguments: argparse.Namespace, recipe: Recipe, truth: Dataset) -> int:
    """How many steps fit in the minutes, by a few steps of a training that is thrown away."""
    samples = load_samples(truth.first(20), arguments.images, recipe.long_side)
    with tempfile.TemporaryDirectory() as folder:
        steps = Run(Path(folder) / "timed", recipe, len(truth.categories), 0, TIMED).train(samples)
        next(steps)  # the first also warms up
        begin = time.perf_counter()
        rest = len(list(steps))
    seconds = (time.perf_counter() - begin) / rest
    return max(1, round(60 * arguments.minutes / seconds))


def make_labels(
    arguments: argparse.Namespace, truth: Dataset, folder: Path
) -> Mapping[str, Dataset]:
    """The data set with each kind of masks; MAL's are made where they are not on the disk."""
    predictor = Predictor.load(arguments.weights)
    labelling = label_images(predictor, truth, arguments.images, folder)
    for _ in tqdm(labelling, total=len(truth.images), desc="label", disable=None):
        pass
    return {"human": truth, "mal": read_labels(truth, folder), "box": fill_boxes(truth)}


def train_and_score(
    arguments: argparse.Namespace,
    recipe: Recipe,
    labels: Dataset,
    held_out: Dataset,
    name: str,
    seed: int,
    steps: int,
) -> Result:
    """Average precisions of one training, from the disk where it is finished."""
    path = arguments.out / f"{name}-{seed}.json"
    if path.exists():
        found: Result = json.loads(path.read_text(encoding="utf-8"))
        return found
    run = Run(path.with_suffix(".safetensors"), recipe, len(labels.categories), seed, steps)
    samples = load_samples(labels, arguments.images, recipe.long_side)
    bar = tqdm(total=steps, initial=run.step, desc=f"{name} {seed}", disable=None)
    losses = []
    for loss in run.train(samples):
        losses.append(loss)
        bar.set_postfix(loss=f"{np.mean(losses[-50:]):.3f}", refresh=False)
        bar.update()
    bar.close()
    every = detect(run.network, held_out, arguments.eval_images, recipe.long_side)
    detections = [one for part in every for one in part]
    result: dict[str, float] = {}
    for sort in ("segm", "bbox"):
        precision = average_precision(held_out, detections, sort, recipe.detections)
        result |= {f"{sort}_{k}": v for k, v in dataclasses.asdict(precision).items()}
    write_whole(path, json.dumps(result).encode())
    print(f"{name} {seed}: " + ", ".join(f"{k} {v:.4f}" for k, v in result.items()), flush=True)
    return result


def to_table(results: Mapping[tuple[str, int], Result], seeds: int) -> list[str]:
    """Markdown: points of AP, mean and standard deviation over seeds, and the ratio to human."""
    human = np.array([results["human", seed]["segm_ap"] for seed in range(seeds)])
    lines = ["| masks | " + " | ".join(MEASURES) + " | ratio of segm_ap to human's |"]
    lines.append("|---|" + "---|" * (len(MEASURES) + 1))
    for kind in KINDS:
        cells = []
        for measure in MEASURES:
            cells.append(spread(100 * np.array([results[kind, s][measure] for s in range(seeds)])))
        ratios = np.array([results[kind, s]["segm_ap"] for s in range(seeds)]) / human.clip(1e-9)
        cells.append(spread(ratios, digits=3))
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return lines


def spread(values: np.ndarray, digits: int = 1) -> str:
    """Mean and, of more than one value, the sample's standard deviation."""
    text = f"{values.mean():.{digits}f}"
    return f"{text} ± {values.std(ddof=1):.{digits}f}" if values.size > 1 else text


if __name__ == "__main__":
    main()
