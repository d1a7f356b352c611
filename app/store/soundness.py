"""Whether the database is whole: its pages, its keys, and the heads of all instances."""

from collections.abc import Iterator

from sqlalchemy import Connection, func, select, text

from app import schema
from app.store.database import Database

_SHOWN = 20  # of a kind of trouble


class Soundness(Database):
    """What the store can say of its own health."""

    def engine_name(self) -> str:
        """The database and its version, such as "SQLite 3.51.3"."""
        with self._read() as connection:
            if connection.dialect.name == "sqlite":
                return f"SQLite {connection.exec_driver_sql('SELECT sqlite_version()').scalar()}"
            return f"PostgreSQL {connection.exec_driver_sql('SHOW server_version').scalar()}"

    def find_troubles(self) -> Iterator[str]:
        """A line for each thing that is broken; none where all is well. May read for long."""
        with self._read() as connection:
            if connection.dialect.name == "sqlite":
                yield from _pages(connection)
            yield from _heads(connection)
            yield from _histories(connection)


def _pages(connection: Connection) -> Iterator[str]:
    """PostgreSQL keeps its pages and keys itself."""
    for (line,) in connection.execute(text(f"PRAGMA integrity_check({_SHOWN})")):
        if line != "ok":
            yield f"the database file is damaged: {line}"
    broken = connection.execute(text("PRAGMA foreign_key_check")).fetchmany(_SHOWN)
    for table, row, parent, _ in broken:
        yield f"row {row} of {table} points at a row of {parent} that is not there"


def _heads(connection: Connection) -> Iterator[str]:
    instance, revision = schema.instance.c, schema.revision.c
    is_head = (revision.instance_id == instance.id) & (revision.version == instance.version)
    query = (
        select(instance.id)
        .select_from(schema.instance.outerjoin(schema.revision, schema.HEAD))
        .where(func.coalesce((revision.is_conflict == 0) & is_head, False).is_(False))
        .limit(_SHOWN)
    )
    for key in connection.execute(query).scalars():
        yield f"instance {key} does not stand at a revision of its own"


def _histories(connection: Connection) -> Iterator[str]:
    instance, revision = schema.instance.c, schema.revision.c
    count, newest = func.count(revision.id), func.max(revision.version)
    query = (
        select(instance.id, instance.version)
        .outerjoin_from(
            schema.instance,
            schema.revision,
            (revision.instance_id == instance.id) & (revision.is_conflict == 0),
        )
        .group_by(instance.id, instance.version)
        .having((count != instance.version) | (newest != instance.version))
        .limit(_SHOWN)
    )
    for key, version in connection.execute(query):
        yield f"the history of instance {key} is not versions 1 to {version}"
