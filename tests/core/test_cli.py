"""The command line: what it prints and writes, and how it fails."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from mal_core import calibrate, checkpoint, coco
from mal_core.__main__ import main
from mal_core.checkpoint import Checkpoint
from mal_core.coco import Dataset
from mal_core.commands.options import BUNDLED
from mal_core.geometry import Image
from mal_core.masks import RLE, decode
from mal_core.predictor import Predictor
from mal_core.refine import METHODS, RefineConfig

Draw = Callable[[int, int], Dataset]
Capture = pytest.CaptureFixture[str]
RED, YELLOW = ["50", "50", "170", "190"], ["250", "130", "320", "240"]
BARE = """{"images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 9}],
    "categories": [{"id": 1, "name": "a"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}]}"""
FIGURES = "n instance_iou class_iou boundary_iou small medium large jittered_iou box_iou"


@pytest.fixture
def photo(scene: Image, tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    PilImage.fromarray(scene).save(path)
    return path


@pytest.fixture
def weights(tiny: Checkpoint, tmp_path: Path) -> str:
    path = tmp_path / "tiny.safetensors"
    checkpoint.save(tiny.model, path, tiny.metadata)
    return str(path)


@pytest.fixture
def data(draw_dataset: Draw, tmp_path: Path) -> list[str]:
    """train.json, held-out.json and the images' folder."""
    for name, first, count in (("train", 0, 2), ("held-out", 2, 1)):
        coco.save(draw_dataset(first, count), tmp_path / f"{name}.json")
    return [str(tmp_path / name) for name in ("train.json", "held-out.json", "images")]


def run(*words: object) -> int:
    return main([str(word) for word in words])


def printed(capsys: Capture) -> list[Any]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_predict_writes_the_predictor_s_mask(
    predictor: Predictor, photo: Path, scene: Image, tmp_path: Path
) -> None:
    out = tmp_path / "mask.png"
    assert run("predict", photo, "--box", *RED, "--out", out, "--device", "cpu") == 0
    mask = decode(predictor.predict(scene, [(50.0, 50.0, 170.0, 190.0)]).masks()[0])
    assert np.array_equal(np.asarray(PilImage.open(out)), mask * np.uint8(255))


def test_predict_numbers_several_masks(
    photo: Path, weights: str, tmp_path: Path, capsys: Capture
) -> None:
    boxes = ("--box", *RED, "--box", *YELLOW, "--box", 0, 0, 9, 9)
    out = tmp_path / "labels.png"
    assert run("predict", photo, *boxes, "--weights", weights, "--out", out, "--json") == 0
    (rows,) = printed(capsys)
    labels = np.zeros((240, 320), np.uint8)
    for number, row in enumerate(rows, start=1):
        labels[decode(RLE.from_coco(row["rle"]))] = number
    assert np.array_equal(np.asarray(PilImage.open(out)), labels)


def test_predict_prints_boxes_scores_and_areas(photo: Path, weights: str, capsys: Capture) -> None:
    command = ("predict", photo, "--box", *RED, "--weights", weights, "--threshold", "0")
    assert run(*command, "--json") == 0
    ((row,),) = printed(capsys)
    assert set(row) == {"box", "score", "area", "rle"}
    assert row["box"] == [50, 50, 170, 190]
    assert row["area"] == RLE.from_coco(row["rle"]).area == 120 * 140
    assert run(*command) == 0
    assert "16800 pixels, expected IoU" in capsys.readouterr().out


def test_predict_refines_edges_as_it_is_told(
    predictor: Predictor, photo: Path, scene: Image, capsys: Capture
) -> None:
    answers = []
    for method in METHODS:
        assert run("predict", photo, "--box", *RED, "--json", "--refine", method) == 0
        ((row,),) = printed(capsys)
        edges = RefineConfig(method=method)
        prediction = replace(predictor.predict(scene, [(50.0, 50.0, 170.0, 190.0)]), refine=edges)
        assert row["rle"] == prediction.rle(0).to_coco()
        answers.append(row["rle"]["counts"])
    assert answers[0] not in answers[1:]


def test_info_says_what_a_checkpoint_is(weights: str, capsys: Capture) -> None:
    assert run("info", "--weights", weights, "--json") == 0
    (facts,) = printed(capsys)
    assert facts["sha256"] == checkpoint.file_sha256(Path(weights))
    assert facts["model"]["dim"] == 32
    assert facts["threshold"] == 0.4
    assert facts["parameters"] == sum(
        p.numel() for p in checkpoint.load(Path(weights)).model.parameters()
    )


