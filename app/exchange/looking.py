"""Looks through a data set and compares it with a project; nothing is written here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.exchange.album import Album, Match
from app.exchange.formats import Format
from app.exchange.matching import Fate, Verdict, judge
from app.exchange.sheets import Entry, Reading, Sheet, as_box, box_of
from app.images import Intake
from app.records import Draft, Revision, State
from app.session import check_name, exportable
from app.store import Store
from mal_core.errors import InputError

Tell = Callable[[str, int, int], None]
"""Told what goes on, how many images are done, and how many there are at most."""


def silent(_what: str, _done: int, _total: int) -> None:
    """Tell nobody."""


@dataclass
class ImportReport:
    """What an import brings, or has brought.

    Attributes:
        n_images: images that the file and the project have, new ones among them.
        n_new_images: images that came along and are new to the project.
        n_masks: instances that come in as accepted.
        n_boxes: instances that come in as proposals without a mask.
        n_filled: proposals of the project that take a mask over and are accepted.
        n_replaced: masks of the project that the file's take the place of, as it was asked.
        n_known: instances that the project has, or had.
        n_crowds: left out, as they are not single objects.
        conflicts: a line for each instance that the project has with another outline, which stays.
        unmatched: names of images that nobody has.
        left_out: a line for each thing that is no instance.
        problems: a line for each thing that keeps everything out.
    """

    n_images: int = 0
    n_new_images: int = 0
    n_masks: int = 0
    n_boxes: int = 0
    n_filled: int = 0
    n_replaced: int = 0
    n_known: int = 0
    n_crowds: int = 0
    conflicts: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """One image of the data set, compared with the project.

    Attributes:
        sheet: as the file states it.
        match: the image it means.
        entries: its instances, without crowds.
        drafts: these as the project would store them; a category below 0 is a new one.
        verdicts: what becomes of each.
    """

    sheet: Sheet
    match: Match
    entries: Sequence[Entry]
    drafts: Sequence[Draft]
    verdicts: Sequence[Verdict]


class Look:
    """One look through a data set.

    Args:
        store: what to compare with.
        project_id: the project.
        format_: how the files are written.
        files: all files by name.
        intake: decodes images that came along, into a place of its own.
        replace: whether the file's outline takes the place of the project's.
    """

    def __init__(
        self,
        store: Store,
        project_id: int,
        format_: Format,
        files: Mapping[str, Path],
        intake: Intake,
        *,
        replace: bool = False,
    ) -> None:
        self._store = store
        self._project_id = project_id
        self._format = format_
        self._replace = replace
        images = [summary.image for summary in store.list_images(project_id)]
        self._album = Album(images, files, intake, paints=format_.paints)
        known = store.list_categories(project_id)
        self._categories = {category.name.casefold(): category.id for category in known}
        self.new: dict[int, str] = {}  # made-up id of a new category -> its name
        self.reading = Reading(files, self._album.find)

    def each(self, report: ImportReport, tell: Tell) -> Iterator[Found]:
        """Each image that the data set and the project share; the report grows on the way."""
        reading = self.reading
        owners: dict[str, str] = {}
        with reading.telling(self._format.title):
            for done, sheet in enumerate(self._format.read(reading), start=1):
                with reading.telling(sheet.name):
                    if (found := self._find(sheet, report, owners)) is not None:
                        yield found
                tell("reading", done, max(done, len(self._album)))
        with reading.telling("categories"):
            for name in reading.categories:
                self.category(name)
        report.unmatched += reading.unmatched
        report.left_out += reading.left_out
        report.problems += reading.problems

    def judge(self, found: Found) -> Found:
        """Compare with what the project has of the image now."""
        image = found.match.image
        if image is None:
            return replace(found, verdicts=judge(found.drafts, []))
        history = self._store.list_image_revisions(image.id)
        shown = self._show(found.sheet, [r for r in history if not r.is_conflict])
        verdicts = judge(found.drafts, history, shown, replace=self._replace)
        return replace(found, verdicts=verdicts)

    def category(self, name: str) -> int:
        """The id of a category; a made-up one below 0 if it is new."""
        name = check_name(name)
        key = self._categories.setdefault(name.casefold(), -len(self.new) - 1)
        if key < 0:
            self.new.setdefault(key, name)
        return key

    def _find(self, sheet: Sheet, report: ImportReport, owners: dict[str, str]) -> Found | None:
        """Compare one image; None if it does not come in."""
        match = self._album.match(sheet.name)
        if match is None:
            report.unmatched.append(sheet.name)
            return None
        _check_size(sheet, match)
        if other := _other(sheet, match, owners):
            line = f"{sheet.name}: is the same picture as {other}, which is taken"
            report.left_out.append(line)
            return None
        found = self.judge(self._to_found(sheet, match))
        count(report, found)
        return found

    def _to_found(self, sheet: Sheet, match: Match) -> Found:
        for name in self.reading.categories:  # in the order in which the file declares them
            self.category(name)
        kept: list[Entry] = []
        drafts: list[Draft] = []
        for place, entry in enumerate(sheet.entries, start=1):
            with self.reading.telling(f"{sheet.name}, instance {entry.number or place}"):
                if not entry.is_crowd:
                    drafts.append(_to_draft(entry, sheet, self.category(entry.category)))
                    kept.append(entry)
        return Found(sheet, match, kept, drafts, [])

    def _show(self, sheet: Sheet, history: Sequence[Revision]) -> Iterator[Draft]:
        """What exports of the project as it stands, with proposals or without, would state."""
        if (show := self._format.show) is None:
            return
        heads = {revision.instance_id: revision.draft for revision in history}
        titles = {c.id: c.name for c in self._store.list_categories(self._project_id)}
        for include_proposals in (False, True):
            states = exportable(include_proposals=include_proposals)
            entries = [
                Entry(titles[draft.category_id], box_of(draft.rle), draft.rle)
                for draft in heads.values()
                if draft.state in states and draft.rle is not None and draft.rle.area
            ]
            for entry in show(replace(sheet, entries=entries)).entries:
                yield _to_draft(entry, sheet, self.category(entry.category))


def _check_size(sheet: Sheet, match: Match) -> None:
    """Refuse a sheet of another size than its image."""
    width, height = match.size
    if (sheet.width, sheet.height) != (width, height):
        turned = " before it is turned upright" if (sheet.height, sheet.width) == match.size else ""
        raise InputError(
            f"the file says {sheet.width} x {sheet.height}{turned}, the image is {width} x {height}"
        )


def _other(sheet: Sheet, match: Match, owners: dict[str, str]) -> str:
    """The earlier sheet of the same picture, if it came along twice; empty if there is none.

    Raises:
        InputError: two names, without their pictures, would both be the same image.
    """
    known = match.image or match.taken
    assert known is not None
    other = owners.setdefault(known.source_sha256, sheet.name)
    if other != sheet.name and not match.came_along:
        raise InputError(f"it and {other} would be the same image of the project")
    return "" if other == sheet.name else other


def _to_draft(entry: Entry, sheet: Sheet, category_id: int) -> Draft:
    """One entry as an instance; an empty mask counts as none."""
    rle = entry.rle if entry.rle is not None and entry.rle.area else None
    x0, y0, x1, y1 = as_box(entry.box, sheet.width, sheet.height)
    return Draft(
        state=State.PROPOSED if rle is None else State.ACCEPTED,
        category_id=category_id,
        box=(max(x0, 0.0), max(y0, 0.0), min(x1, float(sheet.width)), min(y1, float(sheet.height))),
        rle=rle,
    )


def count(report: ImportReport, found: Found) -> None:
    """Add one image to the report."""
    report.n_images += 1
    report.n_new_images += found.match.image is None
    report.n_crowds += len(found.sheet.entries) - len(found.entries)
    for draft, verdict, entry in zip(found.drafts, found.verdicts, found.entries, strict=True):
        if verdict.fate is Fate.NEW and draft.rle is None:
            report.n_boxes += 1
        elif verdict.fate is Fate.NEW:
            report.n_masks += 1
        elif verdict.fate is Fate.FILLED:
            report.n_filled += 1
        elif verdict.fate is Fate.REPLACED:
            report.n_replaced += 1
        elif verdict.fate is Fate.KNOWN:
            report.n_known += 1
        elif verdict.head is not None:
            state = verdict.head.draft.state
            report.conflicts.append(
                f"{found.sheet.name}: {entry.category} at {_corner(draft)} is in the project"
                f" ({state}) with another outline, IoU {verdict.iou:.3f}"
            )


def _corner(draft: Draft) -> str:
    return f"({draft.box[0]:.0f}, {draft.box[1]:.0f})"
