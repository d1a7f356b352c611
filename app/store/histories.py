"""The history of a project as lines to be listed, filtered and taken away."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Row, Select, func, select

from app import schema
from app.records import Line, Revision, Sieve, State, Viewer
from app.store.database import Database, fetch
from app.store.layers import open_to
from app.store.rows import REVISION, row_to_revision

_STREAM = {"yield_per": 1000}  # rows read at a time
_LINE = (
    *(schema.revision.c[n] for n in ("id", "saved_at", "person", "reason", "state", "version")),
    *(schema.revision.c.is_conflict, schema.revision.c.instance_id),
    schema.category.c.name.label("category"),
    *(schema.instance.c.image_id, schema.instance.c.number, schema.image.c.file_name),
    *(schema.model_version.c.name.label("model"), schema.effort.c.seconds, schema.effort.c.strokes),
)


class Histories(Database):
    """What the store knows of who did what to which mask."""

    def list_lines(
        self,
        project_id: int,
        sieve: Sieve,
        *,
        before: int | None = None,
        limit: int | None = None,
        viewer: Viewer | None = None,
    ) -> Iterator[Line]:
        """Stream a project's revisions without their masks, the newest first.

        Args:
            project_id: the project.
            sieve: which.
            before: id of the revision after which the list goes on.
            limit: how many at most; None for all.
            viewer: who reads; what others annotate blind is sealed. None may read all.

        Raises:
            NotFound: there is no such project.
        """
        query = _sifted(_lines(project_id), sieve).where(open_to(viewer))
        query = query.order_by(schema.revision.c.id.desc())
        if before is not None:
            query = query.where(schema.revision.c.id < before)
        with self._read() as connection:
            fetch(connection, schema.project, project_id)
            for row in connection.execute(query.limit(limit), execution_options=_STREAM):
                yield _row_to_line(row)

    def list_savers(self, project_id: int) -> tuple[Sequence[str], Sequence[str]]:
        """Who ever saved a revision of a project, and for which reasons, both in order."""
        revision, instance = schema.revision, schema.instance
        joined = select(revision.c.person, revision.c.reason).distinct()
        joined = joined.join(instance, instance.c.id == revision.c.instance_id)
        query = joined.where(instance.c.project_id == project_id)
        with self._read() as connection:
            rows = connection.execute(query).all()
        reasons = {row.reason.partition(" ")[0] for row in rows}
        return sorted({row.person for row in rows}), sorted(reasons)

    def get_revision(self, revision_id: int) -> Revision:
        """One revision.

        Raises:
            NotFound: there is none with this id.
        """
        revision, instance, image = schema.revision, schema.instance, schema.image
        query = (
            select(*REVISION)
            .select_from(revision)
            .join(instance, instance.c.id == revision.c.instance_id)
            .join(image, image.c.id == instance.c.image_id)
            .outerjoin(schema.effort, schema.effort.c.revision_id == revision.c.id)
            .where(revision.c.id == revision_id)
        )
        with self._read() as connection:
            fetch(connection, revision, revision_id)
            return row_to_revision(connection.execute(query).one())


def _lines(project_id: int) -> Select[Any]:
    revision, instance, image = schema.revision, schema.instance, schema.image
    return (
        select(*_LINE)
        .select_from(revision)
        .join(instance, instance.c.id == revision.c.instance_id)
        .join(image, image.c.id == instance.c.image_id)
        .join(schema.category, schema.category.c.id == revision.c.category_id)
        .outerjoin(schema.model_version, schema.model_version.c.id == revision.c.model_id)
        .outerjoin(schema.effort, schema.effort.c.revision_id == revision.c.id)
        .where(instance.c.project_id == project_id)
    )


def _sifted(query: Select[Any], sieve: Sieve) -> Select[Any]:
    revision, file_name = schema.revision, func.lower(schema.image.c.file_name)
    if sieve.person is not None:
        query = query.where(revision.c.person == sieve.person)
    if sieve.reason is not None:
        first = revision.c.reason == sieve.reason
        query = query.where(
            first | revision.c.reason.startswith(f"{sieve.reason} ", autoescape=True)
        )
    if sieve.state is not None:
        query = query.where(revision.c.state == str(sieve.state))
    if sieve.text:
        query = query.where(file_name.contains(sieve.text.lower(), autoescape=True))
    if sieve.number is not None:
        query = query.where(schema.instance.c.number == sieve.number)
    if sieve.conflicts:
        query = query.where(revision.c.is_conflict == 1)
    return query


def _row_to_line(row: Row[Any]) -> Line:
    return Line(
        id=row.id,
        at=row.saved_at,
        person=row.person,
        reason=row.reason,
        state=State(row.state),
        category=row.category,
        image_id=row.image_id,
        file_name=row.file_name,
        instance_id=row.instance_id,
        number=row.number,
        version=row.version,
        is_conflict=bool(row.is_conflict),
        model=row.model or "",
        seconds=row.seconds,
        strokes=row.strokes,
    )
