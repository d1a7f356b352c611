"""What corrections buy on a new domain: held-out IoU, strokes and simulated seconds per mask.

    python bench/adapt.py TRAIN/ EVAL_PUBLIC/ --out RUN/ [--show]
    python bench/adapt.py TRAIN/ EVAL_PUBLIC/ --out RUN/ --weights W --domains leaf dsb2018 facade

A simulated person draws boxes that are a little off, gets the weights' masks and paints on the
largest error until IoU .9. Their first masks teach a fine-tune; its weights, and those of the
baselines, then propose for the same person on images that no part of it saw. A cell of the table
that is done lies in RUN/ and is not computed again. Weights are thrown away. What is new for the
bundled weights: car damage (of EVAL_PUBLIC/, of whose sources TRAIN/ has none) and drawn rings;
for weights W that learned without some sources of TRAIN/: those.
"""

import argparse
import itertools
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.settings import PHOTOS, REMINDERS  # noqa: E402
from bench.adapt_data import Domain, make_domain, take  # noqa: E402
from bench.adapt_person import Corrected, Hand, Pace, correct, iou  # noqa: E402
from bench.adapt_show import draw_plot, to_table  # noqa: E402
from mal_core import checkpoint as checkpoints  # noqa: E402
from mal_core import coco  # noqa: E402
from mal_core.coco import Annotation, Dataset  # noqa: E402
from mal_core.dataset import TOUCHED, jitter_box, labelled, load_image  # noqa: E402
from mal_core.files import write_whole  # noqa: E402
from mal_core.finetune import finetune  # noqa: E402
from mal_core.finetune_config import FinetuneConfig  # noqa: E402
from mal_core.geometry import Box  # noqa: E402
from mal_core.masks import decode, encode  # noqa: E402
from mal_core.material import Material  # noqa: E402
from mal_core.predictor import Predictor  # noqa: E402

BUNDLED = ROOT / "weights" / "mal-small-256.safetensors"
TEST, LESSON = 1, 2  # seeds of the boxes that are drawn on test and on teaching images


@dataclass(frozen=True)
class Cell:
    """One measurement.

    Attributes:
        kind: "masks" (corrections teach), "boxes" (only their boxes do), or "random" (corrections
            teach weights that start from random).
        count: how many instances teach; 0 is the frozen start.
        seed: of the fine-tune.
    """

    kind: str
    count: int
    seed: int = 0

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.kind}-{self.count:03}-{self.seed}"


PLAN = (
    Cell("masks", 0), Cell("masks", 20), Cell("masks", 50), Cell("boxes", 50), Cell("masks", 10),
    Cell("random", 50), Cell("masks", 100), Cell("masks", 50, 1), Cell("masks", 50, 2),
)  # fmt: skip # what is told first comes first


