"""A PNG an image: pixel values are categories (semantic), or instances, named in a JSON beside."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import orjson

from app.exchange.labelmaps import load_map, paint, to_masks, to_png, to_png_16, visible
from app.exchange.sheets import (
    MASKS,
    Entry,
    Legend,
    Reading,
    Sheet,
    Sink,
    Size,
    as_list,
    as_object,
    as_text,
    as_whole,
    box_of,
    is_photo,
    stem_of,
    with_masks,
    within,
)
from mal_core.errors import InputError
from mal_core.masks import RLE, union

CATEGORIES, INSTANCES = "categories.json", "instances.json"
UNNAMED = "object"  # the category of instances in a PNG that came without names
_VALUE_MAX = 2**16 - 1


@dataclass(frozen=True)
class _Named:
    """What a value of one picture stands for."""

    category: str
    number: int = 0


def read_semantic(reading: Reading) -> Iterator[Sheet]:
    """Read pictures of categories: one instance of each category an image."""
    names: dict[int, _Named] | None = None
    if CATEGORIES in reading.files:
        with reading.telling(CATEGORIES):
            names = _read_categories(reading)
    for name, size in _pictures(reading):
        with reading.telling(name):
            yield _read_one(reading, name, size, names, "class {}")


def read_instances(reading: Reading) -> Iterator[Sheet]:
    """Read pictures of instances, of 8 or 16 bits."""
    names: dict[str, dict[int, _Named]] = {}
    if INSTANCES in reading.files:
        with reading.telling(INSTANCES):
            names = _read_instances(reading)
    for name, size in _pictures(reading):
        with reading.telling(name):
            inner = within(name, *MASKS) or name
            yield _read_one(reading, name, size, names.get(inner), UNNAMED)


def write_semantic(sheets: Iterable[Sheet], legend: Legend, sink: Sink) -> None:
    """Write a picture of categories for each image; values are the categories' numbers."""
    values = {category.name: category.id for category in legend.categories}
    named = {str(category.id): category.name for category in legend.categories}
    sink.add(CATEGORIES, orjson.dumps(named, option=orjson.OPT_INDENT_2))
    for sheet in sheets:
        masks = [entry.rle for entry in sheet.entries if entry.rle is not None]
        numbers = [values[entry.category] for entry in sheet.entries]
        painted = paint(masks, numbers, sheet.height, sheet.width)
        sink.add(f"masks/{stem_of(sheet.name)}.png", to_png(painted), packed=True)


def write_instances(sheets: Iterable[Sheet], legend: Legend, sink: Sink) -> None:
    """Write a picture of 16 bits for each image; its first instance has value 1."""
    table: dict[str, list[dict[str, Any]]] = {}
    for sheet in sheets:
        masks = [entry.rle for entry in sheet.entries if entry.rle is not None]
        if len(masks) > _VALUE_MAX:
            raise InputError(f"{sheet.name} has more than {_VALUE_MAX:,} instances")
        values = range(1, len(masks) + 1)
        name = f"{stem_of(sheet.name)}.png"
        painted = paint(masks, values, sheet.height, sheet.width)
        sink.add(f"masks/{name}", to_png_16(painted), packed=True)
        table[name] = [
            {"value": value, "category": entry.category, "number": entry.number}
            for value, entry in zip(values, sheet.entries, strict=True)
        ]
    sink.add(INSTANCES, orjson.dumps(table, option=orjson.OPT_INDENT_2))


def merge_categories(sheet: Sheet) -> Sheet:
    """What a semantic picture has room for: one mask a category."""
    masks: dict[str, RLE] = {}
    for entry in sheet.entries:
        if entry.rle is not None:
            known = masks.get(entry.category)
            masks[entry.category] = entry.rle if known is None else union(known, entry.rle)
    entries = [Entry(name, box_of(rle), rle) for name, rle in masks.items()]
    return Sheet(sheet.name, sheet.width, sheet.height, entries)


def show_instances(sheet: Sheet) -> Sheet:
    """What comes back of a sheet: what is visible of its masks."""
    masks = [entry.rle for entry in sheet.entries if entry.rle is not None]
    shown = with_masks(sheet, visible(masks, sheet.height, sheet.width))
    return replace(shown, entries=[entry for entry in shown.entries if entry.rle is not None])


def show_categories(sheet: Sheet) -> Sheet:
    """What comes back of a sheet: a region of each category."""
    return merge_categories(show_instances(sheet))


def _pictures(reading: Reading) -> Iterator[tuple[str, Size]]:
    """Each PNG that is a mask, with the image it belongs to."""
    names = [name for name in reading.named(".png") if not is_photo(name)]
    if not names:
        raise InputError("there is no .png file outside a folder of images")
    inside = [name for name in names if within(name, *MASKS) is not None]
    for name in inside or names:
        stem = stem_of(within(name, *MASKS) or name)
        with reading.telling(name):
            if (size := reading.find(stem)) is None:
                reading.unmatched.append(stem)
            else:
                yield name, size


def _read_one(
    reading: Reading,
    name: str,
    size: Size,
    names: Mapping[int, _Named] | None,
    unnamed: str,
) -> Sheet:
    masks = to_masks(load_map(reading.files[name], size.width, size.height))
    if names is not None and (unknown := [value for value in masks if value not in names]):
        raise InputError(f"value {unknown[0]} has no name")
    entries = []
    for value, rle in masks.items():
        named = _Named(unnamed.format(value)) if names is None else names[value]
        reading.categories.setdefault(named.category, {})
        entries.append(Entry(named.category, box_of(rle), rle, named.number))
    return Sheet(size.name, size.width, size.height, entries)


def _read_categories(reading: Reading) -> dict[int, _Named]:
    names = {
        as_whole(key, "a value", 1, _VALUE_MAX): _Named(as_text(name, "a category's name"))
        for key, name in reading.json(CATEGORIES).items()
    }
    reading.categories |= {named.category: {} for named in names.values()}
    return names


def _read_instances(reading: Reading) -> dict[str, dict[int, _Named]]:
    table: dict[str, dict[int, _Named]] = {}
    for picture, items in reading.json(INSTANCES).items():
        rows = table[str(PurePosixPath(picture))] = {}
        for item in as_list(items, "the instances of a picture"):
            row = as_object(item, "an instance")
            value = as_whole(row.get("value"), "value", 1, _VALUE_MAX)
            number = as_whole(row.get("number", 0), "number", 0, 2**53 - 1)
            rows[value] = _Named(as_text(row.get("category"), "category"), number)
    return table
