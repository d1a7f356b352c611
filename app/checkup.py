"""The launcher's `check`: is the data folder whole, and what to do where it is not."""

import argparse
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from app.errors import StudioError
from app.images import compare, open_vault, raster_name, thumbnail_name
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
    vault, seen = open_vault(settings), set[str]()
    count = 0
    for image in images:
        raster, thumbnail = raster_name(image), thumbnail_name(image)
        if raster in seen:
            continue
        seen |= {raster, thumbnail}
        count += 1
        for what, name in (("raster", raster), ("thumbnail", thumbnail)):
            if trouble := vault.trouble(name):
                title = f"the {what} of {image.file_name} {trouble}"
                yield _wrong(f"{title}; {_RESTORE} ({PurePosixPath(name).name})")
    where = "the image store" if settings.images_url else "images/"
    yield Finding(f"{count:,} rasters looked at in {where}")
    yield from _orphans(where, vault.sizes(), seen)


def _check_models(
    settings: Settings, models: Iterable[ModelVersion], in_use: set[int]
) -> Iterator[Finding]:
    known: set[str] = set()
    count = 0
    for model in models:
        weights = settings.models / f"{model.sha256}.safetensors"
        known |= {weights.name, beside(weights).name}
        trouble = compare(weights, model.sha256)
        if not weights.exists() and model.id not in in_use:
            yield Finding(f"note: the weights of {model.name} were removed")
            continue
        count += 1
        if trouble:
            yield _wrong(f"the weights of {model.name} {trouble}; {_RESTORE} ({weights.name})")
    yield Finding(f"{count:,} checkpoints looked at")
    sizes = {p.name: p.stat().st_size for p in settings.models.rglob("*") if p.is_file()}
    yield from _orphans("models/", sizes, known)


def _orphans(where: str, sizes: Mapping[str, int], known: Collection[str]) -> Iterator[Finding]:
    """Files that nothing points at: what a crash left, or rows that a restore took back."""
    extra = {name: size for name, size in sizes.items() if name not in known}
    if extra:
        yield Finding(
            f"note: {len(extra):,} files in {where} belong to nothing ({sum(extra.values()):,}"
            f" bytes), such as {PurePosixPath(min(extra)).name}; while no studio runs they may be"
            " removed"
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
