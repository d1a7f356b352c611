"""COCO instances in and out; the one place where boxes are x, y, width, height.

Reading checks everything and says a line for each problem; what it returns can be trusted.
Fields of other tools are kept, so that reading and writing a file loses nothing.

Source: the format is https://cocodataset.org/#format-data; the code is our own.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from mal_core.bulk import Checked
from mal_core.coco_entries import (
    LISTS,
    Annotation,
    Box,
    CategoryRecord,
    Entries,
    Fields,
    ImageRecord,
    read_mask,
)
from mal_core.errors import BadDataset
from mal_core.files import write_whole
from mal_core.masks import RLE

__all__ = [
    "Annotation",
    "Box",
    "CategoryRecord",
    "Dataset",
    "Fields",
    "ImageRecord",
    "fill_in",
    "read",
    "save",
    "stream",
    "write",
]


@dataclass(frozen=True)
class Dataset:
    """A COCO file; `extra` holds the top-level fields that are none of ours."""

    images: Sequence[ImageRecord]
    categories: Sequence[CategoryRecord]
    annotations: Sequence[Annotation]
    extra: Fields = field(default_factory=dict)

    def by_image(self) -> list[tuple[ImageRecord, list[Annotation]]]:
        """Each image with its annotations, both in the order of the file."""
        groups: dict[int, list[Annotation]] = {image.id: [] for image in self.images}
        for annotation in self.annotations:
            groups[annotation.image_id].append(annotation)
        return [(image, groups[image.id]) for image in self.images]

    def first(self, count: int) -> "Dataset":
        """The data set of the first `count` images."""
        images = self.images[:count]
        kept = {image.id for image in images}
        annotations = [a for a in self.annotations if a.image_id in kept]
        return replace(self, images=images, annotations=annotations)


def read(source: Path | bytes, bad_boxes: dict[int, str] | None = None) -> Dataset:
    """Read and check a COCO instances file.

    Args:
        source: the file, or its content.
        bad_boxes: gets the id of each annotation left out because its bbox cannot be used, and
            why; with a mask, that of the mask stands in. None: such a bbox breaks the format.

    Raises:
        BadDataset: it cannot be read, or breaks the format; holds a line for each problem.
    """
    value = _parse(source)
    if not isinstance(value, dict):
        raise BadDataset([f"a COCO file must hold a JSON object, got {type(value).__name__}"])
    missing = [name for name in LISTS if not isinstance(value.get(name), list)]
    if missing:
        raise BadDataset([f"a COCO file must hold a list of {name}" for name in missing])
    entries = Entries(bad_boxes)
    images, categories = entries.images(value["images"]), entries.categories(value["categories"])
    annotations = entries.annotations(value["annotations"])
    if entries.problems:
        raise BadDataset(entries.problems)
    extra = {key: item for key, item in value.items() if key not in LISTS}
    return Dataset(images, categories, annotations, extra)


def fill_in(entry: dict[str, Any], image: ImageRecord) -> dict[str, Any]:
    """Add to an annotation's JSON what COCO's own tools demand and it lacks.

    Args:
        entry: an annotation that `read` took, or left out for its bbox.
        image: of that annotation.

    Returns:
        The entry; iscrowd 0, an empty mask and the mask's area stand in for what was missing.
    """
    mask, area, iscrowd = (entry.get(name) for name in ("segmentation", "area", "iscrowd"))
    if mask and area is not None and iscrowd is not None:
        return entry
    rle = read_mask(mask, image, Checked([]))
    if rle is None:
        pixels = np.array([image.height * image.width], np.int64)
        rle = RLE.from_runs(pixels, image.height, image.width)
        mask = rle.to_coco()
    return {
        **entry,
        "segmentation": mask,
        "area": rle.area if area is None else area,
        "iscrowd": iscrowd or 0,
    }


def write(dataset: Dataset) -> bytes:
    """Write a data set as JSON: masks as compressed runs, area and bbox of the mask."""
    return b"".join(stream(dataset.annotations, dataset.images, dataset.categories, dataset.extra))


def stream(
    annotations: Iterable[Annotation],
    images: Iterable[ImageRecord],
    categories: Iterable[CategoryRecord],
    extra: Fields,
    segment: Callable[[RLE], object] = RLE.to_coco,
) -> Iterator[bytes]:
    """Write a data set as JSON piece by piece, so that its masks need not be held together.

    Args:
        annotations: gone through first.
        images: gone through when the annotations are, so that both may come from one source.
        categories: of the annotations.
        extra: top-level fields that are none of ours.
        segment: how a mask is written; as compressed runs, unless said otherwise.
    """
    top = orjson.dumps({key: item for key, item in extra.items() if key not in LISTS})
    lists: list[tuple[str, Iterator[dict[str, Any]]]] = [
        ("annotations", (_annotation_to_json(a, segment) for a in annotations)),
        ("images", (_image_to_json(image) for image in images)),
        ("categories", ({**c.extra, "id": c.id, "name": c.name} for c in categories)),
    ]
    for place, (name, entries) in enumerate(lists):
        yield (b"," if place else b"{") + orjson.dumps(name) + b":["
        for number, entry in enumerate(entries):
            yield (b"," if number else b"") + orjson.dumps(entry)
        yield b"]"
    yield b"," + top[1:] if len(top) > 2 else b"}"


def save(dataset: Dataset, path: Path) -> None:
    """Write a data set to a file, so that a crash leaves the old file or the new one.

    Raises:
        OSError: the disk is full, or refuses.
    """
    write_whole(path, write(dataset))


def _parse(source: Path | bytes) -> object:
    try:
        return orjson.loads(source if isinstance(source, bytes) else source.read_bytes())
    except OSError as error:
        raise BadDataset([f"the file cannot be read: {error.strerror}"]) from error
    except orjson.JSONDecodeError as error:
        text = f"the file is not JSON, or holds NaN or infinity, which JSON does not have ({error})"
        raise BadDataset([text]) from error


def _image_to_json(image: ImageRecord) -> dict[str, Any]:
    return {
        **image.extra,
        "id": image.id,
        "file_name": image.file_name,
        "width": image.width,
        "height": image.height,
    }


def _annotation_to_json(annotation: Annotation, segment: Callable[[RLE], object]) -> dict[str, Any]:
    rle = annotation.rle
    x0, y0, x1, y1 = annotation.box if rle is None else rle.box or annotation.box
    return {
        **annotation.extra,
        "id": annotation.id,
        "image_id": annotation.image_id,
        "category_id": annotation.category_id,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0) if rle is None else rle.area,
        "segmentation": [] if rle is None else segment(rle),
        "iscrowd": int(annotation.iscrowd),
    }
