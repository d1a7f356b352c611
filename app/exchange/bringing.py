"""A data set into a project: first a look that writes nothing, then all of it or none.

Reading, decoding and comparing hold nothing up. Only what is to be written is written under the
store's lock, at once, and what a person saved in the meantime is compared anew before that.
"""

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from app.errors import on_disk
from app.exchange.formats import Format
from app.exchange.looking import Found, ImportReport, Look, Tell, count, silent
from app.exchange.matching import Fate
from app.exchange.sheets import Fields
from app.images import Expanded, Intake, Vault, expand, open_vault
from app.images.content import THUMBNAIL, name_of
from app.records import Change, Image, NewInstance, TakenImage
from app.settings import Settings
from app.store import Store
from mal_core.errors import BadDataset, InputError

REASON = "import"
_Saving = tuple[str, str, datetime]  # person, reason, now
_UNPACKED = 10  # times the largest upload that zips may unpack to
_MEMBERS = 1_000_000  # files in one zip: a data set has some for each image


class Importer:
    """Brings data sets in.

    Args:
        settings: where rasters go, and the limits.
        store: what to import into.
        tell: told how far it is.
    """

    def __init__(self, settings: Settings, store: Store, tell: Tell = silent) -> None:
        self._tell = tell
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
        replace: bool = False,
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
            replace: where the project has an object with another outline, the file's becomes its
                newest revision; what a person rejected or deleted stays as it is.

        Raises:
            NotFound: there is no such project.
            BadDataset: with a line for each problem; nothing was changed.
            DiskFull, Unavailable: disk or image store refuse; no instance came in.
        """
        settings = self._settings
        with on_disk("nothing was imported"), _scratch(settings.data_dir) as scratch:
            beside = dataclasses.replace(settings, data_dir=scratch / "taken", images_url="")
            expanded = _expand(paths, scratch, settings)
            report = ImportReport(problems=[*expanded.skipped, *_twice(expanded)])
            mark, found = self._store.newest_revision(), list[Found]()
            with Intake(beside) as intake:
                files = {} if report.problems else {f.name: f.path for f in expanded.files}
                look = Look(self._store, project_id, format_, files, intake, replace=replace)
                for one in () if report.problems else look.each(report, self._tell):
                    if not dry_run:
                        found.append(one)
            if dry_run:
                return report
            if report.problems:
                raise BadDataset(report.problems)
            for one in found:
                if one.match.taken is not None:
                    _keep(one.match.taken, open_vault(beside), open_vault(settings))
            self._tell("writing", 0, report.n_images)
            with self._store.transaction():
                writing = _Writing(self._store, project_id, format_.family, look)
                done = writing.write(found, mark, (person, REASON, now))
            return dataclasses.replace(done, unmatched=report.unmatched, left_out=report.left_out)


@contextmanager
def _scratch(data_dir: Path) -> Iterator[Path]:
    """A folder for what comes in; where the tables are elsewhere, the data folder may be new."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data_dir, prefix="import-") as folder:
        yield Path(folder)


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


def _keep(taken: TakenImage, beside: Vault, vault: Vault) -> None:
    """Keep raster and thumbnail, the thumbnail first, as intake does."""
    for suffix in (THUMBNAIL, f".{taken.extension}"):
        name = name_of(taken.sha256, suffix)
        if (source := beside.fetch(name)).exists():
            vault.keep(name, source)


class _Writing:
    """Writes what a look has found; to be used inside a transaction."""

    def __init__(self, store: Store, project_id: int, family: str, look: Look) -> None:
        self._store = store
        self._project_id = project_id
        self._family = family
        self._look = look
        # Only now, so that a file that is refused leaves no category behind.
        self._added = {
            key: store.add_category(project_id, name).id for key, name in look.new.items()
        }
        self._seen: set[int] = set()
        self._new: list[NewInstance] = []
        self._changes: list[Change] = []
        self._own: list[Fields] = []  # the new ones' fields of other tools
        self._fields: dict[int, Fields] = {}  # those of instances that were there before

    def write(self, found: Iterable[Found], mark: int, saving: _Saving) -> ImportReport:
        """Write everything.

        Args:
            found: what comes in.
            mark: the newest revision when the look began.
            saving: person, reason and time.
        """
        report, store = ImportReport(), self._store
        touched = store.touched_since(self._project_id, mark)
        pictures: dict[int, Fields] = {}
        for one in found:
            image, settled = self._settle(one, touched, saving)
            count(report, settled)
            self._sort(image, settled)
            pictures[image.id] = settled.sheet.extra
        self._flush(saving)
        store.keep_fields(self._family, "instance", _filled(self._fields))
        store.keep_fields(self._family, "image", _filled(pictures))
        declared = self._look.reading.categories.items()
        fields = {self._real(self._look.category(name)): extra for name, extra in declared}
        store.keep_fields(self._family, "category", fields)
        store.keep_fields(self._family, "project", {self._project_id: self._look.reading.extra})
        return report

    def _flush(self, saving: _Saving) -> None:
        """Write what is noted so far."""
        first = self._store.bring(self._new, self._changes, *saving)
        self._fields |= {first + place: extra for place, extra in enumerate(self._own)}
        self._new, self._changes, self._own = [], [], []

    def _settle(self, one: Found, touched: Collection[int], saving: _Saving) -> tuple[Image, Found]:
        """Its image, added if it is new; compared anew where a person was there meanwhile."""
        drafts = [
            dataclasses.replace(draft, category_id=self._real(draft.category_id))
            if draft.category_id < 0
            else draft
            for draft in one.drafts
        ]
        one = dataclasses.replace(one, drafts=drafts)
        image, is_new = one.match.image, False
        if image is None:
            assert one.match.taken is not None
            image, is_new = self._store.add_image(self._project_id, one.match.taken, saving[2])
        again = image.id in self._seen  # several of the files speak of it
        self._seen.add(image.id)
        if again:
            self._flush(saving)
        elif is_new or (one.match.image is not None and image.id not in touched):
            return image, one
        match = dataclasses.replace(one.match, image=image, taken=None)
        return image, self._look.judge(dataclasses.replace(one, match=match))

    def _sort(self, image: Image, found: Found) -> None:
        """Note what becomes of each instance."""
        rows = zip(found.drafts, found.verdicts, found.entries, strict=True)
        for draft, verdict, entry in rows:
            if verdict.fate is Fate.NEW:
                self._new.append(NewInstance(image.id, draft))
                self._own.append(entry.extra)
            elif verdict.head is not None:
                head = verdict.head
                self._fields[head.instance_id] = entry.extra
                if verdict.fate in (Fate.FILLED, Fate.REPLACED):
                    self._changes.append(Change(head.instance_id, head.version, draft))

    def _real(self, key: int) -> int:
        """The id of a category that may have been a new one."""
        return self._added.get(key, key)


def _filled(fields: Mapping[int, Fields]) -> dict[int, Fields]:
    return {key: value for key, value in fields.items() if value}


def _twice(expanded: Expanded) -> list[str]:
    """A line for each name that several files have."""
    counts = Counter(found.name for found in expanded.files)
    return [f"{name}: {count} files have this name" for name, count in counts.items() if count > 1]
