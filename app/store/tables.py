"""All rows as lines of JSON and back: the same from SQLite and PostgreSQL, to the last byte.

A table's first line names its columns; each other line is a row of raw values, as the database
holds them. Columns stand in the order of their names and rows in that of their primary key, so
that equal tables give equal bytes wherever they lie.
"""

import hashlib
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import orjson
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, MetaData, Table, inspect, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import String

from app.errors import NotAllowed, StudioError
from app.store.database import Database, alembic_config, migrate
from app.store.engines import (
    count_on,
    deferred_keys,
    explained,
    in_byte_order,
    open_engine,
)
from mal_core.errors import InputError

_VERSIONS = "alembic_version"
_BATCH = 500  # rows written at a time
_STREAM = {"yield_per": 1000}  # rows read at a time

Lines = Iterator[bytes]


class Tables(Database):
    """What the store knows of its own tables."""

    def schema_version(self) -> str:
        """The migration that the database stands at.

        Raises:
            StudioError: it stands at none: no studio has opened it.
        """
        with self._read() as connection:
            return _version(connection)

    def dump(self) -> Iterator[tuple[str, Lines]]:
        """Each table's name and its lines, by name; all of one moment if inside `snapshot`."""
        with self._read() as connection:
            for table in _reflect(connection):
                yield table.name, _lines(connection, table)


def newest_version() -> str:
    """The migration that this studio brings every database to."""
    return str(ScriptDirectory.from_config(alembic_config()).get_current_head())


def fill(
    where: Path | str,
    version: str,
    tables: Mapping[str, Lines],
    digests: Mapping[str, str],
) -> None:
    """Build a database from its lines: all of it, or nothing.

    Args:
        where: a SQLite file to be made, or the URL of an empty PostgreSQL database.
        version: the migration that the lines were written at; opening the store does the rest.
        tables: every table's lines, by name.
        digests: SHA-256 of every table's lines, hexadecimal, that the new database must give.

    Raises:
        NotAllowed: the database is not empty.
        StudioError: a newer studio wrote the lines, or the disk is full.
        InputError: the lines are not rows of these tables, or do not fit together.
    """
    reader, writer = open_engine(where)
    try:
        with explained(), writer.begin() as connection:
            if inspect(connection).get_table_names():
                raise NotAllowed("the database is not empty: restore into a new one")
            migrate(connection, version)
            _load(connection, tables)
            found = {table.name: _digest(connection, table) for table in _reflect(connection)}
            if wrong := sorted(name for name in digests if found.get(name) != digests[name]):
                raise InputError(f"these tables did not come out as they went in: {wrong}")
    except IntegrityError as error:
        raise InputError(f"the rows do not fit together: {error}") from error
    finally:
        reader.dispose()


def _load(connection: Connection, tables: Mapping[str, Lines]) -> None:
    known = {table.name: table for table in _reflect(connection)}
    if set(tables) != set(known):
        raise InputError(f"tables must be {sorted(known)}, got {sorted(tables)}")
    with deferred_keys(connection):
        for name, lines in tables.items():
            _insert(connection, known[name], lines)
    for table in known.values():
        count_on(connection, table)


def _insert(connection: Connection, table: Table, lines: Lines) -> None:
    names = [column.name for column in _columns(table)]
    if _read_line(table, next(lines, b"")) != names:
        raise InputError(f"columns of {table.name} are not those of its version")
    while rows := [_read_line(table, line) for line in islice(lines, _BATCH)]:
        if any(len(row) != len(names) for row in rows):
            raise InputError(f"a row of {table.name} has not one value a column")
        connection.execute(table.insert(), [dict(zip(names, row, strict=True)) for row in rows])


def _read_line(table: Table, line: bytes) -> list[str | int | float | None]:
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InputError(f"a line of {table.name} is no JSON") from error
    if not isinstance(values, list) or not all(map(_is_plain, values)):
        raise InputError(f"a line of {table.name} is no row")
    return values


def _is_plain(value: object) -> bool:
    """Whether a database can hold it: text, a float, or a whole number of 64 bits."""
    if isinstance(value, bool | list | dict):
        return False
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _lines(connection: Connection, table: Table) -> Lines:
    columns = _columns(table)
    yield orjson.dumps([column.name for column in columns]) + b"\n"
    keys = [
        in_byte_order(connection, key) if isinstance(key.type, String) else key
        for key in table.primary_key
    ]
    rows = connection.execute(select(*columns).order_by(*keys), execution_options=_STREAM)
    for row in rows:
        yield orjson.dumps(list(row)) + b"\n"


def _digest(connection: Connection, table: Table) -> str:
    digest = hashlib.sha256()
    for line in _lines(connection, table):
        digest.update(line)
    return digest.hexdigest()


def _columns(table: Table) -> list[Column[object]]:
    return sorted(table.c, key=lambda column: column.name)


def _reflect(connection: Connection) -> list[Table]:
    """The tables as they are, which may be those of an older version, by name."""
    found = MetaData()
    found.reflect(connection)
    return [table for name, table in sorted(found.tables.items()) if name != _VERSIONS]


def _version(connection: Connection) -> str:
    if not inspect(connection).has_table(_VERSIONS):
        raise StudioError("this database holds no studio")
    return str(connection.execute(text(f"SELECT version_num FROM {_VERSIONS}")).scalar_one())  # noqa: S608
