"""LabelMe: a JSON an image, a shape an instance: a polygon, or a mask where a polygon cannot do."""

import base64
import binascii
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import orjson
from PIL import Image

from app.exchange.labelmaps import load_map
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
    masks_of,
    stem_of,
    within,
)
from mal_core.errors import InputError
from mal_core.masks import MAX_SIDE, RLE, decode_crop, encode, polygons_to_rle, union
from mal_core.polygons import Ring, masks_to_rings

_VERSION = "5.5.0"  # the release whose mask shapes these are
_IMAGE = frozenset({"shapes", "imagePath", "imageData", "imageHeight", "imageWidth"})
_SHAPE = frozenset({"label", "points", "shape_type", "mask"})
_KINDS = ("polygon", "rectangle", "mask")


def read(reading: Reading) -> Iterator[Sheet]:
    """Read every JSON file."""
    names = reading.named(".json")
    if not names:
        raise InputError("there is no .json file")
    for name in names:
        with reading.telling(name):
            yield _read_one(reading, name)


def write(sheets: Iterable[Sheet], legend: Legend, sink: Sink) -> None:
    """Write a JSON beside each image."""
    for sheet in sheets:
        rings = masks_to_rings(masks_of(sheet))
        document = {
            "version": _VERSION,
            "flags": {},
            **sheet.extra,
            "shapes": [_to_shape(*item) for item in zip(sheet.entries, rings, strict=True)],
            "imagePath": PurePosixPath(sheet.name).name,
            "imageData": None,
            "imageHeight": sheet.height,
            "imageWidth": sheet.width,
        }
        data = orjson.dumps(document, option=orjson.OPT_INDENT_2)
        sink.add(f"images/{stem_of(sheet.name)}.json", data)


def _read_one(reading: Reading, name: str) -> Sheet:
    value = reading.json(name)
    width, height = (
        as_whole(value.get(side), side, 1, MAX_SIDE) for side in ("imageWidth", "imageHeight")
    )
    entries: list[Entry] = []
    groups: dict[tuple[str, object], int] = {}
    for place, item in enumerate(as_list(value.get("shapes"), "shapes")):
        with reading.telling(f"{name}, shape {place + 1}"):
            shape = as_object(item, "a shape")
            kind = shape.get("shape_type", "polygon")
            if kind not in _KINDS:
                reading.left_out.append(f"{name}, shape {place + 1}: is a {kind!s:.20}")
                continue
            entry = _read_shape(shape, kind, width, height)
            reading.categories.setdefault(entry.category, {})
            group = shape.get("group_id")
            key = (entry.category, group) if isinstance(group, int) else (entry.category, place)
            if isinstance(group, int) and key in groups:
                entries[groups[key]] = _join(entries[groups[key]], entry)
            else:
                groups[key] = len(entries)
                entries.append(entry)
    extra = {key: item for key, item in value.items() if key not in _IMAGE}
    return Sheet(_image_name(value, name), width, height, entries, extra=extra)


def _image_name(value: dict[str, Any], name: str) -> str:
    """The image lies where imagePath says, which is mostly beside the JSON."""
    path = as_text(value.get("imagePath"), "imagePath").replace("\\", "/")
    folder = PurePosixPath(within(name, "images") or name).parent
    return str(folder / PurePosixPath(path).name)


def _read_shape(shape: dict[str, Any], kind: object, width: int, height: int) -> Entry:
    pairs = map(_pair, as_list(shape.get("points"), "points"))
    values = as_numbers([value for pair in pairs for value in pair], "a point")
    points = list(zip(values[::2], values[1::2], strict=True))
    rle: RLE | None = None
    if kind == "polygon":
        rle = polygons_to_rle([values], height, width)
    elif len(points) != 2:
        raise InputError(f"a {kind} has two points, got {len(points)}")
    elif kind == "mask":
        rle = _read_mask(shape, points[0], width, height)
    if rle is None:
        (xa, ya), (xb, yb) = points
        box = as_box((min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb)), width, height)
    else:
        box = box_of(rle)
    extra = {key: item for key, item in shape.items() if key not in _SHAPE}
    return Entry(as_text(shape.get("label"), "label"), box, rle, extra=extra)


def _read_mask(shape: dict[str, Any], corner: tuple[float, float], width: int, height: int) -> RLE:
    """A mask shape: the PNG of its box, at the corner that is its first point."""
    try:
        data = base64.b64decode(as_text(shape.get("mask"), "mask"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"mask must be base64 ({error!s:.60})") from error
    (xa, ya), (xb, yb) = (map(float, point) for point in shape["points"])
    x0, y0 = (as_whole(value, "a mask's corner", 0, MAX_SIDE) for value in corner)
    columns, rows = int(xb) - int(xa) + 1, int(yb) - int(ya) + 1
    if not (0 < columns <= width - x0 and 0 < rows <= height - y0):
        raise InputError("a mask must lie inside its image")
    crop = load_map(io.BytesIO(data), columns, rows)
    return encode(crop > 0, x0=x0, y0=y0, height=height, width=width)


def _join(first: Entry, second: Entry) -> Entry:
    """Shapes of one group are parts of one instance."""
    if first.rle is None or second.rle is None:
        raise InputError("rectangles cannot be parts of a group")
    rle = union(first.rle, second.rle)
    return Entry(first.category, box_of(rle), rle, extra=first.extra)


def _to_shape(entry: Entry, rings: Sequence[Ring]) -> dict[str, Any]:
    assert entry.rle is not None
    # A ring that passes a corner twice holds a bridge, or touches itself: no plain polygon.
    if len(rings) == 1 and len(set(map(tuple, rings[0].tolist()))) == len(rings[0]):
        shape = {"points": rings[0].astype(float).tolist(), "shape_type": "polygon", "mask": None}
    else:
        shape = _to_mask(entry.rle)
    defaults: dict[str, Any] = {"group_id": None, "description": "", "flags": {}}
    return {"label": entry.category, **defaults, **entry.extra, **shape}


def _to_mask(rle: RLE) -> dict[str, Any]:
    crop, x0, y0 = decode_crop(rle)
    buffer = io.BytesIO()
    Image.fromarray(crop.astype(np.uint8) * 255).save(buffer, "PNG")
    rows, columns = crop.shape
    corners = [[float(x0), float(y0)], [float(x0 + columns - 1), float(y0 + rows - 1)]]
    png = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"points": corners, "shape_type": "mask", "mask": png}


def _pair(value: object) -> tuple[object, object]:
    pair = as_list(value, "a point")
    if len(pair) != 2:
        raise InputError(f"a point must hold x and y, got {len(pair)} values")
    return pair[0], pair[1]
