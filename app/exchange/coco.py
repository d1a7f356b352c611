"""A project as a zip of COCO instances, and COCO annotations into a project."""

import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath

import orjson

from app.errors import ExportFailed
from app.exchange.proof import ANNOTATIONS, Wanted, prove_coco
from app.images import clean_name, path_of, put, read_size
from app.records import Box, Category, Draft, Image, Instance, NewInstance, State
from app.session import exportable
from app.settings import Settings
from app.store import Store
from mal_core import coco
from mal_core.errors import BadDataset

_SUFFIXES = {"jpg": (".jpg", ".jpeg"), "png": (".png",)}
_Key = tuple[int, int, str | Box]  # image, category, mask or box


@dataclass(frozen=True)
class ExportReport:
    """What an export holds, and the proof that it equals the store; lies in the zip, too."""

    path: Path
    n_images: int
    n_categories: int
    n_annotations: int
    min_iou: float  # of each mask read back by pycocotools with the store's; always 1.0
    left_out: tuple[str, ...]  # a line for each instance without a pixel
    renamed: Mapping[str, str]  # old file name with its image's number -> the name in the export


@dataclass(frozen=True)
class ImportReport:
    """What an import brought."""

    n_images: int  # that are in the project and in the file
    n_masks: int  # added as accepted
    n_boxes: int  # added as proposals without a mask
    n_known: int  # left out as the project has or had them
    n_crowds: int  # left out as they are not single objects
    unmatched: tuple[str, ...]  # file names that no image of the project has


def export_project(
    store: Store,
    settings: Settings,
    project_id: int,
    *,
    include_proposals: bool = False,
    include_images: bool = False,
    now: datetime,
) -> ExportReport:
    """Write a project's masks as a zip of COCO instances, proved equal to the store.

    Args:
        store: what to export from.
        settings: where rasters are and exports go.
        project_id: the project.
        include_proposals: also masks that no person has looked at.
        include_images: also the rasters.
        now: the time, for the name.

    Raises:
        NotFound: there is no such project.
        BadImage: a stored raster is missing or damaged.
        ExportFailed: it could not be written, or did not read back equal; nothing is left behind.
    """
    states = exportable(include_proposals=include_proposals)
    # Instances first: images and categories are only ever added, so none can be missing.
    pairs = list(store.list_project_instances(project_id, states))
    images = [summary.image for summary in store.list_images(project_id)]
    names = _unique_names(images, with_rasters=include_images)
    categories = store.list_categories(project_id)
    dataset = _to_dataset(categories, pairs, images, names)
    wanted = _to_wanted(categories, pairs)
    sizes = {image.number: read_size(settings, image) for image in images}
    members = {names[i.number]: path_of(settings, i) for i in images if include_images}
    report = ExportReport(
        path=settings.exports / f"project-{project_id}-coco-{now:%Y%m%dT%H%M%S%f}.zip",
        n_images=len(images),
        n_categories=len(dataset.categories),
        n_annotations=len(dataset.annotations),
        min_iou=0.0,  # until proved
        left_out=tuple(_line(*pair) for pair in pairs if not _has_pixels(pair[1])),
        renamed=_renamed(images, names),
    )
    try:
        return replace(report, min_iou=_write(report, dataset, wanted, sizes, members))
    except OSError as error:
        raise ExportFailed(f"the export could not be written: {error.strerror}") from error


def import_coco(
    store: Store, project_id: int, dataset: coco.Dataset, *, person: str, now: datetime
) -> ImportReport:
    """Add the annotations of a COCO file to the project's images, all or none.

    A mask is somebody's ground truth and comes in as accepted; a box alone comes in as a proposal
    that has no mask yet. What the project has or once had is not added again.

    Raises:
        NotFound: there is no such project.
        BadDataset: an image has another size than the file says, or its name fits several images.
        InputError: a category's name cannot be used.
    """
    with store.transaction():
        images = [summary.image for summary in store.list_images(project_id)]
        matches, unmatched = _match(dataset.images, images)
        categories = {
            c.id: store.add_category(project_id, c.name.strip()).id for c in dataset.categories
        }
        found = [
            _to_new(annotation, matches[record.id], categories)
            for record, annotations in dataset.by_image()
            if record.id in matches
            for annotation in annotations
            if not annotation.iscrowd
        ]
        known = {_key(*item) for item in store.list_project_drafts(project_id)}
        fresh = {_key(new.image_id, new.draft): new for new in found}
        added = [new for key, new in fresh.items() if key not in known]
        store.add_instances(added, person, "import", now)
    n_masks = sum(new.draft.rle is not None for new in added)
    return ImportReport(
        n_images=len(matches),
        n_masks=n_masks,
        n_boxes=len(added) - n_masks,
        n_known=len(found) - len(added),
        n_crowds=sum(a.iscrowd and a.image_id in matches for a in dataset.annotations),
        unmatched=unmatched,
    )


def _to_dataset(
    categories: Sequence[Category],
    pairs: Sequence[tuple[Image, Instance]],
    images: Sequence[Image],
    names: Mapping[int, str],
) -> coco.Dataset:
    """Records to COCO: the numbers people see become the ids."""
    numbers = {category.id: category.number for category in categories}
    return coco.Dataset(
        images=[coco.ImageRecord(i.number, names[i.number], i.width, i.height) for i in images],
        categories=[coco.CategoryRecord(c.number, c.name) for c in categories],
        annotations=[
            coco.Annotation(
                id=instance.number,
                image_id=image.number,
                category_id=numbers[instance.draft.category_id],
                box=instance.draft.box,
                rle=instance.draft.rle,
            )
            for image, instance in pairs
            if _has_pixels(instance)
        ],
    )


