"""MAL: encoder and decoder as one network, built from a ModelConfig."""

import torch
from torch import Tensor, nn

from mal_core.config import ModelConfig
from mal_core.decoder import Decoder
from mal_core.encoder import Encoder

MEAN = (0.485, 0.456, 0.406)  # ImageNet, RGB in [0, 1]
STD = (0.229, 0.224, 0.225)


def normalise(crops: Tensor, valid: Tensor) -> Tensor:
    """Centre crops as the network expects them; pixels outside the image become exactly 0.

    Args:
        crops: (B, 3, S, S) float in [0, 1], RGB.
        valid: (B, S, S) float in {0, 1}, one inside the image.

    Returns:
        (B, 3, S, S) float.
    """
    mean = torch.tensor(MEAN, device=crops.device).view(1, 3, 1, 1)
    std = torch.tensor(STD, device=crops.device).view(1, 3, 1, 1)
    return (crops - mean) / std * valid[:, None]


class MAL(nn.Module):
    """A box-cropped image and its prompts in, the object's mask logits out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config.dim)
        self.apply(_initialise)
        for empty in (self.encoder.pos, self.encoder.reg):
            nn.init.trunc_normal_(empty, std=0.02)
        with torch.no_grad():  # a new network starts deaf to prompts
            first = self.encoder.stem.c1[0]
            assert isinstance(first, nn.Conv2d)
            first.weight[:, 3:] = 0
            self.encoder.prompt.weight.zero_()
            self.encoder.prompt.bias.zero_()  # type: ignore[union-attr]

    def forward(self, crops: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Label crops.

        Args:
            crops: (B, 3, S, S) float, normalised.
            prompts: (B, 4, S, S) float, see mal_core.prompts.

        Returns:
            (B, S/4, S/4) and (B, S/2, S/2) float logits; inference uses the second.
        """
        tokens, skips = self.encoder(crops, prompts)
        coarse, fine = self.decoder(tokens, skips)
        return coarse, fine


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
