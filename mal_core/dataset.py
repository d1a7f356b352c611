"""From COCO records and image files to training examples."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from mal_core.coco import Annotation, Dataset, ImageRecord
from mal_core.config import CropConfig
from mal_core.decode import to_pixels
from mal_core.errors import BadBox, BadDataset, BadImage, BadMask
from mal_core.finetune_config import FinetuneConfig
from mal_core.geometry import Box, Crop, Image, check_boxes
from mal_core.losses import BoxBatch
from mal_core.masks import RLE, decode_crop
from mal_core.model import present
from mal_core.prompts import prompt_planes

TOUCHED, VOUCHED = "mal_touched", "mal_vouched"  # our fields of an annotation
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class Example:
    """One view of one instance, ready for the network; a batch has a leading dimension B.

    Attributes:
        crop: (3, S, S) float, normalised.
        planes: (4, S, S) float prompt planes.
        target: (S/2, S/2) float in [0, 1], the mask's share of each cell; zero without a mask.
        weight: (S/2, S/2) float, 0 or more, what each cell of the target counts.
        grid: (5, S/2, S/2) float, `BoxBatch` of the crop: colours, box and validity.
        has_mask: () bool.
    """

    crop: Tensor
    planes: Tensor
    target: Tensor
    weight: Tensor
    grid: Tensor
    has_mask: Tensor


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
    check_size(image, record)
    return image


def check_size(image: Image, record: ImageRecord) -> None:
    """Raise BadImage if an upright image is not of the size that its data set says."""
    if image.shape[:2] != (record.height, record.width):
        wanted, got = f"{record.width}x{record.height}", f"{image.shape[1]}x{image.shape[0]}"
        raise BadImage(f"{record.file_name} is {got}, but the data set says {wanted}")


def read_image(path: Path) -> Image:
    """Decode an image file upright, as (H, W, 3) uint8 RGB.

    Raises:
        BadImage: the file is missing, not an image, or damaged.
    """
    try:
        return to_pixels(path)
    except BadImage as error:
        raise BadImage(f"cannot read {path.name} as an image: {error}") from error


def labelled(dataset: Dataset) -> list[tuple[ImageRecord, list[Annotation]]]:
    """Each image that has masks of single objects, with those annotations."""
    pairs = [
        (image, [a for a in annotations if a.rle is not None and a.rle.area and not a.iscrowd])
        for image, annotations in dataset.by_image()
    ]
    return [(image, annotations) for image, annotations in pairs if annotations]


def boxed(dataset: Dataset) -> list[tuple[ImageRecord, list[Annotation]]]:
    """Each image that has single objects, with or without a mask, with those annotations."""
    pairs = [
        (image, [a for a in annotations if not a.iscrowd and (a.rle is None or a.rle.area)])
        for image, annotations in dataset.by_image()
    ]
    return [(image, annotations) for image, annotations in pairs if annotations]


def touched(annotation: Annotation) -> RLE | None:
    """The pixels of an annotation that a person's strokes changed; None if that is not known.

    Raises:
        BadDataset: one of our two fields is not what it must be.
    """
    value, vouched = annotation.extra.get(TOUCHED), annotation.extra.get(VOUCHED, True)
    try:
        rle = None if value is None else RLE.from_coco(value)
    except BadMask as error:
        raise BadDataset([f"annotation {annotation.id}: {TOUCHED}: {error}"]) from error
    if not isinstance(vouched, bool):
        raise BadDataset([f"annotation {annotation.id}: {VOUCHED} must be true or false"])
    sizes = {(mask.height, mask.width) for mask in (rle, annotation.rle) if mask is not None}
    if len(sizes) > 1:
        raise BadDataset([f"annotation {annotation.id}: {TOUCHED} is not of its image's size"])
    return rle


def training_examples(
    dataset: Dataset, folder: Path, crop: CropConfig, config: FinetuneConfig
) -> Iterator[Example]:
    """Yield `config.views` views of each instance: jittered, every second one mirrored."""
    random = np.random.default_rng(config.seed)
    for record, annotations in boxed(dataset):
        image = load_image(folder, record)
        for annotation in annotations:
            for view in range(config.views):
                box = jitter_box(annotation.box, config.box_jitter, random, record)
                spread = random.uniform(-config.margin_spread, config.margin_spread)
                window = Crop.around(box, max(0.0, crop.margin + spread))
                example = make_example(image, annotation, window, crop)
                weight = cell_weights(annotation, window, example.target, config)
                example = replace(example, weight=weight)
                yield mirror(example) if view % 2 else example


def exact_examples(dataset: Dataset, folder: Path, crop: CropConfig) -> Iterator[Example]:
    """Yield each instance with a mask once, as the predictor would see it."""
    for record, annotations in labelled(dataset):
        image = load_image(folder, record)
        for annotation in annotations:
            box = check_boxes([annotation.box], record.height, record.width)[0]
            yield make_example(image, annotation, Crop.around(box, crop.margin), crop)


def pictures_of(folder: Path) -> list[Path]:
    """The image files of a folder, in the order of their names.

    Raises:
        OSError: there is no such folder.
    """
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def chance_examples(
    pictures: Sequence[Path], count: int, crop: CropConfig, seed: int
) -> Iterator[Example]:
    """Yield crops of boxes drawn anywhere, of all sizes, evenly from some image files."""
    random = np.random.default_rng(seed)
    for number, path in enumerate(pictures):
        mine = len(range(number, count, len(pictures)))
        image = read_image(path) if mine else np.zeros((1, 1, 3), np.uint8)
        height, width = image.shape[:2]
        for _ in range(mine):
            sides = random.uniform(0.15, 0.7, 2) * (width, height)
            x0, y0 = random.uniform(0, 1, 2) * ((width, height) - sides)
            box = (float(x0), float(y0), float(x0 + sides[0]), float(y0 + sides[1]))
            nobody = Annotation(id=0, image_id=0, category_id=0, box=box, rle=None)
            yield make_example(image, nobody, Crop.around(box, crop.margin), crop)


def make_example(image: Image, annotation: Annotation, window: Crop, crop: CropConfig) -> Example:
    """Cut one instance out of its image; all cells count the same."""
    pixels, valid = window.apply(image, crop)
    target = torch.zeros(crop.size // 2, crop.size // 2)
    if annotation.rle is not None:
        mask, x0, y0 = decode_crop(annotation.rle)
        target = window.sample_mask(mask, (x0, y0), crop.size // 2)
    box = prompt_planes(Crop(annotation.box, window.window), crop.size)[0]
    grid = BoxBatch.from_crops(pixels[None], box[None], valid[None], stride=2)
    return Example(
        crop=present(pixels[None], valid[None], crop)[0],
        planes=prompt_planes(window, crop.size),
        target=target,
        weight=torch.ones_like(target),
        grid=torch.cat([grid.image[0], grid.box, grid.valid]),
        has_mask=torch.tensor(annotation.rle is not None),
    )


def cell_weights(
    annotation: Annotation, window: Crop, target: Tensor, config: FinetuneConfig
) -> Tensor:
    """What each cell of a target counts: more where touched, nothing where nobody looked.

    A mask that was corrected but never accepted is sure where the person's strokes were. Elsewhere
    its edge is the model's own guess, and is left out; what lies well inside or outside is not.

    Args:
        annotation: its own field `mal_touched` holds the pixels that strokes changed, as run-length
            code, and `mal_vouched` whether the person stands by the whole mask (the default).
        window: of the crop.
        target: (s, s) float in [0, 1], the mask on the crop.
        config: the weight of touched pixels, and the width of the band.

    Returns:
        (s, s) float.
    """
    base = torch.ones_like(target)
    if not annotation.extra.get(VOUCHED, True):
        base[edge_distance(target > 0.5) <= config.unseen_band] = 0
    strokes = touched(annotation)
    if strokes is None:
        return base
    mask, x0, y0 = decode_crop(strokes)
    share = window.sample_mask(mask, (x0, y0), len(target))
    return torch.lerp(base, torch.full_like(base, config.touched_weight), share)


def edge_distance(mask: Tensor) -> Tensor:
    """How far the centre of each cell is from the mask's edge, in cells.

    Args:
        mask: (h, w) bool.

    Returns:
        (h, w) float, 0.5 beside a straight edge; infinite where there is none.
    """
    inside = mask.numpy()
    if inside.all() or not inside.any():
        return torch.full(mask.shape, torch.inf)
    # To the nearest cell of the other kind; the edge lies half a cell before it.
    distance = distance_transform_edt(inside) + distance_transform_edt(~inside) - 0.5
    return torch.from_numpy(distance)


def mirror(example: Example) -> Example:
    """Flip left and right."""
    maps = {f.name: getattr(example, f.name) for f in fields(example) if f.name != "has_mask"}
    return replace(example, **{name: value.flip(-1) for name, value in maps.items()})


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


def stack(examples: list[Example]) -> Example:
    """B examples as one, each field with a leading dimension B."""
    names = [field.name for field in fields(Example)]
    return Example(*(torch.stack([getattr(e, name) for e in examples]) for name in names))
