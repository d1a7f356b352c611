"""Memory and time per box of `label` as the work grows from 1,000 to 100,000 boxes.

The boxes are made up and small, the images are real and come up again and again, the network is as
small as the design allows: what is looked at is what grows with the number of boxes. Each size is
one run in a process of its own, whose peak memory and CPU time are told. With --no-network each
mask is its filled box, and nothing else is left out: decoding, shards, merging, writing. Prints a
table and draws it.

    python bench/batch_growth.py coco/annotations.json coco/images [--sizes 1000 10000 100000]
        [--no-network] [--plot growth.png]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mal_core import checkpoint, coco  # noqa: E402
from mal_core.autolabel import Order, label_file  # noqa: E402
from mal_core.coco import Annotation, CategoryRecord, Dataset, ImageRecord  # noqa: E402
from mal_core.config import LabelConfig, ModelConfig  # noqa: E402
from mal_core.geometry import Image, box_to_rect  # noqa: E402
from mal_core.labeller import Labeller, label_here  # noqa: E402
from mal_core.masks import encode  # noqa: E402
from mal_core.model import MAL  # noqa: E402
from mal_core.predictor import Predictor  # noqa: E402
from mal_core.shards import FLAGGED, Answer, Shelf  # noqa: E402

mpl.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402

SMALLEST = ModelConfig(dim=32, depth=1, heads=2, crop_size=64, registers=0)
BOXES_AN_IMAGE, SIDE = 100, (12.0, 40.0)
Row = dict[str, float]


def main() -> None:
    """Label each size and tell what it cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--no-network", action="store_true")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        label(arguments.data, arguments.folder, *arguments.child, arguments.no_network)
        return
    images = coco.read(arguments.data).images
    rows = []
    print("| boxes | peak MiB | CPU ms a box | merge, CPU s | file, MB |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        weights = Path(name, "smallest.safetensors")
        torch.manual_seed(0)
        notes = {"threshold": "0.4", "eval_expand": "0.2"}
        checkpoint.save(MAL(SMALLEST).eval(), weights, notes)
        for size in arguments.sizes:
            data = Path(name, "boxes.json")
            coco.save(make(images, size), data)
            flags = ["--no-network"] if arguments.no_network else []
            rows.append(run(data, arguments.folder, weights, size, flags))
            print(
                "| {boxes:,} | {peak:.0f} | {ms:.2f} | {rest:.1f} | {mb:.1f} |".format(**rows[-1]),
                flush=True,
            )
    if arguments.plot:
        draw(rows, arguments.plot)


def make(images: list[ImageRecord], count: int) -> Dataset:
    """So many small boxes, BOXES_AN_IMAGE on each of as many records of the images as it takes."""
    random = np.random.default_rng(0)
    records, annotations = [], []
    for key in range(-(-count // BOXES_AN_IMAGE)):
        image = images[key % len(images)]
        records.append(ImageRecord(key, image.file_name, image.width, image.height))
        for _ in range(min(BOXES_AN_IMAGE, count - len(annotations))):
            width, height = random.uniform(*SIDE, 2)
            x, y = random.uniform(0, (image.width - width, image.height - height))
            box = (float(x), float(y), float(x + width), float(y + height))
            annotations.append(Annotation(len(annotations) + 1, key, 1, box, None))
    return Dataset(records, [CategoryRecord(1, "thing")], annotations)


class Filler(Labeller):
    """Answers each box with itself."""

    def _answer_sound(self, image: Image, annotations: Sequence[Annotation]) -> list[Answer]:
        height, width = image.shape[:2]
        answers = []
        for annotation in annotations:
            x0, y0, x1, y1 = box_to_rect(annotation.box, height, width)
            full = np.ones((y1 - y0, x1 - x0), np.bool_, order="F")
            rle = encode(full, x0=x0, y0=y0, height=height, width=width)
            answer = {"id": annotation.id, "segmentation": rle.to_coco(), "area": rle.area}
            answers.append({**answer, FLAGGED: True})
        return answers


def label(data: Path, folder: Path, weights: Path, out: Path, no_network: bool) -> None:
    """What `label` does, in this process; prints its events."""
    torch.set_num_threads(1)
    predictor = Predictor.load(weights, "cpu")
    labeller = (Filler if no_network else Labeller)(predictor, LabelConfig())
    shelf = Shelf(f"{out}.shards")
    crew = partial(label_here, labeller, folder, shelf)
    for event in label_file(Order(data, out, shelf), labeller, crew):
        print(json.dumps(event), flush=True)


def run(data: Path, folder: Path, weights: Path, size: int, flags: list[str]) -> Row:
    """One run in its own process: its peak memory, and its CPU time after the start."""
    out = data.with_name("masks.json")
    words = [str(ROOT / "bench/batch_growth.py"), str(data), str(folder), *flags]
    command = [sys.executable, *words, "--child", str(weights), str(out)]
    few = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=few, stdout=subprocess.PIPE)
    assert process.stdout is not None
    begin = end = 0.0
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "start":
            begin = cpu_seconds(process.pid)
        elif event["event"] == "image" and event["done"] == event["total"]:
            end = cpu_seconds(process.pid)
        elif event["event"] == "saved":
            last = cpu_seconds(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("label failed")
    spent = {"ms": 1000 * (end - begin) / size, "rest": last - end}
    return {"boxes": size, "peak": usage.ru_maxrss / 1024, **spent, "mb": out.stat().st_size / 1e6}


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, user and system, without its children's."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def draw(rows: list[Row], path: Path) -> None:
    """Time per box and peak memory against the number of boxes."""
    sizes = [row["boxes"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.6), layout="constrained")
    panels = ((left, "ms", "CPU ms a box"), (right, "peak", "peak memory, MiB"))
    for axes, name, label in panels:
        values = [row[name] for row in rows]
        axes.plot(sizes, values, "o-", color="#2563eb")
        axes.set(xscale="log", xlabel="boxes", ylabel=label, ylim=(0, 1.25 * max(values)))
        axes.grid(visible=True, alpha=0.3)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
