"""A view is one window of one instance, the same for picture, prompts, box and mask."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mal_core.coco import Dataset
from mal_core.config import CropConfig, ViewConfig
from mal_core.geometry import Crop
from mal_core.pool import Pictures, Pool, Source, decode
from mal_core.views import View, make_view, stack_views

Draw = Callable[[int, int], Dataset]
CROP = CropConfig(size=64)
STILL = ViewConfig(
    margin_low=0.2, margin_high=0.2, box_jitter=0.0, flip_share=0.0, colour_share=0.0,
    grey_share=0.0, blur_share=0.0,
)  # fmt: skip


@pytest.fixture
def pool(draw_dataset: Draw, tmp_path: Path) -> Pool:
    source = Source(draw_dataset(0, 2), tmp_path / "images")
    kept = tmp_path / "kept"
    kept.mkdir()
    assert list(decode([source], kept, 1024)) == [None, None]
    return Pool([source], Pictures(kept), 0, "mixed")


def equal(first: View, second: View) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first.fields(), second.fields(), strict=True))


def test_the_same_number_is_the_same_view_and_another_is_another(pool: Pool) -> None:
    views = [make_view(pool, number, CROP, ViewConfig(), 0) for number in (7, 7, 8)]
    assert equal(views[0], views[1])
    assert not equal(views[0], views[2])
    assert not equal(views[0], make_view(pool, 7, CROP, ViewConfig(), 1))


def test_a_still_view_is_the_crop_that_the_predictor_makes(pool: Pool) -> None:
    view = make_view(pool, 0, CROP, STILL, 0)
    item = pool.draw(np.random.default_rng([0, 0]))
    image, _ = pool.picture(item)
    wanted, valid = Crop.around(item.annotation.box, 0.2).apply(image, CROP)
    torch.testing.assert_close(view.clean, wanted, atol=1e-5, rtol=0)
    assert torch.equal(view.seen, view.clean)
    assert torch.equal(view.valid, valid)
    assert torch.equal(view.planes[0], view.box)


@pytest.mark.parametrize("number", range(6))
def test_the_mask_lies_in_its_box_whatever_the_window(pool: Pool, number: int) -> None:
    view = make_view(pool, number, CROP, replace(ViewConfig(), flip_share=0.5), 3)
    box = torch.nn.functional.max_pool2d(view.box[None], 3, 1, 1)[0][::2, ::2] > 0
    target = view.target > 0.5
    assert target.any()
    assert (target & box).sum() / target.sum() > 0.98
    inside = view.clean[:, (view.box > 0) & (view.valid > 0)]
    assert inside.numel()


@pytest.mark.parametrize("number", range(4))
def test_a_mirrored_view_is_the_view_mirrored(pool: Pool, number: int) -> None:
    left = make_view(pool, number, CROP, STILL, 0)
    right = make_view(pool, number, CROP, replace(STILL, flip_share=1.0), 0)
    for a, b in zip(left.fields(), right.fields(), strict=True):
        assert torch.equal(a.flip(-1) if a.ndim else a, b)


def test_the_teacher_s_crop_keeps_its_colours(pool: Pool) -> None:
    still = make_view(pool, 0, CROP, STILL, 0)
    loud = make_view(pool, 0, CROP, replace(STILL, colour_share=1.0, blur_share=1.0), 0)
    assert torch.equal(loud.clean, still.clean)
    assert (loud.seen - loud.clean).abs().mean() > 0.01
    assert 0 <= loud.seen.min() <= loud.seen.max() <= 1
    grey = make_view(pool, 0, CROP, replace(STILL, grey_share=1.0), 0).seen
    torch.testing.assert_close(grey[0], grey[2])


def test_gated_margins_are_the_paper_s(pool: Pool) -> None:
    """Crop width is 1.0 to 1.6 box sides, 1.3 in the mean."""
    views = [make_view(pool, n, CROP, ViewConfig.paper(), 0) for n in range(300)]
    growth = torch.stack([64 / view.box.amax(0).sum() for view in views])
    assert growth.min() >= 0.98
    assert growth.max() <= 1.68
    assert float(growth.mean()) == pytest.approx(1.3, abs=0.03)


def test_without_masks_the_target_is_empty_and_says_so(pool: Pool) -> None:
    pool.supervision = "boxes"
    view = make_view(pool, 0, CROP, STILL, 0)
    assert not view.has_mask
    assert not view.target.any()


def test_views_stack_field_by_field(pool: Pool) -> None:
    views = [make_view(pool, number, CROP, ViewConfig(), 0) for number in range(3)]
    stacked = stack_views(views)
    assert stacked.clean.shape == (3, 3, 64, 64)
    assert stacked.area.shape == (3,)
    assert stacked.number.tolist() == [0, 1, 2]
    assert torch.equal(stacked.target[1], views[1].target)
