"""The mask decoder: an instance key times a map of pixel values, at strides 4 and 2.

logits = K(E(I)) . V(E(I)): the key K is one vector a crop, the values V a map; their dot product
is the mask. The stride-2 logits add detail from the stem to the upsampled stride-4 logits.

Source: Lan et al., CVPR 2023, section 3.2 (attention-based decoder, after YOLACT).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mal_core.encoder import Skips, conv_norm_gelu

WIDTH4, WIDTH2 = 64, 32  # channels of the values at strides 4 and 2


class Decoder(nn.Module):
    """Tokens and stem maps -> mask logits at strides 4 and 2."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.in1 = nn.Sequential(nn.Conv2d(dim, 256, 1), nn.GroupNorm(16, 256), nn.GELU())
        self.in3 = conv_norm_gelu(256, 256, groups=16)
        self.lat8 = nn.Conv2d(128, 256, 1)
        self.up8 = conv_norm_gelu(256, 128, groups=16)
        self.lat4 = nn.Conv2d(64, 128, 1)
        self.up4 = conv_norm_gelu(128, WIDTH4)
        self.val4 = nn.Sequential(conv_norm_gelu(WIDTH4, WIDTH4), nn.Conv2d(WIDTH4, WIDTH4, 1))
        self.red2 = nn.Conv2d(WIDTH4, WIDTH2, 1)
        self.lat2 = nn.Conv2d(32, WIDTH2, 1)
        self.val2 = nn.Sequential(conv_norm_gelu(WIDTH2, WIDTH2), nn.Conv2d(WIDTH2, WIDTH2, 1))
        self.key = nn.Sequential(
            nn.Linear(2 * dim, 256), nn.GELU(), nn.Linear(256, WIDTH4 + 1 + WIDTH2)
        )

    def forward(self, tokens: Tensor, skips: Skips) -> tuple[Tensor, Tensor]:
        """Multiply the crop's key with its values.

        Args:
            tokens: (B, N, dim) of the encoder, row-major.
            skips: the stem's maps of the same crops.

        Returns:
            (B, S/4, S/4) and (B, S/2, S/2) float32 logits.
        """
        side = math.isqrt(tokens.shape[1])
        x = tokens.transpose(1, 2).unflatten(2, (side, side))  # (B, dim, S/16, S/16)
        x = self.in3(self.in1(x))
        x = self.up8(double(x) + self.lat8(skips.f8))  # (B, 128, S/8, S/8)
        y = self.up4(double(x) + self.lat4(skips.f4))  # (B, 64, S/4, S/4)
        pooled = torch.cat([tokens.mean(1), tokens.amax(1)], 1)
        key4, bias, key2 = self.key(pooled).float().split([WIDTH4, 1, WIDTH2], 1)
        coarse = _dot(self.val4(y), key4) + bias[:, :, None]
        value2 = self.val2(double(self.red2(y)) + self.lat2(skips.f2))  # (B, 32, S/2, S/2)
        fine = double(coarse[:, None])[:, 0] + _dot(value2, key2)
        return coarse, fine


def double(maps: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, 2h, 2w), bilinear."""
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def dot(values: Tensor, key: Tensor) -> Tensor:
    """(B, C, h, w) . (B, C) -> (B, h, w), in float32: the sum can pass fp16's range."""
    with torch.autocast(values.device.type, enabled=False):
        product = torch.bmm(key.float()[:, None], values.float().flatten(2))  # (B, 1, h * w)
    maps: Tensor = product.unflatten(2, values.shape[2:])[:, 0]
    return maps


def _dot(values: Tensor, key: Tensor) -> Tensor:
    return dot(values, key) / math.sqrt(key.shape[1])
