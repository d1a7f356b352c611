"""A journal: what a long run has done so far, so that a killed run goes on where it stopped.

JSON lines behind a header that says whose run it is. A line reaches the system at once and the
disk in batches; on opening, the first line that is not whole ends the journal.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from mal_core.errors import InputError

SYNC_EVERY = 64  # lines between two waits for the disk


class Journal:
    """The rows of one run, by key; the last row of a key counts.

    Attributes:
        keys: of all rows, with the place of each in the file, bytes.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._unsynced = 0
        self.keys: dict[int, int] = {}

    @classmethod
    @contextmanager
    def open(
        cls, path: Path, header: Mapping[str, Any], *, restart: bool = False
    ) -> Iterator["Journal"]:
        """Go on with a journal, or begin one.

        Args:
            path: the file; left there on the way out, unless it was removed.
            header: JSON-ready, tells this run from others.
            restart: forget what the file holds.

        Raises:
            InputError: the file belongs to another run, or another process is writing it.
            OSError: the disk is full, or refuses.
        """
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(f"another run is writing {path.name}") from error
            journal = cls(path, file)
            journal._begin(orjson.dumps(header) + b"\n", restart=restart)
            try:
                yield journal
            finally:
                file.flush()

    def add(self, key: int, row: Any) -> None:  # noqa: ANN401
        """Append a row, JSON-ready."""
        place = self._file.seek(0, os.SEEK_END)
        self._file.write(orjson.dumps([key, row]) + b"\n")
        self._file.flush()
        self.keys[key] = place
        self._unsynced += 1
        if self._unsynced >= SYNC_EVERY:
            self._sync()

    def get(self, key: int) -> Any:  # noqa: ANN401
        """The last row of a key."""
        self._file.seek(self.keys[key])
        return orjson.loads(self._file.readline())[1]

    def remove(self) -> None:
        """Delete the file: the run is over."""
        self._path.unlink(missing_ok=True)

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._unsynced = 0

    def _begin(self, header: bytes, *, restart: bool) -> None:
        """Check the header and find the rows; cut off what a crash tore."""
        first = b"" if restart else self._file.readline()
        if not header.startswith(first):  # a torn header is a beginning, too
            raise InputError(
                f"{self._path.name} was left by a run of other data, weights or settings:"
                " repeat that run to finish it, or start anew with --restart"
            )
        if first != header:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(header)
            self._file.flush()
        end = self._file.tell()
        for line in self._file:
            key = _key(line)
            if key is None:
                break
            self.keys[key] = end
            end += len(line)
        self._file.seek(end)
        self._file.truncate()
        self._sync()


def _key(line: bytes) -> int | None:
    """The key of a whole row; None for a torn one."""
    if not line.endswith(b"\n"):
        return None
    try:
        key, _ = orjson.loads(line)
    except (orjson.JSONDecodeError, TypeError, ValueError):
        return None
    return key if isinstance(key, int) else None
