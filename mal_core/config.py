"""Every setting of the method as frozen, self-checking dataclasses; flags are made from them."""

import argparse
import dataclasses
import math
import re
import typing
from dataclasses import dataclass
from typing import Any, TypeVar

Config = TypeVar("Config")
COCO_BOXES = 860_001  # of train2017, without crowds
SUPERVISION = ("mixed", "boxes", "masks")
BACKENDS = ("auto", "torch", "onnx")  # what runs a network on a CPU
BACKBONE = re.compile(r"(vit|deit3?)_[a-z0-9_]{0,40}patch16_[a-z0-9_]{1,40}")


def option(default: Any, text: str) -> Any:  # noqa: ANN401
    """Declare a config field with its default and its one-line help."""
    return dataclasses.field(default=default, metadata={"help": text})


def add_options(parser: argparse.ArgumentParser, config: Any) -> None:  # noqa: ANN401
    """Add one flag for each field of a config, e.g. `batch_size` -> `--batch-size`.

    Args:
        parser: gets the flags, in a group of their own.
        config: a config, whose values the help shows.
    """
    group = parser.add_argument_group(type(config).__name__)
    types = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        group.add_argument(
            "--" + field.name.replace("_", "-"),
            default=argparse.SUPPRESS,
            type=types[field.name],
            help=f"{field.metadata['help']} (default: {getattr(config, field.name)})",
        )


