"""Datumaro's own JSON: masks as run-length codes, polygons, boxes; several of a group are one."""

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

import orjson

from app.exchange.sheets import (
    Entry,
    Legend,
    Reading,
    Sheet,
    Sink,
    as_box,
    as_list,
    as_numbers,
    as_object,
    as_text,
    as_whole,
    box_of,
    stem_of,
)
from mal_core.errors import InputError
from mal_core.masks import MAX_SIDE, RLE, polygons_to_rle, union

ANNOTATIONS = "annotations/default.json"
_ID_MAX = 2**53 - 1
_SHAPES = ("mask", "polygon", "bbox")
_OURS = frozenset({"id", "type", "label_id", "rle", "points", "bbox", "group"})
_ITEM = frozenset({"id", "annotations", "image"})
_TOP = frozenset({"categories", "items"})


def read(reading: Reading) -> Iterator[Sheet]:
    """Read every JSON file, each a subset."""
    names = reading.named(".json")
    if not names:
        raise InputError("there is no .json file")
    for name in names:
        with reading.telling(name):
            document = reading.json(name)
            labels = _read_labels(reading, document)
            reading.extra |= {key: item for key, item in document.items() if key not in _TOP}
            for place, item in enumerate(as_list(document.get("items"), "items")):
                where = f"{name}, items[{place}]"
                with reading.telling(where):
                    yield _Item(reading, labels, where).read(as_object(item, "an item"))


def write(sheets: Iterable[Sheet], legend: Legend, sink: Sink) -> None:
    """Write one JSON, item by item."""
    sink.stream(ANNOTATIONS, _parts(sheets, legend))


def _read_labels(reading: Reading, document: dict[str, Any]) -> list[str]:
    categories = as_object(document.get("categories"), "categories")
    label = as_object(categories.get("label"), "categories.label")
    names = []
    for item in as_list(label.get("labels"), "labels"):
        entry = as_object(item, "a label")
        names.append(as_text(entry.get("name"), "a label's name"))
        reading.categories[names[-1]] = {k: v for k, v in entry.items() if k != "name"}
    return names


class _Item:
    """Reads one item; a problem of one annotation leaves the others."""

    def __init__(self, reading: Reading, labels: list[str], where: str) -> None:
        self._reading = reading
        self._labels = labels
        self._where = where
        self._entries: list[Entry] = []
        self._groups: dict[tuple[str, int], int] = {}

    def read(self, item: dict[str, Any]) -> Sheet:
        """The item as a sheet."""
        image = as_object(item.get("image"), "image")
        size = as_list(image.get("size"), "an image's size")
        if len(size) != 2:
            raise InputError(f"an image's size must be [height, width], got {size!r:.60}")
        height, width = (as_whole(side, "size", 1, MAX_SIDE) for side in size)
        for place, value in enumerate(as_list(item.get("annotations"), "annotations")):
            with self._reading.telling(f"{self._where}, annotation {place + 1}"):
                self._take(as_object(value, "an annotation"), width, height)
        name = _image_name(item, image)
        extra = {key: value for key, value in item.items() if key not in _ITEM}
        return Sheet(name, width, height, self._entries, extra=extra)

    def _take(self, value: dict[str, Any], width: int, height: int) -> None:
        kind = value.get("type")
        if kind not in _SHAPES:
            self._reading.left_out.append(f"{self._where}: holds a {kind!s:.20}")
            return
        box, rle = _read_shape(value, width, height)
        entry = Entry(
            category=self._title(value.get("label_id")),
            box=box,
            rle=rle,
            number=as_whole(value.get("id", 0), "id", 0, _ID_MAX),
            extra={key: item for key, item in value.items() if key not in _OURS},
        )
        group = as_whole(value.get("group", 0), "group", 0, _ID_MAX)
        key = (entry.category, group)
        if group and rle is not None and key in self._groups:
            place = self._groups[key]
            self._entries[place] = _join(self._entries[place], entry)
            return
        if group and rle is not None:
            self._groups[key] = len(self._entries)
        self._entries.append(entry)

    def _title(self, value: object) -> str:
        return self._labels[as_whole(value, "label_id", 0, len(self._labels) - 1)]


def _read_shape(
    value: dict[str, Any], width: int, height: int
) -> tuple[tuple[float, float, float, float], RLE | None]:
    if value["type"] == "bbox":
        numbers = as_numbers(as_list(value.get("bbox"), "bbox"), "bbox")
        if len(numbers) != 4:
            raise InputError(f"bbox must hold x, y, width, height, got {len(numbers)} values")
        x, y, w, h = numbers
        return as_box((x, y, x + w, y + h), width, height), None
    if value["type"] == "polygon":
        rle = polygons_to_rle([as_list(value.get("points"), "points")], height, width)
    else:
        rle = RLE.from_coco(value.get("rle"))
        if (rle.width, rle.height) != (width, height):
            raise InputError(f"the mask has {rle.width} x {rle.height} pixels, not its image's")
    return box_of(rle), rle


def _image_name(item: dict[str, Any], image: dict[str, Any]) -> str:
    """An item's id has no suffix; the image's path says it."""
    key = as_text(item.get("id"), "an item's id")
    path = str(image.get("path") or "").replace("\\", "/")
    return f"{key}{PurePosixPath(path).suffix}"


def _join(first: Entry, second: Entry) -> Entry:
    if first.rle is None or second.rle is None:
        raise InputError("boxes cannot be parts of a group")
    rle = union(first.rle, second.rle)
    return Entry(first.category, box_of(rle), rle, first.number, extra=first.extra)


def _parts(sheets: Iterable[Sheet], legend: Legend) -> Iterator[bytes]:
    defaults: dict[str, Any] = {"parent": "", "attributes": []}
    labels = [{**defaults, **c.extra, "name": c.name} for c in legend.categories]
    categories = {"label": {"labels": labels, "attributes": []}}
    top = {"info": {}, **legend.extra, "categories": categories}
    yield orjson.dumps(top)[:-1] + b',"items":['
    comma, places = b"", legend.places()
    for sheet in sheets:
        annotations = [_to_annotation(entry, places[entry.category]) for entry in sheet.entries]
        image = {"path": sheet.name, "size": [sheet.height, sheet.width]}
        own = {"id": stem_of(sheet.name), "annotations": annotations, "image": image}
        yield comma + orjson.dumps({"attr": {}, **sheet.extra, **own})
        comma = b","
    yield b"]}"


def _to_annotation(entry: Entry, label: int) -> dict[str, Any]:
    if entry.rle is None:
        raise ValueError("a mask needs runs")
    own = {"id": entry.number, "type": "mask", "label_id": label, "group": entry.number}
    return {"attributes": {}, "z_order": 0, **entry.extra, **own, "rle": entry.rle.to_coco()}
