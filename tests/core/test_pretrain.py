"""Pretraining without labels: what is drawn and learned; a run goes on where it stopped."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PilImage
from safetensors.torch import load_file

from mal_core import checkpoint, mae
from mal_core.__main__ import main
from mal_core.config import ModelConfig, PretrainConfig
from mal_core.dataset import read_image
from mal_core.errors import InputError, TrainingError
from mal_core.model import MAL
from mal_core.pool import decode
from mal_core.pretrain import (
    Event,
    Material,
    Pretraining,
    draw_crop,
    find_images,
    gather,
    pretrain,
)
from tests.core import runs

CPU = torch.device("cpu")
MODEL = ModelConfig(dim=32, depth=2, heads=2, crop_size=64, registers=2)
QUICK = PretrainConfig(steps=4, batch_size=4, rate=1e-3, decoder_dim=32, decoder_depth=1)
SMALL = ["--dim", "32", "--depth", "2", "--heads", "2", "--crop-size", "64", "--registers", "2"]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four images: smooth ramps of two colours, so that a patch tells its neighbours."""
    folder = tmp_path / "images"
    (folder / "below").mkdir(parents=True)
    down, across = np.mgrid[:80, :96] / 96
    for number, name in enumerate(["a.png", "b.PNG", "below/a.png", "below/c.png"]):
        angle = number * np.pi / 4
        ramp = 128 + 60 * (np.cos(angle) * across + np.sin(angle) * down)
        picture = np.stack([ramp, 255 - ramp, ramp], -1).astype(np.uint8)
        PilImage.fromarray(picture).save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    return path


def material(images: Path, folder: Path) -> Material:
    sources = find_images([images])
    assert not any(decode(sources, folder, 1024))
    return gather(sources, folder)


def start(folder: Path, config: PretrainConfig = QUICK) -> Pretraining:
    return Pretraining(MODEL, config, CPU, folder)


def timeless(events: list[Event]) -> list[dict[str, Any]]:
    return [{k: v for k, v in e.items() if k != "crops_per_second"} for e in events]


def command(images: Path, out: Path, *more: str) -> list[str]:
    small = [*SMALL, "--decoder-dim", "32", "--batch-size", "4", "--steps", "2"]
    words = ["pretrain", str(images), "--out", str(out), *small, "--device", "cpu", "--json"]
    return [*words, *more]


def test_what_is_hidden_is_learned(images: Path, folder: Path) -> None:
    config = replace(QUICK, steps=30, batch_size=8, rate=3e-3)
    losses = [event["loss"] for event in start(folder, config).steps(material(images, folder))]
    assert np.mean(losses[:3]) > 0.95
    assert np.mean(losses[-5:]) < 0.5


def test_a_resumed_run_is_the_uninterrupted_one(images: Path, folder: Path) -> None:
    drawn = material(images, folder)
    whole = start(folder)
    events = list(whole.steps(drawn))
    halted = start(folder)
    first = [event for _, event in zip(range(2), halted.steps(drawn), strict=False)]
    halted.save({"data": "x"})
    resumed = start(folder)
    assert resumed.resume({"data": "x"}).step == 2
    assert timeless(first + list(resumed.steps(drawn))) == timeless(events)
    weights = whole.network.state_dict()
    assert all(torch.equal(v, weights[k]) for k, v in resumed.network.state_dict().items())


@pytest.mark.slow
def test_a_killed_run_goes_on_along_the_same_curve(
    images: Path, tmp_path: Path, capsys: Capture
) -> None:
    more = ["--steps", "5", "--threads", "1", "--save-minutes", "0", "--resume"]
    prefix = ["-m", "mal_core"]
    words = [*prefix, *command(images, tmp_path / "whole.safetensors", *more)]
    whole = runs.run_here(words, capsys)
    halted = [*prefix, *command(images, tmp_path / "halted.safetensors", *more)]
    events = [*runs.run(halted, kill_after=2), *runs.run_here(halted, capsys)]
    assert runs.curve(events) == runs.curve(whole)
    assert events[-1]["sha256"] == whole[-1]["sha256"]


