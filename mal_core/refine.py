"""A crisp edge: an answer on the crop's coarse cells, corrected by the image's own pixels.

Two ways. "guided" makes the probabilities, in a small window around each pixel, a linear function
of the colours there, so that their edge goes where the colours have one. "meanfield" lets the
method's own mean field choose the labels in a band along the edge.

Source: He, Sun and Tang, Guided Image Filtering, PAMI 2013; He and Sun, Fast Guided Filter, 2015,
for fits on a smaller map; mal_core.crf for the mean field.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import uniform_filter
from torch import Tensor
from torch.nn import functional as F

from mal_core.config import CRFConfig, option, require, require_choice
from mal_core.crf import mean_field
from mal_core.geometry import Box, Crop, Image, Rect, box_to_rect
from mal_core.model import normalise

METHODS = ("none", "guided", "meanfield")
SAMPLES = 4  # along the filter's radius; more cost time and change nothing
SURE = 1e-6  # probabilities nearer to 0 or 1 than this count as this near


@dataclass(frozen=True)
class RefineConfig:
    """Whether and how the edge of a mask follows the image; a cell is one of the answer's."""

    method: str = option("guided", "none, guided (a guided filter) or meanfield")
    min_side: int = option(128, "boxes whose longer side is not longer stay as they are, pixels")
    max_side: int = option(512, "longer side at which larger boxes are worked on, pixels")
    radius: float = option(4.0, "guided: from a window's centre to its side, cells")
    epsilon: float = option(1e-4, "guided: variance of a colour (0 to 1) that is no edge yet")
    band: float = option(1.0, "meanfield: how far from the edge a label may change, cells")
    zeta: float = option(0.3, "meanfield: colour scale, on the normalised image")
    iterations: int = option(20, "meanfield: largest number of updates")

    def __post_init__(self) -> None:
        require_choice(self, method=METHODS)
        require(self, min_side=(0, 16384), max_side=(16, 4096), radius=(0.1, 64))
        require(self, epsilon=(1e-8, 1), band=(0.1, 64), zeta=(1e-3, 100), iterations=(0, 1000))

    def wants(self, rect: Rect) -> bool:
        """Whether an answer for these pixels is to be refined."""
        x0, y0, x1, y1 = rect
        return self.method != "none" and max(x1 - x0, y1 - y0) > self.min_side


def refine_probs(
    probs: Tensor, crop: Crop, rect: Rect, image: Image, threshold: float, config: RefineConfig
) -> Tensor:
    """Paste an answer back with its edge on the image's.

    Args:
        probs: (s, s) float in [0, 1] on the crop.
        crop: its window.
        rect: the image pixels to fill, half-open.
        image: (H, W, 3) uint8 RGB.
        threshold: above which a pixel will count as the object's, 0 to 1.
        config: method, its settings, and the size to work at.

    Returns:
        (x1 - x0, y1 - y0) float in [0, 1], columns first as `Crop.paste_back` gives them.
    """
    area = (crop.window[2] - crop.window[0]) * (crop.window[3] - crop.window[1])
    pad = config.radius * math.sqrt(area) / probs.shape[-1]
    x0, y0, x1, y1 = rect
    region = box_to_rect((x0 - pad, y0 - pad, x1 + pad, y1 + pad), *image.shape[:2])
    guide = _look(image, region, config.max_side)  # (3, w, h)
    width, height = guide.shape[1:]
    seen = _zoom(crop, region, width, height)
    start = seen.paste_back(probs, (0, 0, width, height))  # (w, h)
    across, down = (seen.window[i + 2] - seen.window[i] for i in (0, 1))
    cell = math.sqrt(across * down) / probs.shape[-1]
    if config.method == "guided":
        radius = max(1, round(config.radius * cell))
        step = max(1, radius // SAMPLES)
        refined = guided_filter(guide, start, radius, config.epsilon, step)
    else:
        refined = settle_edge(guide, start, threshold, max(1, round(config.band * cell)), config)
    left, top, right, bottom = region
    size = (right - left, bottom - top)
    if size != (width, height):
        refined = F.interpolate(refined[None, None], size, mode="bilinear")[0, 0]
    return refined[x0 - left : x1 - left, y0 - top : y1 - top]


def guided_filter(
    guide: Tensor, values: Tensor, radius: int, epsilon: float, step: int = 1
) -> Tensor:
    """Make values, in every window, a linear function of the guide's three channels.

    Args:
        guide: (3, h, w) float in [0, 1].
        values: (h, w) float.
        radius: of the square windows, 2 radius + 1 wide; cut at the map's edges. Pixels.
        epsilon: ridge of the fit: channels that vary less are taken as flat.
        step: the fits are made on means of step x step pixels; 1 is the exact filter.

    Returns:
        (h, w) float, between the smallest and the largest of the values.
    """
    reach = max(1, round(radius / step))
    small = F.avg_pool2d(torch.cat([guide, values[None]])[None], step, ceil_mode=True)[0]
    means = _window_means(_moments(small), reach)
    fit = _fit(means.double(), epsilon)  # of matrices that are nearly singular where all is grey
    slopes = _window_means(fit.float(), reach)
    height, width = values.shape
    if step > 1:
        size = (small.shape[-2] * step, small.shape[-1] * step)
        slopes = F.interpolate(slopes[None], size, mode="bilinear")[0]
    red, green, blue, offset = slopes[:, :height, :width]
    filtered = torch.addcmul(offset, red, guide[0]).addcmul_(green, guide[1])
    filtered.addcmul_(blue, guide[2])
    return filtered.clamp_(values.min(), values.max())


def settle_edge(
    guide: Tensor, probs: Tensor, threshold: float, reach: int, config: RefineConfig
) -> Tensor:
    """Let the mean field choose the labels near the edge of a mask; the others stay.

    Args:
        guide: (3, h, w) float in [0, 1], RGB.
        probs: (h, w) float in [0, 1].
        threshold: above which a pixel is the object's, 0 to 1.
        reach: how far from the edge a label may change, pixels (king's moves).
        config: colour scale and number of updates.

    Returns:
        (h, w) float in {0, 1}.
    """
    limit = min(max(threshold, SURE), 1 - SURE)
    odds = torch.logit(probs, SURE) - math.log(limit / (1 - limit))
    mask = (odds > 0).float()
    both = torch.stack([mask, 1 - mask])[None]  # grown, the two overlap along the edge
    grown = F.max_pool2d(both, (2 * reach + 1, 1), 1, (reach, 0))
    grown = F.max_pool2d(grown, (1, 2 * reach + 1), 1, (0, reach))
    known = (2 * mask - 1) * (1 - grown[0].prod(0))
    everywhere = torch.ones_like(mask)[None]
    picture = normalise(guide[None], everywhere)
    crf = CRFConfig(zeta=config.zeta, iterations=config.iterations)
    return mean_field(picture, odds.sigmoid()[None], everywhere, everywhere, crf, known[None])[0]


def _look(image: Image, region: Rect, longest: int) -> Tensor:
    """(3, w, h) float in [0, 1]: a region's pixels, columns first, shrunk to `longest`."""
    x0, y0, x1, y1 = region
    pixels = torch.from_numpy(np.array(image[y0:y1, x0:x1])).permute(2, 0, 1)[None]
    scale = longest / max(x1 - x0, y1 - y0)
    if scale < 1:
        size = (max(1, round(scale * (y1 - y0))), max(1, round(scale * (x1 - x0))))
        pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True)
    return pixels[0].transpose(1, 2).contiguous().float().div_(255)


