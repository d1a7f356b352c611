"""New networks: whose weights the encoder starts from, and what is refused."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from mal_core import checkpoint
from mal_core.checkpoint import Checkpoint, build
from mal_core.config import ModelConfig
from mal_core.encoder import resize_positions
from mal_core.errors import CheckpointError
from mal_core.model import MAL

NAME = "vit_mini_patch16_224"
PATCH = ModelConfig(design="paper", backbone=NAME, crop_size=64, stem="patch")
CONV = replace(PATCH, stem="conv")
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def dump() -> State:
    """What timm's own file of a ViT holds: 14 x 14 tokens, a classifier."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        state: State = timm.create_model(NAME, num_classes=2).state_dict()
    return state


@pytest.fixture
def saved(tiny: Checkpoint, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    checkpoint.save(tiny.model, path, tiny.metadata)
    return path


def write(tmp_path: Path, state: Mapping[str, Tensor]) -> Path:
    path = tmp_path / "vit.safetensors"
    save_file(dict(state), path)
    return path


def test_without_an_encoder_all_is_new(tiny: Checkpoint) -> None:
    first, second = (build(tiny.model.config).encoder.blocks[0].attn.qkv.weight for _ in range(2))
    assert not torch.equal(first, second)


def test_the_studio_design_takes_a_checkpoint_s_encoder_and_a_new_decoder(
    tiny: Checkpoint, saved: Path
) -> None:
    model = build(tiny.model.config, saved)
    assert model.training
    for name, value in tiny.model.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], value.half().float()), name
    for name in ("in1.0.weight", "key.2.weight", "val2.1.weight"):
        ours = model.decoder.state_dict()[name]
        assert not torch.allclose(ours, tiny.model.decoder.state_dict()[name], atol=1e-3), name


def test_a_larger_crop_gets_resized_positions(tiny: Checkpoint, saved: Path) -> None:
    model = build(replace(tiny.model.config, crop_size=96), str(saved))
    ours = resize_positions(tiny.model.encoder.pos.detach().half().float(), 6)
    assert torch.equal(model.encoder.pos.detach(), ours)
    assert model(torch.zeros(1, 3, 96, 96), torch.zeros(1, 4, 96, 96))[1].shape == (1, 48, 48)


@pytest.mark.parametrize("change", [{"dim": 64}, {"depth": 2}, {"registers": 1}, {"heads": 4}])
def test_a_checkpoint_of_another_shape_is_refused(
    tiny: Checkpoint, saved: Path, change: dict[str, int]
) -> None:
    with pytest.raises(CheckpointError, match=r"tiny\.safetensors holds another encoder"):
        build(replace(tiny.model.config, **change), saved)


@pytest.mark.parametrize("design", ["studio", "paper"])
def test_a_checkpoint_of_the_other_design_is_refused(
    tiny: Checkpoint, saved: Path, tmp_path: Path, design: str
) -> None:
    other = tmp_path / "paper.safetensors"
    checkpoint.save(MAL(CONV), other, {})
    config, path = (tiny.model.config, other) if design == "studio" else (CONV, saved)
    with pytest.raises(CheckpointError, match="holds another encoder"):
        build(config, path)


def test_a_paper_checkpoint_gives_its_encoder_with_its_stem(tmp_path: Path) -> None:
    path, parent = tmp_path / "paper.safetensors", MAL(CONV)
    checkpoint.save(parent, path, {})
    child = build(replace(CONV, crop_size=96), path)
    for name, value in parent.paper.encoder.vit.state_dict().items():
        if name != "pos_embed":
            assert torch.equal(child.paper.encoder.vit.state_dict()[name], value.half().float())
    assert child.paper.encoder.vit.pos_embed.shape == (1, 1 + 36, 32)
    assert not torch.equal(child.paper.decoder.key[0].weight, parent.paper.decoder.key[0].weight)


def test_timm_s_own_file_fits_with_its_positions_resized(dump: State, tmp_path: Path) -> None:
    vit = build(PATCH, write(tmp_path, dump)).paper.encoder.vit
    assert torch.equal(vit.pos_embed.detach(), resize_positions(dump["pos_embed"], 4, 1))
    for name, value in vit.state_dict().items():
        if name != "pos_embed":
            assert torch.equal(value, dump[name]), name


