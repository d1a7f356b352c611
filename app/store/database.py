"""The connection to SQLite: how it is opened, migrated, and how a transaction begins and ends.

Writes begin IMMEDIATE, since a transaction that turns from reading to writing can fail at once
however long it may wait; synchronous=FULL, since an acknowledged save must outlast the power.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, Row, Table, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError

import app.migrations
from app.errors import Busy, NotFound, StudioError

_WAIT_MS = 30_000
_ID_MAX = 2**63 - 1
_PRAGMAS = (
    f"busy_timeout = {_WAIT_MS}",
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
)


class Database:
    """An open database; the base of all parts of the store.

    Args:
        path: the SQLite file; its folder is made.

    Raises:
        StudioError: the file was made by a newer studio, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = _open_engine(path)
        self._writer = self._engine.execution_options(begin="IMMEDIATE")
        self._joined = threading.local()
        with self._write() as connection:
            _migrate(connection)

    def close(self) -> None:
        """Close all idle connections; the store is not to be used afterwards."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Join every call made inside, in this thread, into one all-or-nothing transaction.

        Raises:
            Busy: another process held the database for 30 seconds.
        """
        with self._write():
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let every read made inside, in this thread, see the state of one moment; no writes.

        Raises:
            StudioError: the database cannot be read.
        """
        with self._read() as connection:
            outer = getattr(self._joined, "connection", None)
            self._joined.connection = connection
            try:
                yield
            finally:
                self._joined.connection = outer

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        """Begin a write transaction, or join the one this thread is in; commit at the end."""
        if (outer := getattr(self._joined, "connection", None)) is not None:
            yield outer
            return
        with _explained(), self._writer.begin() as connection:
            self._joined.connection = connection
            try:
                yield connection
            finally:
                self._joined.connection = None

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        """Begin a read of one moment's state, or join the transaction this thread is in."""
        if (outer := getattr(self._joined, "connection", None)) is not None:
            yield outer
            return
        with _explained(), self._engine.connect() as connection:
            yield connection


def fetch(connection: Connection, table: Table, key: int) -> Row[Any]:
    """Read a row by its id.

    Raises:
        NotFound: there is none.
    """
    row = None
    if 0 < key <= _ID_MAX:
        row = connection.execute(table.select().where(table.c.id == key)).one_or_none()
    if row is None:
        raise NotFound(f"there is no {table.name.replace('_', ' ')} {key}")
    return row


def _open_engine(path: Path) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(path)), pool_size=8, max_overflow=-1)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _: object) -> None:
    """Set a fresh connection up; from here on only `_begin` begins transactions."""
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    kind = connection.get_execution_options().get("begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {kind}")


def _migrate(connection: Connection) -> None:
    """Bring the database to the newest version, inside the transaction that is open."""
    config = Config()
    config.set_main_option("script_location", str(Path(app.migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StudioError(
            "this data folder was made by a newer studio; run that one, or choose another folder"
        ) from error


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what the disk or another program can cause into an error of ours."""
    try:
        yield
    except DatabaseError as error:
        if type(error) not in (OperationalError, DatabaseError):
            raise  # a broken constraint or statement is a mistake of the studio's own
        raise _explain(error) from error


def _explain(error: DatabaseError) -> StudioError:
    """Say in a person's words what keeps SQLite from working."""
    name: str = getattr(error.orig, "sqlite_errorname", "")
    if name.startswith("SQLITE_BUSY"):
        return Busy("the database is held by another program; nothing was saved, try again")
    if name == "SQLITE_FULL":
        return StudioError("the disk is full; nothing was saved, make room and try again")
    return StudioError(f"the database cannot be read or written; nothing was saved ({error.orig})")
