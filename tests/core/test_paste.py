"""Copy-paste: the pasted object is where it says, and the box of the other one stays true."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mal_core.coco import Dataset
from mal_core.config import CropConfig, ViewConfig
from mal_core.geometry import CPU, Crop
from mal_core.masks import encode
from mal_core.paste import Cutout, paste, place_cutout
from mal_core.pool import Pictures, Pool, Source, decode
from mal_core.views import make_view

CROP = CropConfig(size=64)
PASTED = ViewConfig(
    margin_low=0.3, margin_high=0.3, box_jitter=0.0, flip_share=0.0, colour_share=0.0,
    grey_share=0.0, blur_share=0.0, paste_share=1.0,
)  # fmt: skip


def square(size: int, y0: int, y1: int, x0: int, x1: int) -> Tensor:
    mask = torch.zeros(size, size)
    mask[y0:y1, x0:x1] = 1
    return mask


@pytest.fixture
def pool(draw_dataset: Callable[[int, int], Dataset], tmp_path: Path) -> Pool:
    source = Source(draw_dataset(0, 3), tmp_path / "images")
    kept = tmp_path / "kept"
    kept.mkdir()
    assert list(decode([source], kept, 1024)) == [None] * 3
    return Pool([source], Pictures(kept), 0, "mixed")


@pytest.fixture
def disc() -> Cutout:
    down, across = np.mgrid[:40, :60]
    mask = ((down - 20) / 10) ** 2 + ((across - 30) / 20) ** 2 <= 1
    image = np.zeros((40, 60, 3), np.uint8)
    image[mask] = 255
    return Cutout(image, 1.0, (10.0, 10.0, 50.0, 30.0), encode(mask, height=40, width=60))


@pytest.mark.parametrize("seed", range(8))
def test_an_object_is_cut_out_along_its_mask_wherever_it_lands(disc: Cutout, seed: int) -> None:
    onto = Crop((100, 100, 140, 180), (80, 60, 160, 220))
    picture, cover = place_cutout(disc, onto, CROP, np.random.default_rng(seed), CPU)
    assert picture.shape == (3, 64, 64)
    assert 0 <= float(cover.min()) <= float(cover.max()) <= 1
    assert cover.any()
    sharp = (cover == 0) | (cover == 1)  # both maps agree away from the seam
    assert float((picture[0] - cover)[sharp].abs().mean()) < 0.02


def test_an_object_keeps_its_shape_in_the_image_it_is_pasted_into(disc: Cutout) -> None:
    """The window is 80 x 160 pixels on 64 x 64 cells: a disc of 40 x 20 becomes one of 4 : 1."""
    onto = Crop((100, 100, 140, 180), (80, 60, 160, 220))
    ratios = []
    for seed in range(40):
        _, cover = place_cutout(disc, onto, CROP, np.random.default_rng(seed), CPU)
        solid = cover > 0.5
        edges = (solid[0], solid[-1], solid[:, 0], solid[:, -1])
        if not any(bool(edge.any()) for edge in edges):
            ratios.append(float(solid.any(0).sum() / solid.any(1).sum()))
    assert len(ratios) > 10
    assert float(np.mean(ratios)) == pytest.approx(4.0, rel=0.1)


def test_in_front_it_hides_and_the_mask_is_what_is_still_seen() -> None:
    target, cover = square(8, 1, 7, 1, 7), square(16, 6, 10, 6, 10)
    crop, seen = paste(torch.zeros(3, 16, 16), target, torch.ones(3, 16, 16), cover)
    assert torch.equal(crop, cover.expand(3, 16, 16))
    assert torch.equal(seen, target - square(8, 3, 5, 3, 5))


@pytest.mark.parametrize(
    "cover",
    [
        pytest.param(square(16, 0, 16, 0, 6), id="it-would-move-a-side-of-the-box"),
        pytest.param(square(16, 4, 12, 3, 13), id="it-would-hide-more-than-half"),
        pytest.param(square(16, 0, 16, 0, 16), id="it-would-hide-all"),
    ],
)
def test_otherwise_it_lies_behind_and_the_mask_stays(cover: Tensor) -> None:
    target = square(8, 1, 7, 1, 7)
    crop, seen = paste(torch.zeros(3, 16, 16), target, torch.ones(3, 16, 16), cover)
    own = target.repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.equal(seen, target)
    assert torch.equal(crop, (cover * (1 - own)).expand(3, 16, 16))


@pytest.mark.parametrize("number", range(12))
def test_a_view_s_box_still_is_the_box_of_its_mask(pool: Pool, number: int) -> None:
    before = make_view(pool, number, CROP, replace(PASTED, paste_share=0.0), 0)
    after = make_view(pool, number, CROP, PASTED, 0)
    assert torch.equal(after.box, before.box)
    for axis in (0, 1):
        solid = [(view.target >= 0.5).any(axis) for view in (before, after)]
        assert torch.equal(*solid)
    assert not torch.equal(after.clean, before.clean)
    changed = (after.clean != before.clean).any(0)
    assert not bool((changed & (after.valid == 0)).any())


def test_what_is_pasted_is_of_the_same_kind(pool: Pool) -> None:
    random = np.random.default_rng(0)
    for item in pool.items:
        drawn = {pool.draw_mate(item, random).annotation.category_id for _ in range(20)}
        assert drawn == {item.annotation.category_id}


def test_without_masks_nothing_is_pasted(pool: Pool) -> None:
    pool.supervision = "boxes"
    still = replace(PASTED, paste_share=0.0)
    views = [make_view(pool, 1, CROP, config, 0) for config in (PASTED, still)]
    assert torch.equal(views[0].clean, views[1].clean)
