"""CVAT for images 1.1: one XML; boxes, polygons and masks with attributes."""

from collections.abc import Iterable, Iterator
from typing import Any
from xml.etree.ElementTree import tostring

import numpy as np

from app.exchange import trees
from app.exchange.sheets import (
    Entry,
    Legend,
    Reading,
    Sheet,
    Sink,
    as_box,
    as_number,
    as_numbers,
    as_text,
    as_whole,
    box_of,
)
from mal_core.errors import InputError
from mal_core.masks import MAX_SIDE, RLE, decode_crop, encode, polygons_to_rle

ANNOTATIONS = "annotations.xml"
_IMAGE = frozenset({"id", "name", "width", "height"})
_OURS = frozenset(
    {"label", "points", "rle", "left", "top", "width", "height", "xtl", "ytl", "xbr", "ybr"}
)
_SHAPES = ("box", "polygon", "mask")
_OTHERS = ("polyline", "points", "ellipse", "cuboid", "skeleton", "tag")
_CORNERS = ("xtl", "ytl", "xbr", "ybr")


def read(reading: Reading) -> Iterator[Sheet]:
    """Read every XML, one image at a time."""
    names = reading.named(".xml")
    if not names:
        raise InputError("there is no .xml file")
    for name in names:
        with reading.telling(name):
            for element in trees.each(reading.files[name], "meta", "image"):
                if element.tag == "meta":
                    _read_meta(reading, element)
                    continue
                with reading.telling(f"{name}, image {element.get('name', '')!r:.80}"):
                    yield _read_image(reading, element)


def write(sheets: Iterable[Sheet], legend: Legend, sink: Sink) -> None:
    """Write one XML with a mask for each instance."""
    sink.stream(ANNOTATIONS, _parts(sheets, legend))


def _read_meta(reading: Reading, meta: trees.Element) -> None:
    """Keep what is said of the task, and its labels, with their attributes, as categories."""
    for label in meta.iter("label"):
        name = as_text(trees.text_of(label, "name"), "a label's name")
        kept = trees.keep(label, frozenset({"name"}))
        reading.categories[name] = {"xml": kept} if kept else {}
    for labels in meta.iter("labels"):
        labels.clear()
    reading.extra["meta"] = trees.to_text(meta)


def _read_image(reading: Reading, element: trees.Element) -> Sheet:
    name = as_text(element.get("name"), "name")
    width, height = (as_whole(element.get(n), n, 1, MAX_SIDE) for n in ("width", "height"))
    entries = []
    for place, shape in enumerate(element, start=1):
        where = f"{name}, shape {place}"
        if shape.tag in _OTHERS:
            reading.left_out.append(f"{where}: is a {shape.tag}")
            continue
        with reading.telling(where):
            entry = _read_shape(shape, width, height)
            reading.categories.setdefault(entry.category, {})
            entries.append(entry)
    return Sheet(name, width, height, entries, extra=_extra(element, _IMAGE, children=False))


def _read_shape(shape: trees.Element, width: int, height: int) -> Entry:
    category = as_text(shape.get("label"), "label")
    extra = _extra(shape, _OURS, children=True)
    if shape.tag == "box":
        corners = [as_number(shape.get(side), side) for side in _CORNERS]
        return Entry(category, as_box(corners, width, height), None, extra=extra)
    if shape.tag == "polygon":
        rle = polygons_to_rle([_points(shape.get("points", ""))], height, width)
    elif shape.tag == "mask":
        rle = _read_mask(shape, width, height)
    else:
        raise InputError(f"{shape.tag} is none of {', '.join(_SHAPES)}")
    return Entry(category, box_of(rle), rle, extra=extra)


def _points(text: str) -> list[float]:
    """Read CVAT's form: x,y;x,y and so on."""
    pairs = [pair.split(",") for pair in text.split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise InputError("points must be pairs like 1.5,2;3,4")
    return as_numbers([value for pair in pairs for value in pair], "a point")


def _read_mask(shape: trees.Element, width: int, height: int) -> RLE:
    """Runs of the mask's own rectangle, row by row, zeros first."""
    left, top = (as_whole(shape.get(n), n, 0, MAX_SIDE) for n in ("left", "top"))
    columns, rows = (as_whole(shape.get(n), n, 1, MAX_SIDE) for n in ("width", "height"))
    if left + columns > width or top + rows > height:
        raise InputError("a mask must lie inside its image")
    runs = [as_whole(run, "a run", 0, columns * rows) for run in shape.get("rle", "").split(",")]
    if sum(runs) != columns * rows:
        raise InputError(f"runs must sum to {columns} x {rows}, got {sum(runs)}")
    values = np.arange(len(runs)) % 2 == 1
    crop = np.repeat(values, runs).reshape(rows, columns)
    return encode(crop, x0=left, y0=top, height=height, width=width)


def _extra(element: trees.Element, known: frozenset[str], *, children: bool) -> dict[str, Any]:
    """Attributes and children that are not ours."""
    attributes = {key: value for key, value in element.items() if key not in known}
    kept = trees.keep(element, frozenset()) if children else []
    return ({"attributes": attributes} if attributes else {}) | ({"xml": kept} if kept else {})


def _parts(sheets: Iterable[Sheet], legend: Legend) -> Iterator[bytes]:
    yield b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
    yield tostring(_to_meta(legend), "utf-8", xml_declaration=False) + b"\n"
    for place, sheet in enumerate(sheets):
        yield tostring(_to_image(sheet, place), "utf-8", xml_declaration=False) + b"\n"
    yield b"</annotations>\n"


def _to_meta(legend: Legend) -> trees.Element:
    """The task as it came, with today's labels."""
    kept = legend.extra.get("meta")
    meta = trees.parse(str(kept).encode()) if kept else trees.Element("meta")
    labels = next(meta.iter("labels"), None)
    if labels is None:
        labels = trees.add(trees.add(meta, "task"), "labels")
    for category in legend.categories:
        label = trees.add(labels, "label")
        trees.add(label, "name", category.name)
        trees.restore(label, category.extra.get("xml"))
    return meta


def _to_image(sheet: Sheet, place: int) -> trees.Element:
    facts = {"id": place, "name": sheet.name, "width": sheet.width, "height": sheet.height}
    attributes = {**sheet.extra.get("attributes", {}), **facts}
    element = trees.Element("image", {key: str(value) for key, value in attributes.items()})
    for entry in sheet.entries:
        element.append(_to_mask(entry))
    return element


def _to_mask(entry: Entry) -> trees.Element:
    if entry.rle is None:
        raise ValueError("a mask shape needs a mask")
    crop, x0, y0 = decode_crop(entry.rle)
    line = crop.reshape(-1)
    turns = np.flatnonzero(np.diff(line, prepend=False))
    runs = np.diff(turns, prepend=0, append=line.size)
    facts: dict[str, object] = {"label": entry.category, "rle": ", ".join(map(str, runs.tolist()))}
    facts |= {"left": x0, "top": y0, "width": crop.shape[1], "height": crop.shape[0]}
    defaults = {"source": "manual", "occluded": "0", "z_order": "0"}
    attributes = {**defaults, **entry.extra.get("attributes", {}), **facts}
    element = trees.Element("mask", {key: str(value) for key, value in attributes.items()})
    trees.restore(element, entry.extra.get("xml"))
    return element
