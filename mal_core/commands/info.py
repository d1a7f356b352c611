"""`info`: what a checkpoint is."""

import argparse
from typing import Any

from mal_core import checkpoint as checkpoints
from mal_core.commands.options import add_command, add_device, add_weights, print_facts
from mal_core.predictor import choose_device


def add(commands: Any) -> None:  # noqa: ANN401
    """Add the command and its flags."""
    command = add_command(commands, "info", run, "what a checkpoint is")
    add_weights(command)
    add_device(command)


def run(arguments: argparse.Namespace) -> None:
    """Describe a checkpoint."""
    loaded = checkpoints.load(arguments.weights)
    facts = {
        "file": arguments.weights.name,
        "sha256": loaded.sha256,
        "parameters": sum(p.numel() for p in loaded.model.parameters()),
        "model": loaded.model.config.describe(),
        "crop": vars(loaded.crop),
        "threshold": loaded.threshold,
        "device": str(choose_device(arguments.device)),
        "metadata": dict(loaded.metadata),
    }
    print_facts(facts, as_json=arguments.json)
