"""`simulate`: what strokes are worth, by a simulated annotator with two hands."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from mal_core import coco
from mal_core.annotator import HANDS, Course, annotate
from mal_core.coco import Annotation, ImageRecord
from mal_core.commands.options import (
    add_backend,
    add_command,
    add_data,
    add_device,
    add_refine,
    add_weights,
    count,
    load_predictor,
    share,
)
from mal_core.dataset import labelled, load_image
from mal_core.errors import InputError

Work = Sequence[tuple[ImageRecord, Sequence[Annotation]]]


def add(commands: Any) -> None:  # noqa: ANN401
    """Add the command and its flags."""
    text = "IoU after each stroke of a simulated annotator, plain brush against smart stroke"
    command = add_command(commands, "simulate", run, text)
    add_data(command)
    command.add_argument("--strokes", type=count, default=5, help="on each instance (default: 5)")
    command.add_argument("--target", type=share, default=0.9, help="IoU to reach (default: 0.9)")
    command.add_argument("--instances", type=count, help="a sample of N (default: all)")
    command.add_argument("--seed", type=int, default=0, help="of sample and strokes (default: 0)")
    add_weights(command)
    add_device(command)
    add_refine(command)
    add_backend(command)


def run(arguments: argparse.Namespace) -> None:
    """Print for each hand the mean IoU after 0, 1, 2 ... strokes, and strokes to the target.

    An instance that does not get there counts with all its strokes, and its share is told.
    """
    work = sample(labelled(coco.read(arguments.data)), arguments.instances, arguments.seed)
    if not work:
        raise InputError(f"{arguments.data.name} holds no instance with a mask")
    predictor = load_predictor(arguments)
    courses: list[Course] = []
    for record, annotations in tqdm(work, unit="image", disable=None):
        image, boxes = load_image(arguments.images, record), [a.box for a in annotations]
        truths = [a.rle for a in annotations if a.rle is not None]
        way = {"strokes": arguments.strokes, "seed": arguments.seed}
        courses += annotate(predictor, image, boxes, truths, **way)
    figures = {hand: summarise(courses, hand, arguments.target) for hand in HANDS}
    facts = {"n": len(courses), "target": arguments.target, "seed": arguments.seed, **figures}
    if arguments.json:
        print(json.dumps(facts))
    else:
        print("\n".join(lines(facts)))


def sample(work: Work, instances: int | None, seed: int) -> Work:
    """Draw some of the instances, each with the same chance; all for None."""
    places = [(i, k) for i, (_, annotations) in enumerate(work) for k in range(len(annotations))]
    if instances is not None and instances < len(places):
        drawn = np.random.default_rng(seed).choice(len(places), instances, replace=False)
        places = [places[index] for index in sorted(drawn.tolist())]
    chosen: dict[int, list[Annotation]] = {}
    for i, k in places:
        chosen.setdefault(i, []).append(work[i][1][k])
    return [(work[i][0], annotations) for i, annotations in chosen.items()]


def summarise(courses: Sequence[Course], hand: str, target: float) -> Mapping[str, Any]:
    """Mean IoU after each number of strokes; strokes to the target; share that reached it."""
    ious = np.array([course.ious[hand] for course in courses])  # (N, strokes + 1)
    needed = [course.strokes_to(target, hand) for course in courses]
    most = ious.shape[1] - 1
    return {
        "iou": ious.mean(0).tolist(),
        "strokes": float(np.mean([most if n is None else n for n in needed])),
        "reached": float(np.mean([n is not None for n in needed])),
    }


def lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """A table for people."""
    most = len(facts[HANDS[0]]["iou"])
    heads = [f"IoU@{number}" for number in range(most)]
    yield f"{facts['n']} instances, target {facts['target']}, seed {facts['seed']}"
    yield "hand   " + "  ".join(heads) + "  strokes  reached"
    for hand in HANDS:
        row = facts[hand]
        values = "  ".join(
            f"{value:.4f}"[: len(heads[0])].ljust(len(heads[0])) for value in row["iou"]
        )
        yield f"{hand:6} {values}  {row['strokes']:7.2f}  {row['reached']:7.2f}"
