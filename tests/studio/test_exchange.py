"""COCO out of a project, proved equal; COCO into a project, all or nothing."""

import contextlib
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pil
from pycocotools.coco import COCO

from app.errors import ExportFailed, NotFound
from app.exchange import ExportReport, ImportReport, export_project, import_coco
from app.images import path_of
from app.records import Draft, Image, ModelState, NewModel, Project, State, TakenImage
from app.settings import Settings
from app.store import Store
from mal_core import coco
from mal_core.errors import BadDataset, BadImage
from mal_core.masks import RLE, decode, encode

NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)
HEIGHT, WIDTH = 30, 40


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store(settings.database)
    yield opened
    opened.close()


@pytest.fixture
def project(store: Store) -> Project:
    model = store.add_model(NewModel("bundled", "b" * 64, {}), ModelState.BUNDLED, NOW)
    return store.add_project("Leaves", model.id, NOW)


@pytest.fixture
def images(store: Store, settings: Settings, project: Project) -> list[Image]:
    return [add_image(store, settings, project, n) for n in ("a.jpg", "sub/b.tif", "other/a.jpg")]


def add_image(store: Store, settings: Settings, project: Project, name: str) -> Image:
    """An image as intake would have stored it."""
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    extension = "jpg" if name.lower().endswith("jpg") else "png"
    taken = TakenImage(sha256, sha256, extension, WIDTH, HEIGHT, name, "")
    image, _ = store.add_image(project.id, taken, NOW)
    path_of(settings, image).parent.mkdir(parents=True, exist_ok=True)
    Pil.new("RGB", (WIDTH, HEIGHT), "teal").save(path_of(settings, image))
    return image


def blob(seed: int) -> RLE:
    """A mask with holes and several parts."""
    return encode(
        np.random.default_rng(seed).random((12, 14)) < 0.6,
        x0=9,
        y0=7,
        height=HEIGHT,
        width=WIDTH,
    )


def draft(
    store: Store, project: Project, state: State, rle: RLE | None, name: str = "leaf"
) -> Draft:
    category = store.add_category(project.id, name)
    return Draft(state, category.id, (1.0, 2.0, 30.0, 25.0), rle)


@pytest.fixture
def reviewed(store: Store, project: Project, images: list[Image]) -> Project:
    """A project with two masks a person vouched for, and one of every other state."""
    rows = [(images[0], State.ACCEPTED, 1, "leaf"), (images[1], State.CORRECTED, 2, "twig")]
    rows += [(images[0], State.PROPOSED, 3, "leaf"), (images[0], State.REJECTED, 4, "leaf")]
    for image, state, seed, name in rows:
        first = draft(store, project, State.PROPOSED, blob(seed), name)
        added = store.add_instance(image.id, first, "me", "", NOW)
        store.save_instance(added.id, replace(first, state=state), 1, "me", "", NOW)
    gone = store.add_instance(images[0].id, first, "me", "", NOW)
    store.save_instance(gone.id, replace(first, state=State.DELETED), 1, "me", "", NOW)
    return project


def member(report: ExportReport, name: str) -> Any:  # noqa: ANN401
    with zipfile.ZipFile(report.path) as file:
        return json.loads(file.read(name))


# Export


def test_an_export_reads_back_in_pycocotools_pixel_for_pixel(
    store: Store, settings: Settings, reviewed: Project, tmp_path: Path
) -> None:
    report = export_project(store, settings, reviewed.id, now=NOW)
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(member(report, "annotations.json")))
    with contextlib.redirect_stdout(io.StringIO()):
        index = COCO(str(path))
    found = {key: index.annToRLE(entry) for key, entry in index.anns.items()}
    assert found == {1: blob(1).to_coco(), 2: blob(2).to_coco()}
    assert (report.n_images, report.n_categories, report.n_annotations) == (3, 2, 2)
    assert report.min_iou == 1.0


