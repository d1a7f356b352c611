"""Images in, whatever people drop; COCO in, all or nothing; the sample project once."""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pil

from app.errors import NotFound
from app.images import Intake
from app.library import SAMPLE_CATEGORIES, SAMPLE_FILES, SAMPLE_NAME, Library, Step
from app.records import State
from app.settings import Settings
from mal_core import calibrate, checkpoint
from mal_core.errors import BadDataset, CheckpointError, InputError
from tests.studio.conftest import PHOTOS, Studio, blob, make_weights, open_studio

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n"


@pytest.fixture
def library(studio: Studio) -> Iterator[Library]:
    opened, intake = studio.library()
    with intake:
        yield opened


def make_sound(path: Path, colour: str = "teal") -> Path:
    Pil.new("RGB", (40, 30), colour).save(path)
    return path


def make_eps(folder: Path) -> Path:
    path = folder / "poster.jpg"
    path.write_bytes(EPS)
    return path


def make_torn(folder: Path) -> Path:
    path = folder / "torn.jpg"
    Pil.open(PHOTOS / "coffee.png").convert("RGB").save(path, quality=95)
    path.write_bytes(path.read_bytes()[:9000])
    return path


def make_huge(folder: Path) -> Path:
    path = folder / "huge.png"
    Pil.new("1", (13_000, 13_000)).save(path)
    return path


def make_text(folder: Path) -> Path:
    path = folder / "notes.png"
    path.write_text("only words")
    return path


def make_empty_file(folder: Path) -> Path:
    path = folder / "nothing.png"
    path.touch()
    return path


def make_unknown(folder: Path) -> Path:
    path = folder / "report.pdf"
    path.write_bytes(b"%PDF-1.7")
    return path


def make_slip(folder: Path) -> Path:
    path = folder / "slip.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(make_sound(folder / "inner.png"), "../../evil.png")
    return path


def make_broken_zip(folder: Path) -> Path:
    path = folder / "broken.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(make_sound(folder / "inner.png"), "a.png")
    path.write_bytes(path.read_bytes()[:-30])
    return path


def make_empty_zip(folder: Path) -> Path:
    path = folder / "empty.zip"
    zipfile.ZipFile(path, "w").close()
    return path


def make_empty_folder(folder: Path) -> Path:
    path = folder / "holiday"
    path.mkdir()
    return path


BAD = [
    pytest.param(make_eps, "poster.jpg is an EPS", id="EPS named jpg"),
    pytest.param(make_torn, "torn.jpg could not be decoded", id="truncated JPEG"),
    pytest.param(make_huge, "huge.png has 13000 x 13000", id="13000 x 13000 pixels"),
    pytest.param(make_text, "notes.png is a text file", id="text named png"),
    pytest.param(make_empty_file, "nothing.png is an empty file", id="empty file"),
    pytest.param(make_unknown, "report.pdf: .pdf is not a kind", id="PDF"),
    pytest.param(make_slip, "../../evil.png: has a path that leaves the zip", id="zip slip"),
    pytest.param(make_broken_zip, "broken.zip is not a whole zip", id="broken zip"),
    pytest.param(make_empty_zip, "empty.zip: holds no image", id="empty zip"),
    pytest.param(make_empty_folder, "holiday: holds no image", id="empty folder"),
]


def names(studio: Studio) -> list[str]:
    return [s.image.file_name for s in studio.store.list_images(studio.project.id)]


@pytest.mark.parametrize(("make", "line"), BAD)
def test_what_cannot_be_taken_is_named_and_the_rest_of_the_upload_is_added(
    studio: Studio,
    library: Library,
    tmp_path: Path,
    make: Callable[[Path], Path],
    line: str,
) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    before = names(studio)
    first, bad = make_sound(drop / "first.png"), make(drop)
    second = make_sound(drop / "second.png", "navy")
    steps = list(library.add_files(studio.project.id, [first, bad, second]))
    assert [step.line for step in steps if not step.added] == [
        step.line for step in steps if step.line
    ]
    (told,) = (step.line for step in steps if step.line)
    assert told.startswith(line)
    assert str(tmp_path) not in told
    assert names(studio) == [*before, "first.png", "second.png"]
    assert [step.done for step in steps] == [1, 2, 3]
    assert not list(studio.settings.data_dir.glob("upload-*"))
    assert not list(tmp_path.rglob("evil.png"))


