"""`predict`: box(es) on one image -> mask(s)."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PilImage

from mal_core.commands.options import (
    add_backend,
    add_command,
    add_device,
    add_refine,
    add_threshold,
    add_weights,
    load_predictor,
)
from mal_core.dataset import read_image
from mal_core.masks import RLE, decode


def add(commands: Any) -> None:  # noqa: ANN401
    """Add the command and its flags."""
    command = add_command(commands, "predict", run, "box(es) on one image -> mask(s)")
    command.add_argument("image", type=Path)
    corners = ("X0", "Y0", "X1", "Y1")
    command.add_argument("--box", type=float, nargs=4, action="append", required=True,
                         metavar=corners, help="pixels; may be given several times")  # fmt: skip
    command.add_argument("--out", type=Path, help="PNG: 0/255 for one box, 0 and 1..N for N boxes")
    add_weights(command)
    add_device(command)
    add_threshold(command)
    add_refine(command)
    add_backend(command, usual="torch")


def run(arguments: argparse.Namespace) -> None:
    """Label boxes of one image; write a PNG and print boxes, scores and areas."""
    image = read_image(arguments.image)
    prediction = load_predictor(arguments).predict(image, arguments.box)
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


def _save_labels(path: Path, masks: Sequence[RLE], size: tuple[int, int]) -> None:
    """A PNG of labels: 0/255 for one mask, 1..N in the order given for several."""
    kind = np.uint8 if len(masks) < 256 else np.uint16
    labels = np.zeros(size, kind)
    for number, rle in enumerate(masks, start=1):
        labels[decode(rle)] = 255 if len(masks) == 1 else number
    PilImage.fromarray(labels).save(path, format="PNG")
