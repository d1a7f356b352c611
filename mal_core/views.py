"""One random view of an instance: window, mirror, colours. The n-th view of a run is always one.

Every choice comes from a generator that is seeded by the run's seed and the view's number, so that
a resumed run, or one on more processes, sees the same crops.

Source: Lan et al., CVPR 2023, section 4.1; weights/MODEL.md for the prompt planes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as colours

from mal_core.config import CropConfig, ViewConfig
from mal_core.dataset import jitter_box
from mal_core.geometry import CPU, Box, Crop, check_boxes, scale_box
from mal_core.masks import RLE, decode_crop
from mal_core.paste import Cutout, paste, place_cutout
from mal_core.pool import Item, Pool
from mal_core.prompts import prompt_planes


@dataclass(frozen=True)
class View:
    """One crop as teacher and student see it.

    Attributes:
        clean: (3, S, S) float in [0, 1].
        seen: (3, S, S) float in [0, 1], what the student gets.
        valid: (S, S) float in {0, 1}, one inside the image.
        planes: (4, S, S) float prompt planes of the prompted box.
        box: (S, S) float in {0, 1}, the true box, which bags and mean field go by.
        target: (S/2, S/2) float in [0, 1], the mask's share of each cell; zero without one.
        has_mask: () bool.
        area: () float, of the box, square pixels of the image.
        number: () int64, of the view in its run.
    """

    clean: Tensor
    seen: Tensor
    valid: Tensor
    planes: Tensor
    box: Tensor
    target: Tensor
    has_mask: Tensor
    area: Tensor
    number: Tensor

    def fields(self) -> list[Tensor]:
        """All tensors, in the order of the fields."""
        return [getattr(self, name) for name in self.__dataclass_fields__]

    def to(self, device: torch.device) -> "View":
        """The same view on a device."""
        return View(*(field.to(device) for field in self.fields()))


def stack_views(views: list[View]) -> View:
    """B views as one, each field with a leading dimension B."""
    return View(*(torch.stack(parts) for parts in zip(*(v.fields() for v in views), strict=True)))


def make_view(
    pool: Pool,
    number: int,
    crop: CropConfig,
    config: ViewConfig,
    seed: int,
    device: torch.device = CPU,
) -> View:
    """Cut the n-th view of a run.

    Args:
        pool: what to draw from.
        number: of the view, counted over the whole run from 0.
        crop: size and sampling of a crop.
        config: how views vary.
        seed: of the run.
        device: where pixels are resampled and re-coloured, and where the view ends up.
    """
    random = np.random.default_rng([seed, number])
    item = pool.draw(random)
    record = item.record
    box = check_boxes([item.annotation.box], record.height, record.width)[0]
    prompted = box
    if random.random() >= config.exact_share:
        prompted = jitter_box(box, config.box_jitter, random, record)
    window = _window(prompted, config, random)
    image, scale = pool.picture(item)
    shrunk = Crop(scale_box(prompted, scale), scale_box(window, scale))
    clean, valid = shrunk.apply(image, crop, device)
    rle = None if pool.supervision == "boxes" else item.annotation.rle
    target = _target(rle, Crop(box, window), crop.size // 2).to(device)
    if config.paste_share and bool(target.any()) and random.random() < config.paste_share:
        mate = pool.draw_mate(item, random)
        picture, cover = place_cutout(_cut_out(pool, mate), Crop(box, window), crop, random, device)
        clean, target = paste(clean, target, picture, cover * valid)
    seen = _recolour(clean, config, random)
    planes = prompt_planes(Crop(prompted, window), crop.size)
    view = View(
        clean=clean,
        seen=seen,
        valid=valid,
        planes=planes * (random.random() < config.prompt_share),
        box=prompt_planes(Crop(box, window), crop.size)[0],
        target=target,
        has_mask=torch.tensor(rle is not None),
        area=torch.tensor((box[2] - box[0]) * (box[3] - box[1])),
        number=torch.tensor(number),
    ).to(device)
    return _mirror(view) if random.random() < config.flip_share else view


def _cut_out(pool: Pool, item: Item) -> Cutout:
    """An instance with a mask, ready to be pasted."""
    assert item.annotation.rle is not None
    image, scale = pool.picture(item)
    return Cutout(image, scale, item.annotation.box, item.annotation.rle)


def _target(rle: RLE | None, window: Crop, size: int) -> Tensor:
    """(size, size) float, the mask's share of each cell; zero without a mask."""
    if rle is None:
        return torch.zeros(size, size)
    mask, x0, y0 = decode_crop(rle)
    return window.sample_mask(mask, (x0, y0), size)


def _window(box: Box, config: ViewConfig, random: np.random.Generator) -> Box:
    """Grow the box by a random margin on each side."""
    x0, y0, x1, y1 = box
    left, top, right, bottom = random.uniform(config.margin_low, config.margin_high, 4)
    gate_x, gate_y = random.uniform(0, 1, 2)
    if random.random() < config.gated:
        left, right = left * gate_x, right * (1 - gate_x)
        top, bottom = top * gate_y, bottom * (1 - gate_y)
    w, h = x1 - x0, y1 - y0
    return (x0 - left * w, y0 - top * h, x1 + right * w, y1 + bottom * h)


def _recolour(clean: Tensor, config: ViewConfig, random: np.random.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue; drop the colours; blur."""
    seen = clean
    brightness, contrast, saturation = (
        float(random.uniform(1 - change, 1 + change))
        for change in (config.brightness, config.contrast, config.saturation)
    )
    hue, sigma = float(random.uniform(-config.hue, config.hue)), float(random.uniform(0.1, 2.0))
    change, grey, blur = random.random(3) < (
        config.colour_share,
        config.grey_share,
        config.blur_share,
    )
    if change:
        seen = colours.adjust_brightness(seen, brightness)
        seen = colours.adjust_contrast(seen, contrast)
        seen = colours.adjust_saturation(seen, saturation)
        seen = colours.adjust_hue(seen, hue)
    if grey:
        seen = colours.rgb_to_grayscale(seen, num_output_channels=3)
    if blur:
        reach = 2 * max(1, round(2 * sigma)) + 1
        seen = colours.gaussian_blur(seen, [reach, reach], [sigma, sigma])
    return seen.clamp(0, 1)


def _mirror(view: View) -> View:
    maps = [field.flip(-1) if field.ndim else field for field in view.fields()]
    return View(*maps)
