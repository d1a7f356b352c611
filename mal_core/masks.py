"""Masks at rest: COCO run-length codes, checked before anything else touches them.

A mask is stored as the runs of the whole image in column-major order, zeros first. It is encoded
from the crop around the object and shifted, so that a small object costs little in a large image.
pycocotools crashes on malformed codes (14 of 170 probes ended in a signal), so every code passes
`RLE.from_coco` first.

Source: the format is COCO's, as in pycocotools/common/maskApi.c; the code here is our own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from mal_core.errors import BadMask

MAX_SIDE = 16384
_OUTLINE_MAX = 4_000_000
_CHUNKS_MAX = 6  # 30 bits hold any run of 16384 x 16384 pixels, with its sign
Runs = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class RLE:
    """One mask of a height x width image as compressed COCO counts; valid once built.

    Attributes:
        height: rows of the image, 1 to 16384.
        width: columns of the image, 1 to 16384.
        counts: COCO's compressed run string.
    """

    height: int
    width: int
    counts: str

    @classmethod
    def from_coco(cls, value: object) -> "RLE":
        """Check a COCO segmentation object and keep it in canonical form.

        Args:
            value: {"size": [height, width], "counts": str, bytes or a list of runs}.

        Returns:
            The mask, its counts those that pycocotools would write.

        Raises:
            BadMask: the size is out of range, the text is not a run code, a run is negative, or
                the runs do not sum to exactly height * width.
        """
        height, width, counts = _parts(value)
        runs = _list_to_runs(counts) if isinstance(counts, list) else _text_to_runs(counts)
        return cls.from_runs(runs, height, width)

    @classmethod
    def from_runs(cls, runs: Runs, height: int, width: int) -> "RLE":
        """Build from run lengths (K,) int64 in column-major order, zeros first.

        Raises:
            BadMask: a run is negative, or the runs do not sum to height * width.
        """
        if runs.size and int(runs.min()) < 0:
            raise BadMask(f"runs must not be negative, got {int(runs.min())}")
        pixels = height * width
        # One run that is too long would do, and a sum of many such could wrap to the right number.
        longest = int(runs.max(initial=0))
        total = longest if longest > pixels else int(runs.sum())
        if total != pixels:
            raise BadMask(f"runs must sum to {height} x {width} = {pixels}, got {total}")
        runs = _merge_empty(runs)
        packed = coco_mask.frPyObjects(
            {"size": [height, width], "counts": runs.tolist()}, height, width
        )
        rle = cls(height, width, packed["counts"].decode("ascii"))
        rle.__dict__["runs"] = runs  # what the cached property would read back
        return rle

    @cached_property
    def runs(self) -> Runs:
        """(K,) int64 run lengths, zeros first, column-major."""
        return _text_to_runs(self.counts)

    @cached_property
    def area(self) -> int:
        """Number of pixels inside the mask."""
        return int(coco_mask.area(self.to_coco()))

    @cached_property
    def box(self) -> tuple[int, int, int, int] | None:
        """Tight (x0, y0, x1, y1), half-open pixels; None for an empty mask."""
        x0, y0, width, height = map(int, coco_mask.toBbox(self.to_coco()))
        return (x0, y0, x0 + width, y0 + height) if width else None

    def to_coco(self) -> dict[str, Any]:
        """The JSON form: {"size": [height, width], "counts": str}."""
        return {"size": [self.height, self.width], "counts": self.counts}


def encode(mask: Mask, *, x0: int = 0, y0: int = 0, height: int, width: int) -> RLE:
    """Encode the crop of a mask as the run-length code of the whole image.

    Args:
        mask: (h, w) bool, the crop; fastest when its transpose is contiguous.
        x0: column of the crop's first column in the image.
        y0: row of the crop's first row in the image.
        height: rows of the image; y0 + h must not exceed it.
        width: columns of the image; x0 + w must not exceed it.

    Returns:
        The mask of the whole image, zero outside the crop.

    Raises:
        ValueError: if the crop does not lie inside the image.
    """
    h, w = mask.shape
    if x0 < 0 or y0 < 0 or y0 + h > height or x0 + w > width:
        raise ValueError(f"crop {w}x{h} at ({x0}, {y0}) leaves the {width}x{height} image")
    line = np.zeros(1 + w * (h + 1), np.bool_)  # a zero first, and one to close each column
    line[1:].reshape(w, h + 1)[:, :h] = mask.T
    edges = np.flatnonzero(line[1:] != line[:-1])
    column, row = edges // (h + 1), edges % (h + 1)
    turns = (x0 + column) * height + y0 + row
    runs = np.diff(np.concatenate([[0], turns, [height * width]])).astype(np.int64)
    return RLE.from_runs(runs, height, width)


def decode_crop(rle: RLE) -> tuple[Mask, int, int]:
    """Decode only the tight box of a mask.

    Returns:
        (mask (h, w) bool, x0, y0); an empty mask gives (0, 0) pixels at (0, 0).
    """
    if rle.box is None:
        return np.zeros((0, 0), np.bool_), 0, 0
    x0, y0, x1, y1 = rle.box
    values = np.arange(rle.runs.size, dtype=np.int64) % 2 == 1
    start, stop = x0 * rle.height, x1 * rle.height
    ends = np.clip(np.cumsum(rle.runs), start, stop)
    lengths = np.diff(ends, prepend=start)
    columns = np.repeat(values, lengths).reshape(x1 - x0, rle.height)
    return columns[:, y0:y1].T, x0, y0


def decode_rect(rle: RLE, rect: tuple[int, int, int, int]) -> Mask:
    """Decode a rectangle (x0, y0, x1, y1) inside the image: (y1 - y0, x1 - x0) bool."""
    x0, y0, x1, y1 = rect
    part = np.zeros((y1 - y0, x1 - x0), np.bool_)
    mask, left, top = decode_crop(rle)
    a, b = max(x0, left), max(y0, top)
    c, d = min(x1, left + mask.shape[1]), min(y1, top + mask.shape[0])
    if c > a and d > b:
        part[b - y0 : d - y0, a - x0 : c - x0] = mask[b - top : d - top, a - left : c - left]
    return part


def decode(rle: RLE) -> Mask:
    """Decode to the dense (height, width) bool mask of the whole image."""
    values = np.arange(rle.runs.size, dtype=np.int64) % 2 == 1
    return np.repeat(values, rle.runs).reshape(rle.width, rle.height).T


def iou(first: RLE, second: RLE) -> float:
    """Intersection over union in [0, 1] of two masks of one image; 1 if both are empty.

    Raises:
        ValueError: if the sizes differ.
    """
    if (first.height, first.width) != (second.height, second.width):
        raise ValueError(f"sizes differ: {first.to_coco()['size']} and {second.to_coco()['size']}")
    if first.area == 0 and second.area == 0:
        return 1.0
    return float(coco_mask.iou([first.to_coco()], [second.to_coco()], [0])[0][0])


def difference(first: RLE, second: RLE) -> RLE:
    """The pixels that two masks of one image do not share.

    Raises:
        ValueError: if the sizes differ.
    """
    if (first.height, first.width) != (second.height, second.width):
        raise ValueError(f"sizes differ: {first.to_coco()['size']} and {second.to_coco()['size']}")
    # A run code is the list of the places where the value turns; places in both cancel out.
    one, other = (np.cumsum(mask.runs)[:-1] for mask in (first, second))
    turns = np.setxor1d(one, other, assume_unique=True)
    runs = np.diff(turns, prepend=0, append=first.height * first.width)
    return RLE.from_runs(runs.astype(np.int64), first.height, first.width)


def union(first: RLE, second: RLE) -> RLE:
    """The pixels that are in either of two masks of one image.

    Raises:
        ValueError: if the sizes differ.
    """
    if (first.height, first.width) != (second.height, second.width):
        raise ValueError(f"sizes differ: {first.to_coco()['size']} and {second.to_coco()['size']}")
    merged = coco_mask.merge([first.to_coco(), second.to_coco()])
    return RLE(first.height, first.width, merged["counts"].decode("ascii"))


def polygons_to_rle(polygons: Sequence[Sequence[float]], height: int, width: int) -> RLE:
    """Fill the union of COCO polygons.

    Args:
        polygons: each a flat [x, y, x, y, ...] of at least three points, in pixels.
        height: rows of the image.
        width: columns of the image.

    Raises:
        BadMask: a polygon has fewer than three points, an odd number of values, a value that is
            not finite, or lies more than the image's own size outside the image, or the outlines
            together are longer than 4 million pixels.
    """
    _check_size(height, width)
    reach, length = 2 * max(height, width), 0.0
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise BadMask(f"a polygon needs 3 or more x, y pairs, got {len(polygon)} values")
        length += _outline(polygon, reach)
    if length > _OUTLINE_MAX:  # pycocotools takes a hundred bytes a pixel of outline
        raise BadMask(f"outlines must be shorter than {_OUTLINE_MAX:,} pixels, got {length:,.0f}")
    if not polygons:
        raise BadMask("a polygon mask needs at least one polygon")
    parts = coco_mask.frPyObjects([list(map(float, p)) for p in polygons], height, width)
    merged = parts[0] if len(parts) == 1 else coco_mask.merge(parts)
    return RLE(height, width, merged["counts"].decode("ascii"))


def _outline(polygon: Sequence[float], reach: int) -> float:
    """The length of a closed polygon near the image, diagonals counted as their longer side."""
    kinds = set(map(type, polygon))
    if not all(issubclass(kind, int | float) and kind is not bool for kind in kinds):
        raise BadMask("polygon points must be finite numbers near the image")
    points = np.array(polygon, np.float64).reshape(-1, 2)
    if not np.abs(points).max() <= reach:  # nor is NaN
        raise BadMask("polygon points must be finite numbers near the image")
    steps = np.abs(points - points[np.arange(len(points)) - 1])
    return float(steps.max(axis=1).sum())


def _parts(value: object) -> tuple[int, int, str | list[Any]]:
    """Take {"size", "counts"} apart, or say what is wrong with it."""
    if not isinstance(value, Mapping):
        raise BadMask(f"a mask must be an object with size and counts, got {type(value).__name__}")
    size, counts = value.get("size"), value.get("counts")
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise BadMask(f"size must be [height, width], got {size!r:.60}")
    _check_size(*size)
    if isinstance(counts, bytes):
        counts = counts.decode("latin-1")
    if not isinstance(counts, str | list):
        raise BadMask(f"counts must be text or a list of runs, got {type(counts).__name__}")
    return size[0], size[1], counts


def _check_size(height: object, width: object) -> None:
    for side in (height, width):
        if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= MAX_SIDE:
            raise BadMask(f"size must be two whole numbers of 1 to {MAX_SIDE}, got {side!r:.60}")


def _list_to_runs(counts: list[Any]) -> Runs:
    """Take uncompressed counts; each must be a whole number that an image can hold."""
    limit = MAX_SIDE * MAX_SIDE
    for run in counts:
        if not isinstance(run, int) or isinstance(run, bool) or not 0 <= run <= limit:
            raise BadMask(f"runs must be whole numbers of 0 to {limit}, got {run!r:.60}")
    return np.array(counts, np.int64)


def _text_to_runs(text: str) -> Runs:
    """Read COCO's packed counts: 5 bits a character, low first, 32 marks 'more', 16 the sign."""
    codes = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int64) - 48
    if codes.size == 0 or int(codes.min()) < 0 or int(codes.max()) > 63:
        raise BadMask("counts must be text of characters '0' to 'o', and not empty")
    is_last = (codes & 32) == 0
    if not is_last[-1]:
        raise BadMask("counts end in the middle of a number")
    stops = np.flatnonzero(is_last)
    starts = np.concatenate([[0], stops[:-1] + 1])
    lengths = stops - starts + 1
    if int(lengths.max()) > _CHUNKS_MAX:
        raise BadMask("counts hold a number too large for any image")
    place = np.arange(codes.size) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & 31) << (5 * place), starts)
    values -= np.where(codes[stops] & 16, np.int64(1) << (5 * lengths), 0)
    # From the fourth run on, each is written as the difference from the run two before it.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _merge_empty(runs: Runs) -> Runs:
    """Join runs across empty ones, as pycocotools writes them: only the first may be zero."""
    keep = runs > 0
    if runs.size and bool(keep[1:].all()):
        return runs
    owner = np.arange(runs.size) % 2
    owner, lengths = owner[keep], runs[keep]
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    merged = np.add.reduceat(lengths, starts)
    return np.concatenate([[0], merged]) if owner[0] == 1 else merged
