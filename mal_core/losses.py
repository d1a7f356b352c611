"""What training minimises: pure functions of logits and targets, in float32."""

from torch import Tensor
from torch.nn import functional as F

COARSE_WEIGHT = 0.4  # of the stride-4 logits against the stride-2 ones
BCE_WEIGHT = 2.0


def dice_loss(probs: Tensor, target: Tensor, smooth: float) -> Tensor:
    """1 - 2 sum(ab) / (sum a^2 + sum b^2 + smooth), for each item.

    Args:
        probs: (B, ...) float in [0, 1].
        target: the same shape, float in [0, 1].
        smooth: keeps two empty maps finite, above zero.

    Returns:
        (B,) float: 1 when disjoint; when equal and 0/1, as near 0 as `smooth` is small.

    Raises:
        ValueError: if the shapes differ.

    Source: Milletari et al., 3DV 2016, as in Lan et al., CVPR 2023.
    """
    if probs.shape != target.shape:
        raise ValueError(f"shapes differ: {tuple(probs.shape)} and {tuple(target.shape)}")
    a, b = probs.flatten(1), target.flatten(1)
    return 1 - 2 * (a * b).sum(1) / ((a * a).sum(1) + (b * b).sum(1) + smooth)


def mask_loss(coarse: Tensor, fine: Tensor, target: Tensor) -> Tensor:
    """Fit masks that a person accepted or corrected: 2 BCE + Dice at both strides.

    Args:
        coarse: (B, s/2, s/2) logits at stride 4.
        fine: (B, s, s) logits at stride 2.
        target: (B, s, s) float in [0, 1], the share of each cell that the mask covers.

    Returns:
        Scalar, the mean over the batch.
    """
    small = F.avg_pool2d(target[:, None], 2)[:, 0]  # (B, s/2, s/2)
    return _fit(fine, target) + COARSE_WEIGHT * _fit(coarse, small)


def _fit(logits: Tensor, target: Tensor) -> Tensor:
    bce = F.binary_cross_entropy_with_logits(logits, target)
    return BCE_WEIGHT * bce + dice_loss(logits.sigmoid(), target, smooth=1.0).mean()
