"""A disk that refuses at the n-th write, whoever writes: Python's own files, or SQLite's.

Every call that would change the disk is a write point and is counted: a file opened for writing,
each write to it, a flush, a rename, a new folder; and what SQLite asks of its files. Counting from
the first one, a disk is set to refuse at the n-th, once or from there on, with the error of a full
disk, of a broken one, or of one that became read-only. Whoever lets n grow until the act succeeds
has been at every write point there is.

SQLite is met where it meets the system: its default VFS is given an `xOpen` that hands out files
whose write, truncate and sync are ours. It is the very library that the store uses.
"""

import _sqlite3
import builtins
import ctypes
import errno
import io
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

Act = Callable[..., Any]
Buffer = bytes | bytearray | memoryview
KINDS = {"full": errno.ENOSPC, "broken": errno.EIO, "read-only": errno.EROFS}
_FULL, _WRITE, _TRUNCATE, _SYNC = 13, 10 | 3 << 8, 10 | 6 << 8, 10 | 4 << 8  # SQLITE_FULL, IOERR_…
_CODES = {"write": _WRITE, "truncate": _TRUNCATE, "sync": _SYNC}


class Disk:
    """Counts write points and refuses at one of them."""

    def __init__(self) -> None:
        self.kind, self.stays = "full", True
        self.count = self.refuses_at = 0
        self.is_watched = False
        self.points: list[str] = []
        self._lock = threading.Lock()

    @contextmanager
    def refusing(self, at: int, kind: str, *, stays: bool) -> Iterator[None]:
        """Refuse at the n-th write point from here on, once or as long as this lasts; 0: never."""
        self.kind, self.stays = kind, stays
        self.count, self.refuses_at = 0, at
        self.points.clear()
        self.is_watched = True
        try:
            yield
        finally:
            self.is_watched = False

    @property
    def has_refused(self) -> bool:
        """Whether the act came as far as the point at which the disk refuses."""
        return 0 < self.refuses_at <= self.count

    def refuses(self, point: str) -> bool:
        """Count a write point; whether it fails."""
        if not self.is_watched:
            return False
        with self._lock:
            self.count += 1
            self.points.append(point)
            after = self.count - self.refuses_at
        return self.refuses_at > 0 and (after == 0 or (self.stays and after > 0))

    def check(self, point: str) -> None:
        """Count a write point of Python's.

        Raises:
            OSError: it fails.
        """
        if self.refuses(point):
            number = KINDS[self.kind]
            raise OSError(number, os.strerror(number))

    def code(self, point: str) -> int:
        """Count a write point of SQLite's; its result code, 0 where the disk takes it."""
        if not self.refuses(f"database {point}"):
            return 0
        return _FULL if self.kind == "full" and point == "write" else _CODES[point]


class _Raw(io.FileIO):
    """A file open for writing; without a descriptor to show, so that nobody writes past it."""

    def __init__(self, disk: Disk, file: Any, mode: str, closefd: bool, opener: Any) -> None:  # noqa: ANN401 - as `open` has them
        self._disk = disk
        super().__init__(file, mode, closefd, opener)

    def write(self, data: Buffer) -> int:
        self._disk.check("write")
        return super().write(data)

    def truncate(self, size: int | None = None) -> int:
        self._disk.check("truncate")
        return super().truncate(size)

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


@contextmanager
def watched_disk() -> Iterator[Disk]:
    """Put a disk under all that this process writes; it takes everything until it is told not to.

    Yields:
        The disk. SQLite's files that were open before are not on it.
    """
    disk = Disk()
    with pytest.MonkeyPatch.context() as patch, _sqlite_on(disk):
        opener = _opener(disk, open)
        for module in (io, builtins):
            patch.setattr(module, "open", opener)
        for name in ("fsync", "replace", "rename", "mkdir", "link", "sendfile", "truncate"):
            patch.setattr(os, name, _counted(disk, name, getattr(os, name)))
        for name in ("unlink", "remove", "rmdir"):
            patch.setattr(os, name, _removing(disk, getattr(os, name)))
        patch.setattr(os, "open", _os_open(disk, os.open))
        yield disk


def _counted(disk: Disk, name: str, act: Act) -> Act:
    def counted(*arguments: object, **options: object) -> object:
        disk.check(name)
        return act(*arguments, **options)

    return counted


def _removing(disk: Disk, act: Act) -> Act:
    """Removing makes room on a full disk; what cannot be written is not removed from either."""

    def removing(*arguments: object, **options: object) -> object:
        if disk.is_watched and disk.kind == "read-only" and disk.has_refused:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return act(*arguments, **options)

    return removing


