"""The open database: how it is migrated, and how a transaction begins and ends."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Row, Table

import app.migrations
from app.errors import Busy, NotFound, StudioError
from app.store.engines import WAIT_MS, explained, open_engine

_ID_MAX = 2**63 - 1


class Database:
    """An open database; the base of all parts of the store.

    Args:
        where: the SQLite file, whose folder is made; or the URL of a PostgreSQL database.
        as_it_is: leave the tables as they are, of whatever version.

    Raises:
        StudioError: the database was made by a newer studio, or cannot be opened.
    """

    def __init__(self, where: Path | str, *, as_it_is: bool = False) -> None:
        self._engine, self._writer = open_engine(where)
        self._joined = threading.local()
        self._turn = threading.Lock()
        if not as_it_is:
            self._bring_up()

    def _bring_up(self) -> None:
        try:
            with self._write() as connection:
                migrate(connection)
        except BaseException:
            self.close()
            raise

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
        with self._my_turn(), explained(), self._writer.begin() as connection:
            self._joined.connection = connection
            try:
                yield connection
            finally:
                self._joined.connection = None

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        """Let the threads of this process write in turn.

        The database would do so, too, but SQLite has its waiters look again from time to time: of
        many, one that is always late would be told that it is busy.
        """
        if not self._turn.acquire(timeout=WAIT_MS / 1000):
            raise Busy("others have been writing for long; nothing was saved, try again")
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        """Begin a read of one moment's state, or join the transaction this thread is in."""
        if (outer := getattr(self._joined, "connection", None)) is not None:
            yield outer
            return
        with explained(), self._engine.connect() as connection:
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
        raise no_such(table.name, key)
    return row


def no_such(kind: str, key: int) -> NotFound:
    """The error that says there is no such thing; the same whether it is not, or not to be seen."""
    return NotFound(f"there is no {kind.replace('_', ' ')} {key}")


def migrate(connection: Connection, version: str = "head") -> None:
    """Bring a database to a version, inside the transaction that is open.

    Raises:
        StudioError: it, or the version, is of a newer studio.
    """
    config = alembic_config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, version)
    except CommandError as error:
        raise StudioError(
            "this data was made by a newer studio; run that one, or choose another folder"
        ) from error


def alembic_config() -> Config:
    """Where Alembic finds the migrations."""
    config = Config()
    config.set_main_option("script_location", str(Path(app.migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    return config
