"""YOLO: a text file an image, a line an instance, a box or one polygon in fractions of the size."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import yaml

from app.exchange.sheets import (
    Entry,
    Legend,
    Reading,
    Sheet,
    Sink,
    Size,
    as_box,
    as_numbers,
    as_object,
    as_text,
    as_whole,
    box_of,
    masks_of,
    stem_of,
    within,
)
from mal_core.errors import InputError
from mal_core.masks import polygons_to_rle
from mal_core.polygons import join_rings, masks_to_rings

_LISTS = frozenset({"classes.txt", "obj.names", "labels.txt"})
_NO_LABELS = _LISTS | {"train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt"}
_YAML_MAX = 2**18  # bytes
_DEPTH_MAX = 10
_OPENING = (
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
_CLASSES = 100_000
_BOX, _POLYGON = 5, 7  # numbers of a line; a polygon may have two more a point


def read(reading: Reading) -> Iterator[Sheet]:
    """Read every label file whose image is known."""
    names: dict[int, str] | None = None
    with reading.telling("class names"):
        names = _read_names(reading)
        reading.categories |= {name: {} for name in (names or {}).values()}
    texts = [n for n in reading.named(".txt") if PurePosixPath(n).name.lower() not in _NO_LABELS]
    inside = [name for name in texts if within(name, "labels") is not None]
    for name in inside or texts:
        stem = stem_of(within(name, "labels") or name)
        with reading.telling(name):
            if (size := reading.find(stem)) is None:
                reading.unmatched.append(stem)
            else:
                yield _read_one(reading, name, size, names)


def write_boxes(sheets: Iterable[Sheet], legend: Legend, sink: Sink) -> None:
    """Write the box of each mask."""
    _write(sheets, legend, sink, _box_lines)


def write_polygons(sheets: Iterable[Sheet], legend: Legend, sink: Sink) -> None:
    """Write each mask as one polygon; its parts and holes are joined by bridges."""
    _write(sheets, legend, sink, _polygon_lines)


def keep_boxes(sheet: Sheet) -> Sheet:
    """What boxes have room for."""
    boxes = [Entry(entry.category, entry.box, None) for entry in sheet.entries]
    return Sheet(sheet.name, sheet.width, sheet.height, boxes)


def _read_names(reading: Reading) -> dict[int, str] | None:
    """Names by class; None where no file says them."""
    for name in reading.named(".yaml", ".yml"):
        found = _parse_names(reading.bytes(name))
        if found:
            return found
    for name in reading.files:
        if PurePosixPath(name).name.lower() in _LISTS:
            lines = _text(reading.bytes(name)).splitlines()
            return {place: line.strip() for place, line in enumerate(lines) if line.strip()}
    return None


def _parse_names(data: bytes) -> dict[int, str]:
    """The names of a data.yaml: a list, or a mapping of numbers to names."""
    if len(data) > _YAML_MAX:
        raise InputError(f"a .yaml must be smaller than {_YAML_MAX:,} bytes")
    text = _text(data)
    try:
        _check_tokens(yaml.scan(text))
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"the .yaml cannot be read ({error!s:.80})") from error
    names = as_object(document, "a .yaml").get("names", {})
    if isinstance(names, list):
        names = dict(enumerate(names))
    return {
        as_whole(key, "a class", 0, _CLASSES): as_text(_spoken(name), "a class's name")
        for key, name in as_object(names, "names").items()
    }


def _check_tokens(tokens: Iterable[object]) -> None:
    """Refuse what lets a short text take long: aliases, and lists within lists within lists."""
    depth = 0
    for token in tokens:
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if isinstance(token, yaml.AliasToken) or depth > _DEPTH_MAX:
            raise InputError("the .yaml must not use aliases or deep lists")


def _read_one(reading: Reading, name: str, size: Size, names: Mapping[int, str] | None) -> Sheet:
    entries = []
    for number, line in enumerate(_text(reading.bytes(name)).splitlines(), start=1):
        if line.strip():
            with reading.telling(f"{name}, line {number}"):
                entries.append(_read_line(line.split(), size, names))
    return Sheet(size.name, size.width, size.height, entries)


def _read_line(words: list[str], size: Size, names: Mapping[int, str] | None) -> Entry:
    key = as_whole(words[0], "a class", 0, _CLASSES)
    category = f"class {key}" if names is None else names.get(key)
    if category is None:
        raise InputError(f"class {key} has no name")
    values = as_numbers(words[1:], "a coordinate")
    if len(words) == _BOX:
        x, y, w, h = values
        corners = ((x - w / 2), (y - h / 2), (x + w / 2), (y + h / 2))
        pixels = [_snap(v * side) for v, side in zip(corners, 2 * _sides(size), strict=True)]
        return Entry(category, as_box(pixels, size.width, size.height), None)
    if len(words) < _POLYGON or len(words) % 2 == 0:
        raise InputError(f"a line must hold 5 numbers, or 7, 9, 11 and so on, got {len(words)}")
    sides = _sides(size) * (len(values) // 2)
    points = [value * side for value, side in zip(values, sides, strict=True)]
    rle = polygons_to_rle([points], size.height, size.width)
    return Entry(category, box_of(rle), rle)


def _write(
    sheets: Iterable[Sheet], legend: Legend, sink: Sink, to_lines: Callable[[Sheet], Iterator[str]]
) -> None:
    places = legend.places()
    names = {place: name for name, place in places.items()}
    document = {"path": ".", "train": "images", "val": "images", "names": names}
    sink.add("data.yaml", yaml.safe_dump(document, allow_unicode=True, sort_keys=False).encode())
    for sheet in sheets:
        rows = zip(sheet.entries, to_lines(sheet), strict=True)
        lines = [f"{places[entry.category]} {line}\n" for entry, line in rows]
        sink.add(f"labels/{stem_of(sheet.name)}.txt", "".join(lines).encode())


def _box_lines(sheet: Sheet) -> Iterator[str]:
    for entry in sheet.entries:
        x0, y0, x1, y1 = entry.box
        values = ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)
        yield _fractions(values, 2 * (sheet.width, sheet.height))


def _polygon_lines(sheet: Sheet) -> Iterator[str]:
    for rings in masks_to_rings(masks_of(sheet)):
        ring = join_rings(rings)
        yield _fractions(ring.reshape(-1).tolist(), len(ring) * (sheet.width, sheet.height))


def _fractions(values: Sequence[float], sides: Sequence[int]) -> str:
    # Eight digits: the largest image is off by less than a thousandth of a pixel.
    return " ".join(f"{value / side:.8g}" for value, side in zip(values, sides, strict=True))


def _sides(size: Size) -> tuple[int, ...]:
    return size.width, size.height


def _snap(value: float) -> float:
    """Take away what fractions of eight digits added."""
    return round(value, 3)


def _spoken(name: object) -> object:
    """A class that is called 3 is called "3"."""
    return str(name) if isinstance(name, int | float) else name


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"must be UTF-8 text ({error.reason})") from error
