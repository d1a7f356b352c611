"""COCO files too large for the memory: where each entry stands, then one image after the other.

A first pass notes where the annotations begin and end, and of which image each is; a second reads
them from their places, image by image. Memory holds the lists of images and categories, a few
numbers an annotation, and the annotations of some images.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray

from mal_core.coco_entries import LISTS, Annotation, Entries, ImageRecord
from mal_core.errors import BadDataset

_CHUNK = 2**22  # bytes looked through at a time
_BATCH = 2000  # annotations read at a time
_QUOTE, _BACKSLASH, _LIST = ord('"'), ord("\\"), ord("[")
_ONLY = "annotations must be a list of objects and of nothing else"
_STEPS = np.zeros(256, np.int8)  # what a bracket does to the depth
_STEPS[[ord("{"), ord("[")]] = 1
_STEPS[[ord("}"), ord("]")]] = -1
Places = NDArray[np.int64]


@dataclass(frozen=True)
class _Span:
    """A list of the file's top level: from after its bracket to the other, and its entries."""

    start: int
    stop: int
    starts: Places
    stops: Places


class LargeFile:
    """A COCO file that is read image by image; what it yields is what `coco.read` would.

    Args:
        path: the file.

    Attributes:
        images: all of them.
        categories: all of them.
        extra: top-level fields that are none of ours.

    Raises:
        BadDataset: it is no JSON object with the three lists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = Entries()
        with path.open("rb") as file:
            top, spans = _lay_out(file)
            missing = [name for name in LISTS if name not in spans]
            if missing:
                raise BadDataset([f"a COCO file must hold a list of {name}" for name in missing])
            images, categories = (_read_all(file, spans[name]) for name in LISTS[:2])
            self.extra = top | {
                name: _read_all(file, span) for name, span in spans.items() if name not in LISTS
            }
            self.images = self._entries.images(images)
            self.categories = self._entries.categories(categories)
            self._span = spans["annotations"]
            self._owners = self._find_owners(file)

    def by_image(self) -> Iterator[tuple[ImageRecord, list[Annotation]]]:
        """Each image with its annotations, both in the order of the file.

        Raises:
            BadDataset: after the last image; holds a line for each problem of the file.
        """
        order = np.argsort(self._owners, kind="stable")
        bounds = np.searchsorted(self._owners[order], np.arange(len(self.images) + 1))
        first = 0
        with self._path.open("rb") as file:
            while first < len(self.images):
                beyond = np.searchsorted(bounds, bounds[first] + _BATCH, "right") - 1
                last = max(first + 1, int(beyond))
                groups: dict[int, list[Annotation]] = {}
                for found in self._read(file, order[bounds[first] : bounds[last]]):
                    groups.setdefault(found.image_id, []).append(found)
                for image in self.images[first:last]:
                    yield image, groups.get(image.id, [])
                first = last
            self._read(file, order[bounds[-1] :])  # of no image: each is a problem
        if self._entries.problems:
            raise BadDataset(self._entries.problems)

    def _find_owners(self, file: BinaryIO) -> Places:
        """The place of each annotation's image in the list; its length where there is none."""
        places = {image.id: place for place, image in enumerate(self.images)}
        owners = np.full(len(self._span.starts), len(places), np.int64)
        _check_gaps(file, self._span)
        for start in range(0, len(owners), _BATCH):
            rows = np.arange(start, min(start + _BATCH, len(owners)))
            for row, entry in zip(rows, _read_rows(file, self._span, rows), strict=True):
                key = entry.get("image_id") if isinstance(entry, dict) else None
                if type(key) is int:
                    owners[row] = places.get(key, len(places))
        return owners

    def _read(self, file: BinaryIO, rows: Places) -> list[Annotation]:
        return self._entries.annotations(_read_rows(file, self._span, rows), rows.tolist())


def _lay_out(file: BinaryIO) -> tuple[dict[str, Any], dict[str, _Span]]:
    """The top level of a JSON object: small values, and where each list lies."""
    opens, closes, is_list, starts, stops = _find_brackets(file)
    pairs = ((opens, closes), (starts, stops))
    if any(len(a) != len(b) or (a >= b).any() for a, b in pairs):
        raise BadDataset(["the file is not JSON: it is cut off"])
    pieces, at = [], 0
    spans: list[_Span] = []
    for start, stop in zip(opens[is_list] + 1, closes[is_list], strict=True):
        low, high = np.searchsorted(starts, [start, stop])
        pieces.append(_read_bytes(file, at, int(start)) + str(len(spans)).encode())
        spans.append(_Span(int(start), int(stop), starts[low:high], stops[low:high]))
        at = int(stop)
    file.seek(at)
    top = _parse(b"".join([*pieces, file.read()]))
    if not isinstance(top, dict):
        raise BadDataset([f"a COCO file must hold a JSON object, got {type(top).__name__}"])
    named = {key: spans[value[0]] for key, value in top.items() if isinstance(value, list)}
    return {key: value for key, value in top.items() if key not in named}, named


