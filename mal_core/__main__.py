"""The command line: predict, info, evaluate, train. `python -m mal_core COMMAND --help`."""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PilImage
from tqdm import tqdm

from mal_core import checkpoint as checkpoints
from mal_core import coco
from mal_core.config import TrainConfig, add_options, from_options
from mal_core.dataset import labelled, read_image
from mal_core.errors import InputError, MALError
from mal_core.evaluate import InstanceScore, score_instances, summarise
from mal_core.masks import decode
from mal_core.predictor import Predictor, choose_device
from mal_core.trainer import Material, finetune

BUNDLED = Path(__file__).resolve().parent.parent / "weights" / "mal-small-256.safetensors"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 1 with a message on stderr for what a user can mend."""
    arguments = build_parser().parse_args(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        arguments.run(arguments)
    except (MALError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(prog="python -m mal_core", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    predict = _command(commands, "predict", run_predict, "box(es) on one image -> mask(s)")
    predict.add_argument("image", type=Path)
    corners = ("X0", "Y0", "X1", "Y1")
    predict.add_argument("--box", type=float, nargs=4, action="append", required=True,
                         metavar=corners, help="pixels; may be given several times")  # fmt: skip
    predict.add_argument("--out", type=Path, help="PNG: 0/255 for one box, 0 and 1..N for N boxes")
    _add_threshold(predict)
    _command(commands, "info", run_info, "what a checkpoint is")
    evaluate = _command(commands, "evaluate", run_evaluate, "IoU from boxes on a COCO file")
    evaluate.add_argument("data", type=Path, metavar="DATA.json")
    evaluate.add_argument("images", type=Path, metavar="IMAGES/")
    _add_threshold(evaluate)
    evaluate.add_argument("--jitter", type=_share, default=0.05, help="box noise of a second run, fraction of a side; 0: none (default: 0.05)")  # fmt: skip  # noqa: E501
    evaluate.add_argument("--limit", type=_count, help="measure only the first N images")
    train = _command(commands, "train", run_train, "fine-tune on corrected masks")
    train.add_argument("data", type=Path, metavar="DATA.json")
    train.add_argument("images", type=Path, metavar="IMAGES/")
    train.add_argument("--held-out", type=Path, required=True, metavar="HELD_OUT.json")
    train.add_argument("--out", type=Path, required=True, metavar="NEW.safetensors")
    add_options(train, TrainConfig)
    return parser


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:  # noqa: ANN401
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    command.add_argument("--weights", type=Path, default=BUNDLED, help="checkpoint (default: the bundled one)")  # fmt: skip  # noqa: E501
    command.add_argument("--device", default="auto", help="auto, cpu, cuda (default: auto)")
    command.add_argument("--threads", type=_count, help="CPU threads (default: torch's)")
    command.add_argument("--json", action="store_true", help="machine-readable output")
    return command


def _add_threshold(command: argparse.ArgumentParser) -> None:
    text = "mask probability (default: checkpoint's)"
    command.add_argument("--threshold", type=_share, help=text)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be 0 to 1, got {text}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return value


def run_predict(arguments: argparse.Namespace) -> None:
    """Label boxes of one image; write a PNG and print boxes, scores and areas."""
    image = read_image(arguments.image)
    prediction = Predictor.load(arguments.weights, arguments.device).predict(image, arguments.box)
    masks = prediction.masks(arguments.threshold)
    if arguments.out:
        _save_labels(arguments.out, masks, image.shape[:2])
    rows = [
        {"box": box, "score": round(float(score), 4), "area": rle.area, "rle": rle.to_coco()}
        for box, score, rle in zip(arguments.box, prediction.scores, masks, strict=True)
    ]
    if arguments.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(f"box {row['box']}: {row['area']} pixels, expected IoU {row['score']:.2f}")


def run_info(arguments: argparse.Namespace) -> None:
    """Describe a checkpoint."""
    loaded = checkpoints.load(arguments.weights)
    facts = {
        "file": arguments.weights.name,
        "sha256": loaded.sha256,
        "parameters": sum(p.numel() for p in loaded.model.parameters()),
        "model": vars(loaded.model.config),
        "crop": vars(loaded.crop),
        "threshold": loaded.threshold,
        "device": str(choose_device(arguments.device)),
        "metadata": dict(loaded.metadata),
    }
    if arguments.json:
        print(json.dumps(facts))
        return
    for key, value in facts.items():
        print(f"{key:12} {value}")


def run_evaluate(arguments: argparse.Namespace) -> None:
    """Print the table of mal_core.evaluate.Figures."""
    data = coco.read(arguments.data)
    if arguments.limit:
        data = data.first(arguments.limit)
    predictor = Predictor.load(arguments.weights, arguments.device)
    parts = score_instances(
        predictor, data, arguments.images, threshold=arguments.threshold, jitter=arguments.jitter
    )
    bar = tqdm(parts, total=len(labelled(data)), unit="image", disable=None)
    scores: list[InstanceScore] = [score for part in bar for score in part]
    if not scores:
        raise MALError(f"{arguments.data.name} holds no instance with a mask")
    figures = summarise(scores).to_dict()
    print(json.dumps(figures) if arguments.json else _table(figures))


def run_train(arguments: argparse.Namespace) -> None:
    """Fine-tune; with --json one event a line, else a line an epoch."""
    material = Material(coco.read(arguments.data), coco.read(arguments.held_out), arguments.images)
    events = finetune(
        checkpoints.load(arguments.weights),
        material,
        arguments.out,
        _recipe(arguments),
        choose_device(arguments.device),
    )
    _print_events(events, as_json=arguments.json)


def _recipe(arguments: argparse.Namespace) -> TrainConfig:
    try:
        return from_options(TrainConfig, arguments)
    except ValueError as error:
        raise InputError(str(error)) from error


def _print_events(events: Iterable[Mapping[str, Any]], *, as_json: bool) -> None:
    for event in events:
        if as_json:
            print(json.dumps(event), flush=True)
        elif event["event"] in ("epoch", "saved"):
            print("  ".join(f"{key} {_show(value)}" for key, value in event.items()))
        elif event["event"] == "judged":
            before, after = (event[k]["instance_iou"] for k in ("before", "after"))
            print(f"held-out IoU {before:.4f} -> {after:.4f} on {event['after']['n']} masks")


def _table(figures: Mapping[str, float | int | None]) -> str:
    return "\n".join(f"{name:16} {_show(value)}" for name, value in figures.items())


def _show(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _save_labels(path: Path, masks: Sequence[Any], size: tuple[int, int]) -> None:
    """A PNG of labels: 0/255 for one mask, 1..N in the order given for several."""
    kind = np.uint8 if len(masks) < 256 else np.uint16
    labels = np.zeros(size, kind)
    for number, rle in enumerate(masks, start=1):
        labels[decode(rle)] = 255 if len(masks) == 1 else number
    PilImage.fromarray(labels).save(path, format="PNG")


if __name__ == "__main__":
    raise SystemExit(main())
