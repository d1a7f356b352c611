"""Every setting of the method as frozen, self-checking dataclasses; flags are made from them."""

import argparse
import dataclasses
import typing
from dataclasses import dataclass
from typing import Any, TypeVar

Config = TypeVar("Config")


def option(default: Any, text: str) -> Any:  # noqa: ANN401
    """Declare a config field with its default and its one-line help."""
    return dataclasses.field(default=default, metadata={"help": text})


def add_options(parser: argparse.ArgumentParser, config: type[Any]) -> None:
    """Add one flag for each field of `config`, e.g. `batch_size` -> `--batch-size`."""
    group = parser.add_argument_group(config.__name__)
    types = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        group.add_argument(
            "--" + field.name.replace("_", "-"),
            default=field.default,
            type=types[field.name],
            help=f"{field.metadata['help']} (default: {field.default})",
        )


def from_options(config: type[Config], namespace: argparse.Namespace) -> Config:
    """Build `config` from parsed flags; its own checks run."""
    names = (field.name for field in dataclasses.fields(config))  # type: ignore[arg-type]
    return config(**{name: getattr(namespace, name) for name in names})


def _require(config: Any, **limits: tuple[float, float]) -> None:  # noqa: ANN401
    """Check that each named field has its declared type and is within its inclusive limits."""
    types = typing.get_type_hints(type(config))
    for name, (low, high) in limits.items():
        value = getattr(config, name)
        kinds = int if types[name] is int else (int, float)
        if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
            kind = "a whole number" if kinds is int else "a number"
            raise ValueError(f"{name} must be {kind} of {low} to {high}, got {value!r:.40}")


@dataclass(frozen=True)
class ModelConfig:
    """The network's shape. The stem halves the crop four times, so a token covers 16 pixels."""

    dim: int = option(320, "channels of a token")
    depth: int = option(10, "transformer blocks")
    heads: int = option(5, "attention heads")
    mlp_ratio: float = option(4.0, "hidden channels of a block's MLP, as a multiple of dim")
    crop_size: int = option(256, "side of the square crop, pixels")
    registers: int = option(4, "extra tokens without position")

    def __post_init__(self) -> None:
        _require(self, dim=(16, 2048), depth=(1, 48), heads=(1, 64), mlp_ratio=(1, 8))
        _require(self, crop_size=(64, 1024), registers=(0, 32))
        if self.dim % self.heads or self.crop_size % 16:
            raise ValueError("dim must be a multiple of heads, and crop_size of 16")

    @property
    def grid(self) -> int:
        """Tokens along one side of the crop."""
        return self.crop_size // 16


@dataclass(frozen=True)
class CropConfig:
    """How a box becomes a crop."""

    size: int = option(256, "side of the square crop, pixels")
    margin: float = option(0.2, "growth on each side, as a fraction of the box side")
    supersample: int = option(2, "bilinear samples per crop pixel and axis, averaged")
    max_window: int = option(1024, "larger windows are shrunk with antialiasing first, pixels")

    def __post_init__(self) -> None:
        _require(self, size=(16, 1024), margin=(0, 2), supersample=(1, 8), max_window=(64, 8192))


@dataclass(frozen=True)
class FinetuneConfig:
    """A fine-tune of the decoder and the last blocks on cached features."""

    epochs: int = option(5, "passes over the crops")
    batch_size: int = option(8, "crops a step")
    views: int = option(2, "cached crops an instance: half of them mirrored")
    tuned_blocks: int = option(2, "last transformer blocks that learn; the rest stay frozen")
    decoder_rate: float = option(1e-4, "peak learning rate of the decoder")
    encoder_rate: float = option(5e-5, "peak learning rate of the tuned blocks")
    weight_decay: float = option(0.01, "AdamW weight decay")
    warmup_share: float = option(0.1, "share of the steps in which the rate climbs to its peak")
    clip_norm: float = option(1.0, "largest gradient norm of a step")
    box_jitter: float = option(0.02, "standard deviation of each box side, fraction of its length")
    margin_spread: float = option(0.1, "a view's margin is drawn this far around the test margin")
    seed: int = option(0, "seed of views and order")

    def __post_init__(self) -> None:
        _require(self, epochs=(1, 1000), batch_size=(1, 1024), views=(1, 16), tuned_blocks=(0, 48))
        _require(self, decoder_rate=(0, 1), encoder_rate=(0, 1), weight_decay=(0, 1))
        _require(self, warmup_share=(0, 1), clip_norm=(1e-6, 1e6), box_jitter=(0, 0.5))
        _require(self, margin_spread=(0, 0.2), seed=(0, 2**31))


@dataclass(frozen=True)
class CRFConfig:
    """Mean field on a crop: what makes neighbours of one colour take one label."""

    zeta: float = option(0.1, "colour scale of the pairwise kernel, on the normalised image")
    dilation: int = option(1, "distance to the 8 neighbours, cells")
    iterations: int = option(20, "largest number of updates")
    floor: float = option(0.1, "probabilities are kept this far from 0 and 1")
    min_fill: float = option(0.05, "smallest refined share of the box that teaches")
    max_fill: float = option(0.95, "largest refined share of the box that teaches")

    def __post_init__(self) -> None:
        _require(self, zeta=(1e-3, 100), dilation=(1, 8), iterations=(0, 1000))
        _require(self, floor=(1e-4, 0.49), min_fill=(0, 1), max_fill=(0, 1))


@dataclass(frozen=True)
class LossConfig:
    """The weight of each term, and when it has it in full."""

    mil_weight: float = option(4.0, "of the bags of rows and columns")
    mil_warmup: float = option(0.02, "share of the run in which that weight climbs")
    crf_weight: float = option(0.5, "of the fit to the mean field's mask")
    crf_warmup: float = option(0.3, "share of the run in which that weight climbs")
    pairwise_weight: float = option(1.0, "of BoxInst's colour term; 0 leaves it out")
    mask_weight: float = option(1.0, "of the fit to a person's mask")

    def __post_init__(self) -> None:
        _require(self, mil_weight=(0, 1000), crf_weight=(0, 1000), pairwise_weight=(0, 1000))
        _require(self, mask_weight=(0, 1000), mil_warmup=(0, 1), crf_warmup=(0, 1))
