"""The commands import and export: the same acts as on the page, and an exit status."""

import json
import zipfile
from pathlib import Path

import pytest

from app import cli
from app.records import Project
from tests.studio.trade import CASES, Case, Trade, disc

CASE = CASES["holes"]


@pytest.fixture
def project(trade: Trade) -> Project:
    project = trade.project()
    trade.fill(project, trade.image(project, "a.jpg"), CASE)
    return project


@pytest.fixture
def twin(trade: Trade, project: Project) -> Project:
    twin = trade.project("Twin")
    trade.image(twin, "a.jpg")
    return twin


def run(trade: Trade, *arguments: object) -> int:
    return cli.main([*map(str, arguments), "--data-dir", str(trade.settings.data_dir)])


def test_what_is_exported_can_be_imported_elsewhere(
    trade: Trade,
    project: Project,
    twin: Project,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out.zip"
    assert run(trade, "export", "cvat", out, "--project", "Leaves") == 0
    assert "1 of 1 pixel for pixel, smallest IoU 1.0000" in capsys.readouterr().out

    assert run(trade, "import", "cvat", out, "--project", "Twin", "--dry-run") == 0
    told = capsys.readouterr().out
    assert told.startswith("dry run: nothing was written\nimages 1, new images 0, masks 1")
    assert trade.drafts(twin) == []

    assert run(trade, "import", "cvat", out, "--project", twin.id) == 0
    assert "masks 1, boxes 0" in capsys.readouterr().out
    assert [draft.rle for _, _, draft in trade.drafts(twin)] == [
        draft.rle for _, _, draft in trade.drafts(project)
    ]


def test_images_and_proposals_come_along_if_asked_for(
    trade: Trade, project: Project, tmp_path: Path
) -> None:
    out = tmp_path / "out.zip"
    run(trade, "export", "coco", out, "--project", "Leaves", "--images", "--proposals")
    with zipfile.ZipFile(out) as file:
        assert "images/a.jpg" in file.namelist()


def test_a_flag_before_the_command_counts_as_well(
    trade: Trade, project: Project, tmp_path: Path
) -> None:
    out, folder = tmp_path / "out.zip", str(trade.settings.data_dir)
    assert cli.main(["--data-dir", folder, "export", "coco", str(out), "--project", "1"]) == 0
    assert out.exists()


def test_problems_are_told_line_by_line_and_end_with_1(
    trade: Trade, twin: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.json"
    boxes = [{"id": n, "image_id": 1, "category_id": 1, "bbox": [1, 1, 0, 5]} for n in (1, 2)]
    image = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}
    categories = [{"id": 1, "name": "leaf"}]
    path.write_text(json.dumps({"images": [image], "categories": categories, "annotations": boxes}))
    for flags in ([], ["--dry-run"]):
        assert run(trade, "import", "coco", path, "--project", "Twin", *flags) == 1
        told = capsys.readouterr().err.splitlines()
        assert told[0] == "error: nothing was imported"
        assert [line.split(": ")[1] for line in told[1:]] == [
            "annotations[0] (id 1)",
            "annotations[1] (id 2)",
        ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param("import coco x.json Nobody", "there is no project 'Nobody'", id="project"),
        pytest.param("import coca x.json Leaves", "there is no format 'coca'", id="format"),
        pytest.param(
            "import coco x.json Leaves", "nothing was imported\n  x.json: there is no", id="file"
        ),
        pytest.param("export coca x.zip Leaves", "there is no format 'coca'", id="format out"),
        pytest.param("export coco . Leaves", ". exists already", id="there already"),
    ],
)
def test_what_cannot_be_done_ends_with_a_message(
    trade: Trade,
    project: Project,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    text: str,
) -> None:
    *command, name = arguments.split()
    assert run(trade, *command, "--project", name) == 1
    assert capsys.readouterr().err.startswith(f"error: {text}")


def test_two_projects_of_one_name_are_told_apart_by_number(
    trade: Trade, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    trade.project("Leaves")
    assert run(trade, "export", "coco", "x.zip", "--project", "Leaves") == 1
    assert "use a number: 1, 2" in capsys.readouterr().err


def test_a_folder_without_a_studio_is_not_made_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "elsewhere"
    arguments = ["export", "coco", "x.zip", "--project", "1", "--data-dir", str(folder)]
    assert cli.main(arguments) == 1
    assert "holds no studio" in capsys.readouterr().err
    assert not folder.exists()


def test_masks_are_replaced_if_asked_for(
    trade: Trade, project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.zip"
    run(trade, "export", "coco", out, "--project", "Leaves")
    ((image, instance),) = trade.store.list_project_instances(project.id)
    twin = trade.project("Twin")
    smaller = [("leaf", CASE.masks[0][1] & ~disc(20, 15, 1))]
    trade.fill(twin, trade.image(twin, image.file_name), Case(smaller))
    capsys.readouterr()
    assert run(trade, "import", "coco", out, "--project", "Twin", "--replace") == 0
    told = capsys.readouterr()
    assert "replaced 1, known 0, conflicts 0" in told.out
    assert told.err == ""  # no bar where nobody watches
    ((_, head),) = trade.store.list_project_instances(twin.id)
    assert (head.version, head.draft.rle) == (2, instance.draft.rle)
