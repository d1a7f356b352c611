"""Kill a training run by SIGKILL at random steps; its curve must be the uninterrupted one's.

python bench/kill_training.py [--kills 20] [--steps 40]
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image as PilImage

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mal_core import coco  # noqa: E402
from mal_core.coco import Annotation, CategoryRecord, Dataset, ImageRecord  # noqa: E402
from mal_core.masks import encode  # noqa: E402
from tests.core import runs  # noqa: E402


def main() -> None:
    """Run once in peace, once with kills, and compare loss by loss and byte by byte."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        data = draw(Path(name))
        steps = ("--steps", str(arguments.steps))
        whole = runs.run(runs.command(*data, Path(name, "whole.safetensors"), *steps))
        halted = runs.command(*data, Path(name, "halted.safetensors"), *steps, "--resume")
        events = []
        for kill in range(arguments.kills):
            events += runs.run(halted, kill_after=chance.randint(1, 3))
            print(f"kill {kill + 1}: at step {max(runs.curve(events))}", flush=True)
        events += runs.run(halted)
    is_same = runs.curve(events) == runs.curve(whole)
    print(f"{arguments.kills} kills in {arguments.steps} steps: same curve {is_same}, ", end="")
    print(f"same weights {events[-1]['sha256'] == whole[-1]['sha256']}")
    raise SystemExit(not is_same)


def draw(folder: Path) -> tuple[Path, Path]:
    """Three noisy images with a bright square each."""
    images, annotations = [], []
    for number in range(3):
        generator = np.random.default_rng(number)
        picture = generator.integers(0, 100, (64, 64, 3)).astype(np.uint8)
        mask = np.zeros((64, 64), np.bool_)
        mask[12 : 40 + number, 20:50] = True
        picture[mask] += 140
        PilImage.fromarray(picture).save(folder / f"{number}.png")
        images.append(ImageRecord(number, f"{number}.png", 64, 64))
        rle = encode(mask, height=64, width=64)
        assert rle.box is not None
        annotations.append(Annotation(number + 1, number, 1, rle.box, rle))
    coco.save(Dataset(images, [CategoryRecord(1, "square")], annotations), folder / "data.json")
    return folder / "data.json", folder


if __name__ == "__main__":
    main()
