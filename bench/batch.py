"""Batch labelling: boxes per second of one and two processes, and what each part of a box costs.

`rate` labels the same images with one process, with two, and on Ray, in turn, several rounds; the
time counts from when every worker has done its first shard. On a GPU one process feeds it, and how
busy it was is told; else how busy the CPU was. `costs` tells CPU milliseconds (of this process, one
thread, so that neighbours on the machine matter little) and bytes.

    python bench/batch.py rate coco/annotations.json coco/images [--boxes 300] [--rounds 3] [--ray]
    python bench/batch.py costs coco/annotations.json coco/images [--boxes 300]
"""

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mal_core import coco  # noqa: E402
from mal_core.commands.options import BUNDLED, count  # noqa: E402
from mal_core.config import LabelConfig  # noqa: E402
from mal_core.decode import Decoder, Pixels, to_pixels  # noqa: E402
from mal_core.extras import load_extra  # noqa: E402
from mal_core.labeller import Labeller, label_shard, make_labeller  # noqa: E402
from mal_core.predictor import choose_device  # noqa: E402
from mal_core.shards import FORMS, Shard, Shelf, cut  # noqa: E402
from mal_core.team import Job, Report, label_together  # noqa: E402

Crew = Callable[[Sequence[Shard]], Iterator[Report]]


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["rate", "costs"])
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--boxes", type=count, default=300)
    parser.add_argument("--rounds", type=count, default=3)
    parser.add_argument("--shard-boxes", type=count, default=8)
    parser.add_argument("--weights", type=Path, default=BUNDLED)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--ray", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        job = Job(
            weights=str(arguments.weights.resolve()),
            device=str(choose_device(arguments.device)),
            backend="torch",
            refine="guided",
            threads=1,
            config=asdict(LabelConfig()),
            images=str(arguments.folder.resolve()),
            shelf=scratch,
            form="coco",
        )
        labeller = make_labeller(job)
        shards = some_shards(arguments, labeller)
        (rate if arguments.what == "rate" else costs)(arguments, job, labeller, shards)


def some_shards(arguments: argparse.Namespace, labeller: Labeller) -> list[Shard]:
    """The first images of the data set, boxes only, until there are enough boxes."""
    dataset = coco.read(arguments.data)
    bare = [replace(a, rle=None) for a in dataset.annotations if not a.iscrowd]
    pairs, total = [], 0
    for pair in labeller.work(replace(dataset, annotations=bare)):
        if total >= arguments.boxes:
            break
        pairs.append(pair)
        total += len(pair[1])
    return cut(pairs, dataset.categories, labeller.header, arguments.shard_boxes)


def rate(
    arguments: argparse.Namespace, job: Job, labeller: Labeller, shards: Sequence[Shard]
) -> None:
    """Boxes per second of each crew, interleaved; the median of the rounds and of the ratios."""
    crews: dict[str, tuple[int, Crew]] = {"1 process": (1, partial(label_together, job, 1))}
    if not job.device.startswith("cuda"):
        crews["2 processes"] = (2, partial(label_together, job, 2))
    if arguments.ray:
        label_on_ray = load_extra("mal_core.cluster").label_on_ray
        crews["Ray, 2 actors"] = (2, partial(label_on_ray, job, 2, "local"))
    speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in crews}
    for number in range(arguments.rounds):
        for name, (workers, crew) in crews.items():
            empty(Path(job.shelf))
            with Watch(job.device) as watch:
                speeds[name].append(speed(crew, workers, shards))
            wall, busy = speeds[name][-1]
            line = (
                f"round {number + 1}, {name}: {wall:.2f} boxes/s, {busy:.2f} a CPU second, {watch}"
            )
            print(line, flush=True)
    alone = speeds["1 process"]
    print("| crew | boxes/s | efficiency | boxes a CPU second | ratio |\n|---|---|---|---|---|")
    for name, (workers, _) in crews.items():
        pairs = list(zip(speeds[name], alone, strict=True))
        table = [(a, a / b / workers, c, c / d) for (a, c), (b, d) in pairs]
        middle = [statistics.median(column) for column in zip(*table, strict=True)]
        print("| {} | {:.2f} | {:.2f} | {:.2f} | {:.2f} |".format(name, *middle))


