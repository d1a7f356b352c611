"""From COCO records and image files to training examples."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PilImage
from PIL import ImageOps
from torch import Tensor

from mal_core.coco import Annotation, Dataset, ImageRecord
from mal_core.config import CropConfig, FinetuneConfig
from mal_core.errors import BadBox, BadImage
from mal_core.geometry import Box, Crop, Image, check_boxes
from mal_core.masks import decode_crop
from mal_core.model import present
from mal_core.prompts import prompt_planes


@dataclass(frozen=True)
class Example:
    """One view of one instance, ready for the network.

    Attributes:
        crop: (3, S, S) float, normalised.
        planes: (4, S, S) float prompt planes.
        target: (S/2, S/2) float in [0, 1], the mask's share of each cell.
    """

    crop: Tensor
    planes: Tensor
    target: Tensor


def load_image(folder: Path, record: ImageRecord) -> Image:
    """Decode one image of a data set, upright.

    Args:
        folder: where file names start; a name cannot leave it.
        record: the image's entry, whose size must be that of the upright image.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        BadImage: the file is missing, damaged, outside the folder, or of another size.
    """
    path = folder / record.file_name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BadImage(f"{record.file_name} leaves the image folder")
    image = read_image(path)
    if image.shape[:2] != (record.height, record.width):
        wanted, got = f"{record.width}x{record.height}", f"{image.shape[1]}x{image.shape[0]}"
        raise BadImage(f"{record.file_name} is {got}, but the data set says {wanted}")
    return image


def read_image(path: Path) -> Image:
    """Decode an image file upright, as (H, W, 3) uint8 RGB.

    Raises:
        BadImage: the file is missing, not an image, or damaged.
    """
    try:
        with PilImage.open(path, formats=["JPEG", "PNG", "WEBP", "BMP", "TIFF"]) as file:
            return np.array(ImageOps.exif_transpose(file).convert("RGB"))
    except (OSError, SyntaxError, ValueError, PilImage.DecompressionBombError) as error:
        raise BadImage(f"cannot read {path.name} as an image: {error}") from error


def labelled(dataset: Dataset) -> list[tuple[ImageRecord, list[Annotation]]]:
    """Each image that has masks of single objects, with those annotations."""
    pairs = [
        (image, [a for a in annotations if a.rle is not None and a.rle.area and not a.iscrowd])
        for image, annotations in dataset.by_image()
    ]
    return [(image, annotations) for image, annotations in pairs if annotations]


def training_examples(
    dataset: Dataset, folder: Path, crop: CropConfig, config: FinetuneConfig
) -> Iterator[Example]:
    """Yield `config.views` views of each instance: jittered, every second one mirrored."""
    random = np.random.default_rng(config.seed)
    for record, annotations in labelled(dataset):
        image = load_image(folder, record)
        for annotation in annotations:
            for view in range(config.views):
                box = jitter_box(annotation.box, config.box_jitter, random, record)
                spread = random.uniform(-config.margin_spread, config.margin_spread)
                window = Crop.around(box, max(0.0, crop.margin + spread))
                example = make_example(image, annotation, window, crop)
                yield mirror(example) if view % 2 else example


def exact_examples(dataset: Dataset, folder: Path, crop: CropConfig) -> Iterator[Example]:
    """Yield each instance once, as the predictor would see it."""
    for record, annotations in labelled(dataset):
        image = load_image(folder, record)
        for annotation in annotations:
            box = check_boxes([annotation.box], record.height, record.width)[0]
            yield make_example(image, annotation, Crop.around(box, crop.margin), crop)


def make_example(image: Image, annotation: Annotation, window: Crop, crop: CropConfig) -> Example:
    """Cut one instance out of its image."""
    assert annotation.rle is not None
    pixels, valid = window.apply(image, crop)
    mask, x0, y0 = decode_crop(annotation.rle)
    target = window.sample_mask(mask, (x0, y0), crop.size // 2)
    picture = present(pixels[None], valid[None], crop)[0]
    return Example(picture, prompt_planes(window, crop.size), target)


def mirror(example: Example) -> Example:
    """Flip left and right."""
    return Example(example.crop.flip(-1), example.planes.flip(-1), example.target.flip(-1))


def jitter_box(box: Box, deviation: float, random: np.random.Generator, image: ImageRecord) -> Box:
    """Move each side by a normal share of the box's length, as a hurried hand would.

    Args:
        box: x0 y0 x1 y1, pixels.
        deviation: standard deviation, as a fraction of the side's length.
        random: source of the draw.
        image: the box is clipped to it; a draw that leaves no pixel gives the box itself.
    """
    x0, y0, x1, y1 = box
    sides = np.array([x1 - x0, y1 - y0, x1 - x0, y1 - y0])
    moved = np.array(box) + random.normal(0, deviation, 4) * sides
    try:
        return check_boxes([moved], image.height, image.width)[0]
    except BadBox:
        return check_boxes([box], image.height, image.width)[0]


def stack(examples: list[Example]) -> tuple[Tensor, Tensor, Tensor]:
    """(B, 3, S, S), (B, 4, S, S) and (B, S/2, S/2) of B examples."""
    return (
        torch.stack([e.crop for e in examples]),
        torch.stack([e.planes for e in examples]),
        torch.stack([e.target for e in examples]),
    )
