"""The launcher's `check`: is the data folder whole, and what to do where it is not."""

import argparse
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import StudioError
from app.images import path_of, thumbnail_path
from app.records import Image, ModelVersion
from app.settings import Settings
from app.store import Store, newest_version
from app.trade import open_store
from mal_core.calibrate import beside

_SAFE_SQLITE = (3, 51, 3)
_RESTORE = "bring it back from a backup"


@dataclass(frozen=True)
class Finding:
    """A line for a person, and whether something is wrong."""

    text: str
    is_wrong: bool = False


def check_up(settings: Settings, store: Store) -> Iterator[Finding]:
    """Look at everything; only reads.

    Args:
        settings: where the files lie.
        store: the database, opened as it is.
    """
    name, version = store.engine_name(), store.schema_version()
    yield Finding(f"database: {name}, tables of version {version}")
    if _is_old_sqlite(name):
        yield Finding(
            "note: SQLite before 3.51.3 can, rarely, lose a commit where several processes write"
            " at once; one studio on a folder and this command beside it are safe"
        )
    if version != newest_version():
        yield _wrong(
            f"the tables are of version {version}, not {newest_version()}: start this studio once,"
            " then check again"
        )
        return
    for trouble in store.find_troubles():
        yield _wrong(f"{trouble}: restore the newest backup into a new folder")
    with store.snapshot():
        images, models = store.list_all_images(), store.list_all_models()
        in_use = {project.model_id for project in store.list_projects()}
    yield from _check_images(settings, images)
    yield from _check_models(settings, models, in_use)


def _check_images(settings: Settings, images: Iterable[Image]) -> Iterator[Finding]:
    known: set[Path] = set()
    count = 0
    for image in images:
        raster, thumbnail = path_of(settings, image), thumbnail_path(settings, image)
        if raster in known:
            continue
        known |= {raster, thumbnail}
        count += 1
        if trouble := _compare(raster, image.sha256):
            yield _wrong(f"the raster of {image.file_name} {trouble}; {_RESTORE} ({raster.name})")
        if not thumbnail.exists():
            yield _wrong(f"the thumbnail of {image.file_name} is missing: {_RESTORE}")
    yield Finding(f"{count:,} rasters looked at")
    yield from _orphans(settings.images, known)


def _check_models(
    settings: Settings, models: Iterable[ModelVersion], in_use: set[int]
) -> Iterator[Finding]:
    known: set[Path] = set()
    count = 0
    for model in models:
        weights = settings.models / f"{model.sha256}.safetensors"
        known |= {weights, beside(weights)}
        trouble = _compare(weights, model.sha256)
        if trouble == _MISSING and model.id not in in_use:
            yield Finding(f"note: the weights of {model.name} were removed")
            continue
        count += 1
        if trouble:
            yield _wrong(f"the weights of {model.name} {trouble}; {_RESTORE} ({weights.name})")
    yield Finding(f"{count:,} checkpoints looked at")
    yield from _orphans(settings.models, known)


_MISSING = "cannot be found"


def _compare(path: Path, sha256: str) -> str:
    """What is wrong with a file that is named after its content; "" if nothing."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return _MISSING
    except OSError as error:
        return f"cannot be read, {error.strerror}"
    return "" if found == sha256 else "cannot be trusted: another content than its name says"


def _orphans(folder: Path, known: set[Path]) -> Iterator[Finding]:
    """Files that nothing points at: what a crash left, or rows that a restore took back."""
    extra = [path for path in folder.rglob("*") if path.is_file() and path not in known]
    if extra:
        size = sum(path.stat().st_size for path in extra)
        yield Finding(
            f"note: {len(extra):,} files in {folder.name}/ belong to nothing ({size:,} bytes), such"
            f" as {extra[0].name}; while no studio runs they may be removed"
        )


def _is_old_sqlite(name: str) -> bool:
    kind, _, number = name.partition(" ")
    return kind == "SQLite" and tuple(map(int, number.split("."))) < _SAFE_SQLITE


def _wrong(text: str) -> Finding:
    return Finding(text, is_wrong=True)


def add_check(commands: Any) -> None:  # noqa: ANN401 - argparse's own type is private
    """Add `check`."""
    parser = commands.add_parser("check", help="say whether everything in the folder is whole")
    parser.add_argument(
        "--data-dir", type=Path, default=argparse.SUPPRESS, help="where everything is kept"
    )
    parser.set_defaults(run=run_check)


def run_check(settings: Settings, _: argparse.Namespace) -> Iterator[str]:
    """Check, and end with an error when something is wrong.

    Raises:
        StudioError: something is wrong; the lines before say what to do.
    """
    count = 0
    with closing(open_store(settings, as_it_is=True)) as store:
        for finding in check_up(settings, store):
            count += finding.is_wrong
            yield f"wrong: {finding.text}" if finding.is_wrong else finding.text
    if count:
        raise StudioError(f"{count} things are wrong")
    yield "all is well"
