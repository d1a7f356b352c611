"""The entries of a COCO file's lists: what they become, and the checks that each must pass.

Reading goes on after a problem, so that a person learns of all of them at once.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from mal_core.bulk import Checked
from mal_core.errors import BadMask
from mal_core.masks import MAX_SIDE, RLE, polygons_to_rle

Box = tuple[float, float, float, float]
Fields = Mapping[str, Any]

LISTS = ("images", "categories", "annotations")
_ID_MAX = 2**53 - 1  # beyond it, other programs read whole numbers inexactly
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


_Record = TypeVar("_Record", ImageRecord, CategoryRecord, Annotation)


class _Bad(Exception):  # noqa: N818 - never leaves this module
    """One problem of one entry."""


class _BadBox(_Bad):
    """A bbox that cannot be used, in an annotation that is sound otherwise."""


class Entries:
    """Reads the lists of a file, images and categories first; those with a problem are left out.

    Attributes:
        problems: a line for each problem so far.
    """

    def __init__(self, bad_boxes: dict[int, str] | None = None) -> None:
        """Begin.

        Args:
            bad_boxes: gets the id of each annotation left out because its bbox cannot be used,
                and why; with a mask, that of the mask stands in. None: that is a problem.
        """
        self.problems: list[str] = []
        self._bad_boxes = bad_boxes
        self._ids: dict[str, set[int]] = {name: set() for name in LISTS}
        self._sound: dict[int, ImageRecord] = {}
        self._checked = Checked([])

    def images(self, values: Sequence[Any]) -> list[ImageRecord]:
        """Read the list of images."""
        found = self._each("images", enumerate(values), _read_image)
        self._sound |= {image.id: image for image in found}
        return found

    def categories(self, values: Sequence[Any]) -> list[CategoryRecord]:
        """Read the list of categories."""
        return self._each("categories", enumerate(values), _read_category)

    def annotations(
        self, values: Sequence[Any], places: Iterable[int] | None = None
    ) -> list[Annotation]:
        """Read annotations, all at once or some at a time.

        Args:
            values: what the file holds.
            places: where in the file's list they stand; None for 0, 1, 2 and so on.
        """
        self._checked = Checked(map(_segmentation, values))
        places = range(len(values)) if places is None else places
        return self._each("annotations", zip(places, values, strict=True), self._annotation)

    def _each(
        self,
        name: str,
        values: Iterable[tuple[int, Any]],
        read_one: Callable[[dict[str, Any]], _Record],
    ) -> list[_Record]:
        """Read entries of one list, each with its place there."""
        ids = self._ids[name]
        found: list[_Record] = []
        for index, entry in values:
            try:
                key = _whole(_object(entry), "id", 0, _ID_MAX)
                if key in ids:
                    raise _Bad(f"id {key} is taken by an earlier one")
                ids.add(key)
                found.append(read_one(entry))
            except _BadBox as error:
                if self._bad_boxes is None:
                    self.problems.append(f"{name}[{index}]{_name(entry)}: {error}")
                else:
                    self._bad_boxes[entry["id"]] = str(error)
            except (_Bad, BadMask) as error:
                self.problems.append(f"{name}[{index}]{_name(entry)}: {error}")
        return found

    def _annotation(self, entry: dict[str, Any]) -> Annotation:
        image_id = _whole(entry, "image_id", 0, _ID_MAX)
        category_id = _whole(entry, "category_id", 0, _ID_MAX)
        if image_id not in self._ids["images"]:
            raise _Bad(f"there is no image {image_id}")
        if category_id not in self._ids["categories"]:
            raise _Bad(f"there is no category {category_id}")
        if image_id not in self._sound:
            raise _Bad(f"its image {image_id} has a problem of its own")
        rle = read_mask(entry.get("segmentation"), self._sound[image_id], self._checked)
        iscrowd = bool(_whole({"iscrowd": entry.get("iscrowd", 0)}, "iscrowd", 0, 1))
        return Annotation(
            id=entry["id"],
            image_id=image_id,
            category_id=category_id,
            box=self._box(entry.get("bbox"), rle, self._sound[image_id]),
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


def read_mask(value: object, image: ImageRecord, checked: Checked) -> RLE | None:
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
