"""Our exports in the readers of Datumaro and LabelMe, and what these write for us to read.

    pip install datumaro==1.13.12 labelme==6.3.1     # in an environment of its own
    python bench/other_readers.py WORK [--formats coco voc ...]

WORK is what bench/acceptance_trade.py left: the zips and wanted.json. This script knows nothing of
the studio's code. Each zip is unpacked, laid out as the reader wants it where that differs, and
read; each mask is compared with what was exported. Under WORK/theirs lies what these programs
write themselves of what they read, to be imported by `python app.py import`.
"""

import argparse
import json
import shutil
import warnings
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import datumaro
import numpy as np
from labelme import utils
from labelme._label_file import LabelFile
from pycocotools import mask as coco_mask

# Image without its suffix, category, and a mask as pycocotools has it, or a box.
Shape = tuple[str, str, Any]
WRITES = ("coco_instances", "coco_panoptic", "voc", "cvat", "datumaro", "yolo")


def main() -> None:
    """Print a line a reader."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--formats", nargs="+", default=list(READERS))
    parser.add_argument("--no-writing", action="store_true")
    options = parser.parse_args()
    wanted = load_wanted(options.work / "wanted.json")
    print("| export | reader | read | found | pixel for pixel | min IoU | mean IoU |")
    print("|---|---|---|---|---|---|---|")
    for name in options.formats:
        title, read = READERS[name]
        folder = unpack(options.work, name)
        try:
            found = list(read(folder))
        except Exception as error:
            cause = error.__cause__ or error
            print(f"| {name} | {title} | {type(cause).__name__}: {cause!s:.120} |", flush=True)
            continue
        print(f"| {name} | {title} | {compare(wanted, found)} |", flush=True)
    if not options.no_writing:
        theirs(options.work)


def load_wanted(path: Path) -> dict[str, list[Shape]]:
    """What was exported, by image."""
    found: defaultdict[str, list[Shape]] = defaultdict(list)
    for item in json.loads(path.read_bytes()):
        stem = str(PurePosixPath(item["image"]).with_suffix(""))
        found[stem].append((stem, item["category"], item["rle"]))
    return dict(found)


def unpack(work: Path, name: str) -> Path:
    """An export as files."""
    folder = work / "unpacked" / name
    if not folder.exists():
        with zipfile.ZipFile(work / "out" / f"{name}.zip") as archive:
            archive.extractall(folder)
    return folder


# Readers


def datumaro_reads(kind: str, prepare: Callable[[Path], Path] | None = None) -> Any:  # noqa: ANN401
    """A reader by Datumaro's importer of a kind."""

    def read(folder: Path) -> Iterator[Shape]:
        place = folder if prepare is None else prepare(folder)
        dataset = datumaro.Dataset.import_from(str(place), kind)
        labels = dataset.categories()[datumaro.AnnotationType.label]
        found = []
        for item in dataset:
            for annotation in joined(item.annotations):
                polygons = annotation if isinstance(annotation, tuple) else ()
                annotation = polygons[0] if polygons else annotation
                title = "" if annotation.label is None else labels[annotation.label].name
                if annotation.type is datumaro.AnnotationType.mask:
                    pixels = np.asfortranarray(annotation.image, np.uint8)
                    found.append((item.id, title, coco_mask.encode(pixels)))
                elif annotation.type is datumaro.AnnotationType.polygon:
                    size = item.media_as(datumaro.Image).size
                    points = [part.points for part in polygons or (annotation,)]
                    parts = coco_mask.frPyObjects(points, *size)
                    found.append((item.id, title, coco_mask.merge(parts)))
                elif annotation.type is datumaro.AnnotationType.bbox:
                    found.append((item.id, title, tuple(annotation.points)))
        masks = [shape for shape in found if not isinstance(shape[2], tuple)]
        return iter(masks or found)  # where it sees both, the boxes are those of the masks

    return read


def joined(annotations: list[Any]) -> list[Any]:
    """Polygons of one group are parts of one object."""
    parts: defaultdict[Any, list[Any]] = defaultdict(list)
    rest = []
    for annotation in annotations:
        if annotation.type is datumaro.AnnotationType.polygon and annotation.group:
            parts[annotation.group].append(annotation)
        else:
            rest.append(annotation)
    return [*rest, *map(tuple, parts.values())]


def as_coco(folder: Path) -> Path:
    """Datumaro wants annotations/instances_*.json."""
    target = folder / "annotations" / "instances_default.json"
    if not target.exists():
        target.parent.mkdir()
        shutil.copy(folder / "annotations.json", target)
    return folder


def as_panoptic(folder: Path) -> Path:
    """Datumaro wants annotations/panoptic_*.json and the pictures in a folder of that name."""
    target = folder / "annotations"
    if not target.exists():
        shutil.copytree(folder / "panoptic", target / "panoptic_default")
        shutil.copy(folder / "panoptic.json", target / "panoptic_default.json")
    return folder


