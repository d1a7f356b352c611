"""The launcher's `backup`: everything people made, of one moment, as one zip; while they go on.

rows/TABLE.jsonl        all rows (app.store.tables); the same from SQLite and PostgreSQL
images/AA/HASH.jpg      rasters and thumbnails
models/HASH.safetensors weights, each with the calibration of its score
jobs/N/...              what fine-tunes were made from and what they showed
manifest.json           the version of the tables; size and SHA-256 of every file above

Left out is what can be made again (pyramids, exports, uploads on their way, a job's scratch) and
the secret that signs the sessions of pages: who holds a backup cannot forge one, and work that
waits in a browser for the old folder is never sent into the restored one.
"""

import argparse
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

import orjson

from app.errors import StudioError, from_disk
from app.images import Vault, open_vault, raster_name, thumbnail_name
from app.jobs import COMPARISON, FROZEN, LOG
from app.records import Image, ModelVersion
from app.settings import Settings
from app.store import Store
from app.trade import open_store
from mal_core.calibrate import beside
from mal_core.errors import BadImage
from mal_core.files import move_whole

FORMAT = 1
MANIFEST = "manifest.json"
KEPT_OF_JOBS = (*FROZEN.values(), LOG, COMPARISON)
_CHUNK = 1 << 20


@dataclass
class BackupReport:
    """What a backup holds.

    Attributes:
        n_rows: rows of all tables.
        n_files: files beside them.
        n_bytes: size of the zip.
        missing: a line for each file that should be in it but is gone or damaged.
    """

    n_rows: int = 0
    n_files: int = 0
    n_bytes: int = 0
    missing: list[str] = field(default_factory=list)


def back_up(settings: Settings, store: Store, target: Path, now: datetime) -> BackupReport:
    """Write a backup; people may go on working.

    Args:
        settings: where the files lie.
        store: an open store.
        target: the zip to write; it appears when it is whole.
        now: the time, for the manifest.

    Raises:
        DiskFull: there is no room; nothing is left behind.
        Unavailable: the image store cannot be reached; nothing is left behind.
        StudioError: the target exists or cannot be written; nothing is left behind.
    """
    if target.exists():
        raise StudioError(f"{target} exists already; choose another name")
    with _written_whole(target) as file, zipfile.ZipFile(file, "w") as archive:
        writer = _Writer(archive)
        with store.snapshot():
            made = {"format": FORMAT, "made_at": now.isoformat(), "schema": store.schema_version()}
            for name, lines in store.dump():
                writer.add_rows(name, lines)
            images, models = store.list_all_images(), store.list_all_models()
            in_use = {project.model_id for project in store.list_projects()}
        # Rasters and weights in use are never removed or changed, so this may take its time.
        writer.add_images(settings, images)
        writer.add_models(settings, models, in_use)
        writer.add_jobs(settings)
        writer.add_manifest(made)
    writer.report.n_bytes = target.stat().st_size
    return writer.report