def main() -> None:
    """Compute what is missing; print the table, draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path, help="folder of sources")
    parser.add_argument("unseen", type=Path, help="folder of sources no weights have learned from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=BUNDLED)
    parser.add_argument(
        "--domains", nargs="+", default=["rings", "damage"],
        help="rings, damage, or sources of TRAIN/ that the weights did not learn from",
    )  # fmt: skip
    parser.add_argument("--seen", nargs="*", default=[], help="sources that they did learn from")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="compute nothing, show what is there")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if not arguments.show:
        arguments.out.mkdir(parents=True, exist_ok=True)
        names = dict.fromkeys(arguments.domains, False) | dict.fromkeys(arguments.seen, True)
        places = (arguments.train, arguments.unseen, arguments.out)
        domains = [make_domain(name, *places, seen=seen) for name, seen in names.items()]
        for cell, domain in tqdm(list(itertools.product(PLAN, domains)), disable=None):
            if cell.count <= len(domain.teach.annotations):
                compute(domain, cell, arguments.weights, arguments.out / f"{domain.name}-cells")
    rows = read_rows(arguments.out)
    print(to_table(rows))
    draw_plot(rows, arguments.out / "adapt.png")


def compute(domain: Domain, cell: Cell, weights: Path, out: Path) -> None:
    """Measure a cell and write it, unless it is there.

    Args:
        domain: what to adapt to.
        cell: how.
        weights: the checkpoint that proposes first.
        out: folder of the domain's results.
    """
    out.mkdir(exist_ok=True)
    path = out / f"{cell.name}.json"
    if path.exists():
        return
    figures = measure(domain, trained(domain, cell, weights, out))
    row = {"domain": domain.name, "seen": domain.seen, **asdict(cell), **figures}
    write_whole(path, json.dumps(row).encode())


def trained(domain: Domain, cell: Cell, weights: Path, out: Path) -> Predictor:
    """The predictor of a cell: the start itself, or its fine-tune."""
    parent = checkpoints.load(random_weights(weights, out) if cell.kind == "random" else weights)
    if not cell.count:
        return Predictor(parent, torch.device("cpu"))
    lessons = read_lessons(domain, weights, out)
    if cell.kind == "boxes":
        drawn = [
            replace(a, rle=None, extra={}, box=tuple(a.extra["drawn"])) for a in lessons.annotations
        ]
        lessons = replace(lessons, annotations=drawn)
    photos = [PHOTOS / name for name in REMINDERS]  # as in the studio
    material = Material(take(lessons, cell.count), domain.choose, domain.folder, photos=photos)
    config = FinetuneConfig(seed=cell.seed)
    if cell.kind == "random":  # nothing to stay near to
        config = replace(config, pull=0.0, distil_batch=0, decoder_rate=1e-3, encoder_rate=1e-3)
    new = out / f"{cell.name}.safetensors"
    events = finetune(parent, material, new, config, torch.device("cpu"), resume=True)
    for event in events:
        if event["event"] == "epoch":
            tqdm.write(f"{domain.name} {cell.name}: {json.dumps(event)}")
    predictor = Predictor.load(new, "cpu")
    for path in (new, new.with_name(f"{new.name}.compare.json")):
        path.unlink()
    return predictor


def random_weights(weights: Path, out: Path) -> Path:
    """A checkpoint like another, of random weights."""
    like, path = checkpoints.load(weights), out / "random.safetensors"
    torch.manual_seed(0)
    checkpoints.save(checkpoints.build(like.model.config), path, like.metadata)
    return path


def read_lessons(domain: Domain, weights: Path, out: Path) -> Dataset:
    """What the person made of the proposals on the teaching images, computed once.

    An annotation's `drawn` is the box that the person drew, x0 y0 x1 y1.
    """
    path = out / "lessons.json"
    if not path.exists():
        predictor, found = Predictor.load(weights, "cpu"), {}
        for annotation, box, corrected in corrections(predictor, domain, domain.teach, LESSON):
            found[annotation.id] = teach(annotation, box, corrected)
        rows = [found[a.id] for a in domain.teach.annotations]
        coco.save(replace(domain.teach, annotations=rows), path)
    return coco.read(path)


def teach(annotation: Annotation, box: Box, corrected: Corrected) -> Annotation:
    """The annotation as the studio would hand it to a fine-tune."""
    height, width = corrected.mask.shape
    rle = encode(corrected.mask, height=height, width=width)
    touched = encode(corrected.touched, height=height, width=width).to_coco()
    extra = {TOUCHED: touched, "drawn": box, "strokes": corrected.strokes}
    return replace(annotation, rle=rle, box=rle.box or box, extra=extra)


def measure(domain: Domain, predictor: Predictor) -> dict[str, Any]:
    """How the person fares with a predictor's proposals on the test images."""
    hand, pace = Hand(), Pace()
    ious, strokes, images = [], [], []
    for annotation, _, corrected in corrections(predictor, domain, domain.test, TEST):
        assert annotation.rle is not None
        proposal = corrected.mask ^ corrected.touched
        ious.append(iou(proposal, decode(annotation.rle)))
        strokes.append(corrected.strokes)
        images.append(annotation.image_id)
    return {
        "n": len(ious),
        "iou": float(np.mean(ious)),
        "strokes": float(np.mean(strokes)),
        "seconds": float(np.mean([pace.seconds(count) for count in strokes])),
        "untouched": float(np.mean([count == 0 for count in strokes])),
        "given_up": float(np.mean([count == hand.most for count in strokes])),
        "ious": ious,
        "images": images,
    }


def corrections(
    predictor: Predictor, domain: Domain, data: Dataset, seed: int
) -> list[tuple[Annotation, Box, Corrected]]:
    """Each instance with the box the person drew and what they made of the proposal for it."""
    hand, made = Hand(), []
    for record, annotations in labelled(data):
        image = load_image(domain.folder, record)
        draws = [np.random.default_rng([seed, a.id]) for a in annotations]
        pairs = zip(annotations, draws, strict=True)
        boxes = [jitter_box(a.box, hand.box_jitter, draw, record) for a, draw in pairs]
        masks = predictor.predict(image, boxes).masks()
        for annotation, box, mask in zip(annotations, boxes, masks, strict=True):
            assert annotation.rle is not None
            side = (box[2] - box[0] + box[3] - box[1]) / 2
            corrected = correct(decode(mask), decode(annotation.rle), side, hand)
            made.append((annotation, box, corrected))
    return made


def read_rows(out: Path) -> list[dict[str, Any]]:
    """All cells that are done."""
    paths = sorted(out.glob("*-cells/*-*-*.json"))
    return [json.loads(path.read_bytes()) for path in paths]


if __name__ == "__main__":
    main()
