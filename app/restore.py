"""The launcher's `restore`: a backup becomes a data folder, checked to the last byte, or nothing.

The zip may come from anywhere, so nothing in it is trusted: names must be those that a backup
has, sizes and hashes those of its manifest, and the whole must fit on the disk. All is built in a
folder beside the wanted one, which gets its name when everything was verified.
"""

import argparse
import hashlib
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from app.backup import FORMAT, KEPT_OF_JOBS, MANIFEST
from app.checkup import check_up
from app.errors import NotAllowed, StudioError, from_disk
from app.images import open_vault
from app.settings import Settings
from app.store import Store, fill
from mal_core.errors import BadImage, InputError
from mal_core.files import flush

_HASH = "[0-9a-f]{64}"
_ROWS = re.compile(r"rows/([a-z_]{1,63})\.jsonl")
_FILES = re.compile(
    rf"images/[0-9a-f]{{2}}/{_HASH}\.(jpg|png|thumb\.jpg)"
    rf"|models/{_HASH}\.(safetensors|calibration\.json)"
    rf"|jobs/[0-9]{{1,18}}/({'|'.join(map(re.escape, KEPT_OF_JOBS))})"
)
_CHUNK = 1 << 20
_LINE_MAX = 64 * 2**20  # bytes of one row
_MANIFEST_MAX = 2**30
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class _Entry:
    """A file as the manifest promises it."""

    size: int
    sha256: str


def restore(settings: Settings, source: Path) -> list[str]:
    """Make a data folder out of a backup; everybody has to log in anew.

    Args:
        settings: the folder to make, and the database, which must be new.
        source: the zip.

    Returns:
        What `check` finds wrong with the outcome: what was wrong when the backup was made.

    Raises:
        InputError: the zip is not a whole backup; there is no folder.
        NotAllowed: the folder or the database holds something already.
        StudioError: a newer studio made the backup, or the disk refuses.
        Unavailable: the image store cannot be reached; there is no folder.
    """
    target = settings.data_dir
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise NotAllowed(f"{target} is not empty: restore into a new folder")
    with _built_whole(target) as folder, _opened(source) as archive:
        version, entries = _read_manifest(archive, source.name)
        _check_room(entries, folder)
        for name in filter(_FILES.fullmatch, entries):
            _extract(archive, name, entries[name], folder / name)
        built = replace(settings, data_dir=folder)
        _keep_images(built)
        rows = {m[1]: name for name in entries if (m := _ROWS.fullmatch(name))}
        fill(
            built.database,
            version,
            {table: _lines(archive, name) for table, name in rows.items()},
            {table: entries[name].sha256 for table, name in rows.items()},
        )
        with closing(Store(built.database)) as store:  # brings it to the newest version
            troubles = [finding.text for finding in check_up(built, store) if finding.is_wrong]
            store.revoke_all(datetime.now(UTC))  # some may have been ended since the backup
    return troubles


@contextmanager
def _built_whole(target: Path) -> Iterator[Path]:
    """A folder beside its place, which it takes when the block ends well."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
            folder = Path(scratch, "whole")
            folder.mkdir()
            yield folder
            flush(folder)
            folder.replace(target)
            flush(target.parent)
    except OSError as error:
        raise from_disk(error, "nothing was restored") from error


@contextmanager
def _opened(source: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(source) as archive:
            yield archive
    except FileNotFoundError as error:
        raise StudioError(f"there is no file {source}") from error
    except _BROKEN as error:
        raise InputError(f"{source.name} is not a whole backup ({error})") from error


def _read_manifest(archive: zipfile.ZipFile, title: str) -> tuple[str, Mapping[str, _Entry]]:
    """The version of the tables, and every file by name; both agree with the zip's own list."""
    infos = {info.filename: info for info in archive.infolist()}
    if MANIFEST not in infos or infos[MANIFEST].file_size > _MANIFEST_MAX:
        raise InputError(f"{title} is not a backup: it has no {MANIFEST}")
    if len(infos) != len(archive.infolist()):
        raise InputError(f"{title} holds a name twice")
    try:
        manifest = orjson.loads(archive.read(MANIFEST))
        number, version = manifest["format"], str(manifest["schema"])
        entries = {
            name: _Entry(int(file["size"]), str(file["sha256"]))
            for name, file in manifest["files"].items()
        }
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the {MANIFEST} of {title} cannot be read") from error
    if number != FORMAT:
        raise StudioError(f"{title} has format {number}: a newer studio made it; use that one")
    _check_names(title, entries, infos)
    return version, entries


def _check_names(
    title: str, entries: Mapping[str, _Entry], infos: Mapping[str, zipfile.ZipInfo]
) -> None:
    if odd := sorted(entries.keys() ^ (infos.keys() - {MANIFEST})):
        raise InputError(f"{title} does not hold what its {MANIFEST} says: {odd[0]!r:.120}")
    for name, entry in entries.items():
        if not (_FILES.fullmatch(name) or _ROWS.fullmatch(name)):
            raise InputError(f"no backup has a file {name!r:.120}")
        if infos[name].file_size != entry.size:
            raise InputError(f"{name} has {infos[name].file_size} bytes, not {entry.size}")


def _check_room(entries: Mapping[str, _Entry], folder: Path) -> None:
    """Refuse what cannot fit, such as a zip that unpacks without end."""
    needed, free = sum(entry.size for entry in entries.values()), shutil.disk_usage(folder).free
    if needed > free:
        raise StudioError(f"the backup unpacks to {needed:,} bytes; the disk has {free:,} left")


def _extract(archive: zipfile.ZipFile, name: str, entry: _Entry, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with archive.open(name) as source, target.open("xb") as file:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != entry.sha256:
        raise InputError(f"{name} is damaged: it is not what the {MANIFEST} says")
    flush(target)


def _keep_images(built: Settings) -> None:
    """Move the images to where the settings keep them, if that is not where they were unpacked.

    One that is not what its name says was so when the backup was made; it is left out, and the
    check that follows says so.
    """
    if not built.images_url:
        return
    vault = open_vault(built)
    for path in sorted(built.images.glob("*/*")):
        with suppress(BadImage):
            vault.keep(path.relative_to(built.images).as_posix(), path)
    shutil.rmtree(built.images, ignore_errors=True)


def _lines(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    with archive.open(name) as source:
        while line := source.readline(_LINE_MAX):
            if not line.endswith(b"\n"):
                raise InputError(f"{name} has a line that does not end")
            yield line


def add_restore(commands: Any) -> None:  # noqa: ANN401 - argparse's own type is private
    """Add `restore FILE --data-dir NEW`."""
    parser = commands.add_parser("restore", help="make a new data folder out of a backup")
    parser.add_argument("file", type=Path, metavar="FILE", help="zip that `backup` wrote")
    parser.add_argument(
        "--data-dir", type=Path, default=argparse.SUPPRESS, help="new or empty folder"
    )
    parser.set_defaults(run=run_restore)


def run_restore(settings: Settings, arguments: argparse.Namespace) -> Iterator[str]:
    """Restore and say so.

    Raises:
        StudioError: nothing was restored; or all that the backup holds was, but files were
            missing when it was made.
    """
    troubles = restore(settings, arguments.file)
    yield f"{settings.data_dir}: restored, and every hash is right"
    yield "all logins and tokens have ended: log in anew, and give programs new tokens"
    yield from troubles
    if troubles:
        raise StudioError("the data folder already lacked these when the backup was made")
