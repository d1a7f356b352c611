"""Does a refined edge pay? IoU and Boundary IoU of each method on the same answers of the network.

    python bench/refine.py search TRAIN/ [--images 12]      # the settings, on training images only
    python bench/refine.py measure EVAL_PUBLIC/             # each method with its default settings
    python bench/refine.py time                             # milliseconds of CPU a box

Each sub-folder holds annotations.json (COCO, with masks) and images/. The network runs once a box,
and only for boxes that some method refines: the masks of the others are the same in all, to the
byte, and their gain is 0. Means are over all instances, those included.
"""

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mal_core import coco  # noqa: E402
from mal_core.dataset import labelled, load_image  # noqa: E402
from mal_core.geometry import box_to_rect  # noqa: E402
from mal_core.masks import iou  # noqa: E402
from mal_core.metrics import boundary_iou, size_class  # noqa: E402
from mal_core.predictor import Predictor  # noqa: E402
from mal_core.refine import METHODS, RefineConfig  # noqa: E402

BUNDLED = ROOT / "weights" / "mal-small-256.safetensors"
SIDES = (0, 64, 128, 10**9)  # classes of a box's longer side, pixels
BOXES = 12  # of a training image, at most
Ways = Mapping[str, RefineConfig]


@dataclass(frozen=True)
class Row:
    """How one instance fared.

    Attributes:
        source: the data set.
        side: longer side of its box, pixels.
        size: COCO's size class of its true mask.
        scores: (methods, 2) IoU and Boundary IoU, in the order of the ways.
    """

    source: str
    side: float
    size: str
    scores: NDArray[np.float64]


