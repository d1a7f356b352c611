"""A project as a zip in any format, proved against the store before it is handed out."""

import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

import orjson

from app.errors import ExportFailed, on_disk
from app.exchange.formats import Format
from app.exchange.names import renamed, unique_names
from app.exchange.proof import Tally, prove
from app.exchange.sheets import REPORT, Entry, Fields, Legend, Sheet, Sink, Size
from app.images import path_of, read_size
from app.records import Image, Instance, State
from app.session import exportable
from app.settings import Settings
from app.store import Store
from mal_core.bulk import measure
from mal_core.coco import CategoryRecord
from mal_core.files import move_whole


@dataclass
class ExportReport:
    """What an export holds, and the proof that it equals the store; lies in the zip, too.

    Attributes:
        path: the zip.
        format: its name.
        title: what people call it.
        n_images: images in it.
        n_categories: categories in it.
        n_annotations: instances in it.
        n_compared: instances read back, or regions where a format has no instances.
        n_exact: those that read back pixel for pixel.
        min_iou: the smallest IoU of a mask read back with the store's.
        mean_iou: their mean.
        loses: what the format has no room for; "" if nothing.
        changed: a line for each mask that is not exact.
        left_out: a line for each instance without a pixel.
        renamed: old file name with its image's number -> the name in the export.
    """

    path: Path
    format: str
    title: str
    n_images: int
    n_categories: int
    n_annotations: int = 0
    n_compared: int = 0
    n_exact: int = 0
    min_iou: float = 1.0
    mean_iou: float = 1.0
    loses: str = ""
    changed: Sequence[str] = ()
    left_out: list[str] = field(default_factory=list)
    renamed: Mapping[str, str] = field(default_factory=dict)


