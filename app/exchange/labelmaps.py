"""Masks as one picture an image: each pixel holds the value of the one instance it belongs to."""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from scipy import ndimage

from mal_core.errors import InputError
from mal_core.masks import RLE, decode_crop, encode

LabelMap = NDArray[np.unsignedinteger[Any]]  # (H, W) of as few bits as do; 0 is background
PIXELS_MAX = 2**27  # the largest image that is taken, whatever the settings allow, has no more
_DENSE = 2**16  # up to here, values may be counted through
_COLOURS = "RGB"  # panoptic: red + 256 green + 65,536 blue
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


def paint(masks: Sequence[RLE], values: Sequence[int], height: int, width: int) -> LabelMap:
    """Paint masks in one picture, large ones first, so that small ones stay visible.

    Returns:
        (height, width), each pixel the value of the smallest mask over it, else 0.
    """
    painted = np.zeros((height, width), np.min_scalar_type(max(values, default=0)))
    order = sorted(range(len(masks)), key=lambda place: -masks[place].area)
    for place in order:
        mask, x0, y0 = decode_crop(masks[place])
        rows, columns = mask.shape
        painted[y0 : y0 + rows, x0 : x0 + columns][mask] = values[place]
    return painted


def visible(masks: Sequence[RLE], height: int, width: int) -> list[RLE | None]:
    """What each mask shows of itself in a label map; None where smaller ones hide it all."""
    shown = to_masks(paint(masks, range(1, len(masks) + 1), height, width))
    return [shown.get(value) for value in range(1, len(masks) + 1)]


def to_masks(painted: LabelMap) -> dict[int, RLE]:
    """Each value of a label map but 0, with its mask."""
    height, width = painted.shape
    values: NDArray[Any] = np.unique(painted)
    if values[-1] > _DENSE:  # such as those of panoptic: number them anew, from 1
        values = values[values > 0].astype(np.int64)
        painted = (np.searchsorted(values, painted) + 1).astype(np.uint32) * (painted > 0)
    else:
        values = np.arange(1, int(values[-1]) + 1, dtype=np.int64)
    found: dict[int, RLE] = {}
    for place, window in enumerate(ndimage.find_objects(painted), start=1):
        if window is not None:
            rows, columns = window
            crop = painted[window] == place
            corner = {"x0": columns.start, "y0": rows.start}
            found[int(values[place - 1])] = encode(crop, **corner, height=height, width=width)
    return found


def to_png(painted: LabelMap) -> bytes:
    """A grey PNG: 8 bits where the values fit, else 16."""
    top = int(painted.max(initial=0))
    return _save(Image.fromarray(painted.astype(np.uint8 if top < 2**8 else np.uint16)))


def to_png_16(painted: LabelMap) -> bytes:
    """A grey PNG of 16 bits."""
    return _save(Image.fromarray(painted.astype(np.uint16)))


def to_colour_png(painted: LabelMap) -> bytes:
    """An RGB PNG: red + 256 green + 65,536 blue is the value."""
    wide = painted.astype(np.uint32)
    parts = [(wide >> shift).astype(np.uint8) for shift in (0, 8, 16)]
    return _save(Image.fromarray(np.stack(parts, axis=2)))


def to_palette_png(painted: LabelMap, colours: Mapping[int, tuple[int, int, int]]) -> bytes:
    """A PNG of 8 bits with a palette; black where a value has no colour."""
    image = Image.fromarray(painted.astype(np.uint8))
    palette = [channel for value in range(256) for channel in colours.get(value, (0, 0, 0))]
    image.putpalette(palette)
    return _save(image)


def load_map(source: Path | io.BytesIO, width: int, height: int) -> LabelMap:
    """Read a label map of an image of this size.

    Returns:
        (height, width): grey or palette values, or those of an RGB picture as in panoptic.

    Raises:
        InputError: it is not a PNG, is damaged, or has another size; told before it is unpacked.
    """
    try:
        with PngImageFile(source) as file:
            _check(file, width, height)
            file.load()
            pixels = np.asarray(file)
    except _BROKEN as error:
        raise InputError(f"is not a whole PNG ({error!s:.80})") from error
    if pixels.ndim == 2:
        return pixels.astype(np.uint16 if file.mode.startswith("I") else np.uint8)
    red, green, blue = (pixels[:, :, channel].astype(np.uint32) for channel in range(3))
    return red + 256 * green + 65536 * blue


def _check(file: ImageFile, width: int, height: int) -> None:
    if file.size != (width, height):
        size = f"{file.size[0]} x {file.size[1]}"
        raise InputError(f"has {size} pixels, its image {width} x {height}")
    if width * height > PIXELS_MAX:
        raise InputError(f"has more than {PIXELS_MAX:,} pixels")
    if file.mode not in ("1", "L", "P", "I", "I;16", _COLOURS):
        raise InputError(f"must be grey, palette or RGB, got mode {file.mode}")


def _save(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
