"""COCO instances: run-length masks or polygons, or boxes only."""

from collections.abc import Iterable, Iterator
from typing import Any

from app.exchange.sheets import Entry, Legend, Reading, Sheet, Sink, masks_of
from mal_core import coco
from mal_core.coco_large import LargeFile
from mal_core.errors import InputError
from mal_core.masks import RLE
from mal_core.polygons import masks_to_rings, rings_to_polygons

ANNOTATIONS = "annotations.json"
_LARGE = 16 * 2**20  # bytes from which a file is read image by image, to save memory


def read(reading: Reading) -> Iterator[Sheet]:
    """Read every JSON file as COCO instances."""
    names = reading.named(".json")
    if not names:
        raise InputError("there is no .json file")
    for name in names:
        with reading.telling(name):
            yield from _read_one(reading, name)


def write(sheets: Iterable[Sheet], legend: Legend, sink: Sink) -> None:
    """Write one JSON with masks as compressed runs."""
    _write(sheets, legend, sink, RLE.to_coco)


def write_polygons(sheets: Iterable[Sheet], legend: Legend, sink: Sink) -> None:
    """Write one JSON with masks as polygons along their pixels' edges, one a part."""
    polygons: dict[str, list[list[float]]] = {}  # of one sheet at a time, by the mask's counts

    def traced() -> Iterator[Sheet]:
        for sheet in sheets:
            masks = masks_of(sheet)
            rings = map(rings_to_polygons, masks_to_rings(masks))
            polygons.clear()
            polygons.update(zip((mask.counts for mask in masks), rings, strict=True))
            yield sheet

    _write(traced(), legend, sink, lambda rle: polygons[rle.counts])


def to_image(sheet: Sheet) -> coco.ImageRecord:
    """A sheet as the image of a COCO file."""
    return coco.ImageRecord(sheet.number, sheet.name, sheet.width, sheet.height, sheet.extra)


def _read_one(reading: Reading, name: str) -> Iterator[Sheet]:
    is_large = reading.check_size(name) > _LARGE
    dataset = LargeFile(reading.files[name]) if is_large else coco.read(reading.files[name])
    titles = {category.id: category.name.strip() for category in dataset.categories}
    reading.categories |= {titles[c.id]: c.extra for c in dataset.categories}
    reading.extra |= dataset.extra
    for image, annotations in dataset.by_image():
        yield Sheet(
            name=image.file_name,
            width=image.width,
            height=image.height,
            entries=[_to_entry(a, titles[a.category_id]) for a in annotations],
            number=image.id,
            extra=image.extra,
        )


def _to_entry(annotation: coco.Annotation, category: str) -> Entry:
    return Entry(
        category=category,
        box=annotation.box,
        rle=annotation.rle,
        number=annotation.id,
        is_crowd=annotation.iscrowd,
        extra=annotation.extra,
    )


def _write(sheets: Iterable[Sheet], legend: Legend, sink: Sink, segment: Any) -> None:  # noqa: ANN401
    images: list[coco.ImageRecord] = []
    numbers = {category.name: category.id for category in legend.categories}

    def annotations() -> Iterator[coco.Annotation]:
        for sheet in sheets:
            images.append(to_image(sheet))
            for entry in sheet.entries:
                yield coco.Annotation(
                    id=entry.number,
                    image_id=sheet.number,
                    category_id=numbers[entry.category],
                    box=entry.box,
                    rle=entry.rle,
                    extra=entry.extra,
                )

    parts = coco.stream(annotations(), images, legend.categories, legend.extra, segment)
    sink.stream(ANNOTATIONS, parts)
