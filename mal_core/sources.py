"""Where the image files of a data set lie: a folder, a zip, tars, or any of these at a URL.

Files are read by the name the data set gives them, whole and into memory; nothing is unpacked to
the disk. Links and names that lead elsewhere are refused.
"""

import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

import fsspec
from fsspec.implementations.local import LocalFileSystem

from mal_core.errors import BadImage, InputError

MAX_BYTES = 512 * 2**20  # of one image file
TAR, ZIP = ".tar", ".zip"
Place = tuple[str, int, int]  # a tar, and where in it a file begins and how long it is


class ImageFiles(Protocol):
    """The image files of a data set."""

    def read(self, name: str) -> bytes:
        """The content of a file.

        Args:
            name: as the data set gives it, a relative path with / between.

        Raises:
            BadImage: there is no such file, or it cannot be read; names it and says why.
        """


def open_files(where: str | Path) -> ImageFiles:
    """Open the place where image files lie.

    Args:
        where: a folder, a .zip, a .tar or a pattern of several such as `part-*.tar`, on this
            machine or as a URL that fsspec knows: s3://bucket/images, gs://bucket/images.zip.

    Raises:
        InputError: there is no such archive, or it is damaged; or the library for such a URL is
            not installed.
    """
    place = str(where)
    if place.endswith((".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")):
        raise InputError(f"{place} is compressed, so no file in it can be found: unpack it to .tar")
    try:
        system, root = fsspec.core.url_to_fs(place)
    except (ImportError, ValueError) as error:  # "Install s3fs to access S3"
        raise InputError(f"{place} cannot be opened: {error}") from error
    try:
        if root.endswith(ZIP):
            return Zip(system.open(root, "rb"))
        if root.endswith(TAR):
            return Tars(system, root)
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        name = PurePosixPath(root).name
        raise InputError(f"{name} cannot be opened as an archive: {error!s:.200}") from error
    return Folder(Path(root)) if isinstance(system, LocalFileSystem) else Bucket(system, root)


class Folder:
    """Files of a folder on this machine; a link in it may not lead out of it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, name: str) -> bytes:
        """The content of a file; see `ImageFiles`."""
        path = self._root / _checked(name)
        try:
            if not path.resolve().is_relative_to(self._root.resolve()):
                raise BadImage(f"{name} leaves the image folder")
            with path.open("rb") as file:
                return _bounded(name, file.read(MAX_BYTES + 1))
        except OSError as error:
            raise _unreadable(name, error) from error


class Bucket:
    """Files below a URL.

    Args:
        system: of fsspec.
        root: the path of the URL.
    """

    def __init__(self, system: fsspec.AbstractFileSystem, root: str) -> None:
        self._system = system
        self._root = root.rstrip("/")

    def read(self, name: str) -> bytes:
        """The content of a file; see `ImageFiles`."""
        path = f"{self._root}/{_checked(name)}"
        return _bounded(name, _fetch(self._system, path, name, 0, MAX_BYTES + 1))


class Zip:
    """Files of a zip archive.

    Args:
        file: the archive.

    Raises:
        zipfile.BadZipFile: it is none.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(file)

    def read(self, name: str) -> bytes:
        """The content of a file; see `ImageFiles`."""
        try:
            member = self._zip.getinfo(_checked(name))
            if stat.S_ISLNK(member.external_attr >> 16):
                raise BadImage(f"cannot read {name}: it is a link")
            with self._zip.open(member) as file:
                return _bounded(name, file.read(MAX_BYTES + 1))
        except KeyError as error:
            raise _unreadable(name, FileNotFoundError()) from error
        except (OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise _unreadable(name, error) from error


class Tars:
    """Files of tar archives, found by their headers and then read from their place.

    Args:
        system: of fsspec.
        pattern: path of the archive, or a pattern of several; no two may hold the same name.

    Raises:
        InputError: two archives hold the same name.
        OSError, tarfile.TarError: there is no archive, or one is damaged.
    """

    def __init__(self, system: fsspec.AbstractFileSystem, pattern: str) -> None:
        self._system = system
        self._places: dict[str, Place | None] = {}  # None: a link, or another thing that is no file
        paths = sorted(system.glob(pattern)) if set(pattern) & set("*?[") else [pattern]
        if not paths:
            raise FileNotFoundError(f"there is no {PurePosixPath(pattern).name}")
        for path in paths:
            found = dict(self._index(path))
            if both := found.keys() & self._places.keys():
                raise InputError(f"{min(both)} is in {PurePosixPath(path).name} and an earlier tar")
            self._places |= found

    def read(self, name: str) -> bytes:
        """The content of a file; see `ImageFiles`."""
        key = str(PurePosixPath(_checked(name)))
        if key not in self._places:
            raise _unreadable(name, FileNotFoundError())
        place = self._places[key]
        if place is None:
            raise BadImage(f"cannot read {name}: it is a link or no file")
        path, start, size = place
        _check_size(name, size)
        content = _fetch(self._system, path, name, start, start + size)
        if len(content) < size:
            raise BadImage(f"cannot read {name}: its archive is cut off")
        return content

    def _index(self, path: str) -> list[tuple[str, Place | None]]:
        """The names of one archive, without the folders; a name that leaves it is no one's."""
        with self._system.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            return [
                (
                    str(PurePosixPath(member.name)),
                    (path, member.offset_data, member.size)
                    if member.isreg() and not member.issparse()
                    else None,
                )
                for member in tar
                if not member.isdir()
            ]


def _fetch(system: fsspec.AbstractFileSystem, path: str, name: str, start: int, end: int) -> bytes:
    try:
        content: bytes = system.cat_file(path, start=start, end=end)
    except Exception as error:  # every store's client has errors of its own
        raise _unreadable(name, error) from error
    return content


def _checked(name: str) -> str:
    """Refuse a name that could lead out of the place."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise BadImage(f"{name} leaves the image folder")
    return name


def _bounded(name: str, content: bytes) -> bytes:
    _check_size(name, len(content))
    return content


def _check_size(name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise BadImage(f"cannot read {name}: it has more than {MAX_BYTES:,} bytes")


def _unreadable(name: str, error: Exception) -> BadImage:
    """Say why, without the path of the place: the text goes into a file for others."""
    if isinstance(error, FileNotFoundError):
        return BadImage(f"cannot read {name}: there is no such file")
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return BadImage(f"cannot read {name}: {why or type(error).__name__:.200}")
