"""COCO out of a project, proved equal."""

import contextlib
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pil
from pycocotools.coco import COCO

from app.errors import DiskFull, ExportFailed, NotFound
from app.exchange import FORMATS, Exporter, ExportReport
from app.exchange.sheets import Entry, Legend, Sheet, Sink
from app.images import path_of
from app.records import Draft, Image, ModelState, NewModel, Project, State, TakenImage
from app.settings import Settings
from app.store import Store
from mal_core.errors import BadImage
from mal_core.masks import RLE, decode, encode

NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)
HEIGHT, WIDTH = 30, 40


@pytest.fixture
def settings(tmp_path: Path, new_database: str) -> Settings:
    return Settings(data_dir=tmp_path / "data", database_url=new_database)


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


def export_project(
    store: Store,
    settings: Settings,
    project_id: int,
    *,
    include_proposals: bool = False,
    include_images: bool = False,
    now: datetime,
) -> ExportReport:
    return Exporter(settings, store).run(
        project_id,
        FORMATS["coco"],
        include_proposals=include_proposals,
        include_images=include_images,
        now=now,
    )


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
    assert [a["id"] for a in member(report, "annotations.json")["annotations"]] == [1, 3, 2]


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
    assert report.left_out == [
        "instance 6 of other/a.jpg has an empty mask",
        "instance 7 of other/a.jpg has no mask",
    ]
    assert member(report, "report.json")["left_out"] == report.left_out


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


def lose_one(entries: list[Entry]) -> list[Entry]:
    return entries[1:]


def double_one(entries: list[Entry]) -> list[Entry]:
    return [*entries, *entries[:1]]


def change_mask(entries: list[Entry]) -> list[Entry]:
    return [replace(entry, rle=blob(99)) for entry in entries]


def make_number(entries: list[Entry]) -> list[Entry]:
    return [replace(entry, number=entry.number + 1000) for entry in entries]


def change_category(entries: list[Entry]) -> list[Entry]:
    return [
        replace(entry, category="twig" if entry.category == "leaf" else "leaf") for entry in entries
    ]


def whole(change: Callable[[list[Entry]], list[Entry]]) -> Callable[[Sheet], Sheet]:
    return lambda sheet: replace(sheet, entries=change(list(sheet.entries)))


def turn_image(sheet: Sheet) -> Sheet:
    return replace(sheet, width=HEIGHT, height=WIDTH, entries=[])


def rename_image(sheet: Sheet) -> Sheet:
    return replace(sheet, name=f"other/{sheet.name}")


SPOILERS: dict[str, Callable[[Sheet], Sheet]] = {
    "an instance is lost": whole(lose_one),
    "an instance is doubled": whole(double_one),
    "a mask is another": whole(change_mask),
    "a number is another": whole(make_number),
    "a category is another": whole(change_category),
    "an image is turned": turn_image,
    "an image has another name": rename_image,
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS)
def test_an_export_that_differs_from_the_store_is_not_handed_out(
    store: Store,
    settings: Settings,
    reviewed: Project,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Sheet], Sheet],
) -> None:
    sound = FORMATS["coco"]

    def write(sheets: Iterable[Sheet], legend: Legend, sink: Sink) -> None:
        sound.write(map(spoil, sheets), legend, sink)

    monkeypatch.setitem(FORMATS, "coco", replace(sound, write=write))
    with pytest.raises(ExportFailed, match="thrown away"):
        export_project(store, settings, reviewed.id, now=NOW)
    assert list(settings.exports.iterdir()) == []


def test_a_full_disk_leaves_no_export_behind(
    store: Store, settings: Settings, reviewed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.exchange.export.move_whole", fail)
    with pytest.raises(DiskFull, match="No space left"):
        export_project(store, settings, reviewed.id, now=NOW)
    assert list(settings.exports.iterdir()) == []


def test_a_lost_raster_is_said_at_export(
    store: Store, settings: Settings, reviewed: Project, images: list[Image]
) -> None:
    path_of(settings, images[1]).unlink()
    with pytest.raises(BadImage, match=r"raster of sub/b\.tif is missing"):
        export_project(store, settings, reviewed.id, now=NOW)
