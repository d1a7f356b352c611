"""The use cases around the canvas: projects, images in, boxes and masks in and out.

Long ones are iterators of Step, so that a page can show where they are.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.errors import on_disk
from app.exchange import (
    Exporter,
    ExportReport,
    Importer,
    ImportReport,
    Tell,
    get_format,
    silent,
)
from app.images import Expanded, Found, Intake, expand
from app.records import Image, ModelState, ModelVersion, NewModel, Project
from app.room import Room
from app.settings import PHOTOS, Settings
from app.store import Store
from mal_core import calibrate, checkpoint
from mal_core.errors import InputError

SAMPLE_NAME = "Sample photos"
# All CC0, public domain or without known restriction; see scikit-image's data/README.txt.
SAMPLE_FILES = ("coffee.png", "chelsea.png", "astronaut.png", "coins.png", "motorcycle_left.png",
                "rocket.jpg")  # fmt: skip
SAMPLE_CATEGORIES = ("object", "cup", "cat", "person", "coin", "motorcycle", "rocket")


@dataclass(frozen=True)
class Step:
    """Where a long act is: `done` of `total`, and a line about the last item ("" if all is well).

    Attributes:
        added: whether the item was new.
        image: the image it is in the project, new or known; None for what was left out.
    """

    done: int
    total: int
    line: str
    added: bool
    image: Image | None = None


class Library:
    """Projects and what goes in and out of them."""

    def __init__(self, settings: Settings, store: Store, intake: Intake) -> None:
        self._settings = settings
        self._store = store
        self._intake = intake
        self._room = Room(settings, store)

    def prepare(self) -> None:
        """Make a new data folder ready: the bundled model, and the sample project."""
        self.prepare_model()
        if not self._store.list_projects():
            project = self.add_project(SAMPLE_NAME, SAMPLE_CATEGORIES)
            for _ in self.add_samples(project.id):
                pass

    def prepare_model(self) -> ModelVersion:
        """The model that came with the studio: made known and kept by its hash at first use.

        Its score's calibration is kept beside it.

        A later release may bring other weights; projects go on with the ones they use.

        Raises:
            CheckpointError: a file cannot be read, or the disk is full.
        """
        weights, models = self._settings.weights, self._settings.models
        sha256 = checkpoint.keep(weights, models)
        calibrate.keep(weights, models, sha256)
        model = NewModel(name=weights.stem, sha256=sha256, figures={})
        return self._store.add_model(model, ModelState.BUNDLED, datetime.now(UTC))

    def add_project(self, name: str, categories: Sequence[str] = ("object",)) -> Project:
        """Start a project that the bundled model proposes for.

        Raises:
            InputError: the name is empty or too long.
        """
        project = self._store.add_project(name, self.prepare_model().id, datetime.now(UTC))
        for category in categories:
            self._store.add_category(project.id, category)
        return project

    def add_samples(self, project_id: int) -> Iterator[Step]:
        """Add the photos that scikit-image brings along."""
        yield from self._take(project_id, [Found(PHOTOS / name, name) for name in SAMPLE_FILES])

    def add_files(self, project_id: int, paths: Sequence[Path]) -> Iterator[Step]:
        """Take images, folders and zips in; what cannot be used is told and left out.

        Raises:
            DiskFull, Unavailable: the disk takes no more; what was taken before stays.
            OverQuota: the project may hold no more; what was taken before stays.
        """
        with on_disk("nothing more was taken"), self._scratch() as scratch:
            found = _expand_each(paths, Path(scratch), 10 * self._settings.max_upload_bytes)
            total = len(found.files) + len(found.skipped)
            for done, line in enumerate(found.skipped, start=1):
                yield Step(done, total, line, added=False)
            yield from self._take(project_id, found.files, before=len(found.skipped))

    def add_upload(self, project_id: int, path: Path, name: str) -> Iterator[Step]:
        """Take a zip in, or one image under the name a program gives it."""
        if path.suffix.lower() == ".zip":
            yield from self.add_files(project_id, [path])
        else:
            yield from self._take(project_id, [Found(path, name)])

    def import_files(
        self,
        project_id: int,
        format_name: str,
        paths: Sequence[Path],
        person: str,
        *,
        dry_run: bool = False,
        replace: bool = False,
        tell: Tell = silent,
    ) -> ImportReport:
        """Import boxes and masks, and images that come along: all of them, or none.

        Args:
            project_id: the project.
            format_name: of the registry.
            paths: files, folders or zips.
            person: in whose name.
            dry_run: write nothing; the report says what would be, problems included.
            replace: the file's outlines become the newest revisions of objects that the project
                has with others.
            tell: told how far it is.

        Raises:
            BadDataset: with a line for each problem; nothing was changed.
            InputError: there is no such format.
            OverQuota: the project may hold no more.
        """
        if not dry_run:
            self._room.check(project_id)
        importer = Importer(self._settings, self._store, tell)
        try:
            return importer.run(
                project_id,
                get_format(format_name),
                paths,
                person=person,
                now=datetime.now(UTC),
                dry_run=dry_run,
                replace=replace,
            )
        finally:
            self._room.forget(project_id)  # images may have come along

    def export(
        self, project_id: int, format_name: str, *, include_proposals: bool, include_images: bool
    ) -> ExportReport:
        """Write a zip that was read back and compared with the store.

        Raises:
            ExportFailed: it did not read back as it must; there is no zip.
            InputError: there is no such format.
        """
        return Exporter(self._settings, self._store).run(
            project_id,
            get_format(format_name),
            include_proposals=include_proposals,
            include_images=include_images,
            now=datetime.now(UTC),
        )

    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        """A folder for what is unpacked."""
        self._settings.data_dir.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=self._settings.data_dir, prefix="upload-")

    def _take(self, project_id: int, files: Sequence[Found], before: int = 0) -> Iterator[Step]:
        for done, found in enumerate(files, start=before + 1):
            total = before + len(files)
            self._room.check(project_id)
            try:
                taken = self._intake.take(found.path, found.name)
            except InputError as error:
                yield Step(done, total, str(error), added=False)
                continue
            image, is_new = self._store.add_image(project_id, taken, datetime.now(UTC))
            if is_new:
                self._room.add(project_id, taken.n_bytes)
            line = taken.notice and f"{image.file_name}: {taken.notice}"
            if not is_new:
                line = f"{found.name} is in the project already"
            yield Step(done, total, line, added=is_new, image=image)


def _expand_each(paths: Sequence[Path], scratch: Path, max_bytes: int) -> Expanded:
    """Expand what was dropped one by one, so that a damaged zip costs only itself."""
    files: list[Found] = []
    skipped: list[str] = []
    for number, path in enumerate(paths):
        folder = scratch / str(number)
        folder.mkdir()
        try:
            found = expand([path], folder, max_bytes)
        except InputError as error:
            shutil.rmtree(folder)
            skipped.append(str(error))
            continue
        max_bytes -= sum(file.stat().st_size for file in folder.iterdir())
        files += found.files
        skipped += found.skipped
        if not found.files and not found.skipped:
            skipped.append(f"{path.name}: holds no image")
    return Expanded(tuple(files), tuple(skipped))