def from_options(config: Config, namespace: argparse.Namespace) -> Config:
    """Change a config by the flags that were given; its own checks run."""
    names = {field.name for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    given = {name: value for name, value in vars(namespace).items() if name in names}
    return dataclasses.replace(config, **given)  # type: ignore[type-var]


def require(config: Any, **limits: tuple[float, float]) -> None:  # noqa: ANN401
    """Check that each named field has its declared type and is within its inclusive limits."""
    types = typing.get_type_hints(type(config))
    for name, (low, high) in limits.items():
        value = getattr(config, name)
        kinds = int if types[name] is int else (int, float)
        if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
            kind = "a whole number" if kinds is int else "a number"
            raise ValueError(f"{name} must be {kind} of {low} to {high}, got {value!r:.40}")


def require_choice(config: Any, **choices: tuple[str, ...]) -> None:  # noqa: ANN401
    """Check that each named field is one of its words."""
    for name, words in choices.items():
        value = getattr(config, name)
        if value not in words:
            raise ValueError(f"{name} must be one of {', '.join(words)}, got {value!r:.40}")


@dataclass(frozen=True)
class ModelConfig:
    """The network's shape; a token covers 16 pixels in both designs.

    "studio" is the network of weights/MODEL.md: dim, depth, heads, mlp_ratio and registers shape
    it. "paper" is the paper's own: `backbone` names a ViT of timm, which fixes all of those.
    """

    design: str = option("studio", "studio: ours, takes prompts; paper: a timm ViT, no prompts")
    dim: int = option(320, "studio: channels of a token")
    depth: int = option(10, "studio: transformer blocks")
    heads: int = option(5, "studio: attention heads")
    mlp_ratio: float = option(4.0, "studio: hidden channels of a block's MLP, multiple of dim")
    crop_size: int = option(256, "side of the square crop, pixels")
    registers: int = option(4, "studio: extra tokens without position")
    backbone: str = option("vit_base_patch16_224", "paper: timm's name of a ViT, 16-pixel patches")
    stem: str = option("conv", "paper: conv, four convolutions, or patch, timm's own projection")

    def __post_init__(self) -> None:
        require_choice(self, design=tuple(_SHAPED_BY), stem=("conv", "patch"))
        require(self, dim=(16, 2048), depth=(1, 48), heads=(1, 64), mlp_ratio=(1, 8))
        require(self, crop_size=(64, 1024), registers=(0, 32))
        if self.dim % self.heads or self.crop_size % 16:
            raise ValueError("dim must be a multiple of heads, and crop_size of 16")
        if not isinstance(self.backbone, str) or not BACKBONE.fullmatch(self.backbone):
            example = "such as vit_base_patch16_224"
            raise ValueError(f"backbone must be a ViT {example}, got {self.backbone!r:.60}")
        for field in dataclasses.fields(self):
            foreign = field.name not in (*_SHAPED_BY[self.design], "design", "crop_size")
            if foreign and getattr(self, field.name) != field.default:
                raise ValueError(f"{field.name} has no meaning for the {self.design} design")

    @classmethod
    def paper(cls) -> "ModelConfig":
        """ViT-B/16 with the convolutional stem on crops of 512 pixels, as published."""
        return cls(design="paper", crop_size=512)

    @property
    def grid(self) -> int:
        """Tokens along one side of the crop."""
        return self.crop_size // 16

    @property
    def prompted(self) -> bool:
        """Whether the network reads prompt planes."""
        return self.design == "studio"

    def describe(self) -> dict[str, object]:
        """The fields that shape this design's network."""
        names = ("design", *_SHAPED_BY[self.design], "crop_size")
        return {name: getattr(self, name) for name in names}


_SHAPED_BY = {
    "studio": ("dim", "depth", "heads", "mlp_ratio", "registers"),
    "paper": ("backbone", "stem"),
}


@dataclass(frozen=True)
class CropConfig:
    """How a box becomes a crop."""

    size: int = option(256, "side of the square crop, pixels")
    margin: float = option(0.2, "growth on each side, as a fraction of the box side")
    supersample: int = option(2, "bilinear samples per crop pixel and axis, averaged")
    max_window: int = option(1024, "longer sides are first shrunk to the samples, antialiased")
    mirror: bool = option(False, "outside the image show its mirror image instead of nothing")

    def __post_init__(self) -> None:
        require(self, size=(16, 1024), margin=(0, 2), supersample=(1, 8), max_window=(64, 8192))

    @classmethod
    def of(cls, model: ModelConfig) -> "CropConfig":
        """A network's test crop: 1.4 x the box; in the paper's design 1.3 x, edges mirrored."""
        is_paper = model.design == "paper"
        return cls(size=model.crop_size, margin=0.15 if is_paper else 0.2, mirror=is_paper)


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
        require(self, zeta=(1e-3, 100), dilation=(1, 8), iterations=(0, 1000))
        require(self, floor=(1e-4, 0.49), min_fill=(0, 1), max_fill=(0, 1))

    @classmethod
    def paper(cls) -> "CRFConfig":
        """As published: 100 updates."""
        return cls(iterations=100)


@dataclass(frozen=True)
class LossConfig:
    """The weight of each term, and when it has it in full."""

    mil_weight: float = option(4.0, "of the bags of rows and columns")
    mil_warmup: float = option(0.02, "share of the run in which that weight climbs")
    crf_weight: float = option(0.5, "of the fit to the mean field's mask")
    crf_warmup: float = option(0.3, "share of the run in which that weight climbs")
    pairwise_weight: float = option(1.0, "of BoxInst's colour term; 0 leaves it out")
    pairwise_theta: float = option(0.4, "colour scale of that term, on the normalised image")
    pairwise_similarity: float = option(0.3, "colours at least this similar should share a label")
    pairwise_dilation: int = option(2, "distance to the 8 neighbours in that term, cells")
    teacher_weight: float = option(0.0, "of the fit to the teacher's mask, where it is sure")
    mask_weight: float = option(1.0, "of the fit to a person's mask")
    stride: int = option(2, "crop pixels along a cell that boxes teach: 2 or 4")

    def __post_init__(self) -> None:
        require(self, mil_weight=(0, 1000), crf_weight=(0, 1000), pairwise_weight=(0, 1000))
        require(self, teacher_weight=(0, 1000))
        require(self, mask_weight=(0, 1000), mil_warmup=(0, 1), crf_warmup=(0, 1))
        require(self, pairwise_theta=(1e-3, 100), pairwise_similarity=(0, 1))
        require(self, pairwise_dilation=(1, 8))
        if self.stride not in (2, 4):
            raise ValueError(f"stride must be 2 or 4, got {self.stride!r:.40}")

    @classmethod
    def paper(cls, boxes: int = COCO_BOXES) -> "LossConfig":
        """MIL and CRF alone, at stride 4; they climb over 1000 and 4000 steps of batch 32.

        Args:
            boxes: of the data set, seen 10 times.
        """
        steps = 10 * boxes / 32
        mil, crf = min(1.0, 1000 / steps), min(1.0, 4000 / steps)
        return cls(pairwise_weight=0.0, stride=4, mil_warmup=mil, crf_warmup=crf)


@dataclass(frozen=True)
class ViewConfig:
    """How training sees an instance: a random window, mirrored, in other colours."""

    margin_low: float = option(0.05, "smallest margin, as a fraction of the box side")
    margin_high: float = option(0.4, "largest margin, as a fraction of the box side")
    gated: float = option(0.0, "chance that the two sides of an axis share one margin's growth")
    box_jitter: float = option(0.03, "standard deviation of each side of the box prompt")
    exact_share: float = option(0.35, "chance that the box prompt is exact")
    flip_share: float = option(0.5, "chance of a mirrored crop")
    colour_share: float = option(0.5, "chance that the student sees other colours")
    brightness: float = option(0.4, "largest change of brightness")
    contrast: float = option(0.4, "largest change of contrast")
    saturation: float = option(0.2, "largest change of saturation")
    hue: float = option(0.1, "largest change of hue, turns")
    grey_share: float = option(0.2, "chance that the student sees no colours")
    blur_share: float = option(0.5, "chance that the student sees a blurred crop")
    prompt_share: float = option(1.0, "chance that the network is shown the box")
    stroke_share: float = option(0.0, "chance that an instance with a mask is shown strokes")
    paste_share: float = option(0.0, "chance that one of its kind is pasted beside that")

    def __post_init__(self) -> None:
        require(self, margin_low=(0, 2), margin_high=(self.margin_low, 2), gated=(0, 1))
        require(self, box_jitter=(0, 0.5), exact_share=(0, 1), flip_share=(0, 1))
        require(self, colour_share=(0, 1), brightness=(0, 1), contrast=(0, 1), saturation=(0, 1))
        require(self, hue=(0, 0.5), grey_share=(0, 1), blur_share=(0, 1), stroke_share=(0, 1))
        require(self, prompt_share=(0, 1), paste_share=(0, 1))

    @classmethod
    def paper(cls) -> "ViewConfig":
        """Complementary gates: 1.0 to 1.6 box sides; the box prompt is exact (and not read)."""
        return cls(margin_low=0.0, margin_high=0.6, gated=1.0, box_jitter=0.0)


def rate_share(step: int, steps: int, warmup: float, last: float) -> float:
    """Share of the peak rate at a step: a linear climb, then half a cosine down to `last`."""
    climb = max(1, round(steps * warmup))
    if step < climb:
        return (step + 1) / climb
    fall = 0.5 * (1 + math.cos(math.pi * (step - climb) / max(1, steps - climb)))
    return last + (1 - last) * fall


@dataclass(frozen=True)
class TrainConfig:
    """A training run from boxes, masks or both."""

    supervision: str = option("mixed", "mixed (a mask where there is one), boxes, or masks")
    steps: int = option(20000, "optimizer steps")
    batch_size: int = option(64, "crops a step, over all processes")
    accumulate: int = option(1, "parts in which a process computes its crops of a step")
    rate: float = option(8e-4, "peak learning rate")
    last_rate: float = option(0.01, "rate at the end, as a fraction of the peak")
    warmup: float = option(0.04, "share of the steps in which the rate climbs to its peak")
    weight_decay: float = option(0.05, "AdamW weight decay of matrices and kernels")
    beta1: float = option(0.9, "AdamW's decay of the gradient's mean")
    beta2: float = option(0.98, "AdamW's decay of the gradient's square")
    drop_path: float = option(0.0, "chance that a crop skips a block, at the last block")
    clip_norm: float = option(1.0, "largest gradient norm of a step")
    momentum: float = option(0.999, "the teacher keeps this much of itself a step")
    min_area: float = option(100.0, "smaller boxes are left out, square pixels")
    longest: int = option(1024, "images are kept at most this large, pixels")
    evaluate_every: int = option(1000, "steps between two looks at the held-out images")
    patience: int = option(0, "looks without gain after which the run ends; 0: never")
    save_minutes: float = option(10.0, "minutes between two saved states")
    threshold: float = option(0.5, "mask probability written into the checkpoint")
    seed: int = option(0, "of every draw")

    def __post_init__(self) -> None:
        require_choice(self, supervision=SUPERVISION)
        require(self, steps=(1, 10**8), batch_size=(1, 65536), accumulate=(1, 1024), rate=(0, 1))
        require(self, last_rate=(0, 1), warmup=(0, 1), weight_decay=(0, 1), beta1=(0, 0.9999))
        require(self, beta2=(0, 0.9999), drop_path=(0, 0.9), clip_norm=(1e-6, 1e6))
        require(self, momentum=(0, 1), min_area=(0, 1e9), longest=(64, 16384), seed=(0, 2**31))
        require(self, evaluate_every=(1, 10**8), patience=(0, 10**6), save_minutes=(0, 1e5))
        require(self, threshold=(0.01, 0.99))
        if self.batch_size % self.accumulate:
            raise ValueError("batch_size must be a multiple of accumulate")

    @classmethod
    def paper(cls, boxes: int = COCO_BOXES) -> "TrainConfig":
        """The published recipe: box only, batch 32, 10 epochs.

        Args:
            boxes: of the data set.

        Source: Lan et al., CVPR 2023, section 4.1 and its published settings.
        """
        return cls(
            supervision="boxes",
            steps=max(1, 10 * boxes // 32),
            batch_size=32,
            rate=32 * 1.5e-6,
            last_rate=0.2,
            warmup=0.1,  # one epoch of ten
            weight_decay=5e-4,
            beta2=0.9,
            momentum=0.996,
            min_area=2048.0,
            threshold=0.1,
        )

    @classmethod
    def default(cls) -> "TrainConfig":
        """Ours: what the flags say when nothing else is asked for."""
        return cls()

    def rate_at(self, step: int) -> float:
        """Learning rate of a step: a linear climb, then half a cosine down to `last_rate`."""
        return self.rate * rate_share(step, self.steps, self.warmup, self.last_rate)


@dataclass(frozen=True)
class Recipe:
    """All settings of a run."""

    train: TrainConfig = dataclasses.field(default_factory=TrainConfig.default)
    view: ViewConfig = dataclasses.field(default_factory=ViewConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    crf: CRFConfig = dataclasses.field(default_factory=CRFConfig)

    @classmethod
    def paper(cls) -> "Recipe":
        """The published recipe, on COCO."""
        return cls(TrainConfig.paper(), ViewConfig.paper(), LossConfig.paper(), CRFConfig.paper())


@dataclass(frozen=True)
class LabelConfig:
    """What masks are made, and what is said of them."""

    threshold: float | None = option(None, "mask probability; None: the checkpoint's")
    relabel: bool = option(False, "replace the masks that are there already")
    score: bool = option(False, "add the IoU to expect of each mask")

    def __post_init__(self) -> None:
        if self.threshold is not None:
            require(self, threshold=(0, 1))


@dataclass(frozen=True)
class PretrainConfig:
    """A masked autoencoder's run on images without labels."""

    steps: int = option(20000, "optimizer steps")
    batch_size: int = option(64, "crops a step")
    rate: float = option(6e-4, "peak learning rate")
    warmup: float = option(0.05, "share of the steps in which the rate climbs to its peak")
    weight_decay: float = option(0.05, "AdamW weight decay of matrices and kernels")
    clip_norm: float = option(1.0, "largest gradient norm of a step")
    hidden: float = option(0.75, "share of a crop's tokens that is hidden and guessed")
    decoder_dim: int = option(192, "channels of the decoder that guesses, a multiple of 32")
    decoder_depth: int = option(2, "its transformer blocks")
    scale_low: float = option(0.2, "smallest crop, as a share of the image's area")
    longest: int = option(1024, "images are kept at most this large, pixels")
    save_minutes: float = option(10.0, "minutes between two saved states")
    seed: int = option(0, "of every draw")

    def __post_init__(self) -> None:
        require(self, steps=(1, 10**8), batch_size=(1, 65536), rate=(0, 1), warmup=(0, 1))
        require(self, weight_decay=(0, 1), clip_norm=(1e-6, 1e6), hidden=(0.01, 0.99))
        require(self, decoder_dim=(32, 2048), decoder_depth=(1, 48), scale_low=(0.01, 1))
        require(self, longest=(64, 16384), save_minutes=(0, 1e5), seed=(0, 2**31))
        if self.decoder_dim % 32:
            raise ValueError(f"decoder_dim must be a multiple of 32, got {self.decoder_dim}")

    def rate_at(self, step: int) -> float:
        """Learning rate of a step: a linear climb, then half a cosine down to nothing."""
        return self.rate * rate_share(step, self.steps, self.warmup, 0.0)