def test_a_crop_depends_on_its_number_and_the_seed_alone(images: Path, folder: Path) -> None:
    drawn = material(images, folder)
    (crop, order), again = (draw_crop(drawn, 7, 64, QUICK, CPU) for _ in range(2))
    assert torch.equal(crop, again[0])
    assert torch.equal(order, again[1])
    assert sorted(order.tolist()) == list(range(16))
    for number, seed in ((8, 0), (7, 1)):
        other = draw_crop(drawn, number, 64, replace(QUICK, seed=seed), CPU)
        assert not torch.equal(crop, other[0])
        assert not torch.equal(order, other[1])


@pytest.mark.parametrize(("height", "width"), [(300, 300), (200, 400), (30, 900), (900, 30)])
def test_a_crop_s_window_lies_in_the_image_and_has_the_size_and_shape_asked_for(
    height: int, width: int, folder: Path, tmp_path: Path
) -> None:
    """Colours say where a pixel was: red by column, green by row."""
    (tmp_path / "maps").mkdir()
    down, across = np.mgrid[:height, :width]
    colours = [255 * across / width, 255 * down / height, 0 * down]
    PilImage.fromarray(np.stack(colours, -1).astype(np.uint8)).save(tmp_path / "maps/map.png")
    drawn = material(tmp_path / "maps", folder)
    config, flips = replace(QUICK, longest=1024), 0
    for number in range(40):
        crop, _ = draw_crop(drawn, number, 64, config, CPU)
        flips += bool(crop[0, :, 0].mean() > crop[0, :, -1].mean())
        spans = [
            float(crop[c].max() - crop[c].min()) * side for c, side in ((0, width), (1, height))
        ]
        w, h = (span * 64 / 63 for span in spans)
        assert 0.68 <= w / h <= 1.47
        if max(height, width) <= 2 * min(height, width):
            assert 0.19 <= w * h / (height * width) <= 1.03
        else:
            assert w * h >= 0.9 * min(height, width) ** 2
    assert 10 <= flips <= 30


def test_images_are_found_to_the_bottom_by_name_and_upright(images: Path, tmp_path: Path) -> None:
    turned = PilImage.Exif()
    turned[0x0112] = 6
    PilImage.new("RGB", (40, 20)).save(images / "turned.jpg", exif=turned)
    (source,) = find_images([images])
    found = {record.file_name: (record.width, record.height) for record in source.dataset.images}
    names = ["a.png", "b.PNG", "below/a.png", "below/c.png", "turned.jpg"]
    assert found == dict.fromkeys(names[:4], (96, 80)) | {"turned.jpg": (20, 40)}
    assert read_image(images / "turned.jpg").shape == (40, 20, 3)