def test_the_bundled_weights_are_the_default(capsys: Capture) -> None:
    assert run("info") == 0
    text = capsys.readouterr().out
    assert f"file             {BUNDLED.name}" in text
    assert "14726689" in text


def test_evaluate_prints_the_promised_keys(data: list[str], weights: str, capsys: Capture) -> None:
    assert run("evaluate", data[0], data[2], "--weights", weights, "--json") == 0
    (figures,) = printed(capsys)
    assert list(figures) == [*FIGURES.split(), "seconds_per_box"]
    assert figures["n"] == 4
    assert figures["jittered_iou"] is not None


def test_evaluate_can_be_short(data: list[str], weights: str, capsys: Capture) -> None:
    short = ("--limit", 1, "--jitter", 0)
    assert run("evaluate", data[0], data[2], "--weights", weights, *short) == 0
    table = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert list(table) == [*FIGURES.split(), "seconds_per_box"]
    assert (table["n"], table["jittered_iou"], table["large"]) == ("2", "-", "-")


def test_simulate_says_what_strokes_are_worth(
    data: list[str], weights: str, capsys: Capture
) -> None:
    command = ("simulate", data[0], data[2], "--weights", weights, "--strokes", 1)
    assert run(*command, "--json") == run(*command, "--json") == 0
    facts, again = printed(capsys)
    assert facts == again
    assert (facts["n"], facts["target"], facts["seed"]) == (4, 0.9, 0)
    plain, smart = facts["plain"], facts["smart"]
    assert set(plain) == set(smart) == {"iou", "strokes", "reached"}
    assert plain["iou"][0] == smart["iou"][0] < plain["iou"][1]
    assert len(plain["iou"]) == len(smart["iou"]) == 2
    assert run(*command, "--instances", 1, "--target", 0) == 0
    text = capsys.readouterr().out
    assert "1 instances, target 0.0, seed 0" in text
    assert "IoU@1  strokes  reached" in text
    assert text.count("   0.00     1.00") == 2


