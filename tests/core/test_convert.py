"""Converters: made-up files under the published names come out right; hostile ones do nothing."""

import argparse
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor

from mal_core import checkpoint
from mal_core.__main__ import main
from mal_core.checkpoint import build
from mal_core.config import CropConfig, ModelConfig
from mal_core.convert import convert, read_foreign
from mal_core.encoder import resize_positions
from mal_core.errors import CheckpointError
from mal_core.model import MAL

NAME = "vit_mini_patch16_224"
TINY = ModelConfig(design="paper", backbone=NAME, crop_size=64)
State = dict[str, Tensor]
# Left: our module, right: as published.
PUBLISHED = {
    "encoder.vit": "backbone",
    "decoder.key.0": "roi_head.mlp1",
    "decoder.key.2": "roi_head.mlp2",
    "decoder.values.0": "mask_head.convs.0.conv",
    "decoder.values.1": "mask_head.convs.1.conv",
    "decoder.values.2": "mask_head.convs.2.conv",
    "decoder.values.3": "mask_head.convs.3.conv",
}
MLP, NORM = "student.roi_head.mlp2.bias", "student.backbone.norm.weight"


@pytest.fixture(scope="module")
def vit() -> State:
    """A ViT as MAE publishes it: 14 x 14 tokens, no classifier."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state: State = timm.create_model(NAME, num_classes=0).state_dict()
    return state


@pytest.fixture(scope="module")
def student() -> MAL:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return MAL(TINY).eval()


@pytest.fixture(scope="module")
def published(student: MAL) -> State:
    """The same network under the official names, with a teacher beside it."""
    state: State = {}
    for ours, theirs in PUBLISHED.items():
        module = student.paper.get_submodule(ours)
        for name, value in module.state_dict().items():
            state[f"student.{theirs}.{name}"] = value
            state[f"teacher.{theirs}.{name}"] = torch.zeros_like(value)
    return state


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "new.safetensors"


def write(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "theirs.pth"
    torch.save(content, path)
    return path


def lightning(state: State) -> dict[str, Any]:
    """What surrounds the weights in a Lightning checkpoint."""
    flags = argparse.Namespace(lr=1e-6, type="vit-mae-base/16", nested={"a": [1, 2.5, None]})
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}
    return {
        **{"epoch": 9, "global_step": 1000, "pytorch-lightning_version": "1.9.0"},
        **{"hyper_parameters": {"args": flags}, "optimizer_states": [optimizer]},
        "state_dict": state,
    }


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(lambda s: {"model": s}, id="as-published"),
        pytest.param(lambda s: {f"model.{k}": v for k, v in s.items()}, id="with-a-prefix"),
        pytest.param(lambda s: s, id="bare"),
        pytest.param(
            lambda s: {"model": s, "args": argparse.Namespace(lr=0.1), "epoch": 3}, id="with-flags"
        ),
        pytest.param(
            lambda s: {
                "model": s
                | {"mask_token": torch.zeros(1, 1, 8), "decoder_pos_embed": torch.zeros(1)}
                | {"decoder_blocks.0.norm1.weight": torch.zeros(8), "head.bias": torch.zeros(8)}
            },
            id="with-its-decoder",
        ),
        pytest.param(lambda s: {"model": {k: v.half() for k, v in s.items()}}, id="halves"),
    ],
)
def test_an_mae_checkpoint_becomes_an_encoder(
    vit: State, tmp_path: Path, out: Path, shape: Callable[[State], dict[str, Any]]
) -> None:
    source = write(tmp_path, shape(vit))
    sha256 = convert(source, out, ModelConfig(design="paper", backbone=NAME))
    assert sha256 == checkpoint.file_sha256(out)
    found = load_file(out)
    assert found.keys() == vit.keys()
    assert all(torch.allclose(found[name], vit[name], atol=1e-3) for name in vit)
    model = build(TINY, out)
    assert torch.equal(model.paper.encoder.vit.norm.bias, found["norm.bias"])
    positions = resize_positions(found["pos_embed"], 4, 1)
    assert torch.equal(model.paper.encoder.vit.pos_embed.detach(), positions)


@pytest.mark.parametrize("wrap", [lightning, lambda state: state], ids=["lightning", "bare"])
def test_an_official_checkpoint_becomes_the_student_s_network(
    published: State,
    student: MAL,
    tmp_path: Path,
    out: Path,
    wrap: Callable[[State], dict[str, Any]],
) -> None:
    convert(write(tmp_path, wrap(published)), out, TINY)
    loaded = checkpoint.load(out)
    assert loaded.model.config == TINY
    assert (loaded.threshold, loaded.crop) == (0.1, CropConfig(size=64, margin=0.15, mirror=True))
    ours = loaded.model.state_dict()
    for name, value in student.state_dict().items():
        assert torch.equal(ours[name], value.half().float()), name
    crops, areas = torch.randn(3, 3, 64, 64), torch.tensor([100.0, 5000.0, 1e5])
    with torch.inference_mode():
        first, second = (m(crops, crops, areas)[1] for m in (student, loaded.model))
    assert torch.allclose(first, second, atol=1e-2)


def test_positions_of_another_crop_are_resized(published: State, tmp_path: Path, out: Path) -> None:
    convert(write(tmp_path, published), out, replace(TINY, crop_size=96))
    theirs = published["student.backbone.pos_embed"]
    ours = checkpoint.load(out).model.paper.encoder.vit.pos_embed.detach()
    assert torch.allclose(ours, resize_positions(theirs, 6, 1), atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({MLP: None}, f"lacks 1 tensors: {MLP}", id="missing"),
        pytest.param({"student.neck.weight": torch.zeros(3)}, "student.neck.weight", id="unknown"),
        pytest.param({"mean_field.kernel": torch.zeros(3)}, "mean_field.kernel", id="beside-it"),
        pytest.param({MLP: torch.zeros(255)}, f"{MLP} must be float", id="shape"),
        pytest.param({MLP: torch.zeros(256).long()}, f"{MLP} must be float", id="whole-numbers"),
        pytest.param({MLP: torch.full((256,), torch.nan)}, "not finite", id="nan"),
        pytest.param({MLP: torch.full((256,), 1e6)}, "not finite", id="beyond-half-precision"),
        pytest.param(
            {"student.backbone.pos_embed": torch.zeros(1, 9, 32)}, "positions must", id="no-square"
        ),
    ],
)
def test_an_official_checkpoint_that_is_not_exactly_one_is_refused(
    published: State,
    tmp_path: Path,
    out: Path,
    change: dict[str, Tensor | None],
    message: str,
) -> None:
    state = {name: value for name, value in (published | change).items() if value is not None}
    with pytest.raises(CheckpointError, match=message):
        convert(write(tmp_path, lightning(state)), out, TINY)
    assert not any(out.parent.iterdir())


def test_a_teacher_alone_is_refused(published: State, tmp_path: Path, out: Path) -> None:
    state = {name: value for name, value in published.items() if name.startswith("teacher.")}
    with pytest.raises(CheckpointError, match=r"lacks \d+ tensors: student\."):
        convert(write(tmp_path, state), out, TINY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"norm.weight": None}, "lacks 1 tensors: norm.weight", id="missing"),
        pytest.param({"fc_norm.weight": torch.zeros(32)}, "unknown: 'fc_norm", id="unknown"),
        pytest.param({"decoder_other": torch.zeros(2)}, "unknown: 'decoder_other", id="not-mae"),
        pytest.param({"pos_embed": None}, "lacks 1 tensors: pos_embed", id="no-positions"),
        pytest.param({"pos_embed": torch.zeros(197)}, "pos_embed is of no square", id="flat"),
        pytest.param({"pos_embed": torch.zeros(1, 190, 32)}, "pos_embed must be", id="no-square"),
        pytest.param({"norm.weight": torch.zeros(32).double()}, "norm.weight must", id="doubles"),
        pytest.param({"norm.weight": torch.full((32,), torch.inf)}, "not finite", id="infinity"),
    ],
)
def test_an_mae_checkpoint_that_is_not_exactly_one_is_refused(
    vit: State, tmp_path: Path, out: Path, change: dict[str, Tensor | None], message: str
) -> None:
    state = {name: value for name, value in (vit | change).items() if value is not None}
    with pytest.raises(CheckpointError, match=message):
        convert(write(tmp_path, {"model": state}), out, TINY)
    assert not any(out.parent.iterdir())


def test_another_backbone_than_the_file_s_is_refused(vit: State, tmp_path: Path, out: Path) -> None:
    config = replace(TINY, backbone="vit_small_patch16_224")
    with pytest.raises(CheckpointError, match="lacks 120 tensors: blocks"):
        convert(write(tmp_path, {"model": vit}), out, config)


def test_the_kind_can_be_told(vit: State, tmp_path: Path, out: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lacks \d+ tensors: student\."):
        convert(write(tmp_path, {"model": vit}), out, TINY, "mal")


class Trap:
    """An object whose unpickling would make a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize(
    "hide",
    [
        pytest.param(lambda trap: trap, id="alone"),
        pytest.param(lambda trap: {"model": {"norm.weight": trap}}, id="as-a-weight"),
        pytest.param(
            lambda trap: {"model": {"a": torch.zeros(1)}, "args": argparse.Namespace(a=trap)},
            id="among-the-flags",
        ),
        pytest.param(lambda trap: {trap: torch.zeros(1)}, id="as-a-name"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old-format"])
def test_a_file_with_a_program_is_refused_and_runs_nothing(
    tmp_path: Path, out: Path, hide: Callable[[Trap], Any], zipped: bool
) -> None:
    source, place = tmp_path / "theirs.pth", tmp_path / "sprung"
    torch.save(hide(Trap(place)), source, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"theirs\.pth") as caught:
        convert(source, out, TINY)
    assert not place.exists()
    assert not any(out.parent.iterdir())
    assert "weights_only" not in str(caught.value)  # no advice to trust it
    assert not zipped or "mkdir" in str(caught.value)
    with zipfile.ZipFile(source) if zipped else source.open("rb"):
        torch.load(source, weights_only=False)  # the trap is a real one
    assert place.exists()


@pytest.mark.filterwarnings("ignore:Validating sparse")  # else the warning is what refuses
@pytest.mark.parametrize(
    "content",
    [
        pytest.param([torch.zeros(2)], id="a-list"),
        pytest.param({}, id="nothing"),
        pytest.param({"model": {}}, id="an-empty-model"),
        pytest.param({"epoch": 3}, id="no-tensor"),
        pytest.param({3: torch.zeros(2)}, id="a-number-for-a-name"),
        pytest.param({"a": torch.eye(2).to_sparse()}, id="sparse"),
        pytest.param({"a": torch.empty(2, device="meta")}, id="no-memory"),
        pytest.param({"a": torch.zeros(1).expand(2**40)}, id="one-number-for-a-terabyte"),
    ],
)
def test_what_holds_no_plain_tensors_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(CheckpointError, match=r"theirs\.pth"):
        read_foreign(write(tmp_path, content))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: b"weights? what weights?\n" * 99, id="text"),
        pytest.param(lambda data: data[: len(data) // 2], id="half"),
        pytest.param(lambda data: data[:-1], id="cut-at-the-end"),
        pytest.param(lambda data: data.replace(b"torch", b"torcx"), id="another-module"),
        pytest.param(lambda data: data.replace(b"FloatStorage", b"FloatStorrge"), id="no-type"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = write(tmp_path, {"a": torch.zeros(64)})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"theirs\.pth"):
        read_foreign(path)


@pytest.mark.parametrize("name", [".", "missing.pth"])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="cannot read"):
        read_foreign(tmp_path / name)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path, bomb = write(tmp_path, {"a": torch.zeros(2**20)}), tmp_path / "bomb.pth"
    with (
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for part in old.namelist():
            new.writestr(part, old.read(part))
    assert bomb.stat().st_size < 2**16
    with pytest.raises(CheckpointError, match="compressed"):
        read_foreign(bomb)


def test_a_file_beyond_the_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mal_core.convert.MAX_BYTES", 1000)
    with pytest.raises(CheckpointError, match="larger than 1000 bytes"):
        read_foreign(write(tmp_path, {"a": torch.zeros(1000)}))


@pytest.mark.parametrize("kind", ["other", "MAE"])
def test_an_unknown_kind_is_the_caller_s_mistake(tmp_path: Path, out: Path, kind: str) -> None:
    with pytest.raises(ValueError, match="kind must be mae or mal"):
        convert(tmp_path, out, TINY, kind)
    with pytest.raises(ValueError, match="the design paper"):
        convert(tmp_path, out, ModelConfig())


def test_the_command_converts(
    vit: State, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path, {"model": vit})
    command = ["convert", str(source), "--out", str(out), "--backbone", NAME, "--json"]
    assert main(command) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"file": "new.safetensors", "sha256": checkpoint.file_sha256(out)}


@pytest.mark.parametrize("flags", [("--backbone", "resnet50"), ("--crop-size", "50")])
def test_the_command_says_what_it_cannot_do(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, str]
) -> None:
    assert main(["convert", str(tmp_path / "x.pth"), "--out", str(out), *flags]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_the_help_says_that_nobody_has_seen_the_real_files(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    assert "the real files were never seen here" in " ".join(capsys.readouterr().out.split())