def main() -> None:
    """Search, measure or time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("act", choices=("search", "measure", "time"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=12, help="search: of each source")
    parser.add_argument("--weights", type=Path, default=BUNDLED)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    predictor = Predictor.load(arguments.weights, "cpu")
    if arguments.act == "time":
        print_times(predictor)
        return
    is_search = arguments.act == "search"
    ways = variants() if is_search else {name: RefineConfig(method=name) for name in METHODS}
    limit = (arguments.images, BOXES) if is_search else (None, None)
    rows: list[Row] = []
    totals: Counter[str] = Counter()
    for source in sorted(p.parent for p in arguments.folder.glob("*/annotations.json")):
        rows += score(predictor, source, ways, limit, totals)
    print_gains(list(ways), rows, totals)
    if not is_search:
        print_sources(list(ways), rows, totals)


def variants() -> Ways:
    """What the search looks at: three window sizes and ridges, two bands and colour scales."""
    small = RefineConfig(method="none", min_side=0)
    ways = {"none": small}
    for radius in (2.0, 3.0, 4.0):
        for epsilon in (1e-3, 3e-4, 1e-4):
            change = {"method": "guided", "radius": radius, "epsilon": epsilon}
            ways[f"guided {radius:g} {epsilon:g}"] = replace(small, **change)
    for band in (1.0, 2.0):
        for zeta in (0.1, 0.3):
            change = {"method": "meanfield", "band": band, "zeta": zeta}
            ways[f"meanfield {band:g} {zeta:g}"] = replace(small, **change)
    return ways


def score(
    predictor: Predictor,
    source: Path,
    ways: Ways,
    limit: tuple[int | None, int | None],
    totals: Counter[str],
) -> Iterator[Row]:
    """Instances of the first images of a source, once through the network, in all ways.

    All are counted in `totals`; those that no way refines are left out.
    """
    images, boxes = limit
    pairs = labelled(coco.read(source / "annotations.json"))[:images]
    for record, every in tqdm(pairs, desc=source.name, disable=None):
        totals[source.name] += len(every[:boxes])
        rects = [box_to_rect(a.box, record.height, record.width) for a in every[:boxes]]
        some = [
            annotation
            for annotation, rect in zip(every, rects, strict=False)
            if any(way.wants(rect) for way in ways.values())
        ]
        if not some:
            continue
        image = load_image(source / "images", record)
        prediction = predictor.predict(image, [a.box for a in some])
        answers = [replace(prediction, refine=way).masks() for way in ways.values()]
        for index, annotation in enumerate(some):
            truth = annotation.rle
            assert truth is not None
            masks = [answer[index] for answer in answers]
            scores = [(iou(mask, truth), boundary_iou(mask, truth)) for mask in masks]
            x0, y0, x1, y1 = annotation.box
            side = max(x1 - x0, y1 - y0)
            yield Row(source.name, side, size_class(truth.area), np.array(scores))


def print_gains(names: Sequence[str], rows: Sequence[Row], totals: Mapping[str, int]) -> None:
    """A line a way: gains of IoU and Boundary IoU over all instances, over sources, by side."""
    scores = np.stack([row.scores for row in rows])  # (N, methods, 2)
    gains = scores - scores[:, :1]
    sides, sources = np.array([row.side for row in rows]), np.array([row.source for row in rows])
    whole = gains.sum(0) / sum(totals.values())
    over = np.mean([gains[sources == name].sum(0) / n for name, n in totals.items()], axis=0)
    bands = list(pairwise(SIDES))
    heads = [f"side {low} to {high}" if high < SIDES[-1] else f"above {low}" for low, high in bands]
    print("| way | all | mean of sources | " + " | ".join(heads) + " |")
    print("|---|---|---|" + "---|" * len(heads))
    for way, name in enumerate(names):
        cells = [show_pair(whole[way], "+"), show_pair(over[way], "+")]
        for low, high in bands:
            chosen = gains[(sides > low) & (sides <= high)]
            mean = show_pair(chosen[:, way].mean(0), "+") if len(chosen) else "-"
            cells.append(f"{mean} ({len(chosen)})")
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(f"\n{sum(totals.values())} instances of {len(totals)} sources\n", flush=True)


def print_sources(names: Sequence[str], rows: Sequence[Row], totals: Mapping[str, int]) -> None:
    """IoU / Boundary IoU of what is refined, of each source and size class, in each way."""
    print("| masks | n | of | " + " | ".join(names) + " |")
    print("|---|---|---|" + "---|" * len(names))
    groups = [(name, [r for r in rows if r.source == name], str(n)) for name, n in totals.items()]
    for size in ("small", "medium", "large"):
        groups.append((size, [row for row in rows if row.size == size], ""))
    for name, group, total in [*groups, ("**all refined**", rows, str(sum(totals.values())))]:
        if group:
            means = np.stack([row.scores for row in group]).mean(0)
            print(f"| {name} | {len(group)} | {total} | " + " | ".join(map(show_pair, means)), "|")


def show_pair(pair: NDArray[np.float64], sign: str = "") -> str:
    """IoU / Boundary IoU."""
    return f"{pair[0]:{sign}.4f} / {pair[1]:{sign}.4f}"


def print_times(predictor: Predictor, runs: int = 15) -> None:
    """Median milliseconds of CPU from probabilities to a mask on its rectangle, alternating."""
    for size in ((640, 480), (4000, 3000)):
        image = np.array(Image.fromarray(skimage.data.coffee()).resize(size))
        box = (0.2 * size[0], 0.2 * size[1], 0.65 * size[0], 0.7 * size[1])
        prediction = predictor.predict(image, [box])
        seconds: dict[str, list[float]] = {name: [] for name in METHODS}
        for _ in range(runs + 2):
            for name, values in seconds.items():
                refined = replace(prediction, refine=RefineConfig(method=name))
                begin = time.thread_time()
                refined.mask(0)
                values.append(time.thread_time() - begin)
        text = [f"{name} {1000 * statistics.median(v[2:]):.1f}" for name, v in seconds.items()]
        print(f"{size[0]}x{size[1]}, box of 45 % x 50 %: {', '.join(text)} ms", flush=True)


if __name__ == "__main__":
    main()
