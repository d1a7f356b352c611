"""`convert`: checkpoints of MAE and of the official MAL into ours, offline."""

import argparse
from pathlib import Path
from typing import Any

from mal_core.commands.options import add_command, print_facts
from mal_core.config import ModelConfig
from mal_core.convert import KINDS, convert
from mal_core.errors import InputError


def add(commands: Any) -> None:  # noqa: ANN401
    """Add the command and its flags."""
    command = add_command(commands, "convert", run, "a checkpoint of MAE or official MAL into ours")
    command.description = (
        "Turn a .pth of MAE into an encoder for --encoder, or a checkpoint of the official MAL "
        "into one of the paper's design. Written from the published tensor names and tested on "
        "made-up files: the real files were never seen here. Tensors that are missing or unknown "
        "are an error that names them; nothing in the file is executed. Mind its licence."
    )
    paper = ModelConfig.paper()
    command.add_argument("source", type=Path, metavar="IN.pth")
    command.add_argument("--out", type=Path, required=True, metavar="OUT.safetensors")
    command.add_argument("--kind", choices=KINDS, help="(default: by the names in the file)")
    text = f"timm's name of the ViT in the file (default: {paper.backbone})"
    command.add_argument("--backbone", default=paper.backbone, help=text)
    text = f"mal: side of the crop, pixels (default: {paper.crop_size})"
    command.add_argument("--crop-size", type=int, default=paper.crop_size, help=text)


def run(arguments: argparse.Namespace) -> None:
    """Convert one file and print what was written."""
    try:
        config = ModelConfig(
            design="paper", backbone=arguments.backbone, crop_size=arguments.crop_size
        )
    except ValueError as error:
        raise InputError(str(error)) from error
    sha256 = convert(arguments.source, arguments.out, config, arguments.kind)
    print_facts({"file": arguments.out.name, "sha256": sha256}, as_json=arguments.json)
