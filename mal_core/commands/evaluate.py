"""`evaluate`: IoU from boxes on a COCO file."""

import argparse
from typing import Any

from tqdm import tqdm

from mal_core import coco
from mal_core.commands.options import (
    add_backend,
    add_command,
    add_data,
    add_device,
    add_refine,
    add_threshold,
    add_weights,
    count,
    load_predictor,
    print_facts,
    share,
)
from mal_core.dataset import labelled
from mal_core.errors import MALError
from mal_core.evaluate import InstanceScore, score_instances, summarise


def add(commands: Any) -> None:  # noqa: ANN401
    """Add the command and its flags."""
    command = add_command(commands, "evaluate", run, "IoU from boxes on a COCO file")
    add_data(command)
    add_weights(command)
    add_device(command)
    add_threshold(command)
    add_refine(command)
    add_backend(command)
    noise = "box noise of a second run, fraction of a side; 0: none (default: 0.05)"
    command.add_argument("--jitter", type=share, default=0.05, help=noise)
    command.add_argument("--limit", type=count, help="measure only the first N images")


def run(arguments: argparse.Namespace) -> None:
    """Print the table of mal_core.evaluate.Figures."""
    data = coco.read(arguments.data)
    if arguments.limit:
        data = data.first(arguments.limit)
    predictor = load_predictor(arguments)
    parts = score_instances(
        predictor, data, arguments.images, threshold=arguments.threshold, jitter=arguments.jitter
    )
    bar = tqdm(parts, total=len(labelled(data)), unit="image", disable=None)
    scores: list[InstanceScore] = [score for part in bar for score in part]
    if not scores:
        raise MALError(f"{arguments.data.name} holds no instance with a mask")
    print_facts(summarise(scores).to_dict(), as_json=arguments.json)
