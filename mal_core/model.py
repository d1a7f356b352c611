"""MAL: encoder and decoder as one network, built from a ModelConfig."""

import torch
from torch import Tensor, nn

from mal_core.config import CropConfig, ModelConfig
from mal_core.decoder import Decoder
from mal_core.encoder import Encoder
from mal_core.paper import Paper

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


def present(crops: Tensor, valid: Tensor, crop: CropConfig) -> Tensor:
    """Crops as a network sees them: mirrored at the image's edges, or blank beyond them.

    Args:
        crops: (B, 3, S, S) float in [0, 1], from `Crop.apply`.
        valid: (B, S, S) float in {0, 1}, one inside the image.
        crop: says which of the two.

    Returns:
        (B, 3, S, S) float, normalised.
    """
    return normalise(crops, torch.ones_like(valid) if crop.mirror else valid)


class MAL(nn.Module):
    """A box-cropped image and its prompts in, the object's mask logits out.

    Attributes:
        config: what the network was built from.
        encoder: of the studio design only.
        decoder: of the studio design only.
        paper: of the paper's design only, both parts.
    """

    encoder: Encoder
    decoder: Decoder
    paper: Paper

    def __init__(self, config: ModelConfig) -> None:
        """Build a new network.

        Raises:
            ValueError: the paper's design, and timm has no such ViT.
        """
        super().__init__()
        self.config = config
        if config.design == "paper":
            self.paper = Paper(config)
        else:
            self.encoder = Encoder(config)
            self.decoder = Decoder(config.dim)
            self._start_studio()

    def forward(
        self, crops: Tensor, prompts: Tensor, areas: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Label crops.

        Args:
            crops: (B, 3, S, S) float, normalised.
            prompts: (B, 4, S, S) float, see mal_core.prompts; not read by the paper's design.
            areas: (B,) float, of the boxes in pixels of the original image; read only by the
                paper's design, which without them takes all boxes as of 32^2 to 96^2 pixels.

        Returns:
            (B, S/4, S/4) and (B, S/2, S/2) float logits; inference uses the second, which in the
            paper's design is the first, bilinearly enlarged.
        """
        if self.config.design == "paper":
            coarse, fine = self.paper(crops, areas)
        else:
            coarse, fine = self.decoder(*self.encoder(crops, prompts))
        return coarse, fine

    def fine(self, crops: Tensor, prompts: Tensor, areas: Tensor) -> Tensor:
        """The second answer of `forward` alone, by the same steps for every input.

        An exported network can hold no branch that depends on the boxes: the paper's design
        computes all its scales for each crop here.
        """
        if self.config.design == "paper":
            return self.paper.at_every_scale(crops, areas)
        return self(crops, prompts)[1]  # type: ignore[no-any-return]

    def _start_studio(self) -> None:
        """The random start of the studio design."""
        self.apply(_initialise)
        for empty in (self.encoder.pos, self.encoder.reg):
            nn.init.trunc_normal_(empty, std=0.02)
        with torch.no_grad():  # a new network starts deaf to prompts
            first = self.encoder.stem.c1[0]
            assert isinstance(first, nn.Conv2d)
            first.weight[:, 3:] = 0
            self.encoder.prompt.weight.zero_()
            self.encoder.prompt.bias.zero_()  # type: ignore[union-attr]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