def test_train_takes_the_encoder_and_its_file_says_what_it_is(
    images: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "encoder.safetensors"
    assert main(command(images, out)) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds == ["decode", "start", "step", "step", "saved"]
    loaded = checkpoint.load(out)
    notes = loaded.metadata
    assert (notes["pretrained"], notes["steps"], len(notes["data"])) == ("mae", "2", 64)
    network = checkpoint.build(MODEL, out)
    for name, value in loaded.model.encoder.state_dict().items():
        torch.testing.assert_close(network.encoder.state_dict()[name], value)
    run = out.with_name(out.name + ".run")
    assert sorted(path.name for path in run.iterdir()) == ["curve.jsonl", "log"]


def test_the_encoder_learns_and_what_reads_prompts_stays(
    images: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "encoder.safetensors"
    events = list(pretrain([images], out, start(folder), folder))
    assert events[-1]["event"] == "saved"
    torch.manual_seed(QUICK.seed)
    checkpoint.save(MAL(MODEL), tmp_path / "new.safetensors", {})
    before, after = load_file(tmp_path / "new.safetensors"), load_file(out)
    changed = {name.split(".")[0] for name in before if not before[name].equal(after[name])}
    assert changed == {"stem", "pos", "reg", "blocks", "norm"}
    assert not after["stem.c1.0.weight"][:, 3:].any()


def test_a_corrupt_image_is_named_and_counted_and_the_run_goes_on(
    images: Path, folder: Path, tmp_path: Path
) -> None:
    whole = (images / "a.png").read_bytes()
    (images / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    (images / "torn.png").write_bytes(whole[: len(whole) // 2])
    events = list(pretrain([images], tmp_path / "new.safetensors", start(folder), folder))
    skipped = [event["image"] for event in events if event["event"] == "skipped"]
    assert skipped == ["a.png", "torn.png"]
    (decoded,) = [event for event in events if event["event"] == "decode"]
    assert (decoded["total"], decoded["skipped"]) == (5, 2)
    assert events[-1]["event"] == "saved"


def test_a_gradient_that_is_not_finite_stops_the_run_and_names_the_step(
    images: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(folder)
    steps = run.steps(material(images, folder))
    next(steps)
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    honest = mae.hidden_loss
    monkeypatch.setattr(mae, "hidden_loss", lambda *a: honest(*a) * torch.nan)
    with pytest.raises(TrainingError, match="step 2: the gradient is not finite"):
        next(steps)
    assert all(torch.equal(v, before[k]) for k, v in run.network.state_dict().items())
    assert run.position.step == 1


def test_a_full_disk_is_said_and_the_run_goes_on(
    images: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mal_core.runstate.write_whole", refuse)
    run = start(folder, replace(QUICK, save_minutes=0.0))
    events = list(pretrain([images], tmp_path / "new.safetensors", run, folder))
    assert {"event": "not_kept", "step": 2, "reason": "No space left on device"} in events
    assert events[-1]["event"] == "saved"


def test_other_settings_or_images_cannot_resume(images: Path, folder: Path) -> None:
    run = start(folder)
    run.save(run.identify("data"))
    other = start(folder, replace(QUICK, hidden=0.5))
    with pytest.raises(TrainingError, match="differs in data, pretrain"):
        other.resume(other.identify("more data"))
    assert run.resume(run.identify("data")).step == 0


def test_the_paper_s_design_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="for the studio design"):
        Pretraining(ModelConfig.paper(), QUICK, CPU, folder)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        pytest.param(["--rate", "2"], "rate must be", id="rate"),
        pytest.param(["--hidden", "1"], "hidden must be", id="hidden"),
        pytest.param(["--hidden", "0.99"], "hidden: 0.99 of 16 tokens", id="all-hidden"),
        pytest.param(["--decoder-dim", "48"], "multiple of 32", id="decoder"),
        pytest.param(["--scale-low", "0"], "scale_low must be", id="scale"),
        pytest.param(["--heads", "3"], "multiple of heads", id="model"),
        pytest.param(["--device", "abacus"], "device must be", id="device"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(
    images: Path, tmp_path: Path, capsys: Capture, more: list[str], message: str
) -> None:
    assert main(command(images, tmp_path / "new.safetensors", *more)) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "new.safetensors").exists()


def test_a_folder_without_one_readable_image_is_refused(
    tmp_path: Path, capsys: Capture, images: Path
) -> None:
    out = tmp_path / "new.safetensors"
    assert main(command(tmp_path / "nowhere", out)) == 1
    assert "nowhere is not a folder with image files" in capsys.readouterr().err
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.jpg").write_bytes(b"")
    assert main(command(tmp_path / "bad", out)) == 1
    assert "not one of 1 images can be read" in capsys.readouterr().err


def test_several_processes_are_refused(
    images: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(command(images, tmp_path / "new.safetensors")) == 1
    assert "one process" in capsys.readouterr().err


def test_an_unfinished_run_is_not_overwritten(
    images: Path, tmp_path: Path, capsys: Capture
) -> None:
    state = tmp_path / "new.safetensors.run" / "state.safetensors"
    state.parent.mkdir()
    state.write_bytes(b"somebody's work")
    assert main(command(images, tmp_path / "new.safetensors")) == 1
    assert "holds an unfinished run: --resume" in capsys.readouterr().err
    assert state.read_bytes() == b"somebody's work"