def test_a_convolutional_stem_starts_from_random_and_the_rest_from_the_file(
    dump: State, tmp_path: Path
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        fresh = MAL(CONV).paper.encoder.vit.state_dict()
        torch.manual_seed(5)
        vit = build(CONV, write(tmp_path, dump)).paper.encoder.vit.state_dict()
    for name, value in vit.items():
        if name.startswith("patch_embed.proj."):
            assert torch.equal(value, fresh[name]), name
        elif name != "pos_embed":
            assert torch.equal(value, dump[name]), name


@pytest.mark.parametrize("config", [PATCH, CONV], ids=["patch", "conv"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"norm.bias": None}, "lacks 1 tensors: norm.bias", id="missing"),
        pytest.param({"extra": torch.zeros(2)}, "has 1 unknown: 'extra'", id="unknown"),
        pytest.param({"norm.bias": torch.zeros(3)}, "norm.bias must be float", id="shape"),
        pytest.param(
            {"norm.bias": torch.full((32,), torch.nan)}, "norm.bias holds values", id="nan"
        ),
        pytest.param({"pos_embed": torch.zeros(1, 8, 32)}, "positions must be", id="no-square"),
        pytest.param({"pos_embed": torch.zeros(4)}, "positions must be", id="no-positions"),
        pytest.param(
            {"pos_embed": torch.zeros(1, 17, 8)}, "pos_embed must be float", id="narrow-positions"
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(
    dump: State,
    tmp_path: Path,
    config: ModelConfig,
    change: dict[str, Tensor | None],
    message: str,
) -> None:
    state = {name: value for name, value in (dump | change).items() if value is not None}
    with pytest.raises(CheckpointError, match=rf"vit\.safetensors.*{message}"):
        build(config, write(tmp_path, state))


def test_a_patch_stem_needs_its_projection(dump: State, tmp_path: Path) -> None:
    state = {k: v for k, v in dump.items() if not k.startswith("patch_embed")}
    with pytest.raises(CheckpointError, match=r"lacks 2 tensors: patch_embed\.proj\.bias"):
        build(PATCH, write(tmp_path, state))


def test_the_studio_design_takes_no_file_of_timm(
    tiny: Checkpoint, dump: State, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="does not describe a network of ours"):
        build(tiny.model.config, write(tmp_path, dump))


def test_what_is_no_safetensors_file_is_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = tmp_path / "vit.pth"
    torch.save({"trap": Trap()}, path)
    for encoder in (path, tmp_path / "missing.safetensors", tmp_path):
        with pytest.raises(CheckpointError):
            build(CONV, encoder)
    assert not (tmp_path / "sprung").exists()


def test_the_hub_gives_what_timm_publishes(dump: State, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetch(name: str) -> State:
        asked.append(name)
        return dict(dump)

    monkeypatch.setattr(checkpoint, "fetch_pretrained", fetch)
    vit = build(CONV, f"hub:{NAME}.some_tag").paper.encoder.vit
    assert asked == [f"{NAME}.some_tag"]
    assert torch.equal(vit.norm.weight, dump["norm.weight"])


def test_without_a_network_the_hub_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, pretrained: bool, **__: object) -> None:
        assert pretrained
        raise FileNotFoundError("cannot find the requested files in the local cache\nmore")

    config, model = CONV, MAL(CONV)
    monkeypatch.setattr(checkpoint, "MAL", lambda _: model)
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(CheckpointError, match=r"cannot fetch .*cache\); without a network, give"):
        build(config, f"hub:{NAME}")


@pytest.mark.parametrize(
    ("config", "name"),
    [
        pytest.param(ModelConfig(), ModelConfig().backbone, id="studio"),
        pytest.param(CONV, "vit_base_patch16_224", id="another-backbone"),
        pytest.param(CONV, "hf-hub:someone/something", id="somebody-s-repository"),
        pytest.param(CONV, "", id="nothing"),
    ],
)
def test_only_this_backbone_is_fetched(
    config: ModelConfig, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "fetch_pretrained", lambda _: pytest.fail("fetched"))
    with pytest.raises(CheckpointError, match="for a paper design's encoder"):
        build(config, f"hub:{name}")