def test_train_streams_its_events_and_writes_the_weights(
    data: list[str], weights: str, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "new" / "child.safetensors"
    out.parent.mkdir()
    where = (data[0], data[2], "--held-out", data[1], "--out", out, "--weights", weights)
    assert run("finetune", *where, "--epochs", 1, "--views", 1, "--json", "--device", "cpu") == 0
    events = printed(capsys)
    kinds = ["cache"] * 3 + ["epoch"] * 2 + ["measure"] * 2 + ["judged", "saved"]
    assert [event["event"] for event in events] == kinds
    assert events[-1]["sha256"] == checkpoint.load(out).sha256
    assert set(out.parent.iterdir()) == {out, Path(f"{out}.compare.json")}


def test_train_prints_a_line_an_epoch(
    data: list[str], weights: str, tmp_path: Path, capsys: Capture
) -> None:
    where = (data[0], data[2], "--held-out", data[1], "--out", tmp_path / "child.safetensors")
    assert run("finetune", *where, "--weights", weights, "--epochs", 1, "--views", 1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "epoch 1  epochs 1  loss" in lines[1]
    assert "held-out IoU" in lines[2]


@pytest.fixture
def label(data: list[str], weights: str, tmp_path: Path) -> list[str]:
    """Words that label the training images anew, one of which is gone."""
    (tmp_path / "images" / "1.png").unlink()
    out = str(tmp_path / "masks.json")
    return ["label", data[0], data[2], "--weights", weights, "--out", out, "--relabel"]


def test_label_streams_its_events_and_writes_the_masks(label: list[str], capsys: Capture) -> None:
    assert run(*label, "--json", "--device", "cpu") == 0
    events = printed(capsys)
    assert [e["event"] for e in events] == ["start", "image", "error", "error", "image", "saved"]
    assert [e["annotation"] for e in events if e["event"] == "error"] == [3, 4]
    assert all(a.rle is not None for a in coco.read(Path(label[6])).annotations)


def test_label_says_counts_and_why_boxes_have_no_mask(label: list[str], capsys: Capture) -> None:
    assert run(*label) == 0
    captured = capsys.readouterr()
    assert "masks.json: labelled 2  flagged " in captured.out
    assert "  failed 2  kept 0  " in captured.out
    assert "no mask for 2: cannot read 1.png" in captured.err


def test_label_scores_by_the_calibration_beside_the_weights(
    label: list[str], weights: str, capsys: Capture
) -> None:
    assert run(*label, "--score") == 0
    assert "there is no calibration for these weights" in capsys.readouterr().err
    flat = calibrate.Calibration(20, 1e-9, 0, 0)
    path, sha256 = calibrate.beside(Path(weights)), checkpoint.file_sha256(Path(weights))
    calibrate.save(flat, path, sha256, {})
    assert run(*label, "--score") == 0
    assert "calibration" not in capsys.readouterr().err
    entries = json.loads(Path(label[6]).read_bytes())["annotations"]
    assert [e.get("score") for e in entries] == [1, 1, None, None]


def test_the_bundled_calibration_is_for_the_bundled_weights() -> None:
    sha256 = checkpoint.file_sha256(BUNDLED)
    assert calibrate.load(calibrate.beside(BUNDLED), sha256) is not None


@pytest.mark.parametrize(
    ("command", "message"),
    [
        pytest.param("predict {none} --box 0 0 9 9", "cannot read none", id="no-image"),
        pytest.param("predict {photo} --box 9 9 0 0", "holds no pixel", id="bad-box"),
        pytest.param("predict {photo} --box nan 0 9 9", "finite", id="nan-box"),
        pytest.param("predict {photo} --box 0 0 9 9 --out {none}/a.png", "none", id="no-folder"),
        pytest.param("predict {photo} --box 0 0 9 9 --device abacus", "device", id="no-device"),
        pytest.param("info --weights {none}", "cannot read none", id="no-weights"),
        pytest.param("info --weights {photo}", "photo.png", id="weights-of-another-kind"),
        pytest.param("evaluate {none} {images}", "cannot be read", id="no-data"),
        pytest.param("evaluate {photo} {images}", "not JSON", id="data-of-another-kind"),
        pytest.param("evaluate {train} {none}", "cannot read", id="no-images"),
        pytest.param("evaluate {boxes} {images}", "no instance with a mask", id="no-masks"),
        pytest.param("simulate {boxes} {images}", "no instance with a mask", id="simulate-none"),
        pytest.param("label {none} {images} --out {none}/a", "none", id="label-no-data"),
        pytest.param("label {train} {images} --out {none}/a", "none", id="label-no-folder"),
        pytest.param("label {bare} {none} --out {none}.json", "none of 1 boxes", id="label-none"),
        pytest.param("finetune {train} {images} --held-out {train}", "both trained", id="shared"),
        pytest.param("finetune {boxes} {images} --held-out {held}", "at least one", id="nothing"),
        pytest.param(
            "finetune {train} {images} --probe {boxes} {images}", "at least one", id="empty-probe"
        ),
        pytest.param("finetune {train} {images} --distil {none}", "none", id="no-photos"),
        pytest.param(
            "finetune {train} {images} --held-out {held} --epochs 0", "epochs", id="epochs"
        ),
        pytest.param(
            "finetune {train} {images} --held-out {held} --out {none}/a", "none", id="no-out-folder"
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(
    photo: Path,
    weights: str,
    data: list[str],
    tmp_path: Path,
    capsys: Capture,
    command: str,
    message: str,
) -> None:
    boxes = tmp_path / "boxes.json"
    boxes.write_text('{"images": [], "categories": [], "annotations": []}')
    bare = tmp_path / "bare.json"
    bare.write_text(BARE)
    names = {"bare": bare, "photo": photo, "none": tmp_path / "none", "boxes": boxes}
    names |= dict(zip(("train", "held", "images"), map(Path, data), strict=True))
    words = [word.format(**names) for word in command.split()]
    if words[0] == "finetune" and "--out" not in words:
        words += ["--out", str(tmp_path / "child.safetensors")]
    if "--weights" not in words:
        words += ["--weights", weights]
    assert run(*words) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "child.safetensors").exists()


@pytest.mark.parametrize(
    "options",
    ["--threshold 2", "--threshold nan", "--jitter -1", "--limit -1", "--limit 0", "--threads -2"],
)
def test_an_option_out_of_range_is_a_usage_error(
    data: list[str], capsys: Capture, options: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        run("evaluate", data[0], data[2], *options.split())
    assert caught.value.code == 2
    assert options.split()[0] in capsys.readouterr().err


@pytest.mark.slow
def test_the_module_runs_as_a_program(tmp_path: Path) -> None:
    words = ["predict", str(tmp_path / "none.png"), "--box", "0", "0", "9", "9"]
    command = [sys.executable, "-m", "mal_core", *words]
    done = subprocess.run(
        command, cwd=BUNDLED.parent.parent, capture_output=True, check=False, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot read none.png as an image")
    assert "Traceback" not in done.stderr
