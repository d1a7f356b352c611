"""Does a mask stay the same when the photo is larger? IoU on copies of 2 and 4 times the size.

    python bench/upscaled.py DATA.json IMAGES/ [--limit 20]

Large windows are shrunk with an antialiasing filter before they become crops; this shows what
that costs. Masks of the copies are the nearest-neighbour copies of the true masks.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mal_core import coco  # noqa: E402
from mal_core.dataset import labelled, load_image  # noqa: E402
from mal_core.masks import decode, encode, iou  # noqa: E402
from mal_core.predictor import Predictor  # noqa: E402

BUNDLED = ROOT / "weights" / "mal-small-256.safetensors"
FACTORS = (1, 2, 4)


def main() -> None:
    """Print the mean IoU of each factor over the same instances."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--limit", type=int, default=20, help="number of images")
    parser.add_argument("--weights", type=Path, default=BUNDLED)
    arguments = parser.parse_args()
    predictor = Predictor.load(arguments.weights)
    data = coco.read(arguments.data).first(arguments.limit)
    ious: dict[int, list[float]] = {factor: [] for factor in FACTORS}
    for record, annotations in labelled(data):
        image = Image.fromarray(load_image(arguments.images, record))
        for factor in FACTORS:
            size = (record.width * factor, record.height * factor)
            large = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
            boxes = [tuple(side * factor for side in a.box) for a in annotations]
            for a, mask in zip(annotations, predictor.predict(large, boxes).masks(), strict=True):
                truth = decode(a.rle).repeat(factor, 0).repeat(factor, 1)
                ious[factor].append(iou(mask, encode(truth, height=size[1], width=size[0])))
    for factor, values in ious.items():
        print(f"{factor}x: IoU {np.mean(values):.4f} on {len(values)} instances")


if __name__ == "__main__":
    main()