def _os_open(disk: Disk, act: Act) -> Act:
    def os_open(path: object, flags: int, *arguments: object, **options: object) -> object:
        if flags & os.O_CREAT:
            disk.check("open")
        return act(path, flags, *arguments, **options)

    return os_open


def _opener(disk: Disk, act: Act) -> Act:
    """What `open` is meanwhile."""

    def opener(file: object, mode: str = "r", *arguments: object, **options: object) -> object:
        is_plain = not disk.is_watched or not set(mode) & set("wax+") or _is_pipe(file)
        if is_plain:
            return act(file, mode, *arguments, **options)
        disk.check("open")
        names = ("buffering", "encoding", "errors", "newline", "closefd", "opener")
        given: dict[str, Any] = {**dict(zip(names, arguments, strict=False)), **options}
        plain = mode.replace("b", "").replace("t", "")
        raw = _Raw(disk, file, plain, given.get("closefd", True), given.get("opener"))
        if given.get("buffering") == 0:
            return raw
        buffered: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        text = {key: given[key] for key in ("encoding", "errors", "newline") if key in given}
        return buffered if "b" in mode else io.TextIOWrapper(buffered, **text)

    return opener


def _is_pipe(file: object) -> bool:
    return isinstance(file, int) and not stat.S_ISREG(os.fstat(file).st_mode)


# SQLite's own structures, as sqlite3.h has them; only what is called or replaced has a type.

_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_OPEN = ctypes.CFUNCTYPE(_I, _P, _P, _P, _I, _P)
_WRITES = ctypes.CFUNCTYPE(_I, _P, _P, _I, _L)
_TRUNCATES = ctypes.CFUNCTYPE(_I, _P, _L)
_SYNCS = ctypes.CFUNCTYPE(_I, _P, _I)


class _Methods(ctypes.Structure):
    _fields_ = (
        ("iVersion", _I), ("xClose", _P), ("xRead", _P), ("xWrite", _WRITES),
        ("xTruncate", _TRUNCATES), ("xSync", _SYNCS), ("others", _P * 13),
    )  # fmt: skip


class _OpenFile(ctypes.Structure):
    _fields_ = (("pMethods", ctypes.POINTER(_Methods)),)


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("iVersion", _I), ("szOsFile", _I), ("mxPathname", _I), ("pNext", _P), ("zName", _P),
        ("pAppData", _P), ("xOpen", _OPEN),
    )  # fmt: skip


_KEPT: list[Any] = []  # what SQLite may still point to, for as long as this process lives


@contextmanager
def _sqlite_on(disk: Disk) -> Iterator[None]:
    """Give every file that SQLite opens meanwhile methods that count."""
    vfs = _find_vfs()
    plain = _OPEN(ctypes.cast(vfs.xOpen, _P).value)
    tables: dict[int, Any] = {}

    def opened(own: int, name: int, file: int, flags: int, out: int) -> int:
        code = int(plain(own, name, file, flags, out))
        handle = ctypes.cast(file, ctypes.POINTER(_OpenFile)).contents
        if code == 0 and handle.pMethods:
            place = ctypes.addressof(handle.pMethods.contents)
            if place not in tables:
                tables[place] = _counting(disk, handle.pMethods.contents)
            handle.pMethods = ctypes.pointer(tables[place])
        return code

    hook = _OPEN(opened)
    _KEPT.extend((hook, tables))
    vfs.xOpen = hook
    try:
        yield
    finally:
        vfs.xOpen = plain


def _find_vfs() -> _Vfs:
    library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    try:
        library.sqlite3_libversion.restype = ctypes.c_char_p
        version = library.sqlite3_libversion().decode()
    except AttributeError:
        pytest.skip("this Python hides the SQLite it was built with")
    assert version == sqlite3.sqlite_version, "not the SQLite that the store uses"
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    found: _Vfs = library.sqlite3_vfs_find(None).contents
    return found


def _counting(disk: Disk, plain: _Methods) -> _Methods:
    """The methods of a file, of which three ask the disk first."""
    table = _Methods.from_buffer_copy(plain)
    names = ("write", "truncate", "sync")
    kinds = (_WRITES, _TRUNCATES, _SYNCS)
    for name, kind in zip(names, kinds, strict=True):
        field = f"x{name.capitalize()}"
        act = kind(ctypes.cast(getattr(plain, field), _P).value)

        counted = kind(_asked(disk, name, act))
        _KEPT.append(counted)
        setattr(table, field, counted)
    return table


def _asked(disk: Disk, name: str, act: Callable[..., int]) -> Callable[..., int]:
    return lambda *arguments: disk.code(name) or act(*arguments)
