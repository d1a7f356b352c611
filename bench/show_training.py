"""Pictures of a training run: its curve, and what its weights say of photos that may be shown.

    python bench/show_training.py RUN.safetensors OUT/ [--name boxes]

Reads RUN.safetensors.run/curve.jsonl and the weights; writes OUT/NAME-curve.png and
OUT/NAME-masks.jpg. The photos are scikit-image's; the boxes were drawn by hand.
"""

import argparse
import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import skimage.data
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mal_core.geometry import Box, Image  # noqa: E402
from mal_core.masks import decode  # noqa: E402
from mal_core.predictor import Predictor  # noqa: E402

BOXES: dict[str, list[Box]] = {
    "chelsea": [(40, 0, 420, 300)],
    "coffee": [(165, 12, 420, 330)],
    "astronaut": [(30, 5, 400, 512)],
    "coins": [(22, 31, 67, 76), (81, 34, 124, 74), (315, 155, 379, 219), (92, 242, 136, 286)],
}
HEIGHT = 300
SMOOTH = 20  # steps of the running mean
BLUE, ORANGE = "#2563eb", "#b45309"


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", default="boxes")
    arguments = parser.parse_args()
    curve = arguments.weights.with_name(arguments.weights.name + ".run") / "curve.jsonl"
    draw_curve(curve, arguments.out / f"{arguments.name}-curve.png")
    predictor = Predictor.load(arguments.weights)
    panels = [paint(predictor, getattr(skimage.data, name)(), b) for name, b in BOXES.items()]
    sheet = PilImage.new("RGB", (sum(p.width for p in panels), HEIGHT), "white")
    place = 0
    for panel in panels:
        sheet.paste(panel, (place, 0))
        place += panel.width
    sheet.save(arguments.out / f"{arguments.name}-masks.jpg", quality=88)


def draw_curve(path: Path, out: Path) -> None:
    """The parts of the loss, smoothed; the refined fill of the box; held-out IoU at each look."""
    mpl.use("Agg")
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    looks = [event for event in events if event["event"] == "look"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    names = [name for name in ("mil", "crf", "pairwise", "mask") if name in steps[-1]]
    for name in names:
        left.plot(*running_mean(steps, name), label=name)
    left.set(xlabel="step", title="parts of the loss (running mean)", ylim=(0, None))
    left.legend()
    if "fill" in steps[-1]:
        right.plot(*running_mean(steps, "fill"), color=ORANGE, label="refined share of the box")
        right.plot(
            *running_mean(steps, "taught"), color="#6b7280", lw=1, label="share that teaches"
        )
    if looks:
        right.plot(*zip(*((e["step"], e["iou"]) for e in looks), strict=True), "o-", color=BLUE,
                   label="IoU on eval_public/coco")  # fmt: skip
        right.axhline(looks[0]["box_iou"], color="k", ls=":", label="IoU of the full box")
    right.set(xlabel="step", ylim=(0, 1.02), title="collapse would show here")
    right.legend(loc="lower right")
    figure.savefig(out, dpi=110)


def running_mean(steps: list[dict[str, float]], name: str) -> tuple[NDArray[np.float64], ...]:
    """Steps and smoothed values of one figure."""
    values = np.array([event[name] for event in steps], np.float64)
    window = np.ones(min(SMOOTH, len(values)))
    numbers = np.array([event["step"] for event in steps], np.float64)
    means = np.convolve(values, window / len(window), "valid")
    return numbers[len(window) - 1 :], means


def paint(predictor: Predictor, image: NDArray[np.uint8], boxes: list[Box]) -> PilImage.Image:
    """A photo with its boxes and masks, HEIGHT pixels high."""
    rgb: Image = np.stack([image] * 3, -1) if image.ndim == 2 else np.ascontiguousarray(image)
    shown = rgb.astype(np.float64)
    for rle in predictor.predict(rgb, boxes).masks():
        mask = decode(rle)
        shown[mask] = 0.5 * shown[mask] + 0.5 * np.array([37, 99, 235])
    picture = PilImage.fromarray(shown.astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for box in boxes:
        pen.rectangle(box, outline=(255, 255, 255), width=2)
    return picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT))


if __name__ == "__main__":
    main()