def _zoom(crop: Crop, region: Rect, width: int, height: int) -> Crop:
    """The crop as seen on a region that was resized to width x height."""
    x0, y0, x1, y1 = region
    across, down = width / (x1 - x0), height / (y1 - y0)

    def place(box: Box) -> Box:
        a, b, c, d = box
        return (a - x0) * across, (b - y0) * down, (c - x0) * across, (d - y0) * down

    return Crop(place(crop.box), place(crop.window))


def _moments(maps: Tensor) -> Tensor:
    """(4, h, w) R, G, B, v -> (13, h, w): these, the 6 products of colours, the 3 with v."""
    red, green, blue, values = maps
    colours = [red * red, red * green, red * blue, green * green, green * blue, blue * blue]
    return torch.stack([*maps, *colours, red * values, green * values, blue * values])


def _window_means(maps: Tensor, reach: int) -> Tensor:
    """(C, h, w): the mean over each square window, as far as it lies on the map."""
    side = 2 * reach + 1
    sums = uniform_filter(maps.numpy(), side, mode="constant", axes=(1, 2))  # as if 0 around
    there = np.ones((1, *maps.shape[1:]), np.float32)
    share = uniform_filter(there, side, mode="constant", axes=(1, 2))
    return torch.from_numpy(sums / share)


def _fit(means: Tensor, epsilon: float) -> Tensor:
    """(13, h, w) window means of `_moments` -> (4, h, w): three slopes and an offset each.

    The slopes solve (covariance of the colours + epsilon) slopes = covariance with the values, by
    the inverse of a symmetric 3 x 3 matrix.
    """
    r, g, b, v, rr, rg, rb, gg, gb, bb, rv, gv, bv = means
    rr, gg, bb = rr - r * r + epsilon, gg - g * g + epsilon, bb - b * b + epsilon
    rg, rb, gb = rg - r * g, rb - r * b, gb - g * b
    rv, gv, bv = rv - r * v, gv - g * v, bv - b * v
    minor_r, minor_g, minor_b = gg * bb - gb * gb, rr * bb - rb * rb, rr * gg - rg * rg
    minor_rg, minor_rb, minor_gb = gb * rb - rg * bb, rg * gb - gg * rb, rg * rb - rr * gb
    determinant = rr * minor_r + rg * minor_rg + rb * minor_rb
    red = (minor_r * rv + minor_rg * gv + minor_rb * bv) / determinant
    green = (minor_rg * rv + minor_g * gv + minor_gb * bv) / determinant
    blue = (minor_rb * rv + minor_gb * gv + minor_b * bv) / determinant
    return torch.stack([red, green, blue, v - red * r - green * g - blue * b])
