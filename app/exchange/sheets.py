"""What all formats share: the records they read and write, what a reader and a writer are given.

A reader yields sheets, one image at a time, and goes on after a problem, so that a person learns
of all of them at once. A writer takes sheets one at a time and puts files into a zip.
"""

import math
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from mal_core.coco import CategoryRecord
from mal_core.errors import BadDataset, InputError
from mal_core.geometry import Box
from mal_core.masks import RLE

Fields = Mapping[str, Any]
REPORT = "report.json"
PHOTOS = ("images", "JPEGImages")  # folders of images
MASKS = ("masks", "labels", "annotations", "panoptic", "SegmentationClass", "SegmentationObject")
_FILE_MAX = 512 * 2**20  # bytes of a file that is read as a whole


@dataclass(frozen=True)
class Entry:
    """One instance as a file states it.

    Attributes:
        category: the name of its category.
        box: x0, y0, x1, y1 in pixels, half-open; that of the mask where there is one.
        rle: its mask, of the image's size; None where there is only a box.
        number: the id it has in the file; 0 in formats without ids.
        is_crowd: COCO's mark of a region that is many objects.
        extra: fields of other tools, kept for the day it is written in this format again.
    """

    category: str
    box: Box
    rle: RLE | None
    number: int = 0
    is_crowd: bool = False
    extra: Fields = field(default_factory=dict)


@dataclass(frozen=True)
class Sheet:
    """One image with its instances, the unit in which formats are read and written.

    Attributes:
        name: file name with folders, "/" between.
        width: columns of the upright image.
        height: rows of the upright image.
        entries: its instances, in the order of the file.
        number: the id it has in the file; 0 in formats without ids.
        extra: fields of other tools.
    """

    name: str
    width: int
    height: int
    entries: Sequence[Entry]
    number: int = 0
    extra: Fields = field(default_factory=dict)


@dataclass(frozen=True)
class Legend:
    """What a writer must know of a whole data set: its categories, and other tools' fields."""

    categories: Sequence[CategoryRecord]
    extra: Fields = field(default_factory=dict)

    def places(self) -> dict[str, int]:
        """The 0-based place of each category's name."""
        return {category.name: place for place, category in enumerate(self.categories)}


@dataclass(frozen=True)
class Size:
    """An image that a file can mean, as the project or the file's own folder has it."""

    name: str
    width: int
    height: int


