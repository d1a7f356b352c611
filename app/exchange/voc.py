"""Pascal VOC: an XML an image with boxes, and a picture in which pixel values are objects."""

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from app.exchange import trees
from app.exchange.labelmaps import load_map, paint, to_masks, to_palette_png, visible
from app.exchange.sheets import (
    Entry,
    Legend,
    Reading,
    Sheet,
    Sink,
    Size,
    as_box,
    as_text,
    as_whole,
    plain,
    stem_of,
    with_masks,
    within,
)
from mal_core.errors import InputError
from mal_core.masks import MAX_SIDE, RLE

XML, MASKS, CLASSES = "Annotations", "SegmentationObject", "SegmentationClass"
_OBJECTS_MAX = 254  # a palette has 256 values: 0 is background, 255 is an edge nobody decided
_EDGE = 255
_IMAGE = frozenset({"folder", "filename", "size", "segmented", "object"})
_OBJECT = frozenset({"name", "bndbox"})
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def read(reading: Reading) -> Iterator[Sheet]:
    """Read every XML, and its picture of objects where there is one."""
    names = reading.named(".xml")
    if not names:
        raise InputError("there is no .xml file")
    pictures = {
        stem_of(inner): name
        for name in reading.named(".png")
        if (inner := within(name, MASKS)) is not None
    }
    for name in names:
        stem = stem_of(within(name, XML) or name)
        with reading.telling(name):
            yield _read_one(reading, name, stem, pictures.get(stem))


def write(sheets: Iterable[Sheet], legend: Legend, sink: Sink) -> None:
    """Write the XML, the picture of objects and the picture of classes of each image."""
    places = legend.places()
    colours = {value: _colour(value) for value in range(256)}
    stems: list[str] = []
    for sheet in sheets:
        stem = stem_of(sheet.name)
        stems.append(stem)
        sink.add(f"{XML}/{stem}.xml", trees.to_bytes(_to_xml(sheet)))
        entries = sheet.entries[:_OBJECTS_MAX]
        masks = [entry.rle for entry in entries if entry.rle is not None]
        classes = [places[entry.category] + 1 for entry in entries]
        values = {MASKS: list(range(1, len(entries) + 1)), CLASSES: classes}
        for folder, numbers in values.items():
            if max(numbers, default=0) < _EDGE:
                painted = paint(masks, numbers, sheet.height, sheet.width)
                sink.add(f"{folder}/{stem}.png", to_palette_png(painted, colours), packed=True)
    lines = [f"{place + 1} {name}\n" for name, place in places.items()]
    sink.add("classes.txt", "".join(lines).encode())
    sink.add("labelmap.txt", _to_label_map(legend).encode())
    for folder in ("Main", "Segmentation"):
        sink.add(f"ImageSets/{folder}/default.txt", "".join(f"{s}\n" for s in stems).encode())


def show(sheet: Sheet) -> Sheet:
    """What comes back of a sheet: what is visible of its first masks, and boxes."""
    masks = [entry.rle for entry in sheet.entries[:_OBJECTS_MAX] if entry.rle is not None]
    return with_masks(sheet, visible(masks, sheet.height, sheet.width))


def _read_one(reading: Reading, name: str, stem: str, picture: str | None) -> Sheet:
    root = trees.parse(reading.bytes(name))
    if root.tag != "annotation":
        raise InputError(f"a VOC file must hold an annotation, got {root.tag!r:.40}")
    size = _read_size(reading, root, stem)
    entries = [_read_object(item, size) for item in root.iterfind("object")]
    for entry in entries:
        reading.categories.setdefault(entry.category, {})
    masks: dict[int, RLE] = {}
    if picture is not None:
        with reading.telling(picture):
            painted = load_map(reading.files[picture], size.width, size.height)
            painted[painted == _EDGE] = 0
            masks = to_masks(painted)
    if unknown := [value for value in masks if value > len(entries)]:
        raise InputError(f"value {unknown[0]} is none of the {len(entries)} objects of the XML")
    kept = trees.keep(root, _IMAGE)
    extra = {"xml": kept} if kept else {}
    sheet = Sheet(size.name, size.width, size.height, entries, extra=extra)
    # The first object has the mask of value 1, and so on.
    return with_masks(sheet, [masks.get(place + 1) for place in range(len(entries))])


def _read_size(reading: Reading, root: trees.Element, stem: str) -> Size:
    """Name and size as the file says; a file that is silent means the image of its own name."""
    name = trees.text_of(root, "filename").replace("\\", "/")
    element = root.find("size")
    found = reading.find(name or stem) if element is None else None
    if element is None and found is None:
        raise InputError("says no size, and nobody has its image")
    if found is not None:
        return found
    assert element is not None
    sides = [as_whole(trees.text_of(element, n), n, 1, MAX_SIDE) for n in ("width", "height")]
    if not name:
        name = getattr(reading.find(stem), "name", f"{stem}.jpg")
    return Size(name, *sides)


def _read_object(item: trees.Element, size: Size) -> Entry:
    box = item.find("bndbox")
    if box is None:
        raise InputError("an object has no bndbox")
    x0, y0, x1, y1 = (trees.number_of(box, side) for side in _SIDES)
    kept = trees.keep(item, _OBJECT)
    return Entry(
        category=as_text(trees.text_of(item, "name"), "an object's name"),
        # VOC counts pixels from 1 and names the last one that is inside.
        box=as_box((x0 - 1, y0 - 1, x1, y1), size.width, size.height),
        rle=None,
        extra={"xml": kept} if kept else {},
    )


def _to_xml(sheet: Sheet) -> trees.Element:
    root = trees.Element("annotation")
    trees.add(root, "folder", PurePosixPath(sheet.name).parent.name)
    trees.add(root, "filename", sheet.name)
    size = trees.add(root, "size")
    for tag, value in (("width", sheet.width), ("height", sheet.height), ("depth", 3)):
        trees.add(size, tag, value)
    trees.add(root, "segmented", int(bool(sheet.entries)))
    trees.restore(root, sheet.extra.get("xml"))
    for entry in sheet.entries:
        item = trees.add(root, "object")
        trees.add(item, "name", entry.category)
        trees.restore(item, entry.extra.get("xml"))
        for tag, value in (("truncated", 0), ("difficult", 0)):
            if item.find(tag) is None:
                trees.add(item, tag, value)
        x0, y0, x1, y1 = entry.box
        box = trees.add(item, "bndbox")
        for tag, side in zip(_SIDES, (x0 + 1, y0 + 1, x1, y1), strict=True):
            trees.add(box, tag, plain(side))
    return root


def _to_label_map(legend: Legend) -> str:
    """The classes as CVAT and Datumaro want them told: name:colour:parts:actions."""
    names = ["background", *legend.places()]
    colours = [",".join(map(str, _colour(value % 256))) for value in range(len(names))]
    lines = (f"{name}:{colour}::\n" for name, colour in zip(names, colours, strict=True))
    return "# label:color_rgb:parts:actions\n" + "".join(lines)


def _colour(value: int) -> tuple[int, int, int]:
    """VOC's colour of a value: its bits dealt to red, green and blue, highest first.

    Source: the colour map of the PASCAL VOC development kit.
    """
    channels = [0, 0, 0]
    for bit in range(8):
        channels[bit % 3] |= (value >> bit & 1) << (7 - bit // 3)
    red, green, blue = channels
    return red, green, blue
