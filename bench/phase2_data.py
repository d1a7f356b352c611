"""Phase 2's data: the same boxes with three kinds of masks, and crops to train on.

The kinds are a person's masks, the masks MAL makes of the same boxes, and the filled boxes. Image,
boxes and categories of an instance are the same in all three, so that only masks can differ.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import orjson
import torch
from torch import Tensor
from torch.nn import functional as F

from mal_core.coco import Annotation, Dataset, ImageRecord
from mal_core.dataset import labelled, load_image
from mal_core.errors import BadDataset
from mal_core.files import write_whole
from mal_core.geometry import box_to_rect, check_boxes
from mal_core.masks import RLE, Mask, decode, decode_crop, encode, iou
from mal_core.predictor import Predictor

KINDS = ("human", "mal", "box")
SMALLEST = 3.0  # a box that a crop cuts to less than this on a side is not taught, pixels


@dataclass(frozen=True)
class Sample:
    """An image and its instances, at the size the network sees.

    Attributes:
        image: (3, H, W) uint8.
        boxes: (N, 4) float32 x0 y0 x1 y1, pixels of `image`, half-open.
        labels: (N,) int64, 1 for the first category; 0 is the network's background.
        masks: N of (mask (h, w), x0, y0), each known on its own rectangle only.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor
    masks: Sequence[tuple[Mask, int, int]]


def draw_images(data: Dataset, count: int | None, seed: int = 0) -> Dataset:
    """Keep images that have masks, `count` of them drawn at random, and their single objects."""
    pairs = labelled(data)
    if count is not None and count < len(pairs):
        chosen = np.random.default_rng(seed).choice(len(pairs), count, replace=False)
        pairs = [pairs[index] for index in sorted(chosen)]
    images = [image for image, _ in pairs]
    return replace(data, images=images, annotations=[a for _, part in pairs for a in part])


def label_images(
    predictor: Predictor, data: Dataset, images: Path, folder: Path
) -> Iterator[ImageRecord]:
    """Write MAL's masks of every box to `folder`, a file an image; files that exist are kept.

    Yields:
        Each image, when its masks are on the disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for record, annotations in data.by_image():
        path = folder / f"{record.id}.json"
        if not path.exists():
            image = load_image(images, record)
            masks = predictor.predict(image, [a.box for a in annotations]).masks()
            found = {str(a.id): rle.counts for a, rle in zip(annotations, masks, strict=True)}
            write_whole(path, orjson.dumps(found))
        yield record


def read_labels(data: Dataset, folder: Path) -> Dataset:
    """The data set with the masks that `label_images` wrote, boxes as they were.

    Raises:
        BadDataset: an image has no file there, or its file is not about its instances.
    """
    changed: list[Annotation] = []
    for record, annotations in data.by_image():
        try:
            found = orjson.loads((folder / f"{record.id}.json").read_bytes())
            changed += [replace(a, rle=_rle(found[str(a.id)], record)) for a in annotations]
        except (OSError, KeyError, orjson.JSONDecodeError) as error:
            raise BadDataset([f"no whole labels of image {record.id}: {error}"]) from error
    return replace(data, annotations=changed)


def fill_boxes(data: Dataset) -> Dataset:
    """The data set with each mask replaced by the pixels its box touches."""
    changed = []
    for record, annotations in data.by_image():
        for annotation in annotations:
            x0, y0, x1, y1 = box_to_rect(annotation.box, record.height, record.width)
            full = np.ones((y1 - y0, x1 - x0), np.bool_)
            rle = encode(full, x0=x0, y0=y0, height=record.height, width=record.width)
            changed.append(replace(annotation, rle=rle))
    return replace(data, annotations=changed)


def agreement(truth: Dataset, labels: Dataset) -> float:
    """Mean IoU of two data sets' masks, instance by instance."""
    others = {annotation.id: annotation.rle for annotation in labels.annotations}
    found = []
    for annotation in truth.annotations:
        other = others[annotation.id]
        assert annotation.rle is not None
        assert other is not None
        found.append(iou(annotation.rle, other))
    return float(np.mean(found))


def category_numbers(data: Dataset) -> dict[int, int]:
    """From a file's category ids to the network's labels, which start at 1."""
    return {category.id: index for index, category in enumerate(data.categories, start=1)}


