"""The way of a data set, second half: every format out, and in again elsewhere.

    python bench/acceptance_trade.py WORK [--formats coco yolo-seg ...]
    python bench/acceptance_trade.py WORK --theirs

WORK is what bench/acceptance_exchange.py left. Each format is exported by the studio's own command
with its images, imported by it into a new data folder, and compared. WORK/out keeps the zips and
WORK/wanted.json what they must hold, for bench/other_readers.py. What other programs have written
there is imported with --theirs, and compared.
"""

import argparse
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.exchange import FORMATS  # noqa: E402
from app.records import Image, Project, State  # noqa: E402
from app.session import MASK_STATES  # noqa: E402
from app.store import Store  # noqa: E402
from bench.acceptance_exchange import NAME, command, opened  # noqa: E402
from mal_core.masks import RLE, iou, union  # noqa: E402

THEIRS = {
    "coco_instances": "coco",
    "coco_panoptic": "coco-panoptic",
    "voc": "voc",
    "cvat": "cvat",
    "datumaro": "datumaro",
    "yolo": "yolo",
    "labelme": "labelme",
}
Shape = tuple[str, tuple[float, ...], RLE | None]  # category, box, mask


def main() -> None:
    """Print a line a format."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--formats", nargs="+", default=list(FORMATS))
    parser.add_argument("--theirs", action="store_true")
    options = parser.parse_args()
    if options.theirs:
        take_theirs(options.work)
        return
    lines = []
    with opened(options.work) as (settings, store, project):
        original = shapes(store, project, lambda image: image.sha256)
        keep(options.work, store, project)
        for name in options.formats:
            out = options.work / "out" / f"{name}.zip"
            out.parent.mkdir(exist_ok=True)
            out.unlink(missing_ok=True)
            command(settings, "export", name, str(out), "--project", NAME, "--images")
            with zipfile.ZipFile(out) as archive:
                report = json.loads(archive.read("report.json"))
            back = options.work / "back" / name
            shutil.rmtree(back, ignore_errors=True)
            with opened(back) as (other, copy, twin):
                command(other, "import", name, str(out), "--project", NAME)
                found = shapes(copy, twin, lambda image: image.source_sha256)
            lines.append(compare(name, original, found, report))
            print(lines[-1], flush=True)
    print("| format | images | instances | by the export: exact, mean IoU |", end="")
    print(" imported | exact | min IoU | mean IoU |")
    print("|---|---|---|---|---|---|---|---|", *lines, sep="\n")


def take_theirs(work: Path) -> None:
    """Import what Datumaro and LabelMe wrote of the same masks."""
    print("| written by | as | images | imported | exact | min IoU | mean IoU |")
    print("|---|---|---|---|---|---|---|")
    with opened(work) as (_, store, project):
        original = shapes(store, project, lambda image: image.sha256)
    for kind, name in THEIRS.items():
        back = work / "back-theirs" / kind
        shutil.rmtree(back, ignore_errors=True)
        with opened(back) as (other, copy, twin):
            try:
                command(other, "import", name, str(work / "theirs" / kind), "--project", NAME)
            except SystemExit as error:
                print(f"| {kind} | {name} | {error!s:.300} |", flush=True)
                continue
            found = shapes(copy, twin, lambda image: image.source_sha256)
        values = likenesses(name, original, found)
        exact = sum(value == 1 for value in values)
        known = sum(image in original for image in found)
        print(
            f"| {kind} | {name} | {known} | {sum(map(len, found.values()))}"
            f" | {exact} of {len(values)} | {min(values):.4f} | {np.mean(values):.5f} |",
            flush=True,
        )


def keep(work: Path, store: Store, project: Project) -> None:
    """Write down what the exports must hold, for readers that are none of ours."""
    titles = {c.id: c.name for c in store.list_categories(project.id)}
    wanted: list[dict[str, Any]] = []
    for image, instance in store.list_project_instances(project.id, MASK_STATES):
        assert instance.draft.rle is not None
        rle = instance.draft.rle.to_coco()
        wanted.append(
            {"image": image.file_name, "category": titles[instance.draft.category_id], "rle": rle}
        )
    (work / "wanted.json").write_bytes(orjson.dumps(wanted))


def shapes(store: Store, project: Project, key: Callable[[Image], str]) -> dict[str, list[Shape]]:
    """What exports hold, by image; boxes where there is no mask."""
    titles = {c.id: c.name for c in store.list_categories(project.id)}
    found: dict[str, list[Shape]] = {key(s.image): [] for s in store.list_images(project.id)}
    states = MASK_STATES | {State.PROPOSED}
    for image, instance in store.list_project_instances(project.id, states):
        draft = instance.draft
        box = draft.box if draft.rle is None or draft.rle.box is None else draft.rle.box
        shape = (titles[draft.category_id], tuple(map(float, box)), draft.rle)
        found[key(image)].append(shape)
    return found


def compare(
    name: str,
    original: dict[str, list[Shape]],
    found: dict[str, list[Shape]],
    report: dict[str, Any],
) -> str:
    """One line of the table: each instance with the most alike of its category that came back."""
    if original.keys() != found.keys():
        raise SystemExit(f"{name}: the images are not the same")
    values = likenesses(name, original, found)
    instances = sum(map(len, found.values()))
    proof = f"{report['n_exact']} of {report['n_compared']}, {report['mean_iou']:.5f}"
    exact = sum(value == 1 for value in values)
    return (
        f"| {name} | {len(found)} | {report['n_annotations']} | {proof} | {instances}"
        f" | {exact} of {len(values)} | {min(values):.4f} | {np.mean(values):.5f} |"
    )


def likenesses(
    name: str, original: dict[str, list[Shape]], found: dict[str, list[Shape]]
) -> list[float]:
    """The IoU of each instance with what came back of it."""
    values: list[float] = []
    for image, entries in original.items():
        wanted = merged(entries) if name == "png-semantic" else entries
        values += best(wanted, found.get(image, []), boxes=name == "yolo")
    return values


def merged(wanted: list[Shape]) -> list[Shape]:
    """The instances of each category as one."""
    regions: dict[str, RLE] = {}
    for category, _, rle in wanted:
        assert rle is not None
        regions[category] = union(regions[category], rle) if category in regions else rle
    return [(c, tuple(map(float, rle.box or ())), rle) for c, rle in regions.items()]


def best(wanted: list[Shape], found: list[Shape], *, boxes: bool) -> list[float]:
    """The IoU of each wanted instance with what came back of it; each is taken once."""
    pairs = []
    for i, (category, box, rle) in enumerate(wanted):
        for j, (other, near, mask) in enumerate(found):
            if category == other and (value := box_iou(box, near)) > 0:
                if not boxes and rle is not None and mask is not None:
                    value = 1.0 if rle.counts == mask.counts else iou(rle, mask)
                pairs.append((0.0 if not boxes and mask is None else value, i, j))
    values = [0.0] * len(wanted)
    left, right = set(range(len(wanted))), set(range(len(found)))
    for value, i, j in sorted(pairs, key=lambda pair: -pair[0]):
        if i in left and j in right:
            values[i] = value
            left.remove(i)
            right.remove(j)
    return values


def box_iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """IoU of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (one, other)]
    return width * height / (sum(areas) - width * height)


if __name__ == "__main__":
    main()
