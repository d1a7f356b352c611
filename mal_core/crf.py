"""Mean field on a crop: neighbours of one colour take one label, and a box becomes a shape.

The published update sends p_i to sigmoid(sum_j w_ij (log p_j - log(1 - p_j))), clamped. Each term
is w_ij times the log-odds of p_j, so the update is a weighted sum of log-odds: one map instead of
two, no division that could underflow. The 8 neighbours of a 3x3 window are 4 kinds of pairs; the
weight of a pair is computed once and used both ways.

Outside the box the published update sets p to 0, whose log would be infinite as a neighbour. Here
a pixel outside the box counts as a neighbour with the smallest probability a pixel may have,
`floor`: background as sure as anything in the box can be. In the answer it is 0. A pixel whose
label a person has settled is held the same way, at either end.

Source: Lan et al., CVPR 2023, the CRF loss; Kraehenbuehl and Koltun, NIPS 2011, for mean field.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import EllipsisType

import torch
from torch import Tensor
from torch.nn import functional as F

from mal_core.config import CRFConfig

# Updates from one look at the masks to the next, since a look costs a comparison, and a wait on a
# GPU. Odd, so that a mask which swings between two states does not look the same.
LOOK_EVERY = 5


@dataclass(frozen=True)
class Pairs:
    """The pairs of neighbours of a map, each pair once, as contiguous slices.

    Maps are padded at the right and at the bottom and then flattened, so that a neighbour is a
    fixed number of places away; a pair across the map's edge ends in the padding.

    Attributes:
        height: rows of the map.
        width: columns of the map.
        dilation: distance to the 8 neighbours, cells.
    """

    height: int
    width: int
    dilation: int

    @classmethod
    def of(cls, maps: Tensor, dilation: int) -> "Pairs":
        """The pairs of maps (..., h, w)."""
        height, width = maps.shape[-2:]
        return cls(height, width, dilation)

    def flatten(self, maps: Tensor) -> Tensor:
        """(..., height, width) to (..., n), zeros in the padding."""
        return F.pad(maps, (0, self.dilation, 0, self.dilation)).flatten(-2)

    def unflatten(self, flat: Tensor) -> Tensor:
        """(..., n) back to (..., height, width); the padding is dropped."""
        rows, columns = self.height + self.dilation, self.width + self.dilation
        padded = flat.view(*flat.shape[:-1], rows, columns)
        return padded[..., : self.height, : self.width]

    def ends(self, flat: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield 4 views (..., n - offset) pairwise: to the right, lower left, below, lower right.

        Args:
            flat: (..., n), from `flatten`; the views share its memory.
        """
        row, step = (self.width + self.dilation) * self.dilation, self.dilation
        for offset in (step, row - step, row, row + step):
            yield flat[..., :-offset], flat[..., offset:]


def pairwise_kernel(image: Tensor, valid: Tensor, config: CRFConfig) -> list[Tensor]:
    """How strongly each pair of neighbours wants one label: exp(-|I_i - I_j|^2 / (2 zeta^2)).

    Args:
        image: (B, 3, h, w) float, normalised.
        valid: (B, h, w) float in {0, 1}, one inside the image.
        config: zeta and dilation.

    Returns:
        4 tensors (B, n - offset) float32 in [0, 1], one for each kind of pair, in the order of
        `Pairs.ends`; 0 where an end is invalid or beyond the map.
    """
    pairs = Pairs.of(image, config.dilation)
    colours, exists = pairs.flatten(image.float()), pairs.flatten(valid.float())
    return [
        (second - first).square_().sum(1).mul_(-0.5 / config.zeta**2).exp_() * one * other
        for (first, second), (one, other) in zip(
            pairs.ends(colours), pairs.ends(exists), strict=True
        )
    ]


