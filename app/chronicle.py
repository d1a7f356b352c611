"""What was done in a project and by whom, to be looked through, taken away, and brought back."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from app.errors import NotAllowed
from app.leases import is_held_against
from app.people import Entry
from app.records import Instance, Line, Revision, Sieve, Viewer
from app.store import Store

PAGE = 50  # lines shown at a time
RESTORED = "restore"
LINE_HEAD = (
    *("revision", "time", "person", "reason", "state", "category", "image", "instance", "version"),
    *("lost", "model", "seconds", "strokes"),
)
ENTRY_HEAD = ("time", "person", "act", "project", "subject", "detail")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would compute a cell that begins so


class Chronicle:
    """The use cases of history; `now` tells the time."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    def note(
        self,
        person: str,
        act: str,
        project_id: int | None,
        subject: str,
        detail: Mapping[str, Any],
    ) -> None:
        """Write a line of the audit log.

        Args:
            person: who did it.
            act: a noun, or a noun and a verb, such as "export" or "model.use".
            project_id: where; None for the whole studio.
            subject: what it was done to, in words a person knows it by.
            detail: figures and flags, as JSON can hold them.
        """
        self._store.add_audit(
            person, act, self._now(), project_id=project_id, subject=subject, detail=detail
        )

    def restore(self, revision_id: int, person: str) -> Instance:
        """Bring an earlier revision back, as a new one on top of what is there now.

        Args:
            revision_id: any of the instance, also one that lost a race.
            person: who wants it back.

        Raises:
            NotFound: there is no such revision.
            NotAllowed: it says that the instance is gone and it is, somebody else works on the
                image now, or it is annotated blind.
        """
        with self._store.transaction():
            old = self._store.get_revision(revision_id)
            head = self._store.get_instance(old.instance_id)
            lease, now = self._store.get_lease(head.image_id), self._now()
            if self._store.layer_of(head.id) is not None:
                return self._restore_own(old, head.image_id, person)
            if lease is not None and is_held_against(lease, person, now):
                raise NotAllowed(f"{lease.person} works on this image now: restore it later")
            reason = f"{RESTORED} {revision_id}"
            saving = (head.version, person, reason, now)
            return self._store.save_instance(head.id, old.draft, *saving)

    def _restore_own(self, old: Revision, image_id: int, person: str) -> Instance:
        """Bring what was somebody's own back for everybody; the layer stays as it is."""
        if self._store.find_blind(image_id) is not None:
            raise NotAllowed("this image is annotated blind: restore it when it is merged")
        reason = f"{RESTORED} {old.id}"
        return self._store.add_instance(image_id, old.draft, person, reason, self._now())

    def history_csv(
        self, project_id: int, sieve: Sieve, viewer: Viewer | None = None
    ) -> Iterator[str]:
        """The lines of a history that somebody may read as CSV, a text a line, the newest first.

        Raises:
            NotFound: there is no such project.
        """
        lines = self._store.list_lines(project_id, sieve, viewer=viewer)
        return to_csv(LINE_HEAD, map(line_to_cells, lines))

    def audit_csv(self, project_id: int | None = None) -> Iterator[str]:
        """The audit log as CSV, one text a line, the newest first."""
        return to_csv(ENTRY_HEAD, map(entry_to_cells, self._entries(project_id)))

    def _entries(self, project_id: int | None) -> Iterator[Entry]:
        before: int | None = None
        while page := self._store.list_audit(project_id=project_id, before=before, limit=1000):
            yield from page
            before = page[-1].id


def line_to_cells(line: Line) -> list[str]:
    """A line of a history, as LINE_HEAD names its cells."""
    return [
        str(line.id),
        _time(line.at),
        line.person,
        line.reason,
        line.state,
        line.category,
        line.file_name,
        str(line.number),
        str(line.version),
        "yes" if line.is_conflict else "",
        line.model,
        "" if line.seconds is None else f"{line.seconds:.1f}",
        "" if line.strokes is None else str(line.strokes),
    ]


def entry_to_cells(entry: Entry) -> list[str]:
    """A line of the audit log, as ENTRY_HEAD names its cells."""
    project = "" if entry.project_id is None else str(entry.project_id)
    detail = orjson.dumps(dict(entry.detail)).decode("utf-8") if entry.detail else ""
    return [_time(entry.at), entry.person, entry.act, project, entry.subject, detail]


def to_csv(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """CSV as spreadsheets read it, a text a line; no cell is taken for a formula.

    Source: RFC 4180; OWASP, CSV injection (a leading apostrophe).
    """
    yield _csv_line(head)
    for row in rows:
        yield _csv_line(["'" + cell if cell.startswith(_FORMULA) else cell for cell in row])


def _csv_line(row: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(row)
    return text.getvalue()


def _time(at: datetime) -> str:
    return at.isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
