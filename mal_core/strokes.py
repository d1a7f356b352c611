"""What a stroke does to an answer beyond the pixels under it.

A network that reads prompts is shown the strokes; for one that reads none, the mean field spreads
them: near a stroke the answer's word no longer counts where it contradicts the stroke, and the
colours decide between the stroke and what surrounds it. Either way, a mask that a person has in
hand changes only where they pointed.

Source: Lan et al., CVPR 2023, for the mean field.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from mal_core.config import CRFConfig
from mal_core.crf import mean_field
from mal_core.prompts import Stroke, paint

REACH = 8  # how far from a stroke its word can carry, cells of the answer
Mask = NDArray[np.bool_]
_EIGHT = np.ones((3, 3), np.bool_)  # a diagonal step stays in one change


def spread(picture: Tensor, probs: Tensor, strokes: Tensor) -> Tensor:
    """Let strokes and colours correct an answer near the strokes.

    Args:
        picture: (3, S, S) float, the normalised crop.
        probs: (s, s) float in [0, 1], the answer; S is a multiple of s.
        strokes: (2, S, S) float in {0, 1}: what they add, what they take away.

    Returns:
        (s, s) float in [0, 1]; the answer itself more than REACH cells from every stroke.
    """
    scale = picture.shape[-1] // probs.shape[-1]
    adds, takes = F.max_pool2d(strokes[None], scale)[0]
    known = adds - takes
    far = F.max_pool2d(torch.stack([adds, takes])[None], 2 * REACH + 1, 1, REACH)[0]
    contradicted = ((far[0] > 0) & (probs < 0.5)) | ((far[1] > 0) & (probs >= 0.5))
    start = torch.where(contradicted, 0.5, probs)
    small, whole = F.avg_pool2d(picture[None], scale), torch.ones_like(probs)[None]
    settled = mean_field(small, start[None], whole, whole, CRFConfig(), known[None])[0]
    return torch.where(contradicted, settled, probs)


def change_where_pointed(
    mask: Mask, current: Mask, origin: tuple[int, int], strokes: Sequence[Stroke]
) -> Mask:
    """Keep of a new mask only the connected changes that a stroke touches.

    Args:
        mask: (h, w) bool, the new one, part of an image's.
        current: (h, w) bool, the mask that the strokes correct.
        origin: (x0, y0) of their first pixel in the image.
        strokes: the person's, in image pixels.

    Returns:
        (h, w) bool; what was done by hand elsewhere stays done.
    """
    changes, _ = ndimage.label(mask ^ current, _EIGHT)
    pointed = np.zeros_like(mask)
    for stroke in strokes:
        paint(pointed, origin, [Stroke(stroke.points, stroke.radius, adds=True)])
    touched = np.unique(changes[pointed])
    kept: Mask = current ^ np.isin(changes, touched[touched > 0])
    return kept