@torch.no_grad()
def mean_field(
    image: Tensor,
    probs: Tensor,
    box: Tensor,
    valid: Tensor,
    config: CRFConfig,
    known: Tensor | None = None,
) -> Tensor:
    """Let colours correct a probability map, and cut it at one half.

    An item is done when its binary mask is as it was LOOK_EVERY updates ago, whatever its
    probabilities do (synchronous updates may swing for ever), or after `config.iterations`. Items
    of a batch do not touch each other.

    Args:
        image: (B, 3, h, w) float, normalised.
        probs: (B, h, w) float in [0, 1], where to start.
        box: (B, h, w) float in {0, 1}, one inside the box.
        valid: (B, h, w) float in {0, 1}, one inside the image.
        config: the kernel, the number of updates and the floor.
        known: (B, h, w) in {-1, 0, 1}: labels that are settled, 1 for the object, -1 for the
            rest; counts only inside the box and the image. None: nothing is.

    Returns:
        (B, h, w) float32 in {0, 1}; 0 outside the box and outside the image. No gradient.

    Raises:
        ValueError: if the shapes do not fit.
    """
    settled = torch.zeros_like(box) if known is None else known
    shapes = [tuple(x.shape) for x in (image[:, 0], probs, box, valid, settled)]
    if len(set(shapes)) > 1:
        raise ValueError(f"image, probs, box, valid, known must agree in (B, h, w): {shapes}")
    inside = (box > 0.5) & (valid > 0.5)
    mask = torch.zeros_like(probs, dtype=torch.float32)
    if bool(inside.any()):
        window = _window(inside, config.dilation)
        maps = (x[window] for x in (image, probs, inside.float(), valid, settled))
        mask[window] = _solve(config, *maps)
    return mask


def teaches(mask: Tensor, box: Tensor, config: CRFConfig) -> Tensor:
    """Whether refined masks are fit to learn from: neither nearly empty nor nearly the box.

    Args:
        mask: (B, h, w) float in {0, 1}, refined, inside the box.
        box: (B, h, w) float in {0, 1}, one inside the box.
        config: the smallest and the largest share, both inclusive.

    Returns:
        (B,) bool; False for an empty box.

    Source: Lan et al., ICCV 2021 (DiscoBox).
    """
    area = box.flatten(1).sum(1)
    fill = mask.flatten(1).sum(1) / area.clamp(min=1)
    return (area > 0) & (fill >= config.min_fill) & (fill <= config.max_fill)


def _window(inside: Tensor, reach: int) -> tuple[EllipsisType, slice, slice]:
    """The rows and columns of all boxes of a batch (B, h, w) and `reach` cells around.

    What lies further out is no box pixel's neighbour, so it need not be computed.
    """
    spans = []
    for axis in (1, 0):
        used = inside.any(0).any(axis).nonzero()
        first, last = int(used[0]), int(used[-1])
        spans.append(slice(max(first - reach, 0), last + reach + 1))
    return ..., spans[0], spans[1]


def _solve(
    config: CRFConfig, image: Tensor, probs: Tensor, box: Tensor, valid: Tensor, known: Tensor
) -> Tensor:
    """`mean_field` of a window; the box lies inside the image."""
    pairs = Pairs.of(image, config.dilation)
    kernel = pairwise_kernel(image, valid, config)
    inside, given = pairs.flatten(box), pairs.flatten(known.float()) * pairs.flatten(box)
    limit = math.log((1 - config.floor) / config.floor)
    bottom = torch.where(given > 0, limit, -limit)
    ceiling = torch.where(given < 0, -limit, (2 * inside - 1) * limit)  # outside only the floor
    start = torch.logit(pairs.flatten(probs.float()), config.floor)
    odds = torch.minimum(torch.maximum(start, bottom), ceiling)
    return pairs.unflatten(_settle(odds, bottom, ceiling, kernel, pairs, config))


def _settle(
    odds: Tensor,
    bottom: Tensor,
    ceiling: Tensor,
    kernel: list[Tensor],
    pairs: Pairs,
    config: CRFConfig,
) -> Tensor:
    """Update log-odds in place until the masks rest; all maps (B, n), the answer in {0, 1}."""
    total = torch.empty_like(odds)
    steps = list(zip(kernel, pairs.ends(odds), pairs.ends(total), strict=True))
    mask, rests = odds > 0, torch.zeros(len(odds), 1, dtype=torch.bool, device=odds.device)
    for done in range(1, config.iterations + 1):
        total.copy_(odds)  # a pixel is its own neighbour, with weight 1
        for weight, (first, second), (first_total, second_total) in steps:
            first_total.addcmul_(weight, second)
            second_total.addcmul_(weight, first)
        torch.clamp(total, bottom, ceiling, out=odds)
        if done % LOOK_EVERY == 0 or done == config.iterations:
            before, mask = mask, torch.where(rests, mask, odds > 0)
            rests |= (before == mask).all(1, keepdim=True)
            if bool(rests.all()):
                break
    return mask.float()
