"""From what a person dropped (files, folders, zips) to single files, one by one."""

import stat
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mal_core.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
MEMBERS_MAX = 20_000
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Found:
    """A file of a kind that was asked for, and the name it came with (folders, "/" between)."""

    path: Path
    name: str


@dataclass(frozen=True)
class Expanded:
    """What was found, and one line for each file that was left out."""

    files: tuple[Found, ...]
    skipped: tuple[str, ...]


def expand(
    paths: Sequence[Path],
    scratch: Path,
    max_bytes: int,
    suffixes: Collection[str] | None = SUFFIXES,
    max_members: int | None = None,
) -> Expanded:
    """Find the files of some kinds among files, folders and zips; images unless said otherwise.

    Hidden files and __MACOSX are passed over in silence.

    Args:
        paths: what was dropped.
        scratch: an empty folder for what zips hold; the caller removes it.
        max_bytes: the most that all zips together may unpack to.
        suffixes: the kinds to take, such as ".png"; None for all, so that only what is dangerous
            or damaged is left out.
        max_members: the most files that one zip may hold; None for 20,000.

    Raises:
        InputError: a zip is damaged, unpacks to more than max_bytes, or has too many members.
    """
    unpacker = _Unpacker(scratch, max_bytes, suffixes, max_members or MEMBERS_MAX)
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

    def __init__(
        self, scratch: Path, max_bytes: int, suffixes: Collection[str] | None, max_members: int
    ) -> None:
        self.suffixes = suffixes
        self._max_members = max_members
        self._scratch = scratch
        self._left = max_bytes
        self._max_bytes = max_bytes
        self._count = 0

    def unpack(self, path: Path) -> Iterator[Found | str]:
        """Yield the image files of a zip, and a line for each member that is left out."""
        try:
            with zipfile.ZipFile(path) as archive:
                members = [m for m in archive.infolist() if not _is_hidden(m.filename)]
                if len(members) > self._max_members:
                    limit = f"the limit is {self._max_members:,}"
                    raise InputError(f"{path.name} holds {len(members):,} files; {limit}")
                for member in members:
                    if not member.is_dir():
                        yield self._take(archive, member)
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise InputError(f"{path.name} is not a whole zip file ({error})") from error

    def _take(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Found | str:
        if reason := _refusal(member, self.suffixes):
            return f"{member.filename}: {reason}"
        self._count += 1
        target = self._scratch / f"{self._count:06d}"
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
        yield from _walk(path, unpacker.suffixes)
    elif path.suffix.lower() == ".zip":
        yield from unpacker.unpack(path)
    else:
        yield _judge(path, path.name, unpacker.suffixes)


def _walk(folder: Path, suffixes: Collection[str] | None) -> Iterator[Found | str]:
    """Yield what a folder holds, by name; links are not followed."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if _is_hidden(name):
            continue
        if path.is_symlink() or not path.resolve().is_relative_to(folder.resolve()):
            yield f"{name}: is a link"
        elif path.is_file():
            yield _judge(path, name, suffixes)


def _judge(path: Path, name: str, suffixes: Collection[str] | None) -> Found | str:
    reason = _unsupported(name, suffixes)
    return f"{name}: {reason}" if reason else Found(path, name)


def _refusal(member: zipfile.ZipInfo, suffixes: Collection[str] | None) -> str:
    """Say why a member is left out; empty if it is not."""
    name = PurePosixPath(member.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in member.filename:
        return "has a path that leaves the zip"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a link"
    if member.flag_bits & 1:
        return "is encrypted"
    return _unsupported(member.filename, suffixes)


def _unsupported(name: str, suffixes: Collection[str] | None) -> str:
    """Say why a name's kind is left out; empty if it is not."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffixes is None or suffix in suffixes:
        return ""
    return f"{suffix or 'a file without a suffix'} is not a kind of image we take"


def _is_hidden(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return any(p == "__MACOSX" or (p.startswith(".") and p != "..") for p in parts)