class Exporter:
    """Writes projects out.

    Args:
        settings: where rasters are and exports go.
        store: what to export from.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store

    def run(
        self,
        project_id: int,
        format_: Format,
        *,
        include_proposals: bool = False,
        include_images: bool = False,
        now: datetime,
        path: Path | None = None,
    ) -> ExportReport:
        """Write a project's masks as a zip, proved equal to the store as far as the format goes.

        Args:
            project_id: the project.
            format_: how to write it.
            include_proposals: also masks that no person has looked at.
            include_images: also the rasters.
            now: the time, for the name.
            path: where to; None for the folder of exports.

        Raises:
            NotFound: there is no such project.
            BadImage: a stored raster is missing or damaged.
            DiskFull, Unavailable: it could not be written; nothing is left behind.
            ExportFailed: it did not read back equal; nothing is left behind.
        """
        name = f"project-{project_id}-{format_.name}-{now:%Y%m%dT%H%M%S%f}.zip"
        states = exportable(include_proposals=include_proposals)
        with self._store.snapshot():
            run = _Run(self._settings, self._store, project_id, format_, states)
            with on_disk("the export could not be written"):
                return run.write(path or self._settings.exports / name, rasters=include_images)


class _Run:
    """One export, of one moment of the store."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        project_id: int,
        format_: Format,
        states: frozenset[State],
    ) -> None:
        self._store = store
        self._settings = settings
        self._project_id = project_id
        self._format = format_
        self._states = states
        self._images = [summary.image for summary in store.list_images(project_id)]
        self._names: Mapping[int, str] = {}
        self._by_name: Mapping[str, Image] = {}
        categories = store.list_categories(project_id)
        self._titles = {category.id: category.name for category in categories}
        kept = store.get_fields(format_.family, "category", [c.id for c in categories])
        records = [CategoryRecord(c.number, c.name, kept.get(c.id, {})) for c in categories]
        extra = store.get_fields(format_.family, "project", [project_id]).get(project_id, {})
        self._legend = Legend(records, extra)

    def write(self, target: Path, *, rasters: bool) -> ExportReport:
        """Write the zip beside its place, prove it, add the report, and move it there."""
        by_stem = self._format.by_stem
        self._names = unique_names(self._images, with_rasters=rasters, by_stem=by_stem)
        self._by_name = {self._names[image.number]: image for image in self._images}
        report = ExportReport(
            path=target,
            format=self._format.name,
            title=self._format.title,
            n_images=len(self._images),
            n_categories=len(self._legend.categories),
            loses=self._format.loses,
            renamed=renamed(self._images, self._names),
        )
        report.left_out += self._blind()
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as folder:
            archive = Path(folder, "export.zip")
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
                self._format.write(self._sheets(report), self._legend, Sink(file))
            _note(report, self._prove(archive, Path(folder)))
            self._finish(archive, report, rasters=rasters)
            move_whole(archive, target)
        return report

    def _blind(self) -> list[str]:
        """A line for each image whose masks are not everybody's yet."""
        names = {image.id: image.file_name for image in self._images}
        return [
            f"{names[blind.image_id]} is annotated blind by {' and '.join(blind.people)} and not"
            " merged yet: its masks are not in this export"
            for blind in self._store.list_blind(self._project_id)
        ]

    def _sheets(self, report: ExportReport) -> Iterator[Sheet]:
        """Each image with the instances that have a pixel; the others are noted."""
        family = self._format.family
        for image, fields, pairs in self._store.list_sheets(self._project_id, self._states, family):
            _measure([instance for instance, _ in pairs])
            entries = []
            for instance, extra in pairs:
                if (entry := self._entry(instance, extra)) is None:
                    report.left_out.append(_line(image, instance))
                else:
                    entries.append(entry)
            report.n_annotations += len(entries)
            yield self._sheet(image, entries, fields)

    def _sheet(self, image: Image, entries: list[Entry], fields: Fields) -> Sheet:
        name = self._names[image.number]
        return Sheet(name, image.width, image.height, entries, image.number, fields)

    def _entry(self, instance: Instance, extra: Fields) -> Entry | None:
        rle = instance.draft.rle
        if rle is None or rle.box is None:
            return None
        x0, y0, x1, y1 = map(float, rle.box)
        category = self._titles[instance.draft.category_id]
        return Entry(category, (x0, y0, x1, y1), rle, instance.number, extra=extra)

    def _prove(self, archive: Path, folder: Path) -> Tally:
        """Read the zip back; each image is asked of the store once more."""
        sizes = {}
        for name, image in self._by_name.items():
            sizes[name] = Size(name, *read_size(self._settings, image))
        scratch = folder / "back"
        scratch.mkdir()
        return prove(archive, scratch, self._format, sizes, self._stored)

    def _stored(self, name: str) -> Sheet:
        image = self._by_name[name]
        instances = self._store.list_instances(image.id)
        _measure(instances)
        entries = [
            entry
            for instance in instances
            if instance.draft.state in self._states
            if (entry := self._entry(instance, {})) is not None
        ]
        return self._sheet(image, entries, {})

    def _finish(self, archive: Path, report: ExportReport, *, rasters: bool) -> None:
        """Add rasters and report, and read every byte of the zip once more."""
        with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as file:
            for name, image in self._by_name.items() if rasters else ():
                path = path_of(self._settings, image)
                file.write(path, f"{self._format.images}/{name}", zipfile.ZIP_STORED)
            facts = asdict(report) | {"path": report.path.name}
            file.writestr(REPORT, orjson.dumps(facts, option=orjson.OPT_INDENT_2))
        with zipfile.ZipFile(archive) as file:
            if file.testzip() is not None:
                raise ExportFailed("the export was thrown away: the zip reads back damaged")


def _measure(instances: Sequence[Instance]) -> None:
    """Measure masks together, which is faster than one by one."""
    measure([i.draft.rle for i in instances if i.draft.rle is not None])


def _note(report: ExportReport, tally: Tally) -> None:
    """Put what the proof saw into the report."""
    report.n_compared, report.n_exact = tally.n_compared, tally.n_exact
    report.min_iou, report.mean_iou = tally.min_iou, tally.mean_iou
    report.changed = tally.changed


def _line(image: Image, instance: Instance) -> str:
    what = "has no mask" if instance.draft.rle is None else "has an empty mask"
    return f"instance {instance.number} of {image.file_name} {what}"
