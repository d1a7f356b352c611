"""From what a person dropped (files, folders, zips) to image files, one by one."""

import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mal_core.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
_MEMBERS_MAX = 20_000
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Found:
    """A file that may be an image, and the name it came with (with folders, "/" between)."""

    path: Path
    name: str


@dataclass(frozen=True)
class Expanded:
    """What was found, and one line for each file that was left out."""

    files: tuple[Found, ...]
    skipped: tuple[str, ...]


def expand(paths: Sequence[Path], scratch: Path, max_bytes: int) -> Expanded:
    """Find the image files among files, folders and zips.

    Hidden files and __MACOSX are passed over in silence.

    Args:
        paths: what was dropped.
        scratch: an empty folder for what zips hold; the caller removes it.
        max_bytes: the most that all zips together may unpack to.

    Raises:
        InputError: a zip is damaged, unpacks to more than max_bytes, or has too many members.
    """
    unpacker = _Unpacker(scratch, max_bytes)
    files: list[Found] = []
    skipped: list[str] = []
    for path in paths:
        for item in _expand_one(path, unpacker):
            if isinstance(item, Found):
                files.append(item)
            else:
                skipped.append(item)
    return Expanded(tuple(files), tuple(skipped))


class _Unpacker:
    """Unpacks zips under names of its own, so that no member can choose where it goes."""

    def __init__(self, scratch: Path, max_bytes: int) -> None:
        self._scratch = scratch
        self._left = max_bytes
        self._max_bytes = max_bytes
        self._count = 0

    def unpack(self, path: Path) -> Iterator[Found | str]:
        """Yield the image files of a zip, and a line for each member that is left out."""
        try:
            with zipfile.ZipFile(path) as archive:
                members = [m for m in archive.infolist() if not _is_hidden(m.filename)]
                if len(members) > _MEMBERS_MAX:
                    raise InputError(
                        f"{path.name} holds {len(members):,} files; the limit is {_MEMBERS_MAX:,}"
                    )
                for member in members:
                    if not member.is_dir():
                        yield self._take(archive, member)
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise InputError(f"{path.name} is not a whole zip file ({error})") from error

    def _take(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Found | str:
        if reason := _refusal(member):
            return f"{member.filename}: {reason}"
        self._count += 1
        suffix = PurePosixPath(member.filename).suffix.lower()
        target = self._scratch / f"{self._count:06d}{suffix}"
        try:
            with archive.open(member) as source, target.open("xb") as file:
                while chunk := source.read(_CHUNK):
                    self._spend(len(chunk), Path(archive.filename or "zip").name)
                    file.write(chunk)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            target.unlink()
            return f"{member.filename}: is damaged in the zip ({error})"
        return Found(target, member.filename)

    def _spend(self, count: int, name: str) -> None:
        self._left -= count
        if self._left < 0:
            raise InputError(f"{name} unpacks to more than {self._max_bytes:,} bytes; split it")


def _expand_one(path: Path, unpacker: _Unpacker) -> Iterator[Found | str]:
    if path.is_dir():
        yield from _walk(path)
    elif path.suffix.lower() == ".zip":
        yield from unpacker.unpack(path)
    else:
        yield _judge(path, path.name)


def _walk(folder: Path) -> Iterator[Found | str]:
    """Yield what a folder holds, by name; links are not followed."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if _is_hidden(name):
            continue
        if path.is_symlink() or not path.resolve().is_relative_to(folder.resolve()):
            yield f"{name}: is a link"
        elif path.is_file():
            yield _judge(path, name)


def _judge(path: Path, name: str) -> Found | str:
    if path.suffix.lower() in SUFFIXES:
        return Found(path, name)
    return f"{name}: {_unsupported(name)}"


def _refusal(member: zipfile.ZipInfo) -> str:
    """Say why a member is left out; empty if it is not."""
    name = PurePosixPath(member.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in member.filename:
        return "has a path that leaves the zip"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a link"
    if member.flag_bits & 1:
        return "is encrypted"
    return "" if name.suffix.lower() in SUFFIXES else _unsupported(member.filename)


def _unsupported(name: str) -> str:
    kind = PurePosixPath(name).suffix.lower() or "a file without a suffix"
    return f"{kind} is not a kind of image we take"


def _is_hidden(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return any(p == "__MACOSX" or (p.startswith(".") and p != "..") for p in parts)
