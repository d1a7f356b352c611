"""Kill the processes of `label` by SIGKILL, on real images; nothing may be lost, doubled, changed.

Takes the first images of a data set, without their masks, puts their files into a tar, and among
them one that kills its decoder. Labels them once in peace, once with 2 processes and once on Ray,
while workers, decoders and (on Ray) actors are killed in turn, one after each shard that is done.

    python bench/kill_label.py coco/annotations.json coco/images [--images 40] [--kills 20]
        [--shard-boxes 8] [--crews processes ray]
"""

import argparse
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mal_core import coco  # noqa: E402
from mal_core.coco import Annotation, ImageRecord  # noqa: E402
from mal_core.commands.options import BUNDLED  # noqa: E402
from tests.core import breaker  # noqa: E402

HOSTILE = 2**40  # id of the image that kills its decoder, and of its box
CREWS = {
    "processes": (["--workers", "2"], ["mal_core.worker", "mal_core.decode"]),
    "ray": (["--workers", "2", "--ray"], ["ray::MapWorker", "mal_core.worker"]),
}


def main() -> None:
    """Label in peace, then under kills, and print a line for each crew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--shard-boxes", type=int, default=8)
    parser.add_argument("--crews", nargs="+", choices=CREWS, default=list(CREWS))
    parser.add_argument("--weights", type=Path, default=BUNDLED)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        sizes = gather(arguments.data, arguments.folder, arguments.images, scratch)
        os.environ |= {"OMP_NUM_THREADS": "1", **breaker.arm(scratch)}
        words = [str(scratch / "boxes.json"), str(scratch / "images.tar"), "--threads", "1"]
        words += ["--weights", str(arguments.weights), "--device", "cpu"]
        words += ["--shard-boxes", str(arguments.shard_boxes)]
        begin, whole = time.monotonic(), scratch / "whole.json"
        if start(words, whole, ()).wait():
            raise SystemExit("the run in peace failed")
        print(
            f"in peace: {sum(sizes.values())} boxes, {time.monotonic() - begin:.0f} s", flush=True
        )
        good = [judge(crew, words, scratch, sizes, arguments.kills) for crew in arguments.crews]
    raise SystemExit(not all(good))


def gather(data: Path, folder: Path, count: int, scratch: Path) -> dict[int, int]:
    """Write boxes.json and images.tar; boxes by image."""
    dataset = coco.read(data).first(count)
    record = ImageRecord(HOSTILE, "hostile.png", 64, 64)
    category = dataset.categories[0].id
    deadly = Annotation(HOSTILE, HOSTILE, category, (1.0, 1.0, 50.0, 50.0), None)
    bare = [replace(a, rle=None, extra={}) for a in dataset.annotations if not a.iscrowd]
    images = [*dataset.images[: count // 2], record, *dataset.images[count // 2 :]]
    coco.save(replace(dataset, images=images, annotations=[*bare, deadly]), scratch / "boxes.json")
    with tarfile.open(scratch / "images.tar", "w") as tar:
        for image in images[: count // 2] + images[count // 2 + 1 :]:
            tar.add(folder / image.file_name, image.file_name)
        member = tarfile.TarInfo(record.file_name)
        member.size = len(breaker.DEADLY)
        tar.addfile(member, io.BytesIO(breaker.DEADLY))
    return dict(Counter(a.image_id for a in [*bare, deadly]))


def start(words: Sequence[str], out: Path, more: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start `label` as a program; what it prints on stderr goes to a file beside `out`."""
    command = [sys.executable, "-m", "mal_core", "label", *words, "--out", str(out), *more]
    with out.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log)


def judge(
    crew: str, words: Sequence[str], scratch: Path, sizes: dict[int, int], kills: int
) -> bool:
    """Label under kills; print what came of it, and say whether all is well."""
    more, kinds = CREWS[crew]
    out, begin = scratch / f"{len(more)}.json", time.monotonic()
    (scratch / "watch").unlink(missing_ok=True)
    running = start(words, out, more)
    killed = 0
    while killed < kills and running.poll() is None:
        kind = islice(cycle(kinds), killed, killed + 1)
        killed += breaker.kill_some(running, out, kind, random.Random(killed))
        print(f"{crew}: kill {killed}, {breaker.shards_done(out)} shards", flush=True)
    status = running.wait()
    whole = (scratch / "whole.json").read_bytes()
    is_same = status == 0 and out.read_bytes() == whole
    entries = json.loads(whole)["annotations"]
    errors = [entry["id"] for entry in entries if "mal_error" in entry]
    times = Counter(image for image, _ in breaker.watched(scratch))
    again = {image: n - 1 for image, n in times.items() if n > 1}
    rework = sum(sizes[image] * n for image, n in again.items())
    print(
        f"{crew}: {killed} killed, {time.monotonic() - begin:.0f} s; same bytes {is_same};"
        f" {len(entries)} boxes, each once {len({e['id'] for e in entries}) == len(entries)};"
        f" without mask {len(errors)} (the deadly one: {errors == [HOSTILE]});"
        f" answered again {rework} boxes, {rework / max(killed, 1):.1f} a kill"
    )
    return is_same and errors == [HOSTILE] and killed >= kills


if __name__ == "__main__":
    main()
