"""COCO into a project: what comes in as what, what is known again, and all or nothing."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from app.errors import StudioError
from app.exchange import ImportReport
from app.images import path_of
from app.records import Image, Project, State
from mal_core import coco
from mal_core.errors import BadDataset
from mal_core.masks import RLE, encode
from tests.studio.trade import HEIGHT, NOW, WIDTH, Trade, disc


@pytest.fixture
def project(trade: Trade) -> Project:
    return trade.project()


@pytest.fixture
def images(trade: Trade, project: Project) -> list[Image]:
    return [trade.image(project, name) for name in ("a.jpg", "sub/b.tif", "other/a.jpg")]


def whole(pixels: np.ndarray) -> RLE:
    return encode(pixels, height=HEIGHT, width=WIDTH)


def dataset(*annotations: coco.Annotation, **changes: object) -> coco.Dataset:
    records = [
        coco.ImageRecord(5, "a.jpg", WIDTH, HEIGHT),
        coco.ImageRecord(6, "elsewhere/b.tif", WIDTH, HEIGHT),
        coco.ImageRecord(7, "missing.jpg", 99, 99),
    ]
    categories = [coco.CategoryRecord(90, "leaf"), coco.CategoryRecord(91, "Twig")]
    return replace(coco.Dataset(records, categories, annotations), **changes)


LEAF = whole(disc(20, 15, 8))
MASK = coco.Annotation(1, 5, 90, (12.0, 7.0, 29.0, 24.0), LEAF)
BOX = coco.Annotation(2, 6, 91, (-3.5, 2.0, 12.25, HEIGHT + 4.0), None)


def bring(
    trade: Trade, project: Project, value: coco.Dataset, *, dry_run: bool = False
) -> ImportReport:
    path = trade.settings.data_dir / "incoming.json"
    coco.save(value, path)
    return trade.bring(project, "coco", path, dry_run=dry_run)


def facts(trade: Trade, project: Project) -> list[tuple[str, str, State, RLE | None]]:
    return [(name, title, d.state, d.rle) for name, title, d in trade.drafts(project)]


def test_masks_come_in_accepted_and_boxes_as_proposals_cut_to_the_image(
    trade: Trade, project: Project, images: list[Image]
) -> None:
    report = bring(trade, project, dataset(MASK, BOX))
    assert report == ImportReport(n_images=2, n_masks=1, n_boxes=1, unmatched=["missing.jpg"])
    assert facts(trade, project) == [
        ("a.jpg", "leaf", State.ACCEPTED, LEAF),
        ("sub/b.tif", "Twig", State.PROPOSED, None),
    ]
    assert trade.drafts(project)[1][2].box == (0.0, 2.0, 12.25, HEIGHT)


def test_a_dry_run_says_the_same_and_writes_nothing(
    trade: Trade, project: Project, images: list[Image]
) -> None:
    found = bring(trade, project, dataset(MASK, BOX), dry_run=True)
    assert trade.drafts(project) == []
    assert trade.store.list_categories(project.id) == []
    assert found == bring(trade, project, dataset(MASK, BOX))


def test_categories_are_matched_by_name_whatever_the_case(
    trade: Trade, project: Project, images: list[Image]
) -> None:
    trade.store.add_category(project.id, "TWIG")
    bring(trade, project, dataset(BOX))
    assert [c.name for c in trade.store.list_categories(project.id)] == ["TWIG", "leaf"]
    assert facts(trade, project)[0][1] == "TWIG"


def test_importing_twice_adds_nothing_even_after_review(
    trade: Trade, project: Project, images: list[Image]
) -> None:
    bring(trade, project, dataset(MASK, BOX))
    store = trade.store
    for image, instance in list(store.list_project_instances(project.id)):
        state = State.DELETED if image == images[0] else State.ACCEPTED
        changed = replace(instance.draft, state=state, rle=whole(disc(9, 9, 3)))
        store.save_instance(instance.id, changed, 1, "Bo", "", NOW)
    before = trade.drafts(project)
    report = bring(trade, project, dataset(MASK, BOX, replace(BOX, id=3)))
    assert (report.n_masks, report.n_boxes, report.n_known) == (0, 0, 3)
    assert trade.drafts(project) == before


@pytest.mark.parametrize("state", [State.ACCEPTED, State.CORRECTED, State.DELETED])
def test_another_outline_of_the_same_object_is_a_conflict_and_the_project_s_stays(
    trade: Trade, project: Project, images: list[Image], state: State
) -> None:
    bring(trade, project, dataset(MASK))
    ((_, first),) = trade.store.list_project_instances(project.id)
    trade.store.save_instance(first.id, replace(first.draft, state=state), 1, "Bo", "", NOW)
    other = replace(MASK, rle=whole(disc(20, 15, 8) & ~disc(20, 15, 2)))
    report = bring(trade, project, dataset(other))
    assert (report.n_masks, report.n_known, len(report.conflicts)) == (0, 0, 1)
    assert report.conflicts[0].startswith(f"a.jpg: leaf at (12, 7) is in the project ({state})")
    assert facts(trade, project) == [("a.jpg", "leaf", state, LEAF)]


def test_a_mask_fills_the_proposal_of_its_object(
    trade: Trade, project: Project, images: list[Image]
) -> None:
    box = replace(MASK, rle=None)
    bring(trade, project, dataset(box))
    report = bring(trade, project, dataset(MASK))
    assert (report.n_filled, report.n_masks) == (1, 0)
    assert facts(trade, project) == [("a.jpg", "leaf", State.ACCEPTED, LEAF)]
    ((_, instance),) = trade.store.list_project_instances(project.id)
    assert len(trade.store.list_revisions(instance.id)) == 2


def test_a_box_around_a_known_mask_brings_nothing(
    trade: Trade, project: Project, images: list[Image]
) -> None:
    bring(trade, project, dataset(MASK))
    report = bring(trade, project, dataset(replace(MASK, box=(12.4, 7.0, 29.0, 24.2), rle=None)))
    assert (report.n_boxes, report.n_known) == (0, 1)


def test_each_instance_of_the_project_is_matched_once(
    trade: Trade, project: Project, images: list[Image]
) -> None:
    bring(trade, project, dataset(MASK))
    near = [
        replace(MASK, id=2, rle=whole(disc(20, 15, 8) & ~disc(20, 15, 1))),
        replace(MASK, id=3, rle=whole(disc(20, 15, 8) & ~disc(20, 15, 3))),
    ]
    report = bring(trade, project, dataset(*near))
    assert (len(report.conflicts), report.n_masks) == (1, 1)


def test_the_same_outline_in_another_category_is_another_object(
    trade: Trade, project: Project, images: list[Image]
) -> None:
    bring(trade, project, dataset(MASK))
    assert bring(trade, project, dataset(replace(MASK, category_id=91))).n_masks == 1


def test_crowds_are_left_out_and_counted(
    trade: Trade, project: Project, images: list[Image]
) -> None:
    report = bring(trade, project, dataset(replace(MASK, iscrowd=True), BOX))
    assert (report.n_crowds, report.n_masks, report.n_boxes) == (1, 0, 1)


def test_an_empty_mask_counts_as_a_box(trade: Trade, project: Project, images: list[Image]) -> None:
    empty = whole(np.zeros((1, 1), np.bool_))
    assert bring(trade, project, dataset(replace(MASK, rle=empty))).n_boxes == 1


def records(*names: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> dict[str, object]:
    return {"images": [coco.ImageRecord(i + 5, name, *size) for i, name in enumerate(names)]}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        pytest.param(records("a.jpg", size=(WIDTH, 31)), "the file says 40 x 31", id="other size"),
        pytest.param(
            records("a.jpg", size=(HEIGHT, WIDTH)), "before it is turned upright", id="turned"
        ),
        pytest.param(records("x/a.jpg"), "2 images have this name", id="ambiguous in the project"),
        pytest.param(
            records("x/b.tif", "y/b.tif"), "would be the same image", id="ambiguous in the file"
        ),
        pytest.param(
            {"categories": [coco.CategoryRecord(90, "x" * 300), coco.CategoryRecord(91, "y")]},
            "a name must be",
            id="a category that cannot be stored",
        ),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(
    trade: Trade, project: Project, images: list[Image], changes: dict[str, object], text: str
) -> None:
    value = dataset(replace(MASK, image_id=5, rle=None), **changes)
    with pytest.raises(BadDataset, match=text):
        bring(trade, project, value)
    assert trade.drafts(project) == []
    assert trade.store.list_categories(project.id) == []
    found = bring(trade, project, value, dry_run=True)
    assert any(text in line for line in found.problems)


def test_every_problem_has_a_line_of_its_own(
    trade: Trade, project: Project, images: list[Image], tmp_path: Path
) -> None:
    value = dataset(BOX, replace(BOX, id=3), replace(MASK, id=4))
    path = tmp_path / "bad.json"
    content = coco.write(value).replace(b'"bbox":[-3.5', b'"bbox":[-350')
    path.write_bytes(content)
    with pytest.raises(BadDataset) as caught:
        trade.bring(project, "coco", path)
    assert len(caught.value.problems) == 2
    assert all("lies outside" in line for line in caught.value.problems)


def test_a_failure_in_the_middle_of_writing_leaves_nothing(
    trade: Trade, project: Project, images: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trade.store, "keep_fields", fail)
    with pytest.raises(StudioError, match="nothing was imported: No space"):
        bring(trade, project, dataset(MASK, BOX))
    assert trade.drafts(project) == []
    assert trade.store.list_categories(project.id) == []


# Images that come along


def picture(folder: Path, name: str, colour: str = "teal", orientation: int = 1) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Pil.Exif()
    exif[0x0112] = orientation
    Pil.new("RGB", (WIDTH, HEIGHT), colour).save(path, exif=exif)
    return path


def yolo(folder: Path, stem: str, line: str = "0 0.5 0.5 0.5 0.5") -> None:
    path = folder / "labels" / f"{stem}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line)


@pytest.mark.both
def test_images_that_come_along_are_added_with_their_instances(
    trade: Trade, project: Project, tmp_path: Path
) -> None:
    picture(tmp_path, "set/images/train/1.jpg")
    picture(tmp_path, "set/images/train/2.png", orientation=6)
    for stem in ("train/1", "train/2", "train/3"):
        yolo(tmp_path / "set", stem)
    found = trade.bring(project, "yolo", tmp_path / "set", dry_run=True)
    assert (found.n_new_images, found.n_boxes, found.unmatched) == (2, 2, ["train/3"])
    assert trade.store.list_images(project.id) == []
    assert not trade.settings.images.exists()

    trade.bring(project, "yolo", tmp_path / "set")
    added = [summary.image for summary in trade.store.list_images(project.id)]
    assert [image.file_name for image in added] == ["train/1.jpg", "train/2.png"]
    assert all(path_of(trade.settings, image).exists() for image in added)
    boxes = [draft.box for _, _, draft in trade.drafts(project)]
    assert boxes == [(10, 7.5, 30, 22.5), (7.5, 10, 22.5, 30)]  # the second was turned upright


def test_an_image_that_comes_along_again_is_known_by_its_content(
    trade: Trade, project: Project, tmp_path: Path
) -> None:
    picture(tmp_path, "set/images/1.jpg")
    yolo(tmp_path / "set", "1")
    trade.bring(project, "yolo", tmp_path / "set")
    picture(tmp_path, "other/images/renamed.jpg")
    yolo(tmp_path / "other", "renamed")
    report = trade.bring(project, "yolo", tmp_path / "other")
    assert (report.n_new_images, report.n_known) == (0, 1)
    assert len(trade.store.list_images(project.id)) == 1


def test_a_picture_that_came_along_twice_is_taken_once_and_the_other_named(
    trade: Trade, project: Project, tmp_path: Path
) -> None:
    for stem in ("1", "2"):
        picture(tmp_path, f"set/images/{stem}.jpg")
        yolo(tmp_path / "set", stem)
    for dry_run in (True, False):
        report = trade.bring(project, "yolo", tmp_path / "set", dry_run=dry_run)
        assert (report.n_images, report.n_boxes) == (1, 1)
        assert report.left_out == ["2.jpg: is the same picture as 1.jpg, which is taken"]
    assert len(trade.drafts(project)) == 1


def test_an_image_that_cannot_be_decoded_keeps_everything_out(
    trade: Trade, project: Project, tmp_path: Path
) -> None:
    picture(tmp_path, "set/images/1.jpg")
    (tmp_path / "set/images/2.jpg").write_bytes(b"these are only words")
    for stem in ("1", "2"):
        yolo(tmp_path / "set", stem)
    with pytest.raises(BadDataset, match=r"2.jpg is a text file"):
        trade.bring(project, "yolo", tmp_path / "set")
    assert trade.store.list_images(project.id) == []
    assert not trade.settings.images.exists()


# Fields of other tools


def test_fields_of_other_tools_are_written_back_to_the_format_they_came_from(
    trade: Trade, project: Project, images: list[Image]
) -> None:
    value = dataset(
        replace(MASK, extra={"score": 0.5, "attributes": {"ripe": True}}),
        images=[coco.ImageRecord(5, "a.jpg", WIDTH, HEIGHT, {"license": 3})],
        categories=[coco.CategoryRecord(90, "leaf", {"supercategory": "plant"})],
        extra={"info": {"year": 2026}},
    )
    bring(trade, project, value)
    out = coco_of(trade, project)
    assert out.extra == {"info": {"year": 2026}}
    assert out.images[0].extra == {"license": 3}
    assert out.categories[0].extra == {"supercategory": "plant"}
    assert out.annotations[0].extra == {"score": 0.5, "attributes": {"ripe": True}}
    bring(trade, project, replace(value, annotations=[replace(MASK, extra={"score": 0.75})]))
    merged = {"score": 0.75, "attributes": {"ripe": True}}
    assert coco_of(trade, project).annotations[0].extra == merged


def coco_of(trade: Trade, project: Project) -> coco.Dataset:
    report = trade.export(project, "coco")
    name = report.path.with_suffix(".json")
    with zipfile.ZipFile(report.path) as file:
        name.write_bytes(file.read("annotations.json"))
    report.path.unlink()
    return coco.read(name)


def test_images_in_a_folder_of_their_subset_are_found_by_the_end_of_their_names(
    trade: Trade, project: Project, tmp_path: Path
) -> None:
    """As Datumaro lays COCO out."""
    for folder, colour in (("x", "teal"), ("y", "navy")):
        picture(tmp_path / "set", f"images/train/{folder}/a.jpg", colour)
    value = dataset(MASK, replace(MASK, id=2, image_id=6), **records("y/a.jpg", "x/a.jpg"))
    coco.save(value, tmp_path / "set" / "masks.json")
    report = trade.bring(project, "coco", tmp_path / "set")
    assert (report.n_new_images, report.n_masks, report.unmatched) == (2, 2, [])
    stored = [
        Pil.open(path_of(trade.settings, s.image)) for s in trade.store.list_images(project.id)
    ]
    assert [picture.getpixel((0, 0))[1] > 60 for picture in stored] == [False, True]  # type: ignore[index]