@dataclass
class Reading:
    """What a reader is given, and what it has to say besides its sheets.

    Attributes:
        files: all files by name, folders and "/" included.
        find: the image of a name, with or without its suffix; None if nobody has it.
        problems: a line for each thing that breaks the format; any of them stops an import.
        left_out: a line for each thing that is sound but not an instance.
        unmatched: names of images that nobody has, in formats that do not say their size.
        categories: fields of other tools by category; every declared one is here.
        extra: such fields of the whole data set.
    """

    files: Mapping[str, Path]
    find: Callable[[str], Size | None]
    problems: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    categories: dict[str, Fields] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def named(self, *suffixes: str) -> list[str]:
        """Names of the files of some kinds, in order; our own report is none."""
        return sorted(
            name
            for name in self.files
            if PurePosixPath(name).suffix.lower() in suffixes and name != REPORT
        )

    def bytes(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            InputError: it is too large to be read as a whole.
        """
        self.check_size(name)
        return self.files[name].read_bytes()

    def check_size(self, name: str) -> int:
        """The size of a file in bytes.

        Raises:
            InputError: it is larger than any file that is taken.
        """
        if (size := self.files[name].stat().st_size) > _FILE_MAX:
            raise InputError(f"has {size:,} bytes; the limit is {_FILE_MAX:,}: split it")
        return size

    def json(self, name: str) -> dict[str, Any]:
        """The JSON object of a file.

        Raises:
            InputError: it is not JSON, or not an object.
        """
        try:
            value = orjson.loads(self.bytes(name))
        except orjson.JSONDecodeError as error:
            raise InputError(f"is not JSON, or holds NaN or infinity ({error})") from error
        return as_object(value, "the file")

    @contextmanager
    def telling(self, where: str) -> Iterator[None]:
        """Note what is wrong with one part of a file, and go on with the next."""
        try:
            yield
        except BadDataset as error:
            self.problems += [f"{where}: {line}" for line in error.problems]
        except InputError as error:
            self.problems.append(f"{where}: {error}")


def masks_of(sheet: Sheet) -> list[RLE]:
    """The mask of each entry, for formats that have no room for a box alone."""
    masks = [entry.rle for entry in sheet.entries if entry.rle is not None]
    if len(masks) != len(sheet.entries):
        raise ValueError("each entry needs a mask")
    return masks


def with_masks(sheet: Sheet, masks: Sequence[RLE | None]) -> Sheet:
    """A sheet with other masks for its first entries; None leaves an entry its box."""
    entries = [
        replace(entry, rle=rle, box=entry.box if rle is None else box_of(rle))
        for entry, rle in zip(sheet.entries, masks, strict=False)
    ]
    rest = [replace(entry, rle=None) for entry in sheet.entries[len(masks) :]]
    return replace(sheet, entries=[*entries, *rest])


class Sink:
    """The zip that a writer puts its files into; one file at a time."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, name: str, data: bytes, *, packed: bool = False) -> None:
        """Add a file; what is packed already, such as a PNG, is stored as it is."""
        kind = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
        self._archive.writestr(name, data, kind)

    def stream(self, name: str, chunks: Iterable[bytes]) -> None:
        """Add a file piece by piece."""
        with self._archive.open(name, "w", force_zip64=True) as file:
            for chunk in chunks:
                file.write(chunk)


def stem_of(name: str) -> str:
    """A file name without its suffix, with its folders."""
    return str(PurePosixPath(name).with_suffix(""))


def within(name: str, *folders: str) -> str | None:
    """What follows the first of some folders in a name; None if it is in none of them.

    The folders above it stay: of train/labels/a.txt within labels, it is train/a.txt.
    """
    parts = PurePosixPath(name).parts
    for place, part in enumerate(parts[:-1]):
        if part in folders:
            return "/".join(parts[:place] + parts[place + 1 :])
    return None


def is_photo(name: str) -> bool:
    """Whether a name lies in a folder of images, rather than in one of masks or in none."""
    known = [part for part in PurePosixPath(name).parts[:-1] if part in PHOTOS + MASKS]
    return bool(known) and known[0] in PHOTOS


def as_object(value: object, what: str) -> dict[str, Any]:
    """A JSON object, or an InputError."""
    if not isinstance(value, dict):
        raise InputError(f"{what} must be an object, got {type(value).__name__}")
    return value


def as_list(value: object, what: str) -> list[Any]:
    """A JSON list, or an InputError."""
    if not isinstance(value, list):
        raise InputError(f"{what} must be a list, got {type(value).__name__}")
    return value


def as_text(value: object, what: str) -> str:
    """Text that is not blank, without its outer blanks, or an InputError."""
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{what} must be text and not empty, got {value!r:.60}")
    return value.strip()


def as_whole(value: object, what: str, low: int, high: int) -> int:
    """A whole number of a range, given as a number or as text, or an InputError."""
    number = as_number(value, what)
    if not number.is_integer() or not low <= number <= high:
        raise InputError(f"{what} must be a whole number of {low} to {high}, got {value!r:.60}")
    return int(number)


def as_number(value: object, what: str) -> float:
    """A finite number, given as a number or as text, or an InputError."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{what} must be a finite number, got {value!r:.60}")
    return number


def as_numbers(values: Sequence[object], what: str) -> list[float]:
    """Finite numbers, each given as a number or as text, or an InputError."""
    if set(map(type, values)) <= {str, int, float}:  # the usual case, without a call for each
        with suppress(ValueError, OverflowError):
            numbers = list(map(float, values))  # type: ignore[arg-type]
            if all(map(math.isfinite, numbers)):
                return numbers
    return [as_number(value, what) for value in values]


def as_box(corners: Sequence[float], width: int, height: int) -> Box:
    """A box that holds some of its image, or an InputError."""
    x0, y0, x1, y1 = corners
    if not (x0 < x1 and y0 < y1):
        raise InputError(f"a box must be wider and higher than 0, got {x1 - x0:g} x {y1 - y0:g}")
    if not (x0 < width and y0 < height and x1 > 0 and y1 > 0):
        raise InputError(f"box {x0:g}, {y0:g}, {x1:g}, {y1:g} lies outside {width} x {height}")
    return x0, y0, x1, y1


def box_of(rle: RLE) -> Box:
    """The tight box of a mask that has pixels, or an InputError."""
    if rle.box is None:
        raise InputError("its mask has no pixel in the image")
    x0, y0, x1, y1 = map(float, rle.box)
    return x0, y0, x1, y1


def plain(value: float) -> str:
    """A number as short as it can be written without loss."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))
