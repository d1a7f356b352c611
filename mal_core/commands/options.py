"""Flags and printing that several commands share."""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from mal_core.config import BACKENDS, Config, from_options
from mal_core.errors import InputError
from mal_core.predictor import Predictor
from mal_core.refine import METHODS, RefineConfig

BUNDLED = Path(__file__).resolve().parents[2] / "weights" / "mal-small-256.safetensors"
Run = Callable[[argparse.Namespace], None]


def add_command(commands: Any, name: str, run: Run, text: str) -> argparse.ArgumentParser:  # noqa: ANN401
    """Add a subcommand with --threads and --json."""
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    command.add_argument("--threads", type=count, help="CPU threads (default: torch's)")
    command.add_argument("--json", action="store_true", help="machine-readable output")
    return command


def add_weights(command: argparse.ArgumentParser) -> None:
    """Add --weights, the bundled checkpoint by default."""
    text = "checkpoint (default: the bundled one)"
    command.add_argument("--weights", type=Path, default=BUNDLED, help=text)


def add_device(command: argparse.ArgumentParser) -> None:
    """Add --device."""
    command.add_argument("--device", default="auto", help="auto, cpu, cuda (default: auto)")


def add_data(command: argparse.ArgumentParser) -> None:
    """Add the positional DATA.json and IMAGES/."""
    command.add_argument("data", type=Path, metavar="DATA.json")
    command.add_argument("images", type=Path, metavar="IMAGES/")


def add_threshold(command: argparse.ArgumentParser) -> None:
    """Add --threshold; None for the checkpoint's."""
    text = "mask probability (default: checkpoint's)"
    command.add_argument("--threshold", type=share, help=text)


def add_refine(command: argparse.ArgumentParser) -> None:
    """Add --refine."""
    usual = RefineConfig().method
    text = f"how the edges of large masks follow the image (default: {usual})"
    command.add_argument("--refine", choices=METHODS, default=usual, help=text)


def add_backend(command: argparse.ArgumentParser, usual: str = "auto") -> None:
    """Add --backend."""
    text = "what runs the network on a CPU; auto: what export-onnx wrote beside the weights, where"
    text += f" that is faster, which takes a second or two to find out (default: {usual})"
    command.add_argument("--backend", choices=BACKENDS, default=usual, help=text)


def load_predictor(arguments: argparse.Namespace) -> Predictor:
    """The predictor that --weights, --device, --refine and --backend ask for.

    Raises:
        CheckpointError: the weights cannot be used.
        InputError: this machine has no such device.
        BackendError: --backend onnx cannot be had.
    """
    refine = RefineConfig(method=arguments.refine)
    return Predictor.load(arguments.weights, arguments.device, refine, arguments.backend)


def share(text: str) -> float:
    """Parse a number of 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be 0 to 1, got {text}")
    return value


def count(text: str) -> int:
    """Parse a whole number of 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return value


def recipe(config: Config, arguments: argparse.Namespace) -> Config:
    """Change a config by its flags.

    Raises:
        InputError: a value is out of its range.
    """
    try:
        return from_options(config, arguments)
    except ValueError as error:
        raise InputError(str(error)) from error


def set_threads(arguments: argparse.Namespace) -> None:
    """Use the number of CPU threads that was asked for."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)


def print_facts(facts: Mapping[str, object], *, as_json: bool) -> None:
    """Print one JSON object, or a line a fact."""
    if as_json:
        print(json.dumps(facts))
        return
    for key, value in facts.items():
        print(f"{key:16} {show(value)}")


def show(value: object) -> str:
    """A value for people: four decimals, a dash for nothing."""
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
