"""`export-onnx`: a checkpoint as a file for ONNX Runtime."""

import argparse
from pathlib import Path
from typing import Any

from mal_core import checkpoint as checkpoints
from mal_core.commands.options import add_command, add_weights, print_facts
from mal_core.export import export
from mal_core.runtime import beside


def add(commands: Any) -> None:  # noqa: ANN401
    """Add the command and its flags."""
    text = "the network as a file for ONNX Runtime, which may be faster on a CPU"
    command = add_command(commands, "export-onnx", run, text)
    command.description = (
        "Write a checkpoint as ONNX, compared with torch before it is written. Beside the weights,"
        " where it goes by default, --backend auto finds it. Inputs: crops (B, 3, S, S), prompts"
        " (B, 4, S, S), areas (B,); output: logits (B, S/2, S/2)."
    )
    add_weights(command)
    command.add_argument("--out", type=Path, metavar="F.onnx", help="(default: beside the weights)")


def run(arguments: argparse.Namespace) -> None:
    """Export; print the file, its size, how near to torch it is and the share of torch's time."""
    out = arguments.out or beside(arguments.weights)
    loaded = checkpoints.load(arguments.weights)
    trial = export(loaded, out)
    facts = {
        "event": "saved",
        "file": out.name,
        "weights": loaded.sha256,
        "bytes": out.stat().st_size,
        "difference": f"{trial.difference:.1e}",
        "time_ratio": trial.ratio,
    }
    print_facts(facts, as_json=arguments.json)