def test_ids_are_the_numbers_people_see_and_boxes_are_those_of_the_masks(
    store: Store, settings: Settings, reviewed: Project
) -> None:
    document = member(export_project(store, settings, reviewed.id, now=NOW), "annotations.json")
    assert [i["id"] for i in document["images"]] == [1, 2, 3]
    assert document["categories"] == [{"id": 1, "name": "leaf"}, {"id": 2, "name": "twig"}]
    first, second = document["annotations"]
    assert (first["id"], first["image_id"], first["category_id"]) == (1, 1, 1)
    assert (second["id"], second["image_id"], second["category_id"]) == (2, 2, 2)
    pixels = decode(blob(1))
    columns, rows = np.flatnonzero(pixels.any(axis=0)), np.flatnonzero(pixels.any(axis=1))
    size = [columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    assert first["bbox"] == [columns[0], rows[0], *size]
    assert (first["area"], first["iscrowd"]) == (pixels.sum(), 0)


def test_proposals_are_exported_only_if_asked_for(
    store: Store, settings: Settings, reviewed: Project
) -> None:
    report = export_project(store, settings, reviewed.id, include_proposals=True, now=NOW)
    assert [a["id"] for a in member(report, "annotations.json")["annotations"]] == [1, 2, 3]


def test_images_come_along_under_unique_names_that_fit_their_format(
    store: Store, settings: Settings, reviewed: Project, images: list[Image]
) -> None:
    images.append(add_image(store, settings, reviewed, "A.JPG"))
    report = export_project(store, settings, reviewed.id, include_images=True, now=NOW)
    names = [i["file_name"] for i in member(report, "annotations.json")["images"]]
    assert names == ["a.jpg", "sub/b.tif.png", "other/a.jpg", "A-4.JPG"]
    assert set(report.renamed.values()) == {"sub/b.tif.png", "A-4.JPG"}
    with zipfile.ZipFile(report.path) as file:
        for name, image in zip(names, images, strict=True):
            assert file.read(f"images/{name}") == path_of(settings, image).read_bytes()


def test_masks_without_a_pixel_are_left_out_and_named(
    store: Store, settings: Settings, reviewed: Project, images: list[Image]
) -> None:
    empty = encode(np.zeros((1, 1), np.bool_), height=HEIGHT, width=WIDTH)
    for state, rle in ((State.ACCEPTED, empty), (State.PROPOSED, None)):
        store.add_instance(images[2].id, draft(store, reviewed, state, rle), "me", "", NOW)
    report = export_project(store, settings, reviewed.id, include_proposals=True, now=NOW)
    assert report.left_out == (
        "instance 6 of other/a.jpg has an empty mask",
        "instance 7 of other/a.jpg has no mask",
    )
    assert member(report, "report.json")["left_out"] == list(report.left_out)


def test_the_report_lies_in_the_zip(store: Store, settings: Settings, reviewed: Project) -> None:
    report = export_project(store, settings, reviewed.id, now=NOW)
    facts = member(report, "report.json")
    assert (facts["n_annotations"], facts["min_iou"]) == (2, 1.0)
    assert facts["path"] == report.path.name
    assert str(settings.data_dir) not in json.dumps(facts)


def test_an_empty_project_exports_too(store: Store, settings: Settings, project: Project) -> None:
    report = export_project(store, settings, project.id, now=NOW)
    assert (report.n_images, report.n_annotations, report.min_iou) == (0, 0, 1.0)


def test_an_unknown_project_is_not_found(store: Store, settings: Settings) -> None:
    with pytest.raises(NotFound):
        export_project(store, settings, 99, now=NOW)


def lose_one(dataset: coco.Dataset) -> coco.Dataset:
    return replace(dataset, annotations=dataset.annotations[1:])


def double_one(dataset: coco.Dataset) -> coco.Dataset:
    return replace(dataset, annotations=[*dataset.annotations, dataset.annotations[0]])


def swap_masks(dataset: coco.Dataset) -> coco.Dataset:
    first, second = dataset.annotations
    return replace(dataset, annotations=[first, replace(second, rle=first.rle)])


def make_crowd(dataset: coco.Dataset) -> coco.Dataset:
    first, second = dataset.annotations
    return replace(dataset, annotations=[replace(first, iscrowd=True), second])


def turn_image(dataset: coco.Dataset) -> coco.Dataset:
    first, *rest = dataset.images
    return replace(dataset, images=[replace(first, width=HEIGHT, height=WIDTH), *rest])


def change_image(dataset: coco.Dataset) -> coco.Dataset:
    first, second = dataset.annotations
    other = next(image.id for image in dataset.images if image.id != first.image_id)
    return replace(dataset, annotations=[replace(first, image_id=other), second])


def change_category(dataset: coco.Dataset) -> coco.Dataset:
    first, second = dataset.annotations
    return replace(dataset, annotations=[replace(first, category_id=77), second])


SPOILERS = [
    *(lose_one, double_one, swap_masks, make_crowd, turn_image, change_image, change_category),
]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_an_export_that_differs_from_the_store_is_not_handed_out(
    store: Store,
    settings: Settings,
    reviewed: Project,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Any,  # noqa: ANN401
) -> None:
    write = coco.write
    monkeypatch.setattr(coco, "write", lambda dataset: write(spoil(dataset)))
    with pytest.raises(ExportFailed, match="thrown away"):
        export_project(store, settings, reviewed.id, now=NOW)
    assert list(settings.exports.iterdir()) == []


def test_a_full_disk_leaves_no_export_behind(
    store: Store, settings: Settings, reviewed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.exchange.coco.put", fail)
    with pytest.raises(ExportFailed, match="No space left"):
        export_project(store, settings, reviewed.id, now=NOW)
    assert list(settings.exports.iterdir()) == []


def test_a_lost_raster_is_said_at_export(
    store: Store, settings: Settings, reviewed: Project, images: list[Image]
) -> None:
    path_of(settings, images[1]).unlink()
    with pytest.raises(BadImage, match=r"raster of sub/b\.tif is missing"):
        export_project(store, settings, reviewed.id, now=NOW)


# Import


def dataset(*annotations: coco.Annotation, **changes: object) -> coco.Dataset:
    records = [
        coco.ImageRecord(5, "a.jpg", WIDTH, HEIGHT),
        coco.ImageRecord(6, "elsewhere/b.tif", WIDTH, HEIGHT),
        coco.ImageRecord(7, "missing.jpg", 99, 99),
    ]
    categories = [coco.CategoryRecord(90, "leaf"), coco.CategoryRecord(91, "Twig")]
    return replace(coco.Dataset(records, categories, annotations), **changes)


MASK = coco.Annotation(1, 5, 90, (9.0, 7.0, 23.0, 19.0), blob(1))
BOX = coco.Annotation(2, 6, 91, (-3.5, 2.0, 12.25, HEIGHT + 4.0), None)


def bring(store: Store, project: Project, *annotations: coco.Annotation) -> ImportReport:
    return import_coco(store, project.id, dataset(*annotations), person="Ada", now=NOW)


def everything(store: Store, project: Project) -> list[tuple[Image, Draft]]:
    pairs = store.list_project_instances(project.id, frozenset(State))
    return [(image, instance.draft) for image, instance in pairs]


def test_masks_come_in_accepted_and_boxes_as_proposals_cut_to_the_image(
    store: Store, project: Project, images: list[Image]
) -> None:
    report = bring(store, project, MASK, BOX)
    assert report == ImportReport(2, 1, 1, 0, 0, ("missing.jpg",))
    (first, mask), (second, box) = everything(store, project)
    assert (first, mask.state, mask.rle) == (images[0], State.ACCEPTED, blob(1))
    assert (second, box.state, box.rle) == (images[1], State.PROPOSED, None)
    assert box.box == (0.0, 2.0, 12.25, HEIGHT)


def test_categories_are_matched_by_name_whatever_the_case(
    store: Store, project: Project, images: list[Image]
) -> None:
    twig = store.add_category(project.id, "TWIG")
    bring(store, project, BOX)
    assert [c.name for c in store.list_categories(project.id)] == ["TWIG", "leaf"]
    assert everything(store, project)[0][1].category_id == twig.id


def test_importing_twice_adds_nothing_even_after_review(
    store: Store, project: Project, images: list[Image]
) -> None:
    bring(store, project, MASK, BOX)
    for image, instance in list(store.list_project_instances(project.id)):
        state = State.DELETED if image == images[0] else State.ACCEPTED
        changed = replace(instance.draft, state=state, rle=blob(9))
        store.save_instance(instance.id, changed, 1, "Bo", "", NOW)
    before = everything(store, project)
    report = bring(store, project, MASK, BOX, replace(BOX, id=3))
    assert (report.n_masks, report.n_boxes, report.n_known) == (0, 0, 3)
    assert everything(store, project) == before


def test_a_projects_own_export_brings_nothing_new(
    store: Store, settings: Settings, reviewed: Project
) -> None:
    report = export_project(store, settings, reviewed.id, now=NOW)
    with zipfile.ZipFile(report.path) as file:
        exported = coco.read(file.read("annotations.json"))
    result = import_coco(store, reviewed.id, exported, person="Ada", now=NOW)
    assert (result.n_images, result.n_known) == (3, 2)
    assert (result.n_masks, result.n_boxes, result.unmatched) == (0, 0, ())


def test_crowds_are_left_out_and_counted(
    store: Store, project: Project, images: list[Image]
) -> None:
    report = bring(store, project, replace(MASK, iscrowd=True), BOX)
    assert (report.n_crowds, report.n_masks, report.n_boxes) == (1, 0, 1)


def test_an_empty_mask_counts_as_a_box(store: Store, project: Project, images: list[Image]) -> None:
    empty = encode(np.zeros((1, 1), np.bool_), height=HEIGHT, width=WIDTH)
    assert bring(store, project, replace(MASK, rle=empty)).n_boxes == 1


def records(*names: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> dict[str, object]:
    return {"images": [coco.ImageRecord(i + 5, name, *size) for i, name in enumerate(names)]}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        pytest.param(records("a.jpg", size=(WIDTH, 31)), "the file says 40 x 31", id="other size"),
        pytest.param(records("x/a.jpg"), "2 images have this name", id="ambiguous in the project"),
        pytest.param(
            records("x/b.tif", "y/b.tif"), "would be the same image", id="ambiguous in the file"
        ),
    ],
)
def test_a_file_that_does_not_fit_the_images_changes_nothing(
    store: Store, project: Project, images: list[Image], changes: dict[str, object], text: str
) -> None:
    value = dataset(replace(MASK, image_id=5), **changes)
    with pytest.raises(BadDataset, match=text):
        import_coco(store, project.id, value, person="Ada", now=NOW)
    assert everything(store, project) == []
    assert store.list_categories(project.id) == []


def test_one_annotation_that_cannot_be_stored_keeps_all_out(
    store: Store, project: Project, images: list[Image]
) -> None:
    odd = coco.CategoryRecord(92, "x" * 300)
    value = dataset(MASK, BOX)
    value = replace(value, categories=[*value.categories, odd])
    with pytest.raises(Exception, match="a name must be"):
        import_coco(store, project.id, value, person="Ada", now=NOW)
    assert everything(store, project) == []
    assert store.list_categories(project.id) == []


def test_a_file_with_nan_boxes_never_gets_as_far_as_the_store() -> None:
    content = coco.write(dataset(BOX)).replace(b"-3.5", b"NaN")
    with pytest.raises(BadDataset, match="holds NaN"):
        coco.read(content)
