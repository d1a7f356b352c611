"""Copy-paste: another object of the same kind, in front of the one to learn or behind it.

Crowds of one kind are where box-cropped masks fail most, and photos with masks of crowds are few.

Source: Ghiasi et al., "Simple Copy-Paste", CVPR 2021; the choice of front or back is ours.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mal_core.config import CropConfig
from mal_core.geometry import Box, Crop, Image, box_area, scale_box
from mal_core.masks import RLE, decode_crop

SIZE = (0.5, 1.2)  # of the pasted object, as a multiple of the other's
OFFSET = 0.7  # its centre lies at most so many box sides off the other's
LEAST_SEEN = 0.5  # share of the object that must stay in sight
SOLID = 0.5  # a cell belongs to the object from this share on


@dataclass(frozen=True)
class Cutout:
    """An object to paste: its image, how much that was shrunk, its box and its mask."""

    image: Image
    scale: float  # kept pixels per pixel of the mask
    box: Box
    rle: RLE


def place_cutout(
    cutout: Cutout, onto: Crop, crop: CropConfig, random: np.random.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Bring an object to a random place near the box of a crop, its shape kept.

    Args:
        cutout: the object.
        onto: the box and the window it is pasted into.
        crop: size and sampling of a crop.
        random: source of size and place.
        device: where to resample.

    Returns:
        picture: (3, S, S) float in [0, 1].
        cover: (S, S) float in [0, 1], the object's share of each pixel.
    """
    size = random.uniform(*SIZE) * (box_area(onto.box) / box_area(cutout.box)) ** 0.5
    offsets = random.uniform(-OFFSET, OFFSET, 2)
    window = [0.0] * 4
    for axis, offset in enumerate(offsets):
        low, high = onto.box[axis], onto.box[axis + 2]
        centre = (low + high) / 2 + offset * (high - low)
        own = (cutout.box[axis] + cutout.box[axis + 2]) / 2
        for edge in (axis, axis + 2):  # the window's edges, as the cutout's image has them
            window[edge] = own + (onto.window[edge] - centre) / size
    there = Crop(cutout.box, (window[0], window[1], window[2], window[3]))
    shrunk = Crop(scale_box(there.box, cutout.scale), scale_box(there.window, cutout.scale))
    picture, _ = shrunk.apply(cutout.image, crop, device)
    mask, x0, y0 = decode_crop(cutout.rle)
    return picture, there.sample_mask(mask, (x0, y0), crop.size).to(device)


def paste(clean: Tensor, target: Tensor, picture: Tensor, cover: Tensor) -> tuple[Tensor, Tensor]:
    """Lay an object over a crop: in front if half of the other stays in sight, and its extent.

    Args:
        clean: (3, S, S) float in [0, 1].
        target: (S/2, S/2) float in [0, 1], the mask of the crop's own object.
        picture: (3, S, S) float in [0, 1], the other object.
        cover: (S, S) float in [0, 1], its share of each pixel; 0 outside the crop's image.

    Returns:
        The new crop and the mask of what is seen of its own object. The rows and columns that
        hold some of it are the same as before, so its box still is its box.
    """
    seen = target * (1 - F.avg_pool2d(cover[None], 2)[0])
    if not _keeps_its_box(seen, target):
        own = F.interpolate(target[None, None], scale_factor=2, mode="nearest")[0, 0]
        cover, seen = cover * (1 - own), target
    return clean + (picture - clean) * cover, seen


def _keeps_its_box(seen: Tensor, target: Tensor) -> bool:
    """Whether enough of an object is left, and in the same rows and columns."""
    before, after = target >= SOLID, seen >= SOLID
    extents = all(torch.equal(before.any(axis), after.any(axis)) for axis in (0, 1))
    return extents and bool(seen.sum() >= LEAST_SEEN * target.sum())
