"""The two databases the store speaks to, and everything in which they differ.

SQLite is one file. Writes begin IMMEDIATE, since a transaction that turns from reading to writing
can fail at once however long it may wait; synchronous=FULL, since an acknowledged save must
outlast the power.

PostgreSQL is reached by a URL. A writer takes one lock for all of the database first, which gives
what SQLite gives: whoever writes sees the newest state, and nobody else writes meanwhile. A reader
sees the state of one moment.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Table,
    TypeDecorator,
    create_engine,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DatabaseError, DataError, OperationalError

from app.errors import Busy, DiskFull, StudioError, Unavailable
from mal_core.errors import InputError

WAIT_MS = 30_000
PRAGMAS = (
    f"busy_timeout = {WAIT_MS}",
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
)
_DRIVER = "postgresql+psycopg"
_ONE_WRITER = 0x4D414C  # the key of the lock that every writer holds; any number does
_OPTIONS = f"-c lock_timeout={WAIT_MS} -c synchronous_commit=on -c timezone=UTC"
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def open_engine(where: Path | str) -> tuple[Engine, Engine]:
    """Connect lazily to a SQLite file, or to a PostgreSQL database by its URL.

    Returns:
        What reads, each time the state of one moment; and what writes, one at a time. Both share
        their connections.

    Raises:
        StudioError: the URL is none of PostgreSQL's, or the file's folder cannot be made.
    """
    if isinstance(where, Path):
        return _open_sqlite(where)
    return _open_postgresql(check_url(where))


def check_url(text: str) -> URL:
    """Read a database's URL.

    Raises:
        StudioError: it is none, or of a database that the studio does not know.
    """
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise StudioError("the database URL cannot be read; " + _URL_HELP) from error
    if url.drivername not in ("postgresql", _DRIVER):
        raise StudioError(f"the studio does not know {url.drivername} databases; " + _URL_HELP)
    return url.set(drivername=_DRIVER)


_URL_HELP = f"it must be {_DRIVER}://user:password@host/name, or unset for a SQLite file"


def insert_into(connection: Connection, table: Table) -> Any:  # noqa: ANN401 - one type a dialect
    """An INSERT that can say what happens on a conflict."""
    return _INSERTS[connection.dialect.name](table)


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Insert many rows of plain values: as `connection.execute` does, in a third of the time.

    Args:
        connection: a writer's.
        table: where to.
        columns: names of the columns, in the order of the values.
        rows: values as the database keeps them; times are turned into its text.
    """
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    names, marks = ", ".join(columns), ", ".join([mark] * len(columns))
    ready = [tuple(row) for row in rows]
    for place, name in enumerate(columns):
        kind = table.c[name].type
        if isinstance(kind, TypeDecorator):
            kept = {row[place]: None for row in ready}
            kept = {value: kind.process_bind_param(value, connection.dialect) for value in kept}
            ready = [(*row[:place], kept[row[place]], *row[place + 1 :]) for row in ready]
    connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", ready)  # noqa: S608 - names of our own schema


def count_on(connection: Connection, table: Table) -> None:
    """Let new rows be numbered after the highest there is; SQLite does so by itself."""
    if connection.dialect.name == "postgresql" and "id" in table.c:
        highest = select(func.max(table.c.id)).scalar_subquery()
        sequence = func.pg_get_serial_sequence(table.name, "id")
        is_used = highest.is_not(None)
        connection.execute(select(func.setval(sequence, func.coalesce(highest, 1), is_used)))


def in_byte_order(connection: Connection, column: Any) -> Any:  # noqa: ANN401 - SQLAlchemy's own
    """A text as something to order by that is the same in both databases and every language."""
    return column.collate("BINARY" if connection.dialect.name == "sqlite" else "C")


@contextmanager
def deferred_keys(connection: Connection) -> Iterator[None]:
    """Let foreign keys be checked at the end of the block, or of the transaction.

    Raises:
        IntegrityError: one is broken.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        yield
        return
    keys = connection.exec_driver_sql(_UNDEFERRED).all()
    for table, key in keys:
        connection.exec_driver_sql(
            f"ALTER TABLE {table} ALTER CONSTRAINT {key} DEFERRABLE INITIALLY DEFERRED"
        )
    yield
    connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
    for table, key in keys:
        connection.exec_driver_sql(f"ALTER TABLE {table} ALTER CONSTRAINT {key} NOT DEFERRABLE")


_UNDEFERRED = """
    SELECT conrelid::regclass::text, quote_ident(conname) FROM pg_constraint
    WHERE contype = 'f' AND NOT condeferrable
    AND connamespace = current_schema()::regnamespace ORDER BY 1, 2
"""


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the disk, the database's server or another program can cause into our errors."""
    try:
        yield
    except DataError as error:
        raise InputError(f"the database cannot keep this text: {error.orig}") from error
    except DatabaseError as error:
        is_read_only = getattr(error.orig, "sqlstate", "") == "25006"
        if type(error) not in (OperationalError, DatabaseError) and not is_read_only:
            raise  # a broken constraint or statement is a mistake of the studio's own
        raise _explain(error) from error


def _open_sqlite(path: Path) -> tuple[Engine, Engine]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudioError(f"the data folder cannot be made: {error.strerror}") from error
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, pool_size=8, max_overflow=-1)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine, engine.execution_options(begin="IMMEDIATE")


def _prepare(connection: sqlite3.Connection, _: object) -> None:
    """Set a fresh connection up; from here on only `_begin` begins transactions."""
    connection.isolation_level = None
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    kind = connection.get_execution_options().get("begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {kind}")


def _open_postgresql(url: URL) -> tuple[Engine, Engine]:
    options: dict[str, Any] = {"connect_args": {"options": _OPTIONS}, "pool_pre_ping": True}
    try:
        engine = create_engine(url, pool_size=8, max_overflow=32, **options)
    except ModuleNotFoundError as error:
        raise StudioError("PostgreSQL needs psycopg: pip install 'psycopg[binary]'") from error
    reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    writer = engine.execution_options(isolation_level="READ COMMITTED")
    event.listen(writer, "begin", _lock)
    return reader, writer


def _lock(connection: Connection) -> None:
    """Wait until no other writes; the end of the transaction lets the next one in.

    Each statement after this one sees what is committed then, and so all that went before.
    """
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ONE_WRITER})")


def _explain(error: DatabaseError) -> StudioError:
    """Say in a person's words what keeps the database from working."""
    names = (getattr(error.orig, kind, None) for kind in ("sqlite_errorname", "sqlstate"))
    name = next(filter(None, names), "")
    if name.startswith("SQLITE_BUSY") or name == "55P03":
        return Busy("the database is held by another program; nothing was saved, try again")
    if name in ("SQLITE_FULL", "53100"):
        return DiskFull("the disk is full; nothing was saved, make room and try again")
    return Unavailable(f"the database cannot be read or written; nothing was saved ({error.orig})")
