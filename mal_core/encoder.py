"""The image encoder: a convolutional stem and a plain ViT on its 16-pixel tokens.

`Encoder` is the studio design's: timm's transformer block is used unchanged; the stem's maps at
strides 2, 4 and 8 are kept for the decoder, and four register tokens without position are added.
`TimmEncoder` is the paper design's: a whole ViT of timm, by name.

Source: Lan et al., CVPR 2023, section 3.2 (a standard ViT as encoder); Dosovitskiy et al., ICLR
2021; registers after Darcet et al., ICLR 2024; weights/MODEL.md for every layer.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import timm
import torch
from timm.layers.drop import DropPath
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from mal_core.config import ModelConfig
from mal_core.errors import CheckpointError
from mal_core.prompts import PLANES


class Skips(NamedTuple):
    """The stem's maps that the decoder takes its detail from."""

    f2: Tensor  # (B, 32, S/2, S/2)
    f4: Tensor  # (B, 64, S/4, S/4)
    f8: Tensor  # (B, 128, S/8, S/8)


def conv_norm_gelu(inputs: int, outputs: int, stride: int = 1, groups: int = 8) -> nn.Sequential:
    """3x3 convolution, GroupNorm, GELU: the building stone of stem and decoder."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(groups, outputs), nn.GELU()
    )


class Stem(nn.Module):
    """Four halvings, with a residual convolution at strides 4 and 8."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.c1 = conv_norm_gelu(3 + PLANES, 32, stride=2)
        self.c2 = conv_norm_gelu(32, 64, stride=2)
        self.r2 = conv_norm_gelu(64, 64)
        self.c3 = conv_norm_gelu(64, 128, stride=2)
        self.r3 = conv_norm_gelu(128, 128)
        self.c4 = conv_norm_gelu(128, 256, stride=2)
        self.proj = nn.Conv2d(256, dim, 1)

    def forward(self, crops: Tensor, prompts: Tensor) -> tuple[Skips, Tensor]:
        """(B, 3, S, S) and (B, 4, S, S) -> skips and (B, dim, S/16, S/16)."""
        f2 = self.c1(torch.cat([crops, prompts], 1))
        f4 = self.c2(f2)
        f4 = f4 + self.r2(f4)
        f8 = self.c3(f4)
        f8 = f8 + self.r3(f8)
        return Skips(f2, f4, f8), self.proj(self.c4(f8))


def make_blocks(dim: int, heads: int, mlp_ratio: float, depth: int) -> nn.ModuleList:
    """New transformer blocks of timm: (B, N, dim) tokens in and out."""
    return nn.ModuleList(Block(dim, heads, mlp_ratio, qkv_bias=True) for _ in range(depth))


class Encoder(nn.Module):
    """Crops and prompt planes -> tokens (B, registers + N, dim) and the stem's maps.

    `embed`, `attend` and `finish` are the three parts of `forward`, apart so that a fine-tune can
    keep what the frozen lower blocks computed.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.dim
        self.registers = config.registers
        self.stem = Stem(dim)
        self.prompt = nn.Conv2d(PLANES, dim, 16, 16)
        self.pos = nn.Parameter(torch.zeros(1, config.grid**2, dim))
        self.reg = nn.Parameter(torch.zeros(1, config.registers, dim))
        self.blocks = make_blocks(dim, config.heads, config.mlp_ratio, config.depth)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def embed(self, crops: Tensor, prompts: Tensor) -> tuple[Tensor, Skips]:
        """Everything before the first block: (B, registers + N, dim) and the skips."""
        skips, patches = self.stem(crops, prompts)
        patches = patches + self.prompt(prompts)  # (B, dim, g, g)
        tokens = patches.flatten(2).transpose(1, 2) + self.pos  # (B, g*g, dim)
        return torch.cat([self.reg.expand(tokens.shape[0], -1, -1), tokens], 1), skips

    def attend(self, tokens: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Run blocks start..stop; shapes stay."""
        for block in self.blocks[start:stop]:
            tokens = block(tokens)
        return tokens

    def finish(self, tokens: Tensor) -> Tensor:
        """Normalise and drop the registers: (B, N, dim)."""
        normed: Tensor = self.norm(tokens)
        return normed[:, self.registers :]

    def forward(self, crops: Tensor, prompts: Tensor) -> tuple[Tensor, Skips]:
        """(B, 3, S, S) normalised and (B, 4, S, S) -> (B, N, dim) tokens and the skips."""
        tokens, skips = self.embed(crops, prompts)
        return self.finish(self.attend(tokens)), skips


