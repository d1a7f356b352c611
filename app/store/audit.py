"""The audit log: who did what, and when; the database refuses to change or delete a line of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from app import schema
from app.people import Entry
from app.store.database import Database
from app.store.rows import row_to_entry


class Audit(Database):
    """What the store knows of acts that are not revisions of a mask."""

    def add_audit(
        self,
        person: str,
        act: str,
        now: datetime,
        *,
        project_id: int | None = None,
        subject: str = "",
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a line; inside `transaction()`, it stands or falls with the act it tells of."""
        values = {"at": now, "person": person, "act": act, "project_id": project_id}
        values |= {"subject": subject, "detail": detail or {}}
        with self._write() as connection:
            connection.execute(schema.audit.insert(), values)

    def list_audit(
        self,
        *,
        project_id: int | None = None,
        acts: Sequence[str] = (),
        person: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Entry]:
        """Lines of the log, newest first.

        Args:
            project_id: of this project only.
            acts: only these; none for all.
            person: by this person only.
            before: id of the line after which the list goes on.
            limit: how many at most.
        """
        table = schema.audit
        query = select(table).order_by(table.c.id.desc()).limit(limit)
        if project_id is not None:
            query = query.where(table.c.project_id == project_id)
        if acts:
            query = query.where(table.c.act.in_(acts))
        if person is not None:
            query = query.where(table.c.person == person)
        if before is not None:
            query = query.where(table.c.id < before)
        with self._read() as connection:
            return [row_to_entry(row) for row in connection.execute(query)]
