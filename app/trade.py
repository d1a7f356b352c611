"""The launcher's commands `import` and `export`: the same acts as on the Library page."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from app.errors import NotFound, StudioError
from app.exchange import FORMATS, Exporter, ExportReport, Importer, ImportReport, Tell, get_format
from app.records import Project
from app.settings import Settings
from app.store import Store
from mal_core.errors import BadDataset

PERSON = "command line"
_LINES = 100  # of one kind, that are told


def add_import(commands: Any) -> None:  # noqa: ANN401 - argparse's own type is private
    """Add `import FORMAT PATH... --project P [--dry-run] [--replace]`."""
    parser = commands.add_parser("import", help="bring boxes and masks into a project")
    _add_common(parser)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="file, folder or zip")
    parser.add_argument("--dry-run", action="store_true", help="only say what would come in")
    parser.add_argument(
        "--replace",
        action="store_true",
        help="where the project has an object with another outline, take the file's;"
        " the other stays in its history",
    )
    parser.set_defaults(run=run_import)


def add_export(commands: Any) -> None:  # noqa: ANN401 - argparse's own type is private
    """Add `export FORMAT OUT --project P [--images] [--proposals]`."""
    parser = commands.add_parser("export", help="write a project's masks as a checked zip")
    _add_common(parser)
    parser.add_argument("out", type=Path, metavar="OUT", help="zip to write; must not exist")
    parser.add_argument("--images", action="store_true", help="include the images")
    parser.add_argument(
        "--proposals", action="store_true", help="include masks that nobody reviewed"
    )
    parser.set_defaults(run=run_export)


def run_import(settings: Settings, arguments: argparse.Namespace) -> Iterator[str]:
    """Import, or say what an import would do.

    Raises:
        BadDataset: with a line for each problem; nothing was changed.
    """
    with closing(open_store(settings)) as store, _bar() as tell:
        project = find_project(store, arguments.project)
        report = Importer(settings, store, tell).run(
            project.id,
            get_format(arguments.format),
            arguments.paths,
            person=PERSON,
            now=datetime.now(UTC),
            dry_run=arguments.dry_run,
            replace=arguments.replace,
        )
        if not report.problems and not arguments.dry_run:
            counts = {"images": report.n_images, "masks": report.n_masks, "boxes": report.n_boxes}
            _note(store, project, "import", arguments.format, counts)
    if report.problems:
        raise BadDataset(report.problems)
    if arguments.dry_run:
        yield "dry run: nothing was written"
    yield from _import_lines(report)


def run_export(settings: Settings, arguments: argparse.Namespace) -> Iterator[str]:
    """Export and say what reading the zip back has shown.

    Raises:
        StudioError: the file exists already, or the export failed; there is no new file.
    """
    if arguments.out.exists():
        raise StudioError(f"{arguments.out} exists already; choose another name")
    with closing(open_store(settings)) as store:
        project = find_project(store, arguments.project)
        report = Exporter(settings, store).run(
            project.id,
            get_format(arguments.format),
            include_proposals=arguments.proposals,
            include_images=arguments.images,
            now=datetime.now(UTC),
            path=arguments.out,
        )
        _note(store, project, "export", arguments.format, {"masks": report.n_annotations})
    yield from _export_lines(report)


def _note(store: Store, project: Project, act: str, subject: str, detail: dict[str, int]) -> None:
    """Write a line of the audit log."""
    now = datetime.now(UTC)
    store.add_audit(PERSON, act, now, project_id=project.id, subject=subject, detail=detail)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("format", metavar="FORMAT", help=f"one of {', '.join(FORMATS)}")
    parser.add_argument("--project", required=True, metavar="P", help="its name, or its number")
    # A flag that is not given must not undo the one before the command.
    parser.add_argument(
        "--data-dir", type=Path, default=argparse.SUPPRESS, help="where everything is kept"
    )


def open_store(settings: Settings, *, as_it_is: bool = False) -> Store:
    """Open a data folder that exists: a typing error must not make one.

    Args:
        settings: where it is.
        as_it_is: leave the tables as they are, of whatever version.

    Raises:
        StudioError: there is none, or it cannot be opened.
    """
    if isinstance(settings.database, Path) and not settings.database.exists():
        raise StudioError(f"{settings.data_dir} holds no studio; say where with --data-dir")
    return Store(settings.database, as_it_is=as_it_is)


def find_project(store: Store, wanted: str) -> Project:
    """The one project of a name, else of a number."""
    projects = store.list_projects()
    fitting = [project for project in projects if project.name == wanted]
    fitting = fitting or [project for project in projects if str(project.id) == wanted]
    if len(fitting) > 1:
        numbers = ", ".join(str(project.id) for project in fitting)
        raise StudioError(f"{len(fitting)} projects are named {wanted!r}; use a number: {numbers}")
    if not fitting:
        known = ", ".join(f"{project.name} ({project.id})" for project in projects) or "none"
        raise NotFound(f"there is no project {wanted!r}; there are {known}")
    return fitting[0]


@contextmanager
def _bar() -> Iterator[Tell]:
    """A progress bar on the error stream, where that is a terminal."""
    with tqdm(unit="image", disable=None, leave=False) as bar:

        def tell(what: str, done: int, total: int) -> None:
            bar.set_description(what, refresh=False)
            bar.total = total
            bar.update(done - bar.n)

        yield tell


def _import_lines(report: ImportReport) -> Iterator[str]:
    facts = {
        "images": report.n_images,
        "new images": report.n_new_images,
        "masks": report.n_masks,
        "boxes": report.n_boxes,
        "proposals filled": report.n_filled,
        "replaced": report.n_replaced,
        "known": report.n_known,
        "conflicts": len(report.conflicts),
        "crowds left out": report.n_crowds,
    }
    yield ", ".join(f"{name} {count}" for name, count in facts.items())
    yield from _some("conflict", report.conflicts)
    yield from _some("left out", report.left_out)
    yield from _some("no such image", report.unmatched)


def _export_lines(report: ExportReport) -> Iterator[str]:
    yield f"{report.path}: {report.n_annotations} masks on {report.n_images} images"
    yield (
        f"read back: {report.n_exact} of {report.n_compared} pixel for pixel,"
        f" smallest IoU {report.min_iou:.4f}, mean {report.mean_iou:.4f}"
    )
    if report.loses:
        yield f"{report.title} loses: {report.loses}"
    yield from _some("not exact", report.changed)
    yield from _some("left out", report.left_out)


def _some(what: str, lines: Sequence[str]) -> Iterator[str]:
    """The first lines of a kind, and how many more there are."""
    yield from (f"{what}: {line}" for line in lines[:_LINES])
    if len(lines) > _LINES:
        yield f"{what}: and {len(lines) - _LINES} more"