def _find_brackets(
    file: BinaryIO,
) -> tuple[Places, Places, NDArray[np.bool_], Places, Places]:
    """Where the values of the top level open and close, whether each is a list; their entries'."""
    found: list[tuple[Places, Places, NDArray[np.uint8]]] = []
    offset, depth, in_text = 0, 0, False
    file.seek(0)
    while chunk := file.read(_CHUNK):
        while chunk[-1] == _BACKSLASH and (more := file.read(1)):  # what it escapes belongs to it
            chunk += more
        codes = np.frombuffer(chunk, np.uint8)
        quotes = _unescaped(chunk, codes)
        marks = np.flatnonzero(_STEPS[codes])
        marks = marks[(np.searchsorted(quotes, marks) + in_text) % 2 == 0]
        levels = depth + np.cumsum(_STEPS[codes[marks]], dtype=np.int64)
        shallow = levels <= 3
        found.append((marks[shallow] + offset, levels[shallow], codes[marks[shallow]]))
        depth = int(levels[-1]) if levels.size else depth
        in_text ^= quotes.size % 2 == 1
        offset += len(chunk)
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8))
    places, levels, codes = (np.concatenate(part) for part in zip(empty, *found, strict=True))
    step = _STEPS[codes]
    opens, closes = (step > 0) & (levels == 2), (step < 0) & (levels == 1)
    begins, ends = (step > 0) & (levels == 3), (step < 0) & (levels == 2)
    return places[opens], places[closes], codes[opens] == _LIST, places[begins], places[ends] + 1


def _unescaped(chunk: bytes, codes: NDArray[np.uint8]) -> Places:
    """Where the quotes stand that open or close a text."""
    quotes = np.flatnonzero(codes == _QUOTE)
    doubtful = quotes[(quotes > 0) & (codes[quotes - 1] == _BACKSLASH)]
    escaped = [place for place in doubtful.tolist() if _backslashes(chunk, place) % 2]
    return np.setdiff1d(quotes, escaped, assume_unique=True)


def _backslashes(chunk: bytes, place: int) -> int:
    """How many stand right before a place."""
    start = place
    while start and chunk[start - 1] == _BACKSLASH:
        start -= 1
    return place - start


def _read_all(file: BinaryIO, span: _Span) -> list[Any]:
    """A whole list."""
    value = _parse(b"[" + _read_bytes(file, span.start, span.stop) + b"]")
    assert isinstance(value, list)
    return value


def _read_rows(file: BinaryIO, span: _Span, rows: Places) -> Sequence[Any]:
    """Some entries of a list, in any order; neighbours are read together."""
    values: list[Any] = []
    for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1) if rows.size else ():
        start, stop = int(span.starts[run[0]]), int(span.stops[run[-1]])
        part = _parse(b"[" + _read_bytes(file, start, stop) + b"]")
        assert isinstance(part, list)
        if len(part) != len(run):
            raise BadDataset([_ONLY])
        values += part
    return values


def _check_gaps(file: BinaryIO, span: _Span) -> None:
    """Refuse what stands between entries that are not read together: it would be passed over."""
    count = len(span.starts)
    for row in range(0, count, _BATCH):
        before = span.stops[row - 1] if row else span.start
        _check_gap(file, int(before), int(span.starts[row]), b"," if row else b"")
    _check_gap(file, int(span.stops[-1]) if count else span.start, span.stop, b"")


def _check_gap(file: BinaryIO, start: int, stop: int, wanted: bytes) -> None:
    if _read_bytes(file, start, stop).strip() != wanted:
        raise BadDataset([_ONLY])


def _read_bytes(file: BinaryIO, start: int, stop: int) -> bytes:
    file.seek(start)
    return file.read(stop - start)


def _parse(data: bytes) -> object:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        text = f"the file is not JSON, or holds NaN or infinity, which JSON does not have ({error})"
        raise BadDataset([text]) from error
