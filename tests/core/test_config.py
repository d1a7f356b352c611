"""Settings check themselves, and the command line's flags are made from them."""

import argparse
import math
from dataclasses import fields
from typing import Any

import pytest

from mal_core.config import (
    CRFConfig,
    CropConfig,
    LossConfig,
    ModelConfig,
    PretrainConfig,
    TrainConfig,
    ViewConfig,
    add_options,
    from_options,
)
from mal_core.finetune_config import FinetuneConfig

CONFIGS = [
    *(ModelConfig, CropConfig, FinetuneConfig, CRFConfig, LossConfig, ViewConfig, TrainConfig),
    PretrainConfig,
]


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        pytest.param(ModelConfig, {"dim": 8}, id="dim-too-small"),
        pytest.param(ModelConfig, {"dim": 10**9}, id="dim-too-large"),
        pytest.param(ModelConfig, {"dim": 10**400}, id="dim-beyond-float"),
        pytest.param(ModelConfig, {"dim": 320.0}, id="dim-not-whole"),
        pytest.param(ModelConfig, {"dim": "320"}, id="dim-text"),
        pytest.param(ModelConfig, {"depth": True}, id="depth-a-truth"),
        pytest.param(ModelConfig, {"depth": None}, id="depth-missing"),
        pytest.param(ModelConfig, {"heads": 3}, id="dim-not-a-multiple-of-heads"),
        pytest.param(ModelConfig, {"crop_size": 250}, id="crop-not-a-multiple-of-16"),
        pytest.param(ModelConfig, {"mlp_ratio": math.nan}, id="ratio-nan"),
        pytest.param(ModelConfig, {"design": "unet"}, id="design-unknown"),
        pytest.param(ModelConfig, {"design": None}, id="design-missing"),
        pytest.param(ModelConfig, {"stem": "pool", "design": "paper"}, id="stem-unknown"),
        pytest.param(ModelConfig, {"stem": "patch"}, id="stem-of-the-other-design"),
        pytest.param(ModelConfig, {"dim": 64, "design": "paper"}, id="dim-of-the-other-design"),
        pytest.param(ModelConfig, {"backbone": "vit_tiny_patch16_224"}, id="backbone-in-studio"),
        pytest.param(
            ModelConfig,
            {"backbone": "hf-hub:someone/vit_patch16_224", "design": "paper"},
            id="backbone-that-would-be-fetched",
        ),
        pytest.param(
            ModelConfig, {"backbone": "resnet50", "design": "paper"}, id="backbone-not-a-vit"
        ),
        pytest.param(
            ModelConfig,
            {"backbone": "vit_base_patch32_224", "design": "paper"},
            id="backbone-of-32-pixels",
        ),
        pytest.param(ModelConfig, {"backbone": 5, "design": "paper"}, id="backbone-a-number"),
        pytest.param(CropConfig, {"margin": -0.1}, id="margin-negative"),
        pytest.param(CropConfig, {"margin": math.inf}, id="margin-infinite"),
        pytest.param(CropConfig, {"supersample": 0}, id="no-samples"),
        pytest.param(CropConfig, {"max_window": 0}, id="no-window"),
        pytest.param(FinetuneConfig, {"epochs": 0}, id="no-epochs"),
        pytest.param(FinetuneConfig, {"batch_size": 0}, id="empty-batches"),
        pytest.param(FinetuneConfig, {"decoder_rate": math.nan}, id="rate-nan"),
        pytest.param(FinetuneConfig, {"clip_norm": 0.0}, id="no-gradient"),
        pytest.param(FinetuneConfig, {"seed": -1}, id="seed-negative"),
        pytest.param(CRFConfig, {"zeta": 0}, id="one-colour-only"),
        pytest.param(CRFConfig, {"floor": 0.5}, id="floor-leaves-nothing"),
        pytest.param(CRFConfig, {"dilation": 0}, id="no-neighbours"),
        pytest.param(LossConfig, {"mil_weight": -1}, id="weight-negative"),
        pytest.param(LossConfig, {"crf_warmup": 1.1}, id="warmup-beyond-the-run"),
        pytest.param(LossConfig, {"pairwise_theta": 0}, id="theta-zero"),
        pytest.param(LossConfig, {"pairwise_dilation": 9}, id="neighbours-too-far"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(
    config: type[Any], changes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        config(**changes)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_setting_says_what_it_is(config: type[Any]) -> None:
    assert all(field.metadata["help"] for field in fields(config))


@pytest.mark.parametrize("config", CONFIGS)
def test_without_flags_the_defaults_come_back(config: type[Any]) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, config())
    assert from_options(config(), parser.parse_args([])) == config()


def test_flags_change_settings_and_keep_their_types() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, FinetuneConfig())
    arguments = parser.parse_args(["--batch-size", "3", "--decoder-rate", "1e-3"])
    assert from_options(FinetuneConfig(), arguments) == FinetuneConfig(
        batch_size=3, decoder_rate=1e-3
    )


def test_flags_out_of_range_are_refused() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, FinetuneConfig())
    with pytest.raises(ValueError, match="epochs must be a whole number of 1 to 1000, got 0"):
        from_options(FinetuneConfig(), parser.parse_args(["--epochs", "0"]))


def test_a_token_covers_16_pixels() -> None:
    assert ModelConfig().grid == 16
    assert ModelConfig(crop_size=64).grid == 4


def test_words_can_be_given_as_flags() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, ModelConfig())
    flags = ["--design", "paper", "--backbone", "vit_tiny_patch16_224", "--stem", "patch"]
    assert from_options(ModelConfig(), parser.parse_args(flags)) == ModelConfig(
        design="paper", backbone="vit_tiny_patch16_224", stem="patch"
    )


def test_the_paper_s_network_is_vit_b_on_crops_of_512_pixels() -> None:
    paper = ModelConfig.paper()
    assert (paper.design, paper.backbone, paper.stem) == ("paper", "vit_base_patch16_224", "conv")
    assert (paper.crop_size, paper.grid, paper.prompted) == (512, 32, False)


def test_a_network_is_described_by_what_shapes_it() -> None:
    assert set(ModelConfig().describe()) == {
        *("design", "dim", "depth", "heads", "mlp_ratio", "registers", "crop_size")
    }
    assert ModelConfig.paper().describe() == {
        **{"design": "paper", "backbone": "vit_base_patch16_224", "stem": "conv"},
        "crop_size": 512,
    }


@pytest.mark.parametrize(("model", "growth"), [(ModelConfig(), 1.4), (ModelConfig.paper(), 1.3)])
def test_the_test_crop_is_as_large_as_the_design_was_trained_on(
    model: ModelConfig, growth: float
) -> None:
    crop = CropConfig.of(model)
    assert (crop.size, 1 + 2 * crop.margin) == (model.crop_size, pytest.approx(growth))
