"""`train`: a network from boxes, masks or both; under torchrun on any number of processes."""

import argparse
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from mal_core import checkpoint as checkpoints
from mal_core import coco
from mal_core.commands.options import add_command, add_data, add_device, count, recipe
from mal_core.commands.running import print_events
from mal_core.config import (
    CRFConfig,
    CropConfig,
    LossConfig,
    ModelConfig,
    Recipe,
    TrainConfig,
    ViewConfig,
    add_options,
)
from mal_core.errors import InputError
from mal_core.model import MAL
from mal_core.pool import INDEX, PIXELS, Pictures, Pool, Source, decode_events, fingerprint
from mal_core.predictor import choose_device
from mal_core.runstate import STATE, open_folder
from mal_core.trainer import BEST, HeldOut, Training, fit, identify

Event = Mapping[str, Any]


def add(commands: Any) -> None:  # noqa: ANN401
    """Add the command and its flags."""
    command = add_command(commands, "train", run, "train from boxes, masks or both")
    add_data(command)
    command.add_argument("--out", type=Path, required=True, metavar="NEW.safetensors")
    command.add_argument("--share", type=float, default=1.0, help="sampling weight of DATA.json")
    command.add_argument("--also", nargs=3, action="append", default=[],
                         metavar=("DATA", "IMAGES", "SHARE"), help="one more data set and its sampling weight")  # fmt: skip  # noqa: E501
    command.add_argument("--held-out", nargs=2, type=Path, metavar=("DATA", "IMAGES"), help="masks to judge by, never trained on")  # fmt: skip  # noqa: E501
    command.add_argument("--held-out-limit", type=count, help="judge by the first N images only")
    command.add_argument("--start", type=Path, help="checkpoint to go on from (default: a new network)")  # fmt: skip  # noqa: E501
    command.add_argument(
        "--encoder", help="encoder weights for a new network: a file, or hub:NAME of timm"
    )
    command.add_argument("--preset", choices=("default", "paper"), default="default")
    command.add_argument("--resume", action="store_true", help="go on with an unfinished run")
    add_device(command)
    for config in (ModelConfig(), TrainConfig(), ViewConfig(), LossConfig(), CRFConfig()):
        add_options(command, config)


def run(arguments: argparse.Namespace) -> None:
    """Train; with --json one event a line, else a progress bar and a line a look."""
    fabric = _launch(choose_device(arguments.device))
    settings = _recipe(arguments)
    folder = open_folder(arguments.out, resume=arguments.resume)
    print_events(
        _train(arguments, settings, fabric, folder),
        folder,
        as_json=arguments.json,
        is_first=fabric.is_global_zero,
    )


def _train(
    arguments: argparse.Namespace, settings: Recipe, fabric: Fabric, folder: Path
) -> Iterator[Event]:
    """All events of a run, from the first decoded image to the written checkpoint."""
    sources = _sources(arguments)
    if fabric.is_global_zero:
        yield from decode_events(sources, folder, settings.train.longest)
    fabric.barrier()
    pool = Pool(sources, Pictures(folder), settings.train.min_area, settings.train.supervision)
    yield {"event": "data", "instances": len(pool), "with_masks": pool.n_masks}
    model, crop, origin = _network(arguments, settings.train.seed)
    training = Training(model, crop, settings, fabric, folder)
    held_out = _held_out(arguments)
    identity = identify(settings, model.config, fingerprint(sources), origin)
    done = training.resume(identity).step
    yield {"event": "start", "step": done, "steps": settings.train.steps}
    yield from fit(training, pool, held_out, identity)
    training.check_agreement()
    if fabric.is_global_zero:
        notes = {**origin, "data": fingerprint(sources), "steps": str(training.position.step)}
        sha256 = training.finish(arguments.out, notes)
        for name in (PIXELS, INDEX, STATE, BEST):
            (folder / name).unlink(missing_ok=True)
        yield {"event": "saved", "sha256": sha256, "seconds": training.position.seconds}


def _launch(device: torch.device) -> Fabric:
    """One process, or as many as torchrun started; bfloat16 on GPUs that have it."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    fabric = Fabric(
        accelerator=device.type,
        devices=local,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        precision="bf16-mixed" if has_bf16 else "32-true",
    )
    fabric.launch()
    return fabric


def _recipe(arguments: argparse.Namespace) -> Recipe:
    base = Recipe.paper() if arguments.preset == "paper" else Recipe()
    return Recipe(
        recipe(base.train, arguments),
        recipe(base.view, arguments),
        recipe(base.loss, arguments),
        recipe(base.crf, arguments),
    )


def _sources(arguments: argparse.Namespace) -> list[Source]:
    """The data sets, checked; weights are positive numbers."""
    rows = [(arguments.data, arguments.images, arguments.share), *arguments.also]
    return [_source(Path(data), Path(images), share) for data, images, share in rows]


def _source(data: Path, images: Path, share: str | float) -> Source:
    try:
        weight = float(share)
    except ValueError as error:
        raise InputError(f"the share of {data.name} must be a number, got {share!r:.40}") from error
    if not 0 <= weight < float("inf"):
        raise InputError(f"the share of {data.name} must be 0 or more, got {share}")
    return Source(coco.read(data), images, weight)


def _held_out(arguments: argparse.Namespace) -> HeldOut | None:
    if not arguments.held_out:
        return None
    data, images = arguments.held_out
    dataset = coco.read(data)
    if arguments.held_out_limit:
        dataset = dataset.first(arguments.held_out_limit)
    return HeldOut(dataset, images)


def _network(arguments: argparse.Namespace, seed: int) -> tuple[MAL, CropConfig, dict[str, str]]:
    """The network to start from, how its crops are cut, and where it comes from."""
    if arguments.start:
        parent = checkpoints.load(arguments.start)
        return parent.model, parent.crop, {"parent": parent.sha256}
    torch.manual_seed(seed)
    is_paper = arguments.preset == "paper"
    config = recipe(ModelConfig.paper() if is_paper else ModelConfig(), arguments)
    origin = {"parent": "random"}
    if arguments.encoder:
        is_hub = arguments.encoder.startswith(checkpoints.HUB)
        name = arguments.encoder if is_hub else checkpoints.file_sha256(Path(arguments.encoder))
        origin["encoder"] = name
    return checkpoints.build(config, arguments.encoder), CropConfig.of(config), origin
