"""Reads a finished COCO export back with pycocotools and holds it against the store."""

import contextlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from app.errors import ExportFailed
from mal_core.masks import RLE

ANNOTATIONS = "annotations.json"


@dataclass(frozen=True)
class Wanted:
    """What an annotation must be: numbers of its image and category, and its mask."""

    image: int
    category: int
    rle: RLE


def prove_coco(
    archive: Path, wanted: Mapping[int, Wanted], sizes: Mapping[int, tuple[int, int]], scratch: Path
) -> float:
    """Check that a zip holds exactly these masks of images of exactly these sizes.

    Args:
        archive: the zip with annotations.json.
        wanted: what the store holds, by annotation id.
        sizes: (width, height) of each stored raster, by image id.
        scratch: a folder for the unpacked json.

    Returns:
        The smallest IoU of an exported mask with the store's; 1.0, or the export has failed.

    Raises:
        ExportFailed: anything differs; the text says what.
    """
    index = _read_back(archive, scratch)
    entries = index.dataset["annotations"]
    _demand(len(index.anns) == len(entries), "annotation ids are not unique")
    _demand(set(index.anns) == set(wanted), "the annotations are not those of the store")
    _demand(len(index.imgs) == len(index.dataset["images"]), "image ids are not unique")
    found = {key: (image["width"], image["height"]) for key, image in index.imgs.items()}
    _demand(found == dict(sizes), "the images are not those of the store, or differ in size")
    lowest = min((_compare(index, entry, wanted[entry["id"]]) for entry in entries), default=1.0)
    _demand(lowest == 1.0, f"a mask reads back with IoU {lowest:.6f} instead of 1")
    return lowest


def _read_back(archive: Path, scratch: Path) -> COCO:
    path = scratch / ANNOTATIONS
    with zipfile.ZipFile(archive) as file:
        _demand(file.testzip() is None, "the zip reads back damaged")
        path.write_bytes(file.read(ANNOTATIONS))
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints while it reads
        return COCO(str(path))


def _compare(index: COCO, entry: Mapping[str, Any], wanted: Wanted) -> float:
    """IoU of one annotation with the store's mask, its other fields checked on the way."""
    number = entry["id"]
    read = index.annToRLE(entry)
    _demand(entry["image_id"] == wanted.image, f"annotation {number}: image differs")
    _demand(entry["category_id"] == wanted.category, f"annotation {number}: category differs")
    _demand(entry["iscrowd"] == 0, f"annotation {number} is a crowd")
    _demand(entry["area"] == int(coco_mask.area(read)), f"annotation {number}: area differs")
    box = coco_mask.toBbox(read).tolist()
    _demand(list(map(float, entry["bbox"])) == box, f"annotation {number}: bbox differs")
    return float(coco_mask.iou([read], [wanted.rle.to_coco()], [0])[0][0])


def _demand(holds: bool, text: str) -> None:
    if not holds:
        raise ExportFailed(f"the export was thrown away: {text}; please report this")
