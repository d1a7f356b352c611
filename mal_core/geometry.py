"""Boxes, and the crop around a box: from image to crop and back, in one class.

Pixel i covers [i, i + 1) and its centre is i + 0.5. A box is (x0, y0, x1, y1), half-open, and may
be fractional. The window of a crop is the box grown on each side; it is not square and may leave
the image.

Source: Lan et al., CVPR 2023, section 3.1 for the enlarged crop; weights/MODEL.md for the numbers.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mal_core.config import CropConfig
from mal_core.errors import BadBox

Image = NDArray[np.uint8]  # (H, W, 3) RGB
Box = tuple[float, float, float, float]
Rect = tuple[int, int, int, int]  # whole pixels, half-open
CPU = torch.device("cpu")


def check_boxes(boxes: object, height: int, width: int) -> list[Box]:
    """Take boxes from a caller and clip them to the image.

    Args:
        boxes: (N, 4) numbers, x0 y0 x1 y1 in pixels; an empty list for none.
        height: rows of the image.
        width: columns of the image.

    Returns:
        N boxes inside the image.

    Raises:
        BadBox: the shape is not (N, 4), a number is not finite, the corners are not ordered, or
            a box holds less than 1/1000 pixel of the image along an axis.
    """
    try:
        array = np.asarray(boxes, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadBox("boxes must be (N, 4) numbers") from error
    if array.shape == (0,):
        return []
    if array.ndim != 2 or array.shape[1] != 4:
        raise BadBox(f"boxes must be (N, 4), got {array.shape}")
    if not np.isfinite(array).all():
        raise BadBox("boxes must be finite numbers")
    clipped = np.clip(array, 0, [width, height, width, height])
    for given, box in zip(array, clipped, strict=True):
        if box[2] - box[0] < 1e-3 or box[3] - box[1] < 1e-3:
            raise BadBox(f"box {given.tolist()} holds no pixel of the {width}x{height} image")
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in clipped]


def box_area(box: Box) -> float:
    """Pixels that a box covers, fractions included."""
    x0, y0, x1, y1 = box
    return (x1 - x0) * (y1 - y0)


def scale_box(box: Box, scale: float) -> Box:
    """The box in an image of `scale` times the size."""
    x0, y0, x1, y1 = box
    return (x0 * scale, y0 * scale, x1 * scale, y1 * scale)


def box_to_rect(box: Box, height: int, width: int) -> Rect:
    """The whole pixels a box touches, inside the image."""
    x0, y0, x1, y1 = box
    return (
        max(0, math.floor(x0)),
        max(0, math.floor(y0)),
        min(width, math.ceil(x1)),
        min(height, math.ceil(y1)),
    )


@dataclass(frozen=True)
class Crop:
    """One box's window on the image, and the way there and back.

    Attributes:
        box: the box inside the window, pixels.
        window: (x0, y0, x1, y1) of the crop's edges, pixels; may leave the image.
    """

    box: Box
    window: Box

    @classmethod
    def around(cls, box: Box, margin: float) -> "Crop":
        """The window that is `margin` box sides larger on each side of the box."""
        x0, y0, x1, y1 = box
        dx, dy = margin * (x1 - x0), margin * (y1 - y0)
        return cls(box, (x0 - dx, y0 - dy, x1 + dx, y1 + dy))

    def apply(
        self, image: Image, config: CropConfig, device: torch.device = CPU
    ) -> tuple[Tensor, Tensor]:
        """Resample the window to a square, without keeping the aspect ratio.

        Args:
            image: (H, W, 3) uint8 RGB.
            config: crop size, supersampling, the window side above which to shrink first, and
                whether the image is mirrored at its edges.
            device: where to resample; only the window's pixels are sent there.

        Returns:
            crop: (3, S, S) float in [0, 1]; outside the image its mirror image, or else its edge
                pixels, repeated.
            valid: (S, S) float in {0, 1}, one where the crop pixel's centre is in the image.
        """
        height, width = image.shape[:2]
        samples = config.size * config.supersample
        xs = _sample_places(self.window[0], self.window[2], samples, width, mirror=config.mirror)
        ys = _sample_places(self.window[1], self.window[3], samples, height, mirror=config.mirror)
        (x0, x1), (y0, y1) = _reach(xs, width), _reach(ys, height)
        pixels = np.array(image[y0:y1, x0:x1])  # a copy: the image may be read-only
        region = torch.from_numpy(pixels).to(device).permute(2, 0, 1)[None]  # (1, 3, h, w)
        region = _shrink(region, config.max_window, samples).float()
        xs, ys = (xs - x0) / (x1 - x0) * 2 - 1, (ys - y0) / (y1 - y0) * 2 - 1
        grid = torch.stack(torch.meshgrid(xs.float(), ys.float(), indexing="xy"), -1)[None]
        fine = F.grid_sample(region, grid.to(device), padding_mode="border", align_corners=False)
        crop = F.avg_pool2d(fine, config.supersample)[0] / 255  # (3, S, S)
        inside_x = self._inside(0, config.size, width)
        inside_y = self._inside(1, config.size, height)
        return crop, (inside_y[:, None] * inside_x[None, :]).to(device)

    def paste_back(self, values: Tensor, rect: Rect) -> Tensor:
        """Resample crop values at the centres of image pixels.

        Args:
            values: (h, w) float on the crop.
            rect: the image pixels to fill, half-open.

        Returns:
            (x1 - x0, y1 - y0) float: transposed, columns first, so that a mask made from it is in
            run-length order. Bilinear; zero beyond the window.
        """
        x0, y0, x1, y1 = rect
        rows = _taps(y0, y1, self.window[1], self.window[3], values.shape[0])  # (y1-y0, h)
        tall = F.pad(values.T @ rows.T, (0, 0, 1, 1)).numpy()  # (w + 2, y1-y0), zero beyond
        cells = _places(x0, x1, self.window[0], self.window[2], values.shape[1]) + 1
        cells = cells.clamp_(0, values.shape[1] + 1)
        left = cells.floor().clamp_(max=values.shape[1])
        share = (cells - left).float().tolist()
        steps, lines = tall[1:] - tall[:-1], np.empty((x1 - x0, y1 - y0), np.float32)
        # Line by line in the cache: at 12 MP, half the time of a product with (x1-x0, w) weights.
        for line, cell, part in zip(lines, left.int().tolist(), share, strict=True):
            np.multiply(steps[cell], part, out=line)
            line += tall[cell]
        return torch.from_numpy(lines)

    def sample_mask(self, mask: NDArray[np.bool_], origin: tuple[int, int], size: int) -> Tensor:
        """Soft coverage of an image mask on the crop, for training targets.

        Args:
            mask: (h, w) bool, a crop of the image's mask; zero around it.
            origin: (x0, y0) of the mask's first pixel in the image.
            size: side of the target.

        Returns:
            (size, size) float in [0, 1], 2x supersampled.
        """
        h, w = mask.shape
        if h == 0 or w == 0:
            return torch.zeros(size, size)
        x0, y0, x1, y1 = self.window
        step = (torch.arange(2 * size) + 0.5) / (2 * size)
        xs = (x0 + (x1 - x0) * step - origin[0]) / w * 2 - 1
        ys = (y0 + (y1 - y0) * step - origin[1]) / h * 2 - 1
        grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1)[None]
        plane = torch.from_numpy(np.ascontiguousarray(mask)).float()[None, None]
        return F.avg_pool2d(F.grid_sample(plane, grid, align_corners=False), 2)[0, 0]

    def relative_box(self) -> Box:
        """The box in window coordinates, each 0 to 1."""
        (bx0, by0, bx1, by1), (x0, y0, x1, y1) = self.box, self.window
        w, h = x1 - x0, y1 - y0
        return (bx0 - x0) / w, (by0 - y0) / h, (bx1 - x0) / w, (by1 - y0) / h

    def _inside(self, axis: int, size: int, length: int) -> Tensor:
        """(size,) float, one where a crop pixel's centre lies strictly inside the image."""
        start, stop = self.window[axis], self.window[axis + 2]
        centres = start + (stop - start) * (torch.arange(size, dtype=torch.float64) + 0.5) / size
        return ((centres > 0) & (centres < length)).float()


