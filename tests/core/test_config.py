"""Settings check themselves, and the command line's flags are made from them."""

import argparse
import math
from dataclasses import fields
from typing import Any

import pytest

from mal_core.config import (
    CRFConfig,
    CropConfig,
    FinetuneConfig,
    LossConfig,
    ModelConfig,
    TrainConfig,
    ViewConfig,
    add_options,
    from_options,
)

CONFIGS = [
    *(ModelConfig, CropConfig, FinetuneConfig, CRFConfig, LossConfig, ViewConfig, TrainConfig)
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
        pytest.param(CropConfig, {"margin": -0.1}, id="margin-negative"),
        pytest.param(CropConfig, {"margin": math.inf}, id="margin-infinite"),
        pytest.param(CropConfig, {"supersample": 0}, id="no-samples"),
        pytest.param(CropConfig, {"max_window": 0}, id="no-window"),
        pytest.param(FinetuneConfig, {"epochs": 0}, id="no-epochs"),
        pytest.param(FinetuneConfig, {"batch_size": 0}, id="empty-batches"),
        pytest.param(FinetuneConfig, {"decoder_rate": math.nan}, id="rate-nan"),
        pytest.param(FinetuneConfig, {"clip_norm": 0.0}, id="no-gradient"),
        pytest.param(FinetuneConfig, {"seed": -1}, id="seed-negative"),
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
