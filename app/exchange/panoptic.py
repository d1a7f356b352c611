"""COCO panoptic: a JSON of segments, and a picture an image in which each pixel has one."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from app.exchange.labelmaps import load_map, paint, to_colour_png, to_masks
from app.exchange.sheets import (
    Entry,
    Fields,
    Legend,
    Reading,
    Sheet,
    Sink,
    as_list,
    as_object,
    as_text,
    as_whole,
    box_of,
    is_photo,
    stem_of,
)
from mal_core.errors import InputError
from mal_core.masks import MAX_SIDE

_ID_MAX = 2**53 - 1
_VALUES = 2**24  # that an RGB pixel can hold
_LISTS = ("images", "annotations", "categories")
_IMAGE = frozenset({"id", "file_name", "width", "height"})
_SEGMENT = frozenset({"id", "category_id", "area", "bbox", "iscrowd"})


def read(reading: Reading) -> Iterator[Sheet]:
    """Read every JSON file, and the pictures it names."""
    names = reading.named(".json")
    if not names:
        raise InputError("there is no .json file")
    for name in names:
        with reading.telling(name):
            yield from _Reader(reading, reading.json(name)).sheets()


def write(sheets: Iterable[Sheet], legend: Legend, sink: Sink) -> None:
    """Write pictures as they come, and the JSON last."""
    numbers = {category.name: category.id for category in legend.categories}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for sheet in sheets:
        size = {"width": sheet.width, "height": sheet.height}
        images.append({**sheet.extra, "id": sheet.number, "file_name": sheet.name, **size})
        file_name = f"{stem_of(sheet.name)}.png"
        png, segments = _to_picture(sheet, numbers)
        sink.add(f"panoptic/{file_name}", png, packed=True)
        annotations.append(
            {"image_id": sheet.number, "file_name": file_name, "segments_info": segments}
        )
    things = [{"isthing": 1, **c.extra, "id": c.id, "name": c.name} for c in legend.categories]
    document = {**legend.extra, "images": images, "categories": things, "annotations": annotations}
    sink.add("panoptic.json", orjson.dumps(document))


class _Reader:
    """Reads one file; a problem costs one image."""

    def __init__(self, reading: Reading, document: dict[str, Any]) -> None:
        self._reading = reading
        images, self._annotations, categories = (
            as_list(document.get(name), name) for name in _LISTS
        )
        self._images = {_id(as_object(image, "an image")): image for image in images}
        self._titles = {_id(as_object(c, "a category")): _name(c) for c in categories}
        reading.categories |= {_name(c): _rest(c, frozenset({"id", "name"})) for c in categories}
        reading.extra |= _rest(document, frozenset(_LISTS))

    def sheets(self) -> Iterator[Sheet]:
        """Each image that has an annotation."""
        for place, annotation in enumerate(self._annotations):
            with self._reading.telling(f"annotations[{place}]"):
                yield self._sheet(as_object(annotation, "an annotation"))

    def _sheet(self, annotation: dict[str, Any]) -> Sheet:
        number = as_whole(annotation.get("image_id"), "image_id", 0, _ID_MAX)
        if number not in self._images:
            raise InputError(f"there is no image {number}")
        image = self._images[number]
        width, height = (as_whole(image.get(n), n, 1, MAX_SIDE) for n in ("width", "height"))
        painted = load_map(self._reading.files[self._picture(annotation)], width, height)
        masks = to_masks(painted)
        entries = []
        for item in as_list(annotation.get("segments_info"), "segments_info"):
            segment = as_object(item, "a segment")
            rle = masks.pop(as_whole(segment.get("id"), "a segment's id", 1, _VALUES - 1), None)
            if rle is None:
                raise InputError(f"segment {segment['id']} has no pixel, or is there twice")
            entries.append(
                Entry(
                    category=self._title(segment.get("category_id")),
                    box=box_of(rle),
                    rle=rle,
                    number=segment["id"],
                    is_crowd=bool(as_whole(segment.get("iscrowd", 0), "iscrowd", 0, 1)),
                    extra=_rest(segment, _SEGMENT),
                )
            )
        if masks:
            raise InputError(f"the picture holds {len(masks)} values that no segment has")
        name = as_text(image.get("file_name"), "file_name")
        return Sheet(name, width, height, entries, number, _rest(image, _IMAGE))

    def _picture(self, annotation: dict[str, Any]) -> str:
        """The name of an annotation's picture among all files."""
        wanted = as_text(annotation.get("file_name"), "file_name")
        fitting = [
            name
            for name in self._reading.files
            if (name == wanted or name.endswith(f"/{wanted}")) and not is_photo(name)
        ]
        # That of sub/a.png ends with a.png as well.
        depth = min((name.count("/") for name in fitting), default=0)
        pictures = [name for name in fitting if name.count("/") == depth]
        if len(pictures) != 1:
            raise InputError(f"{len(pictures)} files are named {wanted!r:.80}, not one")
        return pictures[0]

    def _title(self, value: object) -> str:
        number = as_whole(value, "category_id", 0, _ID_MAX)
        if number not in self._titles:
            raise InputError(f"there is no category {number}")
        return self._titles[number]


def _to_picture(sheet: Sheet, numbers: Mapping[str, int]) -> tuple[bytes, list[dict[str, Any]]]:
    """The picture, and the segments that have a pixel in it."""
    masks = [entry.rle for entry in sheet.entries if entry.rle is not None]
    painted = paint(masks, [entry.number for entry in sheet.entries], sheet.height, sheet.width)
    seen = to_masks(painted)
    segments = []
    for entry in sheet.entries:
        if (rle := seen.get(entry.number)) is not None and rle.box is not None:
            x0, y0, x1, y1 = rle.box
            facts = {"area": rle.area, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
            category = {"category_id": numbers[entry.category]}
            segments.append({**entry.extra, "id": entry.number, **category, **facts})
    return to_colour_png(painted), segments


def _id(value: dict[str, Any]) -> int:
    return as_whole(value.get("id"), "id", 0, _ID_MAX)


def _name(value: dict[str, Any]) -> str:
    return as_text(value.get("name"), "name")


def _rest(value: dict[str, Any], known: frozenset[str]) -> Fields:
    return {key: item for key, item in value.items() if key not in known}