class _Writer:
    """Streams files into the zip and keeps their hashes."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.report = BackupReport()
        self._archive = archive
        self._files: dict[str, dict[str, Any]] = {}

    def add_rows(self, table: str, lines: Iterable[bytes]) -> None:
        """A table, packed; its first line names the columns."""
        self._add(f"rows/{table}.jsonl", self._counted(lines), zipfile.ZIP_DEFLATED)
        self.report.n_rows -= 1

    def add_images(self, settings: Settings, images: Iterable[Image]) -> None:
        """Each raster once, with its thumbnail."""
        vault = open_vault(settings)
        for image in images:
            name, small = raster_name(image), thumbnail_name(image)
            if f"images/{name}" not in self._files:
                self._add_kept(vault, name, image.file_name, image.sha256)
                self._add_kept(vault, small, f"the thumbnail of {image.file_name}")

    def add_models(
        self, settings: Settings, models: Iterable[ModelVersion], in_use: set[int]
    ) -> None:
        """The weights that are there; those of a model not in use may have been removed."""
        for model in models:
            weights = settings.models / f"{model.sha256}.safetensors"
            if weights.exists() or model.id in in_use:
                self._add_file(f"models/{weights.name}", weights, model.name, model.sha256)
            if (calibration := beside(weights)).exists():
                self._add_file(f"models/{calibration.name}", calibration, model.name)

    def add_jobs(self, settings: Settings) -> None:
        """What each fine-tune was made from and what it showed."""
        for path in sorted(settings.jobs.glob("*/*")):
            if path.parent.name.isdecimal() and path.name in KEPT_OF_JOBS:
                self._add_file(f"jobs/{path.parent.name}/{path.name}", path, path.name)

    def add_manifest(self, made: dict[str, Any]) -> None:
        """What the zip holds; a zip without it is not whole."""
        self.report.n_files = sum(not name.startswith("rows/") for name in self._files)
        data = orjson.dumps({**made, "files": self._files}, option=orjson.OPT_INDENT_2)
        self._archive.writestr(MANIFEST, data, zipfile.ZIP_DEFLATED)

    def _add_kept(self, vault: Vault, name: str, title: str, sha256: str | None = None) -> None:
        """Add a file of the image store, as `_add_file` does."""
        try:
            path = vault.fetch(name)
        except BadImage as error:
            self.report.missing.append(f"{title} {error}: {PurePosixPath(name).name}")
        else:
            self._add_file(f"images/{name}", path, title, sha256)

    def _add_file(self, name: str, path: Path, title: str, sha256: str | None = None) -> None:
        """Add a file; one that is gone, or not what its name says, is told of and left out."""
        try:
            if sha256 not in (None, _hash(path)):
                self.report.missing.append(f"{title} is damaged: {path.name}")
                return
            with path.open("rb") as source:
                self._add(name, iter(lambda: source.read(_CHUNK), b""), zipfile.ZIP_STORED)
        except FileNotFoundError:
            self.report.missing.append(f"{title} is missing: {path.name}")

    def _add(self, name: str, parts: Iterable[bytes], packing: int) -> None:
        digest, size, info = hashlib.sha256(), 0, zipfile.ZipInfo(name)
        info.compress_type = packing
        with self._archive.open(info, "w", force_zip64=True) as member:
            for part in parts:
                digest.update(part)
                size += len(part)
                member.write(part)
        self._files[name] = {"size": size, "sha256": digest.hexdigest()}

    def _counted(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in lines:
            self.report.n_rows += 1
            yield line


@contextmanager
def _written_whole(target: Path) -> Iterator[IO[bytes]]:
    """A file beside its place, which it takes when the block ends well."""
    temporary = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
        move_whole(temporary, target)
    except OSError as error:
        raise from_disk(
            error, "there is no new file, as the backup could not be written"
        ) from error
    finally:
        if temporary is not None:
            with suppress(OSError):  # moved, or on a disk that became read-only
                temporary.unlink()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def add_backup(commands: Any) -> None:  # noqa: ANN401 - argparse's own type is private
    """Add `backup FILE`."""
    parser = commands.add_parser("backup", help="write everything people made as one zip")
    parser.add_argument("file", type=Path, metavar="FILE", help="zip to write; must not exist")
    parser.add_argument(
        "--data-dir", type=Path, default=argparse.SUPPRESS, help="where everything is kept"
    )
    parser.set_defaults(run=run_backup)


def run_backup(settings: Settings, arguments: argparse.Namespace) -> Iterator[str]:
    """Back up and say what is in the zip.

    Raises:
        StudioError: there is no zip; or there is, but files are missing in the data folder.
    """
    with closing(open_store(settings)) as store:
        report = back_up(settings, store, arguments.file, datetime.now(UTC))
    yield (
        f"{arguments.file}: {report.n_rows:,} rows and {report.n_files:,} files,"
        f" {report.n_bytes:,} bytes"
    )
    yield from report.missing
    if report.missing:
        raise StudioError(
            f"the backup is written, but {len(report.missing)} files of the data folder are"
            " missing or damaged: run `python app.py check`"
        )
