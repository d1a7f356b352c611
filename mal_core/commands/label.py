"""`label`: the boxes of a COCO file become masks."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mal_core import calibrate
from mal_core.autolabel import Labeller, label_file
from mal_core.calibrate import Calibration
from mal_core.commands.options import (
    add_backend,
    add_command,
    add_data,
    add_device,
    add_refine,
    add_threshold,
    add_weights,
    load_predictor,
)
from mal_core.config import LabelConfig
from mal_core.predictor import Predictor

REASONS_SHOWN = 10
UNCALIBRATED = "there is no calibration for these weights: scores are the network's own"


def add(commands: Any) -> None:  # noqa: ANN401
    """Add the command and its flags."""
    text = "the boxes of a COCO file become masks; a killed run goes on when it is repeated"
    command = add_command(commands, "label", run, text)
    add_data(command)
    command.add_argument("--out", type=Path, required=True, metavar="MASKS.json")
    command.add_argument("--score", action="store_true", help="add the IoU to expect of each mask")
    command.add_argument("--relabel", action="store_true", help="replace masks that are there")
    command.add_argument("--restart", action="store_true", help="forget an unfinished run")
    add_weights(command)
    add_device(command)
    add_threshold(command)
    add_refine(command)
    add_backend(command)


def run(arguments: argparse.Namespace) -> None:
    """Label; with --json one event a line, else a progress bar, the reasons and the counts.

    Boxes without a mask are told and counted, and no failure of the command; none with one is.
    """
    config = LabelConfig(arguments.threshold, arguments.relabel, arguments.score)
    predictor = load_predictor(arguments)
    calibration = _calibration(arguments.weights, predictor) if config.score else None
    labeller = Labeller(predictor, config, calibration)
    if config.score and calibration is None:
        print(f"note: {UNCALIBRATED}", file=sys.stderr)
    events = label_file(
        arguments.data, arguments.images, arguments.out, labeller, restart=arguments.restart
    )
    if arguments.json:
        for event in events:
            print(json.dumps(event), flush=True)
    else:
        _show(events)


def _calibration(weights: Path, predictor: Predictor) -> Calibration | None:
    return calibrate.load(calibrate.beside(weights), predictor.checkpoint.sha256)


def _show(events: Iterable[Mapping[str, Any]]) -> None:
    reasons: Counter[str] = Counter()
    with tqdm(unit="image", disable=None) as bar:
        for event in events:
            if event["event"] == "start":
                bar.reset(event["images"])
                bar.update(event["resumed"])
            elif event["event"] == "image":
                bar.update()
            elif event["event"] == "error":
                reasons[event["reason"]] += 1
            else:
                _summarise(event, reasons)


def _summarise(saved: Mapping[str, Any], reasons: Counter[str]) -> None:
    for reason, times in reasons.most_common(REASONS_SHOWN):
        print(f"no mask for {times}: {reason}", file=sys.stderr)
    if len(reasons) > REASONS_SHOWN:
        print(f"and {len(reasons) - REASONS_SHOWN} more reasons", file=sys.stderr)
    counts = "  ".join(
        f"{name} {saved[name]}" for name in ("labelled", "flagged", "failed", "kept")
    )
    speed = f"{saved['boxes_per_second']} boxes/s"
    print(f"{saved['file']}: {counts}  {saved['seconds']} s  {speed}")