def test_only_bad_files_add_nothing(studio: Studio, library: Library, tmp_path: Path) -> None:
    before = names(studio)
    paths = [make_eps(tmp_path), make_text(tmp_path), make_broken_zip(tmp_path)]
    steps = list(library.add_files(studio.project.id, paths))
    assert [step.added for step in steps] == [False] * 3
    assert names(studio) == before


def test_zips_of_one_upload_share_its_limit(studio: Studio, tmp_path: Path) -> None:
    for name in ("one", "two"):
        picture = tmp_path / f"{name}.png"
        Pil.effect_noise((60, 50), 90).save(picture)
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.write(picture, picture.name)
    size = (tmp_path / "one.png").stat().st_size
    settings = replace(studio.settings, max_upload_bytes=size // 6)  # ten times that to an upload
    with Intake(settings) as intake:
        library = Library(settings, studio.store, intake)
        steps = list(library.add_files(studio.project.id, sorted(tmp_path.glob("*.zip"))))
    (line,) = (step.line for step in steps if "unpacks to more" in step.line)
    assert line.startswith("two.zip")


def test_an_upload_is_taken_once(studio: Studio, library: Library, tmp_path: Path) -> None:
    path = make_sound(tmp_path / "leaf.png")
    (first,) = library.add_files(studio.project.id, [path])
    (again,) = library.add_files(studio.project.id, [path])
    assert (first.added, again.added) == (True, False)
    assert again.line == "leaf.png is in the project already"


def test_what_intake_changed_is_said(studio: Studio, library: Library, tmp_path: Path) -> None:
    Pil.new("RGBA", (40, 30), (0, 128, 128, 100)).save(tmp_path / "glass.png")
    (step,) = library.add_files(studio.project.id, [tmp_path / "glass.png"])
    (image,) = studio.store.list_images(studio.project.id)[-1:]
    line = "glass.png: transparent parts were put on white"
    assert step == Step(1, 1, line, added=True, image=image.image)


def test_a_project_that_is_not_there_takes_nothing(library: Library, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no project 99"):
        list(library.add_files(99, [make_sound(tmp_path / "a.png")]))


def test_a_release_with_other_weights_leaves_old_projects_as_they_are(
    studio: Studio, tmp_path: Path
) -> None:
    other = make_weights(tmp_path / "other.safetensors", seed=9)
    later = open_studio(replace(studio.settings, weights=other))
    library, intake = later.library()
    with intake:
        fresh = library.add_project("New")
    box, category = (10.0, 20.0, 60.0, 90.0), studio.categories[0].id
    old = later.workflow.propose(studio.images[0].id, box, category, "Ada").instance
    assert old.draft.model_id == studio.project.model_id != fresh.model_id
    later.store.close()


def test_the_calibration_of_the_bundled_weights_is_kept_with_them(
    studio: Studio, tiny_weights: Path, tmp_path: Path
) -> None:
    weights = shutil.copy(tiny_weights, tmp_path / "bundled.safetensors")
    sha256 = checkpoint.file_sha256(weights)
    kept = calibrate.beside(studio.settings.models / f"{sha256}.safetensors")
    bundled = replace(studio.settings, weights=weights)
    library, intake = replace(studio, settings=bundled).library()
    curve = calibrate.Calibration(-0.5, 0.8, 0.3, 0.02)
    with intake:
        calibrate.save(curve, calibrate.beside(weights), "of other weights", {})
        library.prepare_model()
        assert not kept.exists()
        calibrate.save(curve, calibrate.beside(weights), sha256, {})
        library.prepare_model()
        assert calibrate.load(kept, sha256) == curve
        calibrate.beside(weights).write_text("{}")
        with pytest.raises(CheckpointError, match="not a calibration"):
            library.prepare_model()


def test_a_project_needs_a_name(studio: Studio, library: Library) -> None:
    with pytest.raises(InputError, match="1 to 200"):
        library.add_project("  ")
    assert len(studio.store.list_projects()) == 1


def test_a_new_folder_gets_the_sample_project_once(
    tmp_path: Path, tiny_weights: Path, new_database: str
) -> None:
    settings = Settings(tmp_path / "new", new_database, weights=tiny_weights, device="cpu")
    fresh = open_studio(settings)
    library, intake = fresh.library()
    with intake:
        library.prepare()
        library.prepare()
    (project,) = fresh.store.list_projects()
    assert project.name == SAMPLE_NAME
    summaries = fresh.store.list_images(project.id)
    assert [summary.image.file_name for summary in summaries] == list(SAMPLE_FILES)
    assert [c.name for c in fresh.store.list_categories(project.id)] == list(SAMPLE_CATEGORIES)
    assert len(fresh.store.list_models(project.id)) == 1
    fresh.store.close()


def to_coco(box: list[float] | None, mask: object = None) -> dict[str, Any]:
    return {
        "images": [{"id": 5, "file_name": "coffee.png", "width": 600, "height": 400}],
        "categories": [{"id": 8, "name": "cup"}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 8, "bbox": [10, 20, 100, 90]},
            {"id": 2, "image_id": 5, "category_id": 8, "bbox": box, "segmentation": mask},
        ],
    }


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([float("nan"), 1, 5, 5], id="nan"),
        pytest.param([1, 1, float("inf"), 5], id="infinite"),
        pytest.param([1, 1, 0, 5], id="no width"),
        pytest.param([700, 1, 5, 5], id="outside"),
        pytest.param([1, 1, 5], id="three numbers"),
    ],
)
def test_a_file_with_one_bad_box_changes_nothing(
    studio: Studio, library: Library, tmp_path: Path, box: list[float]
) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(to_coco(box)))
    with pytest.raises(BadDataset):
        library.import_files(studio.project.id, "coco", [path], "Ada")
    assert list(studio.store.list_project_instances(studio.project.id)) == []
    assert studio.store.list_categories(studio.project.id) == studio.categories