def set_drop_path(model: nn.Module, chance: float) -> None:
    """Let crops skip blocks in training: never the first, with `chance` the last, linear between.

    Source: Huang et al., Deep Networks with Stochastic Depth, ECCV 2016, as timm applies it.
    """
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    for index, block in enumerate(blocks):
        share = chance * index / max(1, len(blocks) - 1)
        block.drop_path1 = DropPath(share) if share else nn.Identity()
        block.drop_path2 = DropPath(share) if share else nn.Identity()


class ConvStem(nn.Sequential):
    """Four halvings of widths C/8, C/4, C/2 and C, then 1x1, instead of the patch projection.

    Source: the stem of Lan et al., CVPR 2023, as published.
    """

    def __init__(self, dim: int) -> None:
        widths = (3, dim // 8, dim // 4, dim // 2, dim)
        stages = [conv_norm_gelu(*pair, stride=2, groups=1) for pair in pairwise(widths)]
        stages[-1].append(nn.Conv2d(dim, dim, 1))
        super().__init__(*stages)


class TimmEncoder(nn.Module):
    """Crops -> a map of features at stride 16, by a ViT of timm.

    Attributes:
        vit: timm's module, its position embeddings made for the crop's grid.
        dim: channels C of the map.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build a new network.

        Raises:
            ValueError: timm has no plain ViT of that name.
        """
        super().__init__()
        self._grid = config.grid
        self.vit = _vit(config.backbone, config.crop_size)
        self.dim: int = self.vit.embed_dim
        if config.stem == "conv":
            self.vit.patch_embed.proj = ConvStem(self.dim)

    def at_grid(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors under timm's names, position embeddings brought to this crop's grid.

        Raises:
            ValueError: the position embeddings are not of a square grid.
        """
        fitted = dict(tensors)
        if "pos_embed" in fitted:
            prefix = 0 if self.vit.no_embed_class else self.vit.num_prefix_tokens
            fitted["pos_embed"] = resize_positions(fitted["pos_embed"], self._grid, prefix)
        return fitted

    def forward(self, crops: Tensor) -> Tensor:
        """(B, 3, S, S) normalised -> (B, C, S/16, S/16); the class token is dropped."""
        tokens: Tensor = self.vit.forward_features(crops)  # (B, prefix + N, C)
        patches = tokens[:, self.vit.num_prefix_tokens :].transpose(1, 2)
        maps: Tensor = patches.unflatten(2, (self._grid, self._grid))
        return maps


def resize_positions(positions: Tensor, grid: int, prefix: int = 0) -> Tensor:
    """Bring learned positions to another grid, bicubically.

    Args:
        positions: (1, prefix + n * n, C) float, row-major.
        grid: tokens along one side of the new grid.
        prefix: leading tokens without a place on the grid; they stay.

    Returns:
        (1, prefix + grid * grid, C) float.

    Raises:
        ValueError: the positions are not of a square grid.
    """
    count = positions.shape[1] - prefix if positions.ndim == 3 and len(positions) == 1 else 0
    if count < 1 or math.isqrt(count) ** 2 != count:
        shape = tuple(positions.shape)
        raise ValueError(f"positions must be (1, {prefix} + n * n, C), got {shape}")
    resized: Tensor = resample_abs_pos_embed(positions, [grid, grid], num_prefix_tokens=prefix)
    return resized


def fetch_pretrained(name: str) -> dict[str, Tensor]:
    """The weights that timm publishes under a name, from its cache or over the network.

    Raises:
        CheckpointError: there are none, or they cannot be fetched.
    """
    try:
        vit = timm.create_model(name, pretrained=True, num_classes=0, global_pool="")
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        why = str(error).strip().split("\n")[0]
        raise CheckpointError(
            f"timm cannot fetch weights of {name} ({why:.150}); without a network, give a file"
        ) from error
    tensors: dict[str, Tensor] = vit.state_dict()
    return tensors


def _vit(name: str, size: int) -> VisionTransformer:
    try:
        vit = timm.create_model(
            name, pretrained=False, img_size=size, num_classes=0, global_pool=""
        )
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"timm cannot build {name}: {error}") from error
    if not isinstance(vit, VisionTransformer):
        raise ValueError(f"{name} is a {type(vit).__name__}, not a plain ViT")
    return vit
