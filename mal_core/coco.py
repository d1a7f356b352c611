"""COCO instances in and out; the one place where boxes are x, y, width, height.

Reading checks everything and says a line for each problem; what it returns can be trusted.
Fields of other tools are kept, so that reading and writing a file loses nothing.

Source: the format is https://cocodataset.org/#format-data; the code is our own.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

import numpy as np
import orjson

from mal_core.bulk import Checked
from mal_core.errors import BadDataset, BadMask
from mal_core.files import write_whole
from mal_core.masks import MAX_SIDE, RLE, polygons_to_rle

Box = tuple[float, float, float, float]
Fields = Mapping[str, Any]

_ID_MAX = 2**53 - 1  # beyond it, other programs read whole numbers inexactly
_LISTS = ("images", "categories", "annotations")
_IMAGE = frozenset({"id", "file_name", "width", "height"})
_CATEGORY = frozenset({"id", "name"})
_ANNOTATION = frozenset(
    {"id", "image_id", "category_id", "bbox", "segmentation", "area", "iscrowd"}
)


@dataclass(frozen=True)
class ImageRecord:
    """An image of a COCO file; `file_name` is relative and stays inside its folder."""

    id: int
    file_name: str
    width: int
    height: int
    extra: Fields = field(default_factory=dict)


@dataclass(frozen=True)
class CategoryRecord:
    """A category of a COCO file."""

    id: int
    name: str
    extra: Fields = field(default_factory=dict)


@dataclass(frozen=True)
class Annotation:
    """An annotation of a COCO file.

    Attributes:
        box: x0, y0, x1, y1 in pixels, half-open; overlaps the image but may stick out of it.
        rle: the mask, of the image's size; None where the file has only a box.
    """

    id: int
    image_id: int
    category_id: int
    box: Box
    rle: RLE | None
    iscrowd: bool = False
    extra: Fields = field(default_factory=dict)


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
    missing = [name for name in _LISTS if not isinstance(value.get(name), list)]
    if missing:
        raise BadDataset([f"a COCO file must hold a list of {name}" for name in missing])
    return _Reader(bad_boxes).read(value)


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
    rle = _read_mask(mask, image, Checked([]))
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
    top = orjson.dumps({key: item for key, item in extra.items() if key not in _LISTS})
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


_Record = TypeVar("_Record", ImageRecord, CategoryRecord, Annotation)


class _Bad(Exception):  # noqa: N818 - never leaves this module
    """One problem of one entry."""


class _BadBox(_Bad):
    """A bbox that cannot be used, in an annotation that is sound otherwise."""


class _Reader:
    """Reads the lists of a file in turn and collects what is wrong with each entry."""

    def __init__(self, bad_boxes: dict[int, str] | None) -> None:
        self._problems: list[str] = []
        self._bad_boxes = bad_boxes
        self._ids: dict[str, set[int]] = {}
        self._checked = Checked([])

    def read(self, value: dict[str, Any]) -> Dataset:
        """Read a whole file, or raise with all its problems."""
        images = self._each(value, "images", _read_image)
        categories = self._each(value, "categories", _read_category)
        self._checked = Checked(map(_segmentation, value["annotations"]))
        sound = {image.id: image for image in images}
        annotations = self._each(value, "annotations", lambda a: self._annotation(a, sound))
        if self._problems:
            raise BadDataset(self._problems)
        extra = {key: item for key, item in value.items() if key not in _LISTS}
        return Dataset(images, categories, annotations, extra)

    def _each(
        self, value: dict[str, Any], name: str, read_one: Callable[[dict[str, Any]], _Record]
    ) -> list[_Record]:
        """Read the entries of one list; those with a problem are left out."""
        ids = self._ids[name] = set()
        found: list[_Record] = []
        for index, entry in enumerate(value[name]):
            try:
                key = _whole(_object(entry), "id", 0, _ID_MAX)
                if key in ids:
                    raise _Bad(f"id {key} is taken by an earlier one")
                ids.add(key)
                found.append(read_one(entry))
            except _BadBox as error:
                if self._bad_boxes is None:
                    self._problems.append(f"{name}[{index}]{_name(entry)}: {error}")
                else:
                    self._bad_boxes[entry["id"]] = str(error)
            except (_Bad, BadMask) as error:
                self._problems.append(f"{name}[{index}]{_name(entry)}: {error}")
        return found

    def _annotation(self, entry: dict[str, Any], sound: Mapping[int, ImageRecord]) -> Annotation:
        image_id = _whole(entry, "image_id", 0, _ID_MAX)
        category_id = _whole(entry, "category_id", 0, _ID_MAX)
        if image_id not in self._ids["images"]:
            raise _Bad(f"there is no image {image_id}")
        if category_id not in self._ids["categories"]:
            raise _Bad(f"there is no category {category_id}")
        if image_id not in sound:
            raise _Bad(f"its image {image_id} has a problem of its own")
        rle = _read_mask(entry.get("segmentation"), sound[image_id], self._checked)
        iscrowd = bool(_whole({"iscrowd": entry.get("iscrowd", 0)}, "iscrowd", 0, 1))
        return Annotation(
            id=entry["id"],
            image_id=image_id,
            category_id=category_id,
            box=self._box(entry.get("bbox"), rle, sound[image_id]),
            rle=rle,
            iscrowd=iscrowd,
            extra=_extra(entry, _ANNOTATION),
        )

    def _box(self, value: object, rle: RLE | None, image: ImageRecord) -> Box:
        """Read a bbox; where bad ones are collected, that of a mask may stand in."""
        try:
            return _read_box(value, rle, image)
        except _BadBox:
            if self._bad_boxes is None or rle is None or rle.box is None:
                raise
            return rle.box


def _parse(source: Path | bytes) -> object:
    try:
        return orjson.loads(source if isinstance(source, bytes) else source.read_bytes())
    except OSError as error:
        raise BadDataset([f"the file cannot be read: {error.strerror}"]) from error
    except orjson.JSONDecodeError as error:
        text = f"the file is not JSON, or holds NaN or infinity, which JSON does not have ({error})"
        raise BadDataset([text]) from error


def _read_image(entry: dict[str, Any]) -> ImageRecord:
    return ImageRecord(
        id=entry["id"],
        file_name=_file_name(_text(entry, "file_name")),
        width=_whole(entry, "width", 1, MAX_SIDE),
        height=_whole(entry, "height", 1, MAX_SIDE),
        extra=_extra(entry, _IMAGE),
    )


def _read_category(entry: dict[str, Any]) -> CategoryRecord:
    return CategoryRecord(entry["id"], _text(entry, "name"), _extra(entry, _CATEGORY))


def _read_mask(value: object, image: ImageRecord, checked: Checked) -> RLE | None:
    """Take runs or polygons; None where there is no mask."""
    if value is None or value == []:
        return None
    if isinstance(value, list):
        if not all(isinstance(part, list) for part in value):
            raise _Bad("segmentation must be a list of polygons, each a list of numbers")
        return polygons_to_rle(value, image.height, image.width)
    rle = checked.get(value) or RLE.from_coco(value)
    if (rle.width, rle.height) != (image.width, image.height):
        raise _Bad(
            f"the mask has {rle.width} x {rle.height} pixels,"
            f" its image {image.width} x {image.height}"
        )
    return rle


def _read_box(value: object, rle: RLE | None, image: ImageRecord) -> Box:
    """Turn x, y, width, height into corners; without them take the box of the mask."""
    if value is None and rle is not None and rle.box is not None:
        return rle.box
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_number, value)):
        raise _BadBox(f"bbox must be four numbers: x, y, width, height, got {value!r:.60}")
    x, y, width, height = map(float, value)
    if not (width > 0 and height > 0):
        raise _BadBox(f"bbox must be wider and higher than 0, got {width:g} x {height:g}")
    if not (x < image.width and y < image.height and x + width > 0 and y + height > 0):
        raise _BadBox(f"bbox {value} lies outside the {image.width} x {image.height} image")
    return x, y, x + width, y + height


def _file_name(name: str) -> str:
    """Refuse a name that could lead out of the images' folder."""
    path = PurePosixPath(name)
    is_absolute = path.is_absolute() or bool(PureWindowsPath(name).drive)
    if is_absolute or ".." in path.parts or "\\" in name or not name.isprintable():
        raise _Bad(
            f"file_name must be a relative path with / between and without .., got {name!r:.80}"
        )
    return name


def _object(entry: object) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise _Bad(f"must be an object, got {type(entry).__name__}")
    return entry


def _segmentation(entry: object) -> object:
    return entry.get("segmentation") if isinstance(entry, dict) else None


def _whole(entry: Mapping[str, Any], name: str, low: int, high: int) -> int:
    value = entry.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _Bad(f"{name} must be a whole number of {low} to {high}, got {value!r:.60}")
    return value


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not value.strip():
        raise _Bad(f"{name} must be text and not empty, got {value!r:.60}")
    return value


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return math.isfinite(value)


def _name(entry: object) -> str:
    """How an entry calls itself, for a problem's line."""
    key = entry.get("id") if isinstance(entry, dict) else None
    return "" if key is None else f" (id {key!r:.20})"


def _extra(entry: Mapping[str, Any], known: frozenset[str]) -> Fields:
    return {key: value for key, value in entry.items() if key not in known}


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