def _shrink(region: Tensor, longest: int, samples: int) -> Tensor:
    """Reduce each side of a (1, 3, h, w) uint8 region above `longest` to `samples`, antialiased."""
    h, w = (samples if side > max(longest, samples) else side for side in region.shape[-2:])
    if (h, w) == region.shape[-2:]:
        return region
    if region.device.type != "cpu":
        region = region.float()  # only the CPU shrinks bytes, where they are the faster way
    return F.interpolate(region, (h, w), mode="bilinear", antialias=True, align_corners=False)


def _sample_places(start: float, stop: float, samples: int, length: int, *, mirror: bool) -> Tensor:
    """(samples,) float64 positions along one axis, pixels, taken back into the image."""
    step = (torch.arange(samples, dtype=torch.float64) + 0.5) / samples
    place = start + (stop - start) * step
    if mirror:
        place = place.remainder(2 * length)
        place = torch.minimum(place, 2 * length - place)
    return place.clamp(0.5, length - 0.5)


def _reach(places: Tensor, length: int) -> tuple[int, int]:
    """First and one past the last pixel that positions read, with one more at each end."""
    first, last = math.floor(float(places.min())), math.ceil(float(places.max()))
    return max(0, first - 1), min(length, last + 1)


def _taps(first: int, last: int, start: float, stop: float, size: int) -> Tensor:
    """(last - first, size) weights that interpolate `size` crop cells at pixel centres."""
    place = _places(first, last, start, stop, size)
    # The tent function of distance is linear interpolation, and zero beyond the neighbours.
    distance = (place[:, None] - torch.arange(size, dtype=torch.float64)[None]).abs()
    return (1 - distance).clamp_(min=0).float()


def _places(first: int, last: int, start: float, stop: float, size: int) -> Tensor:
    """(last - first,) float64: where pixel centres lie among the centres of `size` crop cells."""
    centres = torch.arange(first, last, dtype=torch.float64) + 0.5
    return (centres - start) / (stop - start) * size - 0.5
