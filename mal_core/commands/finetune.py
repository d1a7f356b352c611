"""`finetune`: tune the decoder and the last blocks on corrected masks and boxes."""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
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
from mal_core.config import add_options
from mal_core.dataset import pictures_of
from mal_core.errors import InputError
from mal_core.finetune import finetune
from mal_core.finetune_config import FinetuneConfig
from mal_core.material import Material
from mal_core.pool import Source
from mal_core.predictor import choose_device

NOTHING = coco.Dataset([], [], [])


def add(commands: Any) -> None:  # noqa: ANN401
    """Add the command and its flags."""
    command = add_command(commands, "finetune", run, "fine-tune on corrected masks and boxes")
    add_data(command)
    command.add_argument("--held-out", type=Path, metavar="HELD_OUT.json",
                         help="masks to judge by, in the same IMAGES/")  # fmt: skip
    command.add_argument("--out", type=Path, required=True, metavar="NEW.safetensors")
    command.add_argument("--probe", nargs=2, type=Path, metavar=("PROBE.json", "PROBE_IMAGES/"),
                         help="masks of other things, measured before and after")  # fmt: skip
    command.add_argument("--distil", nargs="+", type=Path, default=[], metavar="PHOTO",
                         help="other photos or folders, to stay with the parent on")  # fmt: skip
    command.add_argument("--resume", action="store_true", help="go on with an unfinished run")
    add_weights(command)
    add_device(command)
    add_options(command, FinetuneConfig())


def run(arguments: argparse.Namespace) -> None:
    """Fine-tune; with --json one event a line, else a line an epoch."""
    material = Material(
        train=coco.read(arguments.data),
        held_out=coco.read(arguments.held_out) if arguments.held_out else NOTHING,
        folder=arguments.images,
        probe=_probe(arguments.probe),
        photos=_photos(arguments.distil),
    )
    events = finetune(
        checkpoints.load(arguments.weights),
        material,
        arguments.out,
        recipe(FinetuneConfig(), arguments),
        choose_device(arguments.device),
        resume=arguments.resume,
    )
    _print_events(events, as_json=arguments.json)


def _probe(paths: tuple[Path, Path] | None) -> Source | None:
    return Source(coco.read(paths[0]), paths[1]) if paths else None


def _photos(paths: Sequence[Path]) -> list[Path]:
    found = [f for path in paths for f in (pictures_of(path) if path.is_dir() else [path])]
    if paths and not found:
        raise InputError(f"there is no image in {paths[0].name}")
    if missing := [path.name for path in found if not path.is_file()]:
        raise InputError(f"there is no photo {missing[0]}")
    return found


def _print_events(events: Iterable[Mapping[str, Any]], *, as_json: bool) -> None:
    for event in events:
        if as_json:
            print(json.dumps(event), flush=True)
        elif event["event"] in ("epoch", "saved", "notice"):
            print("  ".join(f"{key} {show(value)}" for key, value in event.items()))
        elif event["event"] == "judged":
            _print_verdict(event)


def _print_verdict(event: Mapping[str, Any]) -> None:
    if event["gain"]:
        before, after = (event[k]["instance_iou"] for k in ("before", "after"))
        gain = "gain {mean:+.4f} ({low:+.4f} to {high:+.4f})".format(**event["gain"])
        count = event["after"]["n"]
        print(f"held-out IoU {before:.4f} -> {after:.4f} on {count} masks: {gain}")
    if event["probe"]:
        before, after, count = event["probe"].values()
        print(f"probe IoU {before:.4f} -> {after:.4f} on {count} masks")
