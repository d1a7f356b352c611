"""The paper's network: a ViT of timm and the attention-based decoder with its three scales.

logits = K(E(I)) . V(E(I)). It takes no prompts; what it lacks against the studio design is said in
docs/adr/0006-two-networks.md.

Source: Lan et al., CVPR 2023, section 3.2, with the scale branches of the published network.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mal_core.config import ModelConfig
from mal_core.decoder import dot, double
from mal_core.encoder import TimmEncoder

WIDTH = 256  # channels of key and values
SMALL_AREA, LARGE_AREA = 32.0**2, 96.0**2  # pixels of the image; both belong to the middle scale
SCALES = (0.5, 1.0, 2.0)  # of the features before the pixel head, by size of the box


class PaperDecoder(nn.Module):
    """Features at stride 16 -> mask logits at stride 4.

    Attributes:
        key: the instance head K.
        values: the four convolutions of the pixel head V.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.key = nn.Sequential(nn.Linear(dim, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        inputs = (dim, WIDTH, WIDTH, WIDTH)
        self.values = nn.ModuleList(nn.Conv2d(n, WIDTH, 3, padding=1) for n in inputs)

    def forward(self, features: Tensor, areas: Tensor | None = None) -> Tensor:
        """Multiply each crop's key with its values, at the scale of its box.

        Args:
            features: (B, C, h, h) float at stride 16 of the crop.
            areas: (B,) float, of the boxes in pixels of the original image; below 32^2 the
                features are halved before V, above 96^2 doubled. None: the middle scale for all.

        Returns:
            (B, 4h, 4h) float32 logits, each as if its crop were alone.

        Raises:
            ValueError: areas are not one a crop.
        """
        if areas is None:
            areas = torch.full((len(features),), SMALL_AREA)
        if areas.shape != (len(features),):
            raise ValueError(f"areas must be ({len(features)},), got {tuple(areas.shape)}")
        scales = box_scale(areas)
        keys = self.key(features.mean((2, 3)))  # (B, 256)
        side = 4 * features.shape[-1]
        logits = features.new_zeros(len(features), side, side, dtype=torch.float32)
        for index, scale in enumerate(SCALES):
            rows = (scales == index).nonzero()[:, 0].to(features.device)
            if len(rows):
                logits = logits.index_copy(0, rows, self._scaled(features[rows], keys[rows], scale))
        return logits

    def at_every_scale(self, features: Tensor, areas: Tensor) -> Tensor:
        """What `forward` answers, from all scales of each crop: dearer, but without a branch."""
        keys = self.key(features.mean((2, 3)))  # (B, 256)
        scales = box_scale(areas)[:, None, None]
        small, middle, large = (self._scaled(features, keys, scale) for scale in SCALES)
        return torch.where(scales == 0, small, torch.where(scales == 1, middle, large))

    def _scaled(self, features: Tensor, keys: Tensor, scale: float) -> Tensor:
        """(b, C, h, h) and (b, 256) -> (b, 4h, 4h), all at one scale."""
        side = features.shape[-1]
        maps = _resize(features, max(1, round(scale * side)))
        for conv in self.values[:3]:
            maps = conv(maps).relu()
        maps = self.values[3](double(maps)).relu()  # (b, 256, 2 s h, 2 s h)
        return _resize(dot(maps, keys)[:, None], 4 * side)[:, 0]


class Paper(nn.Module):
    """Encoder and decoder of the paper's design."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.encoder = TimmEncoder(config)
        self.decoder = PaperDecoder(self.encoder.dim)

    def forward(self, crops: Tensor, areas: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) and (B,) -> (B, S/4, S/4) logits, and the same twice as large."""
        coarse: Tensor = self.decoder(self.encoder(crops), areas)
        return coarse, double(coarse[:, None])[:, 0]

    def at_every_scale(self, crops: Tensor, areas: Tensor) -> Tensor:
        """(B, 3, S, S) and (B,) -> (B, S/2, S/2): the second of `forward`, without a branch."""
        coarse = self.decoder.at_every_scale(self.encoder(crops), areas)
        return double(coarse[:, None])[:, 0]


def box_scale(areas: Tensor) -> Tensor:
    """(B,) areas in pixels -> (B,) index into SCALES; 32^2 and 96^2 belong to the middle."""
    return (areas >= SMALL_AREA).long() + (areas > LARGE_AREA).long()


def _resize(maps: Tensor, side: int) -> Tensor:
    if maps.shape[-1] == side:
        return maps
    return F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)
