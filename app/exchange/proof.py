"""Reads a finished export back as an import would, and holds every mask against the store."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.errors import ExportFailed
from app.exchange.formats import Format
from app.exchange.sheets import Entry, Reading, Sheet, Size, stem_of
from app.images import expand
from mal_core.masks import iou

_LINES_MAX = 1000
_ALL = 2**62  # bytes and files: the zip is our own
_BOX_SLACK = 0.01  # pixels by which decimal fractions may move the side of a box


@dataclass
class Tally:
    """What reading an export back has shown.

    Attributes:
        n_compared: instances, or regions where a format has no instances.
        n_exact: those that came back pixel for pixel.
        min_iou: the smallest IoU with the store.
        changed: a line for each that is not exact, the first thousand.
    """

    n_compared: int = 0
    n_exact: int = 0
    min_iou: float = 1.0
    changed: list[str] = field(default_factory=list)
    _total: float = 0.0

    @property
    def mean_iou(self) -> float:
        """The mean IoU with the store; 1 where nothing was compared."""
        return self._total / self.n_compared if self.n_compared else 1.0

    def add(self, what: str, value: float) -> None:
        """Note the IoU of one instance."""
        self.n_compared += 1
        self.n_exact += value == 1.0
        self._total += value
        self.min_iou = min(self.min_iou, value)
        if value < 1.0 and len(self.changed) < _LINES_MAX:
            self.changed.append(f"{what}: IoU {value:.4f}")


def prove(
    archive: Path,
    scratch: Path,
    format_: Format,
    names: Mapping[str, Size],
    wanted: Callable[[str], Sheet],
) -> Tally:
    """Read an export back and compare it with what the store holds.

    Args:
        archive: the zip.
        scratch: an empty folder for what it holds.
        format_: what it is written in.
        names: every image of the export by its name there.
        wanted: the sheet of a name, from the store.

    Returns:
        The IoU of each mask; all 1 in formats that are exact.

    Raises:
        ExportFailed: an image, an instance, a category or a size differs, or a mask of an exact
            format; the text says what.
    """
    found = expand([archive], scratch, _ALL, suffixes=None, max_members=_ALL)
    _demand(not found.skipped, "; ".join(found.skipped[:1]))
    stems = {stem_of(name): size for name, size in names.items()}
    reading = Reading(
        files={item.name: item.path for item in found.files},
        find=lambda name: names.get(name) or stems.get(name),
    )
    tally, seen = Tally(), set[str]()
    with reading.telling("reading back"):
        for sheet in format_.read(reading):
            _demand(sheet.name in names, f"there is no image {sheet.name}")
            _demand(sheet.name not in seen, f"{sheet.name} is there twice")
            seen.add(sheet.name)
            _compare(sheet, wanted(sheet.name), format_, tally)
    problems = reading.problems + reading.left_out + reading.unmatched
    _demand(not problems, "; ".join(problems[:1]))
    _demand(len(seen) == len(names), "images are missing")
    return tally


def _compare(sheet: Sheet, stored: Sheet, format_: Format, tally: Tally) -> None:
    """Compare one image with the store's."""
    size = (stored.width, stored.height)
    _demand((sheet.width, sheet.height) == size, f"the size of {sheet.name} differs")
    has_ids = any(entry.number for entry in sheet.entries)
    found = _by_key(sheet.entries, has_ids=has_ids)
    wanted = _by_key(format_.room(stored).entries, has_ids=has_ids)
    _demand(len(found) == len(sheet.entries), f"{sheet.name} has an instance twice")
    _demand(found.keys() <= wanted.keys(), f"{sheet.name} has an instance that is not the store's")
    for key, entry in wanted.items():
        what = f"instance {entry.number}" if entry.number else entry.category
        where = f"{what} of {sheet.name}"
        value = _likeness(entry, found.get(key), where)
        _demand(value == 1.0 or not format_.exact, f"{where} reads back with IoU {value:.6f}")
        tally.add(where, value)


def _by_key(entries: Sequence[Entry], *, has_ids: bool) -> dict[tuple[str, int], Entry]:
    """Entries by id; in formats without ids by their place among those of their category."""
    counts: Counter[str] = Counter()
    keyed = {}
    for entry in entries:
        counts[entry.category] += 1
        key = ("", entry.number) if has_ids else (entry.category, counts[entry.category])
        keyed[key] = entry
    return keyed


def _likeness(wanted: Entry, found: Entry | None, where: str) -> float:
    """IoU of what was found with what is wanted; 0 for what the picture shows no pixel of."""
    if found is None:
        return 0.0
    _demand(found.category == wanted.category, f"the category of {where} differs")
    _demand(not found.is_crowd, f"{where} is a crowd")
    if wanted.rle is None:
        moved = max(abs(a - b) for a, b in zip(found.box, wanted.box, strict=True))
        return float(moved <= _BOX_SLACK)
    if found.rle is None:
        return 0.0
    return 1.0 if found.rle.counts == wanted.rle.counts else iou(found.rle, wanted.rle)


def _demand(holds: bool, text: str) -> None:
    if not holds:
        raise ExportFailed(f"the export was thrown away: {text}; please report this")
