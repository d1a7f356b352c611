"""The way of a data set, second half: every format out, and in again elsewhere.

    python bench/acceptance_trade.py WORK [--formats coco yolo-seg ...]

WORK is what bench/acceptance_exchange.py left. Each format is exported by the studio's own command
with its images, imported by it into a new data folder, and compared. WORK/out keeps the zips and
WORK/wanted.json what they must hold, for bench/other_readers.py.
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

Shape = tuple[str, tuple[float, ...], RLE | None]  # category, box, mask


def main() -> None:
    """Print a line a format."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--formats", nargs="+", default=list(FORMATS))
    options = parser.parse_args()
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
    values: list[float] = []
    for image, wanted in original.items():
        if name == "png-semantic":
            wanted = merged(wanted)
        values += best(wanted, found[image], boxes=name == "yolo")
    instances = sum(map(len, found.values()))
    proof = f"{report['n_exact']} of {report['n_compared']}, {report['mean_iou']:.5f}"
    exact = sum(value == 1 for value in values)
    return (
        f"| {name} | {len(found)} | {report['n_annotations']} | {proof} | {instances}"
        f" | {exact} of {len(values)} | {min(values):.4f} | {np.mean(values):.5f} |"
    )


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
