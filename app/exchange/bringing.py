"""A data set into a project: first a dry run that writes nothing, then all of it or none."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from app.errors import StudioError
from app.exchange.album import Album, Match
from app.exchange.formats import Format
from app.exchange.matching import Fate, Verdict, judge
from app.exchange.sheets import Entry, Fields, Reading, Sheet, as_box, box_of
from app.images import Expanded, Intake, expand, put
from app.images.rasters import raster_path
from app.records import Draft, NewInstance, Revision, State, TakenImage
from app.session import check_name, exportable
from app.settings import Settings
from app.store import Store
from mal_core.errors import BadDataset, InputError

REASON = "import"
_UNPACKED = 10  # times the largest upload that zips may unpack to
_MEMBERS = 1_000_000  # files in one zip: a data set has some for each image


@dataclass
class ImportReport:
    """What an import brings, or has brought.

    Attributes:
        n_images: images that the file and the project have, new ones among them.
        n_new_images: images that came along and are new to the project.
        n_masks: instances that come in as accepted.
        n_boxes: instances that come in as proposals without a mask.
        n_filled: proposals of the project that take a mask over and are accepted.
        n_known: instances that the project has, or had.
        n_crowds: left out, as they are not single objects.
        conflicts: a line for each instance that the project has with another outline.
        unmatched: names of images that nobody has.
        left_out: a line for each thing that is no instance.
        problems: a line for each thing that keeps everything out.
    """

    n_images: int = 0
    n_new_images: int = 0
    n_masks: int = 0
    n_boxes: int = 0
    n_filled: int = 0
    n_known: int = 0
    n_crowds: int = 0
    conflicts: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Importer:
    """Brings data sets in.

    Args:
        settings: where rasters go, and the limits.
        store: what to import into.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store

    def run(
        self,
        project_id: int,
        format_: Format,
        paths: Sequence[Path],
        *,
        person: str,
        now: datetime,
        dry_run: bool = False,
    ) -> ImportReport:
        """Add the instances of files, folders or zips to a project, and images that came along.

        A mask is somebody's ground truth and comes in as accepted; a box alone comes in as a
        proposal that has no mask yet. What the project has, or once had, is not added again.

        Args:
            project_id: the project.
            format_: how the files are written.
            paths: the files.
            person: in whose name.
            now: the time.
            dry_run: only look; the report says what an import would do, its problems included.

        Raises:
            NotFound: there is no such project.
            BadDataset: with a line for each problem; nothing was changed.
            StudioError: the disk is full, or refuses; no instance came in.
        """
        settings = self._settings
        with (
            _explained(),
            tempfile.TemporaryDirectory(dir=settings.data_dir, prefix="import-") as folder,
        ):
            scratch = Path(folder)
            beside = replace(settings, data_dir=scratch / "taken")
            expanded = _expand(paths, scratch, settings)
            with Intake(beside) as intake:
                run = _Run(self._store, project_id, format_, expanded, intake)
                report = run.look()
            if dry_run:
                return report
            if report.problems:
                raise BadDataset(report.problems)
            for taken in run.taken:
                _keep(taken, beside, settings)
            with self._store.transaction():
                return run.write(person, now)


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what the disk can cause into an error of ours."""
    try:
        yield
    except OSError as error:
        raise StudioError(f"nothing was imported: {error.strerror or error}") from error


def _expand(paths: Sequence[Path], scratch: Path, settings: Settings) -> Expanded:
    """Unpack what was given; what tries to leave its zip, or is damaged, is a problem."""
    unpacked = scratch / "files"
    unpacked.mkdir()
    missing = tuple(f"{path}: there is no such file" for path in paths if not path.exists())
    if missing:
        return Expanded((), missing)
    try:
        limit = _UNPACKED * settings.max_upload_bytes
        return expand(paths, unpacked, limit, suffixes=None, max_members=_MEMBERS)
    except InputError as error:
        return Expanded((), (str(error),))


def _keep(taken: TakenImage, beside: Settings, settings: Settings) -> None:
    """Move raster and thumbnail to their places, the thumbnail first, as intake does."""
    for extension in ("thumb.jpg", taken.extension):
        source, target = (raster_path(s, taken.sha256, extension) for s in (beside, settings))
        if source.exists():
            put(source, target)


@dataclass(frozen=True)
class _Found:
    """One image of the data set, compared with the project."""

    sheet: Sheet
    match: Match
    entries: Sequence[Entry]
    drafts: Sequence[Draft]
    verdicts: Sequence[Verdict]


class _Run:
    """One import: looks through everything, and then does the same again and writes."""

    def __init__(
        self, store: Store, project_id: int, format_: Format, expanded: Expanded, intake: Intake
    ) -> None:
        self._store = store
        self._project_id = project_id
        self._format = format_
        self._files = {found.name: found.path for found in expanded.files}
        self._doubts = [*expanded.skipped, *_twice(expanded)]
        images = [summary.image for summary in store.list_images(project_id)]
        self._album = Album(images, self._files, intake, paints=format_.paints)
        self._categories = {
            category.name.casefold(): category.id for category in store.list_categories(project_id)
        }
        self._added: dict[str, int] = {}
        self.taken: list[TakenImage] = []

    def look(self) -> ImportReport:
        """Read and compare everything; nothing is written."""
        report = ImportReport(problems=[*self._doubts])
        reading = self._reading()
        if not self._doubts:
            for found in self._each(reading, report, self._look_up):
                if found.match.taken is not None:
                    self.taken.append(found.match.taken)
        report.problems += reading.problems
        return report

    def write(self, person: str, now: datetime) -> ImportReport:
        """Do the same again and write; to be called in a transaction."""
        report, reading = ImportReport(), self._reading()
        for found in self._each(reading, report, self._add_category):
            self._write_one(found, person, now)
        if reading.problems:  # the project has changed in between
            raise BadDataset(reading.problems)
        family = self._format.family
        fields = {self._add_category(n): extra for n, extra in reading.categories.items()}
        self._store.keep_fields(family, "category", fields)
        self._store.keep_fields(family, "project", {self._project_id: reading.extra})
        return report

    def _reading(self) -> Reading:
        return Reading(self._files, self._album.find)

    def _look_up(self, name: str) -> int:
        """The id of a category; a made-up one below 0 if it is new."""
        return self._categories.setdefault(check_name(name).casefold(), -len(self._categories) - 1)

    def _add_category(self, name: str) -> int:
        """The id of a category, added if it is new; asked of the store once."""
        if name not in self._added:
            self._added[name] = self._store.add_category(self._project_id, name).id
        return self._added[name]

    def _each(
        self, reading: Reading, report: ImportReport, category: Callable[[str], int]
    ) -> Iterator[_Found]:
        """Each image that the data set and the project share; the report grows on the way."""
        owners: dict[str, str] = {}
        with reading.telling(self._format.title):
            for sheet in self._format.read(reading):
                with reading.telling(sheet.name):
                    match = self._album.match(sheet.name)
                    if match is None:
                        report.unmatched.append(sheet.name)
                        continue
                    _check_size(sheet, match)
                    if other := _other(sheet, match, owners):
                        line = f"{sheet.name}: is the same picture as {other}, which is taken"
                        report.left_out.append(line)
                        continue
                    found = self._judge(sheet, match, reading, category)
                    _count(report, found)
                    yield found
        with reading.telling("categories"):
            for name in reading.categories:
                category(name)
        report.unmatched += reading.unmatched
        report.left_out += reading.left_out

    def _judge(
        self, sheet: Sheet, match: Match, reading: Reading, category: Callable[[str], int]
    ) -> _Found:
        for name in reading.categories:  # in the order in which the file declares them
            category(name)
        kept: list[Entry] = []
        drafts: list[Draft] = []
        for place, entry in enumerate(sheet.entries, start=1):
            with reading.telling(f"{sheet.name}, instance {entry.number or place}"):
                if not entry.is_crowd:
                    drafts.append(_to_draft(entry, sheet, category(entry.category)))
                    kept.append(entry)
        image = match.image
        if image is None:
            return _Found(sheet, match, kept, drafts, judge(drafts, []))
        history = self._store.list_image_revisions(image.id)
        shown = self._show(sheet, [r for r in history if not r.is_conflict], category)
        return _Found(sheet, match, kept, drafts, judge(drafts, history, shown))

    def _show(
        self, sheet: Sheet, history: Sequence[Revision], category: Callable[[str], int]
    ) -> Iterator[Draft]:
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
                yield _to_draft(entry, sheet, category(entry.category))

    def _write_one(self, found: _Found, person: str, now: datetime) -> None:
        store, family = self._store, self._format.family
        image = found.match.image
        if image is None:
            assert found.match.taken is not None
            image, _ = store.add_image(self._project_id, found.match.taken, now)
        rows = list(zip(found.drafts, found.verdicts, strict=True))
        new = [NewInstance(image.id, draft) for draft, verdict in rows if verdict.fate is Fate.NEW]
        added = iter(store.add_instances(new, person, REASON, now))
        fields: dict[int, Fields] = {}
        for (draft, verdict), entry in zip(rows, found.entries, strict=True):
            if verdict.fate is Fate.NEW:
                fields[next(added).id] = entry.extra
            elif verdict.head is not None:
                fields[verdict.head.instance_id] = entry.extra
                if verdict.fate is Fate.FILLED:
                    saving = (verdict.head.version, person, REASON, now)
                    store.save_instance(verdict.head.instance_id, draft, *saving)
        store.keep_fields(family, "instance", fields)
        store.keep_fields(family, "image", {image.id: found.sheet.extra})


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


def _count(report: ImportReport, found: _Found) -> None:
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


def _twice(expanded: Expanded) -> list[str]:
    """A line for each name that several files have."""
    counts = Counter(found.name for found in expanded.files)
    return [f"{name}: {count} files have this name" for name, count in counts.items() if count > 1]
