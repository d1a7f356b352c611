"""Many run-length codes at once: checked and measured in a few passes over all of them together.

One code at a time costs a dozen numpy calls, which for small masks is nearly all of the time.
What is not plainly sound here is left to `RLE.from_coco`, which says what is wrong with it.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mal_core.masks import MAX_SIDE, RLE

_BATCH = 500  # codes at a time: their arrays fit into the processor's cache
_CHUNKS_MAX = 6  # 30 bits hold any run of 16384 x 16384 pixels, with its sign
_LOW, _MORE, _SIGN = 31, 32, 16  # bits of a character, less 48
Ints = NDArray[np.int64]
Box = tuple[int, int, int, int]
_Code = tuple[int, int, str]  # height, width, counts


class Checked:
    """The sound ones among many COCO segmentations.

    Args:
        values: segmentations of any kind; only objects with packed counts are looked at.
    """

    def __init__(self, values: Iterable[object]) -> None:
        codes = list(dict.fromkeys(code for value in values if (code := _to_code(value))))
        self._masks: dict[_Code, RLE] = {}
        for start in range(0, len(codes), _BATCH):
            self._add(codes[start : start + _BATCH])

    def get(self, value: object) -> RLE | None:
        """The mask of a segmentation, equal to that of `RLE.from_coco`; None if it must judge."""
        code = _to_code(value)
        return None if code is None else self._masks.get(code)

    def _add(self, codes: Sequence[_Code]) -> None:
        runs = _Runs(codes)
        areas, boxes = runs.measure()
        for place, good in enumerate(runs.are_canonical().tolist()):
            if good:
                mask = self._masks[codes[place]] = RLE(*codes[place])
                _note(mask, areas[place], boxes[place])


def measure(masks: Sequence[RLE]) -> None:
    """Find area and box of many masks together; each then knows its own."""
    for start in range(0, len(masks), _BATCH):
        part = masks[start : start + _BATCH]
        areas, boxes = _Runs([(mask.height, mask.width, mask.counts) for mask in part]).measure()
        for mask, area, box in zip(part, areas, boxes, strict=True):
            _note(mask, area, box)


def _note(mask: RLE, area: int, box: Box | None) -> None:
    """Let a mask know what its cached properties would find."""
    mask.__dict__["area"], mask.__dict__["box"] = area, box


def _to_code(value: object) -> _Code | None:
    """A segmentation that can be read together with others: whole numbers of right characters."""
    if not isinstance(value, Mapping):
        return None
    size, text = value.get("size"), value.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not isinstance(text, str):
        return None
    if not all(type(side) is int and 1 <= side <= MAX_SIDE for side in size):
        return None
    if not text or not text.isascii() or not (min(text) >= "0" and max(text) <= "o"):
        return None
    return None if ord(text[-1]) - 48 & _MORE else (size[0], size[1], text)


class _Runs:
    """The runs of many codes, one after the other.

    Args:
        codes: each of at least one whole number of packed characters.
    """

    def __init__(self, codes: Sequence[_Code]) -> None:
        sizes = np.array([code[:2] for code in codes], np.int64)
        self._height, self._pixels = sizes[:, 0], sizes.prod(axis=1)
        text = "".join(code[2] for code in codes)
        self._codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
        self._stops = np.flatnonzero((self._codes & _MORE) == 0)  # last characters of numbers
        self._lengths = np.diff(self._stops, prepend=-1)
        ends = np.cumsum([len(code[2]) for code in codes])
        upto = np.searchsorted(self._stops, ends - 1, side="right")
        self._count = np.diff(upto, prepend=0)  # (T,) runs of each code
        self._first = upto - self._count  # (T,) place of its first
        self._place = np.arange(self._stops.size) - np.repeat(self._first, self._count)
        self._runs = self._undo_differences(self._numbers())

    def are_canonical(self) -> NDArray[np.bool_]:
        """(T,) whether each code is one mask of its size, as pycocotools writes it."""
        wrong = (self._runs < 0) | ((self._runs == 0) & (self._place > 0))
        wrong |= (self._lengths > _CHUNKS_MAX) | self._are_padded()
        # No run that is too long may make up for others by a sum that wraps.
        total = self._total(np.clip(self._runs, -1, MAX_SIDE**2 + 1))
        good: NDArray[np.bool_] = (total == self._pixels) & (
            self._total(wrong.astype(np.int64)) == 0
        )
        return good

    def measure(self) -> tuple[list[int], list[Box | None]]:
        """Area and tight box of each mask; of codes that are not sound, anything."""
        inside = (self._place % 2 == 1) & (self._runs > 0)
        areas = self._total(self._runs * inside)
        last = (self._running(self._runs) - 1)[inside]
        first = last - self._runs[inside] + 1
        count = self._total(inside.astype(np.int64))
        boxes: list[Box | None] = [None] * count.size
        owners = np.flatnonzero(count)
        if owners.size:
            starts = (np.cumsum(count) - count)[owners]
            height = np.repeat(self._height, count)
            x_first, x_last = first // height, last // height
            wraps = np.add.reduceat((x_first != x_last).astype(np.int64), starts) > 0
            y0 = np.where(wraps, 0, np.minimum.reduceat(first % height, starts))
            bottom = np.maximum.reduceat(last % height, starts) + 1
            y1 = np.where(wraps, self._height[owners], bottom)
            x1 = x_last[starts + count[owners] - 1] + 1
            corners = zip(*(side.tolist() for side in (x_first[starts], y0, x1, y1)), strict=True)
            for owner, corner in zip(owners.tolist(), corners, strict=True):
                boxes[owner] = corner
        return areas.tolist(), boxes

    def _total(self, values: Ints) -> Ints:
        """The sum over each code's runs."""
        sums = np.concatenate([[0], np.cumsum(values)])
        totals: Ints = sums[self._first + self._count] - sums[self._first]
        return totals

    def _running(self, values: Ints) -> Ints:
        """The cumulative sum within each code."""
        sums = np.cumsum(values)
        before = np.concatenate([[0], sums])[self._first]
        running: Ints = sums - np.repeat(before, self._count)
        return running

    def _numbers(self) -> Ints:
        """Put characters together to signed numbers: five bits each, low first."""
        starts = self._stops - self._lengths + 1
        shift = np.arange(self._codes.size) - np.repeat(starts, self._lengths)
        parts = (self._codes & _LOW) << np.minimum(5 * shift, 5 * _CHUNKS_MAX)
        negative = (self._codes[self._stops] & _SIGN) > 0
        whole = np.int64(1) << np.minimum(5 * self._lengths, 5 * _CHUNKS_MAX)
        return np.add.reduceat(parts, starts) - np.where(negative, whole, 0)

    def _undo_differences(self, values: Ints) -> Ints:
        """From the fourth run on, each is written as the difference from the run two before it."""
        is_odd = self._place % 2 == 1
        odd = self._running(np.where(is_odd, values, 0))
        even = self._running(np.where(~is_odd & (self._place > 0), values, 0))
        runs: Ints = np.where(self._place == 0, values, np.where(is_odd, odd, even))
        return runs

    def _are_padded(self) -> NDArray[np.bool_]:
        """Whether a number has a last character that says nothing."""
        last = self._codes[self._stops] & _LOW
        before = self._codes[self._stops - 1] & _SIGN
        idle: NDArray[np.bool_] = np.where(before > 0, last == _LOW, last == 0)
        return idle & (self._lengths > 1)