def speed(crew: Crew, workers: int, shards: Sequence[Shard]) -> tuple[float, float]:
    """Boxes per second, and per second of CPU, from when each worker has done a shard."""
    seen: set[int] = set()
    boxes, begin, spent, first = 0, 0.0, 0.0, 0.0
    for report in crew(shards):
        if len(seen) < workers:
            seen.add(report["worker"])
            begin, first = time.perf_counter(), cpu_seconds(seen)
        else:
            boxes += sum(image["boxes"] for image in report["images"])
            spent = cpu_seconds(seen) - first
    return boxes / (time.perf_counter() - begin), boxes / max(spent, 1e-9)


def cpu_seconds(workers: set[int]) -> float:
    """CPU time of this process and some others so far, user and system."""
    ticks = 0
    for pid in workers:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        ticks += sum(map(int, text.rpartition(")")[2].split()[11:13]))
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def costs(
    arguments: argparse.Namespace, job: Job, labeller: Labeller, shards: Sequence[Shard]
) -> None:
    """What each part costs, one row a part."""
    files = {i.id: (arguments.folder / i.file_name).read_bytes() for s in shards for i, _ in s.work}
    boxes = sum(len(found) for shard in shards for _, found in shard.work)
    pixels, decode_ms = timed(lambda: {k: to_pixels(io.BytesIO(f)) for k, f in files.items()})
    print(f"| decode, an image | {decode_ms / len(files):.2f} ms |")
    with Decoder() as decoder:
        decoder.decode(next(iter(files.values())))
        _, ms = timed(lambda: [decoder.decode(content) for content in files.values()])
    print(f"| read it back from the child, an image | {ms / len(files):.2f} ms |")
    parts = {"crop": 0.0, "model": 0.0, "paste, edges, run-length code": 0.0}
    for shard in shards:
        for image, found in shard.work:
            asked = [annotation.box for annotation in found]
            begin = time.process_time()
            prediction = labeller.predictor.predict(pixels[image.id], asked)
            network = time.process_time() - begin
            _, ms = timed(prediction.masks)
            share = prediction.seconds["crop"] / sum(prediction.seconds.values())
            parts["crop"] += 1000 * network * share
            parts["model"] += 1000 * network * (1 - share)
            parts["paste, edges, run-length code"] += ms
    for name, ms in parts.items():
        print(f"| {name}, a box | {ms / boxes:.2f} ms |")
    for form in FORMS:
        store(job, form, labeller, shards, pixels, boxes)


def store(
    job: Job,
    form: str,
    labeller: Labeller,
    shards: Sequence[Shard],
    pixels: Mapping[int, Pixels],
    boxes: int,
) -> None:
    """What a shard's file costs in one form; the masks are made once more for it."""
    folder = Path(job.shelf) / form
    folder.mkdir()
    shelf = Shelf(folder, form)
    answers = {}
    for shard in shards:
        label_shard(shard, labeller, lambda image: pixels[image.id], shelf)
        answers[shard.name] = shelf.get(shard.name)
    _, put = timed(lambda: [shelf.put(shard, answers[shard.name]) for shard in shards])
    _, got = timed(lambda: [shelf.get(shard.name) for shard in shards])
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"| {form}: write, read, a box | {put / boxes:.3f} ms, {got / boxes:.3f} ms |")
    print(f"| {form}: bytes a box, {boxes / len(shards):.0f} boxes a shard | {size / boxes:.0f} |")


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What some work gives, and its CPU milliseconds in this process."""
    begin = time.process_time()
    answer = work()
    return answer, 1000 * (time.process_time() - begin)


def empty(folder: Path) -> None:
    """Remove what the last crew left."""
    shutil.rmtree(folder)
    folder.mkdir()


class Watch:
    """How busy the device was meanwhile, asked twice a second: the GPU, or all CPU cores."""

    def __init__(self, device: str) -> None:
        self._is_gpu = device.startswith("cuda")
        self._shares: list[float] = []
        self._over = Event()
        self._thread = Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._first = cpu_ticks()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        busy, total = (b - a for a, b in zip(self._first, cpu_ticks(), strict=True))
        if not self._is_gpu:
            self._shares = [busy / max(total, 1)]

    def __str__(self) -> str:
        share = statistics.mean(self._shares) if self._shares else 0.0
        return f"{'GPU' if self._is_gpu else 'CPU (all cores, all programs)'} {share:.0%} busy"

    def _look(self) -> None:
        words = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while self._is_gpu and not self._over.wait(0.5):
            told = subprocess.run(words, capture_output=True, text=True, check=True)
            self._shares.append(float(told.stdout.split()[0]) / 100)


def cpu_ticks() -> tuple[int, int]:
    """Busy and total time of all cores so far."""
    with Path("/proc/stat").open(encoding="utf-8") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