def test_an_imported_mask_counts_as_accepted(
    studio: Studio, library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "masks.json"
    mask = blob(studio.images[0])
    path.write_text(json.dumps(to_coco(None, mask.to_coco())))
    done = library.import_files(studio.project.id, "coco", [path], "Ada")
    assert (done.n_boxes, done.n_masks) == (1, 1)
    drafts = [i.draft for _, i in studio.store.list_project_instances(studio.project.id)]
    assert [(draft.state, draft.rle) for draft in drafts] == [
        (State.PROPOSED, None),
        (State.ACCEPTED, mask),
    ]


def test_what_was_accepted_comes_back_from_its_own_export(
    studio: Studio, library: Library, tmp_path: Path
) -> None:
    studio.add(0, State.ACCEPTED)
    report = library.export(
        studio.project.id, "coco", include_proposals=False, include_images=False
    )
    with zipfile.ZipFile(report.path) as archive:
        name = next(n for n in archive.namelist() if n != "report.json")
        archive.extract(name, tmp_path)
    other = library.add_project("Copy")
    taken = [PHOTOS / image.file_name for image in studio.images]
    list(library.add_files(other.id, taken))
    done = library.import_files(other.id, "coco", [tmp_path / name], "Bo")
    assert (done.n_masks, done.unmatched) == (1, [])
    ((_, copy),) = studio.store.list_project_instances(other.id)
    assert copy.draft.rle == blob(studio.images[0])