def labelme_reads(folder: Path) -> Iterator[Shape]:
    """LabelMe's own file class, and its own way from shapes to pixels, one shape at a time."""
    for path in sorted(folder.rglob("*.json")):
        if path.name == "report.json":
            continue
        file = LabelFile(str(path))
        stem = str(path.relative_to(folder / "images").with_suffix(""))
        height, width = utils.img_data_to_arr(file.image_data).shape[:2]
        for shape in file.shapes:
            _, owner = utils.shapes_to_label((height, width), [shape], {shape["label"]: 1})
            yield stem, shape["label"], coco_mask.encode(np.asfortranarray(owner > 0, np.uint8))


READERS: dict[str, tuple[str, Callable[[Path], Iterator[Shape]]]] = {
    "coco": ("Datumaro, coco_instances", datumaro_reads("coco_instances", as_coco)),
    "coco-polygons": ("Datumaro, coco_instances", datumaro_reads("coco_instances", as_coco)),
    "coco-panoptic": ("Datumaro, coco_panoptic", datumaro_reads("coco_panoptic", as_panoptic)),
    "yolo": ("Datumaro, yolo", datumaro_reads("yolo")),
    "yolo-seg": ("Datumaro, yolo", datumaro_reads("yolo")),
    "voc": ("Datumaro, voc", datumaro_reads("voc_instance_segmentation")),
    "labelme": ("LabelMe", labelme_reads),
    "cvat": ("Datumaro, cvat", datumaro_reads("cvat")),
    "datumaro": ("Datumaro, datumaro", datumaro_reads("datumaro")),
}


# Comparing


def compare(wanted: dict[str, list[Shape]], found: list[Shape]) -> str:
    """How much was found, and how well it fits."""
    full = dict(zip(wanted, wanted, strict=True))
    counts = Counter(PurePosixPath(stem).name for stem in wanted)
    last = {PurePosixPath(s).name: s for s in wanted if counts[PurePosixPath(s).name] == 1}
    groups: defaultdict[str, list[Shape]] = defaultdict(list)
    for shape in found:
        groups[full.get(shape[0]) or last.get(PurePosixPath(shape[0]).name, "")].append(shape)
    values: list[float] = []
    for stem, shapes in wanted.items():
        values += best(shapes, groups.get(stem, []))
    exact, seen = sum(value == 1 for value in values), sum(value > 0 for value in values)
    return (
        f"{len(found)} | {seen} of {len(values)} | {exact} | {min(values):.4f}"
        f" | {np.mean(values):.5f}"
    )


def best(wanted: list[Shape], found: list[Shape]) -> list[float]:
    """The IoU of each with the most alike of its category, each taken once."""
    pairs = []
    for category in {title for _, title, _ in wanted}:
        left = [place for place, shape in enumerate(wanted) if shape[1] == category]
        right = [place for place, shape in enumerate(found) if shape[1] == category]
        if not right:
            continue
        values = likeness([wanted[i][2] for i in left], [found[j][2] for j in right])
        pairs += [
            (values[a, b], i, j)
            for a, i in enumerate(left)
            for b, j in enumerate(right)
            if values[a, b]
        ]
    result = [0.0] * len(wanted)
    used_left, used_right = set(), set()
    for value, i, j in sorted(pairs, key=lambda pair: -pair[0]):
        if i not in used_left and j not in used_right:
            used_left.add(i)
            used_right.add(j)
            result[i] = float(value)
    return result


def likeness(wanted: list[Any], found: list[Any]) -> np.ndarray:
    """IoU of all with all; of boxes where only boxes were found."""
    if isinstance(found[0], tuple):
        ours = np.array([coco_mask.toBbox(rle) for rle in wanted])
        theirs = np.array([(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in found])
        values = coco_mask.iou(theirs, ours, [0] * len(ours)).T
        return np.where(values > 0.9999, 1.0, values)  # decimal fractions
    masks = [rle for rle in found if not isinstance(rle, tuple)]
    return np.asarray(coco_mask.iou(masks, wanted, [0] * len(wanted))).T


# What they write


def theirs(work: Path) -> None:
    """Let Datumaro and LabelMe write what they have read."""
    target = work / "theirs"
    shutil.rmtree(target, ignore_errors=True)
    dataset = datumaro.Dataset.import_from(str(unpack(work, "cvat")), "cvat")
    for kind in WRITES:
        try:
            dataset.export(str(target / kind), kind, save_media=True)
            print(f"Datumaro wrote {kind}", flush=True)
        except Exception as error:
            print(f"Datumaro could not write {kind}: {error!s:.200}", flush=True)
    folder = unpack(work, "labelme")
    for path in sorted((folder / "images").rglob("*.json")):
        file = LabelFile(str(path))
        raw = json.loads(path.read_bytes())
        new = target / "labelme" / path.relative_to(folder)
        new.parent.mkdir(parents=True, exist_ok=True)
        shapes = [
            {
                **shape,
                "mask": None if shape["mask"] is None else utils.img_arr_to_b64(shape["mask"]),
            }
            for shape in file.shapes
        ]
        size = (raw["imageHeight"], raw["imageWidth"])
        LabelFile().save(str(new), shapes, file.image_path, *size, file.image_data)
    print("LabelMe wrote labelme")


if __name__ == "__main__":
    main()
