"""What a fine-tune costs: time of each part, processor time and peak memory, by corrections.

    python bench/finetune.py SOURCE/ [--counts 50 500] [--photos PHOTO ...] [--probe DATA IMAGES/]

SOURCE/ holds annotations.json (COCO, with masks) and images/. Each count of masks is learnt by
`python -m mal_core finetune`, as the studio starts it, and judged by masks of other images.
Flags that are not known here go on to that command. Prints a Markdown table.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mal_core import coco  # noqa: E402
from mal_core.dataset import labelled  # noqa: E402

HELD_OUT = 20  # masks
AN_IMAGE = 10  # masks taken of one image at most
PHASES = ("cache", "epoch", "measure")


@dataclass(frozen=True)
class Cost:
    """Of one fine-tune.

    Attributes:
        phases: wall seconds to the first event, then to the last one of each phase.
        processor: seconds, of all threads.
        memory: largest resident size, MB.
    """

    phases: Sequence[float]
    processor: float
    memory: float
    epochs: int
    gain: float


def main() -> None:
    """Fine-tune with each count and print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[50])
    parser.add_argument("--photos", nargs="+", default=[], help="as --distil; folders, too")
    parser.add_argument("--probe", type=Path, nargs=2)
    arguments, more = parser.parse_known_args()
    words = [*(["--distil", *arguments.photos] if arguments.photos else []), *more]
    words += ["--probe", *map(str, arguments.probe)] if arguments.probe else []
    print("| masks | start | features | training | judging | wall | CPU | RSS | epochs | gain |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for count in arguments.counts:
        with tempfile.TemporaryDirectory() as scratch:
            given, cost = measure(arguments.source, count, Path(scratch), words)
        seconds = [*cost.phases, sum(cost.phases), cost.processor]
        cells = [str(given), *(f"{value:.1f}" for value in seconds), f"{cost.memory:.0f} MB"]
        print("| " + " | ".join([*cells, str(cost.epochs), f"{cost.gain:+.4f}"]) + " |", flush=True)


def measure(source: Path, count: int, scratch: Path, words: Sequence[str]) -> tuple[int, Cost]:
    """Fine-tune with `count` masks; returns how many there were, and the cost."""
    data = coco.read(source / "annotations.json")
    held_out = first_masks(data, HELD_OUT)
    used = {image.id for image in held_out.images}
    others = replace(data, images=[image for image in data.images if image.id not in used])
    others = replace(others, annotations=[a for a in data.annotations if a.image_id not in used])
    train = first_masks(others, count)
    coco.save(train, scratch / "train.json")
    coco.save(held_out, scratch / "held-out.json")
    command = [sys.executable, "-m", "mal_core", "finetune", str(scratch / "train.json")]
    command += [str(source / "images"), "--held-out", str(scratch / "held-out.json")]
    command += ["--out", str(scratch / "new.safetensors"), "--json", *words]
    return len(train.annotations), run(command)


def first_masks(data: coco.Dataset, count: int) -> coco.Dataset:
    """The first images with together `count` masks, not more than 10 of each."""
    images, annotations = [], []
    for image, group in labelled(data):
        left = count - len(annotations)
        if left <= 0:
            break
        images.append(image)
        annotations += group[: min(left, AN_IMAGE)]
    return replace(data, images=images, annotations=annotations)


def run(command: Sequence[str]) -> Cost:
    """Run a fine-tune to its end and follow its events."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # as the studio sets it
    begin = time.perf_counter()
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    marks, epochs, gain, first = dict.fromkeys(PHASES, 0.0), 0, 0.0, 0.0
    for line in child.stdout:
        event = json.loads(line)
        seconds = time.perf_counter() - begin
        first = first or seconds
        if event["event"] in marks:
            marks[event["event"]] = seconds
        if event["event"] == "epoch":
            epochs = event["epoch"]
        elif event["event"] == "judged":
            gain = event["gain"]["mean"]
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit("the fine-tune failed; its message is above")
    ends = [first, *marks.values()]
    return Cost(
        phases=[first, *(stop - start for start, stop in pairwise(ends))],
        processor=usage.ru_utime + usage.ru_stime,
        memory=usage.ru_maxrss / 1024,
        epochs=epochs,
        gain=gain,
    )


if __name__ == "__main__":
    main()
