"""`pretrain`: an encoder from images without labels, for `train --encoder`."""

import argparse
import os
from pathlib import Path
from typing import Any

from mal_core.commands.options import add_command, add_device, recipe
from mal_core.commands.running import print_events
from mal_core.config import ModelConfig, PretrainConfig, add_options
from mal_core.errors import InputError
from mal_core.predictor import choose_device
from mal_core.pretrain import Pretraining, pretrain
from mal_core.runstate import open_folder


def add(commands: Any) -> None:  # noqa: ANN401
    """Add the command and its flags."""
    text = "pretrain an encoder on images without labels, in one process"
    command = add_command(commands, "pretrain", run, text)
    command.add_argument("images", type=Path, nargs="+", metavar="IMAGES/")
    command.add_argument("--out", type=Path, required=True, metavar="ENCODER.safetensors")
    command.add_argument("--resume", action="store_true", help="go on with an unfinished run")
    add_device(command)
    for config in (ModelConfig(), PretrainConfig()):
        add_options(command, config)


def run(arguments: argparse.Namespace) -> None:
    """Pretrain; with --json one event a line, else a progress bar.

    Raises:
        InputError: started as several processes, a setting out of range, an unfinished run.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("pretrain runs in one process: start it without torchrun")
    device = choose_device(arguments.device)
    settings = recipe(PretrainConfig(), arguments)
    model = recipe(ModelConfig(), arguments)
    folder = open_folder(arguments.out, resume=arguments.resume)
    training = Pretraining(model, settings, device, folder)
    events = pretrain(arguments.images, arguments.out, training, folder)
    print_events(events, folder, as_json=arguments.json, is_first=True)
