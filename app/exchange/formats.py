"""The registry: every format the studio reads and writes, by name."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from app.exchange import coco, cvat, datumaro, labelme, panoptic, png, voc, yolo
from app.exchange.sheets import Legend, Reading, Sheet, Sink
from mal_core.errors import InputError


def _whole(sheet: Sheet) -> Sheet:
    return sheet


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: what commands call it.
        title: what people call it.
        read: the sheets of a data set.
        write: sheets into a zip.
        exact: whether each mask must come back pixel for pixel.
        loses: what the format has no room for; "" if nothing of ours.
        by_stem: whether its files are named after images without their suffix.
        images: the folder that rasters go to.
        paints: whether its masks are pictures, which are PNG files like images.
        family: whose fields of other tools it keeps; formats of one family share them.
        room: what of a sheet the format has room for; an export is measured against this.
        show: what of a sheet comes back, by which an import knows it again; None if all does.
    """

    name: str
    title: str
    read: Callable[[Reading], Iterator[Sheet]]
    write: Callable[[Iterable[Sheet], Legend, Sink], None]
    exact: bool
    loses: str
    family: str
    by_stem: bool = True
    images: str = "images"
    paints: bool = False
    room: Callable[[Sheet], Sheet] = _whole
    show: Callable[[Sheet], Sheet] | None = None


_OVERLAPS = "where masks overlap, each pixel goes to the smallest of them"
_CATEGORIES_ONLY = "instances of a category become one region"
_ALL = (
    Format("coco", "COCO (run-length masks)", coco.read, coco.write, True, "", "coco", False),
    Format(
        "coco-polygons",
        "COCO (polygons)",
        coco.read,
        coco.write_polygons,
        False,
        "holes are joined to their outline by a bridge",
        "coco",
        False,
    ),
    Format(
        "coco-panoptic",
        "COCO panoptic",
        panoptic.read,
        panoptic.write,
        False,
        _OVERLAPS,
        "panoptic",
        paints=True,
        show=png.show_instances,
    ),
    Format(
        "yolo",
        "YOLO (boxes)",
        yolo.read,
        yolo.write_boxes,
        True,
        "masks; only their boxes are written",
        "yolo",
        room=yolo.keep_boxes,
        show=yolo.keep_boxes,
    ),
    Format(
        "yolo-seg",
        "YOLO (one polygon a mask)",
        yolo.read,
        yolo.write_polygons,
        False,
        "parts and holes are joined to one outline by bridges",
        "yolo",
    ),
    Format(
        "voc",
        "Pascal VOC",
        voc.read,
        voc.write,
        False,
        f"{_OVERLAPS}; from the 255th on, instances of an image keep only their box",
        "voc",
        images="JPEGImages",
        paints=True,
        show=voc.show,
    ),
    Format("labelme", "LabelMe", labelme.read, labelme.write, False, "", "labelme"),
    Format("cvat", "CVAT for images 1.1", cvat.read, cvat.write, True, "", "cvat", False),
    Format("datumaro", "Datumaro", datumaro.read, datumaro.write, True, "", "datumaro"),
    Format(
        "png",
        "PNG masks (instances, 16 bits)",
        png.read_instances,
        png.write_instances,
        False,
        _OVERLAPS,
        "png",
        paints=True,
        show=png.show_instances,
    ),
    Format(
        "png-semantic",
        "PNG masks (categories)",
        png.read_semantic,
        png.write_semantic,
        False,
        f"{_CATEGORIES_ONLY}; {_OVERLAPS}",
        "png",
        room=png.merge_categories,
        paints=True,
        show=png.show_categories,
    ),
)
FORMATS = {format_.name: format_ for format_ in _ALL}


def get_format(name: str) -> Format:
    """The format of a name.

    Raises:
        InputError: there is none; the text names all.
    """
    if name not in FORMATS:
        raise InputError(f"there is no format {name!r:.40}; there are {', '.join(FORMATS)}")
    return FORMATS[name]


def readable() -> list[Format]:
    """One format for each reader: what is written in two ways may be read in one."""
    first: dict[Callable[[Reading], Iterator[Sheet]], Format] = {}
    for format_ in _ALL:
        first.setdefault(format_.read, format_)
    return list(first.values())


def reader_titles() -> dict[str, str]:
    """What people call each reader, and the name of its format; how it is written says no more."""
    titles = {format_.name: format_.title.partition(" (")[0] for format_ in readable()}
    counts = Counter(titles.values())
    return {
        title if counts[title] == 1 else FORMATS[name].title: name for name, title in titles.items()
    }
