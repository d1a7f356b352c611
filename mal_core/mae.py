"""A masked autoencoder around the studio design's encoder: it learns without labels.

The convolutional stem sees the whole picture; most of its 16-pixel tokens are then dropped before
the first block, and a small decoder guesses the pixels under them. Hiding before the stem was
tried and hurt: its GroupNorm then sees maps that are three quarters zero.

Source: He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022. Other than there,
the neighbours' pixels reach a token through the stem (55 pixels around it), registers take the
class token's place, and the blocks' output is normalised before the decoder, as ours is.
"""

import torch
from torch import Tensor, nn

from mal_core.config import PretrainConfig
from mal_core.encoder import Encoder, make_blocks
from mal_core.prompts import PLANES

PATCH = 16  # pixels along a token
HEAD = 32  # channels of one of the decoder's attention heads


def to_patches(crops: Tensor) -> Tensor:
    """(B, 3, S, S) -> (B, N, 768): rows of tokens, each its pixels row by row, RGB together."""
    batch, colours, size, _ = crops.shape
    grid = size // PATCH
    cells = crops.reshape(batch, colours, grid, PATCH, grid, PATCH)
    return cells.permute(0, 2, 4, 3, 5, 1).reshape(batch, grid * grid, PATCH * PATCH * colours)


def patch_targets(crops: Tensor) -> Tensor:
    """What is guessed: (B, 3, S, S) -> (B, N, 768) with mean 0 and variance 1 in each patch."""
    patches = to_patches(crops)
    mean, variance = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()


def hidden_loss(guess: Tensor, target: Tensor, order: Tensor, visible: int) -> Tensor:
    """Mean squared error on the hidden patches alone.

    Args:
        guess: (B, N, 768) float.
        target: (B, N, 768) float, from `patch_targets`.
        order: (B, N) int64, each row a permutation of the tokens.
        visible: tokens that were shown: the first of `order`.

    Returns:
        () float.
    """
    errors = (guess - target).square().mean(-1)  # (B, N)
    return errors.gather(1, order[:, visible:]).mean()


class MaskedAutoencoder(nn.Module):
    """An encoder, and the decoder that exists only while it is pretrained.

    Attributes:
        encoder: learns in place; its layer for prompts stays as it is.
        visible: tokens of a crop that the blocks see.
    """

    def __init__(self, encoder: Encoder, config: PretrainConfig) -> None:
        """Put a new decoder behind an encoder.

        Args:
            encoder: of the studio design.
            config: share of hidden tokens, shape of the decoder.

        Raises:
            ValueError: that share of so few tokens hides none or all of them.
        """
        super().__init__()
        count, dim = encoder.pos.shape[1:]
        self.visible = count - round(count * config.hidden)
        if not 0 < self.visible < count:
            raise ValueError(f"hidden: {config.hidden:g} of {count} tokens is none or all of them")
        self.encoder = encoder
        self.encoder.prompt.requires_grad_(False)  # no prompts here: only its bias would move
        width = config.decoder_dim
        self.narrow = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos = nn.Parameter(torch.zeros(1, count, width))
        self.blocks = make_blocks(width, width // HEAD, 4.0, config.decoder_depth)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.guess = nn.Linear(width, 3 * PATCH * PATCH)
        for layer in [self.narrow, self.guess, *self.blocks.modules()]:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        for empty in (self.mask_token, self.pos):
            nn.init.trunc_normal_(empty, std=0.02)

    def encode(self, crops: Tensor, order: Tensor) -> Tensor:
        """Run the blocks on what is shown.

        Args:
            crops: (B, 3, S, S) float, normalised.
            order: (B, N) int64, each row a permutation of the tokens; the first are shown.

        Returns:
            (B, visible, dim) float, in the order of `order`.
        """
        planes = crops.new_zeros(len(crops), PLANES, *crops.shape[2:])
        tokens, _ = self.encoder.embed(crops, planes)  # (B, registers + N, dim)
        registers, patches = tokens.tensor_split([self.encoder.registers], 1)
        shown = _take(patches, order[:, : self.visible])  # (B, visible, dim)
        return self.encoder.finish(self.encoder.attend(torch.cat([registers, shown], 1)))

    def decode(self, shown: Tensor, order: Tensor) -> Tensor:
        """Guess every patch: (B, visible, dim) and (B, N) -> (B, N, 768), rows of tokens."""
        known = self.narrow(shown)  # (B, visible, width)
        batch, count = order.shape
        unknown = self.mask_token.to(known.dtype).expand(batch, count - self.visible, -1)
        tokens = _take(torch.cat([known, unknown], 1), order.argsort(1)) + self.pos
        for block in self.blocks:
            tokens = block(tokens)
        guess: Tensor = self.guess(self.norm(tokens))
        return guess

    def forward(self, crops: Tensor, order: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            crops: (B, 3, S, S) float, normalised.
            order: (B, N) int64, each row a permutation of the tokens; the first `visible` are
                shown, the others guessed.

        Returns:
            () float; 1 is what guessing each patch's mean costs.
        """
        guess = self.decode(self.encode(crops, order), order)
        return hidden_loss(guess.float(), patch_targets(crops), order, self.visible)


def _take(tokens: Tensor, places: Tensor) -> Tensor:
    """(B, N, C) tokens at (B, K) places -> (B, K, C)."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))
