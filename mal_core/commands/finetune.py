"""`finetune`: tune the decoder and the last blocks on corrected masks."""

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mal_core import checkpoint as checkpoints
from mal_core import coco
from mal_core.commands.options import (
    add_command,
    add_data,
    add_device,
    add_weights,
    recipe,
    show,
)
from mal_core.config import FinetuneConfig, add_options
from mal_core.finetune import Material, finetune
from mal_core.predictor import choose_device


def add(commands: Any) -> None:  # noqa: ANN401
    """Add the command and its flags."""
    command = add_command(commands, "finetune", run, "fine-tune on corrected masks")
    add_data(command)
    command.add_argument("--held-out", type=Path, required=True, metavar="HELD_OUT.json")
    command.add_argument("--out", type=Path, required=True, metavar="NEW.safetensors")
    add_weights(command)
    add_device(command)
    add_options(command, FinetuneConfig())


def run(arguments: argparse.Namespace) -> None:
    """Fine-tune; with --json one event a line, else a line an epoch."""
    material = Material(coco.read(arguments.data), coco.read(arguments.held_out), arguments.images)
    events = finetune(
        checkpoints.load(arguments.weights),
        material,
        arguments.out,
        recipe(FinetuneConfig(), arguments),
        choose_device(arguments.device),
    )
    _print_events(events, as_json=arguments.json)


def _print_events(events: Iterable[Mapping[str, Any]], *, as_json: bool) -> None:
    for event in events:
        if as_json:
            print(json.dumps(event), flush=True)
        elif event["event"] in ("epoch", "saved"):
            print("  ".join(f"{key} {show(value)}" for key, value in event.items()))
        elif event["event"] == "judged":
            before, after = (event[k]["instance_iou"] for k in ("before", "after"))
            print(f"held-out IoU {before:.4f} -> {after:.4f} on {event['after']['n']} masks")