def _to_wanted(
    categories: Sequence[Category], pairs: Sequence[tuple[Image, Instance]]
) -> dict[int, Wanted]:
    """What the finished file must say, straight from the store's records."""
    numbers = {category.id: category.number for category in categories}
    return {
        instance.number: Wanted(image.number, numbers[instance.draft.category_id], rle)
        for image, instance in pairs
        if (rle := instance.draft.rle) is not None and rle.area
    }


def _write(
    report: ExportReport,
    dataset: coco.Dataset,
    wanted: Mapping[int, Wanted],
    sizes: Mapping[int, tuple[int, int]],
    members: Mapping[str, Path],
) -> float:
    """Write the zip beside its place, prove it, add the report, and move it there.

    Returns:
        The smallest IoU the proof saw.
    """
    report.path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=report.path.parent) as folder:
        archive = Path(folder, "export.zip")
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(ANNOTATIONS, coco.write(dataset))
            for name, path in members.items():
                file.write(path, f"images/{name}", zipfile.ZIP_STORED)
        lowest = prove_coco(archive, wanted, sizes, Path(folder))
        facts = asdict(report) | {"path": report.path.name, "min_iou": lowest}
        with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as file:
            file.writestr("report.json", orjson.dumps(facts, option=orjson.OPT_INDENT_2))
        put(archive, report.path)
    return lowest


def _unique_names(images: Sequence[Image], *, with_rasters: bool) -> dict[int, str]:
    """File names by image number, no two equal in any case; those of rasters fit their format."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    for image in images:
        path = PurePosixPath(clean_name(image.file_name))
        if with_rasters and path.suffix.lower() not in _SUFFIXES[image.extension]:
            path = path.with_name(f"{path.name}.{image.extension}")
        name, stem = path, path.stem
        while str(name).casefold() in taken:
            stem += f"-{image.number}"
            name = path.with_name(stem + path.suffix)
        taken.add(str(name).casefold())
        names[image.number] = str(name)
    return names


def _renamed(images: Sequence[Image], names: Mapping[int, str]) -> dict[str, str]:
    return {
        f"{image.file_name} (image {image.number})": names[image.number]
        for image in images
        if names[image.number] != image.file_name
    }


def _has_pixels(instance: Instance) -> bool:
    return instance.draft.rle is not None and instance.draft.rle.area > 0


def _line(image: Image, instance: Instance) -> str:
    what = "has no mask" if instance.draft.rle is None else "has an empty mask"
    return f"instance {instance.number} of {image.file_name} {what}"


def _match(
    records: Sequence[coco.ImageRecord], images: Sequence[Image]
) -> tuple[dict[int, Image], tuple[str, ...]]:
    """Find the project's image of each record: by its whole name, else by its last part.

    Returns:
        Image by record id, and the names that fit none.

    Raises:
        BadDataset: a name fits several images, or the sizes differ.
    """
    by_name, by_last = _group(images, last=False), _group(images, last=True)
    matches: dict[int, Image] = {}
    problems: list[str] = []
    unmatched: list[str] = []
    for record in records:
        fitting = by_name[record.file_name] or by_last[PurePosixPath(record.file_name).name]
        if not fitting:
            unmatched.append(record.file_name)
        elif len(fitting) > 1:
            problems.append(f"{record.file_name}: {len(fitting)} images have this name")
        elif (record.width, record.height) != (fitting[0].width, fitting[0].height):
            problems.append(
                f"{record.file_name}: the file says {record.width} x {record.height},"
                f" the image is {fitting[0].width} x {fitting[0].height}"
            )
        else:
            matches[record.id] = fitting[0]
    problems += _collisions(records, matches)
    if problems:
        raise BadDataset(problems)
    return matches, tuple(unmatched)


def _collisions(records: Sequence[coco.ImageRecord], matches: Mapping[int, Image]) -> list[str]:
    """A line for each image that two differently named records would share."""
    claims: dict[int, set[str]] = defaultdict(set)
    for record in records:
        if record.id in matches:
            claims[matches[record.id].id].add(record.file_name)
    return [
        f"{', '.join(sorted(names))}: all of these would be the same image of the project"
        for names in claims.values()
        if len(names) > 1
    ]


def _group(images: Sequence[Image], *, last: bool) -> defaultdict[str, list[Image]]:
    """Images by name, or by the last part of their names."""
    groups: defaultdict[str, list[Image]] = defaultdict(list)
    for image in images:
        name = PurePosixPath(image.file_name).name if last else image.file_name
        groups[name].append(image)
    return groups


def _to_new(
    annotation: coco.Annotation, image: Image, categories: Mapping[int, int]
) -> NewInstance:
    """One annotation as an instance to add; an empty mask counts as none."""
    rle = annotation.rle if annotation.rle is not None and annotation.rle.area else None
    x0, y0, x1, y1 = annotation.box
    draft = Draft(
        state=State.PROPOSED if rle is None else State.ACCEPTED,
        category_id=categories[annotation.category_id],
        box=(max(x0, 0.0), max(y0, 0.0), min(x1, float(image.width)), min(y1, float(image.height))),
        rle=rle,
    )
    return NewInstance(image.id, draft)


def _key(image_id: int, draft: Draft) -> _Key:
    """What makes two instances the same to an import; a mask's box follows from the mask."""
    return image_id, draft.category_id, draft.box if draft.rle is None else draft.rle.counts