def load_samples(data: Dataset, images: Path, long_side: int) -> list[Sample]:
    """Decode every image once, shrunk so that its longer side is at most `long_side` pixels."""
    numbers = category_numbers(data)
    return [
        to_sample(load_image(images, record), annotations, numbers, long_side)
        for record, annotations in data.by_image()
    ]


def shrink(image: np.ndarray, long_side: int) -> tuple[Tensor, float]:
    """(3, h, w) uint8 of an (H, W, 3) image, and h / H; smaller images stay as they are."""
    pixels = torch.from_numpy(image).permute(2, 0, 1).contiguous()
    scale = min(1.0, long_side / max(pixels.shape[1:]))
    if scale == 1.0:
        return pixels, scale
    size = [max(1, round(side * scale)) for side in pixels.shape[1:]]
    small = F.interpolate(pixels[None], size, mode="bilinear", antialias=True)[0]
    return small, scale


def to_sample(
    image: np.ndarray, annotations: Sequence[Annotation], numbers: dict[int, int], long_side: int
) -> Sample:
    """One image and its instances, shrunk together."""
    pixels, scale = shrink(image, long_side)
    height, width = pixels.shape[1:]
    boxes = check_boxes([a.box for a in annotations], *image.shape[:2])
    masks = []
    for annotation in annotations:
        assert annotation.rle is not None
        masks.append(_shrink_mask(annotation.rle, height, width))
    labels = torch.tensor([numbers[a.category_id] for a in annotations])
    return Sample(pixels, torch.tensor(boxes, dtype=torch.float32) * scale, labels, masks)


def draw_crop(
    sample: Sample, side: int, random: np.random.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """A random window of an image, mirrored half of the time, as torchvision's detectors want it.

    Args:
        sample: the image.
        side: of the window, pixels; the image's own side where that is shorter.
        random: source of the draw; masks never change what is drawn.

    Returns:
        (3, h, w) float in [0, 1], and the target: boxes (N, 4) float, labels (N,) int64,
        masks (N, h, w) uint8. An instance is in it if its box is.
    """
    height, width = (min(side, length) for length in sample.image.shape[1:])
    y0 = int(random.integers(sample.image.shape[1] - height + 1))
    x0 = int(random.integers(sample.image.shape[2] - width + 1))
    low, high = torch.tensor([x0, y0] * 2), torch.tensor([x0 + width, y0 + height] * 2)
    boxes = torch.minimum(torch.maximum(sample.boxes, low), high) - low  # (N, 4)
    keep = ((boxes[:, 2:] - boxes[:, :2]) >= SMALLEST).all(1)
    chosen: list[int] = keep.nonzero()[:, 0].tolist()
    masks = torch.zeros(len(chosen), height, width, dtype=torch.uint8)
    for place, index in zip(masks, chosen, strict=True):
        _paste(place, sample.masks[index], x0, y0)
    image = sample.image[:, y0 : y0 + height, x0 : x0 + width].float() / 255
    boxes = boxes[keep]
    if random.random() < 0.5:
        image, masks = image.flip(-1), masks.flip(-1)
        boxes = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    return image, {"boxes": boxes, "labels": sample.labels[keep], "masks": masks}


def _rle(counts: str, record: ImageRecord) -> RLE:
    return RLE.from_coco({"size": [record.height, record.width], "counts": counts})


def _shrink_mask(rle: RLE, height: int, width: int) -> tuple[Mask, int, int]:
    """A mask at another size, a pixel in it if half of what it covers was."""
    if (rle.height, rle.width) == (height, width):
        return decode_crop(rle)
    dense = torch.from_numpy(np.ascontiguousarray(decode(rle))).float()[None, None]
    small = F.interpolate(dense, (height, width), mode="bilinear", antialias=True)[0, 0] >= 0.5
    return decode_crop(encode(small.numpy(), height=height, width=width))


def _paste(place: Tensor, part: tuple[Mask, int, int], x0: int, y0: int) -> None:
    """Put what a window at (x0, y0) sees of a mask onto the window (h, w), in place."""
    mask, left, top = part
    height, width = place.shape
    x, y = max(left, x0), max(top, y0)
    right, bottom = min(left + mask.shape[1], x0 + width), min(top + mask.shape[0], y0 + height)
    if right > x and bottom > y:
        seen = np.ascontiguousarray(mask[y - top : bottom - top, x - left : right - left])
        place[y - y0 : bottom - y0, x - x0 : right - x0] = torch.from_numpy(seen)
