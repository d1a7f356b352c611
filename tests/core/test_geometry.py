"""Crops equal weights/MODEL.md written out as loops, and lead back to where they came from."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional as F

from mal_core.config import CropConfig
from mal_core.errors import BadBox
from mal_core.geometry import Box, Crop, Image, box_to_rect, check_boxes

Plane = NDArray[np.float64]
WINDOWS = [
    pytest.param((5.0, 4.0, 21.0, 15.0), id="inside"),
    pytest.param((-6.5, 4.0, 12.0, 15.0), id="leaves-left"),
    pytest.param((5.0, -7.25, 21.0, 9.0), id="leaves-top"),
    pytest.param((20.0, 4.0, 37.5, 15.0), id="leaves-right"),
    pytest.param((5.0, 10.0, 21.0, 33.0), id="leaves-bottom"),
    pytest.param((-9.0, -8.0, 40.0, 31.0), id="leaves-everywhere"),
    pytest.param((7.3, 5.9, 8.1, 6.2), id="less-than-a-pixel"),
]


def picture(height: int = 20, width: int = 30, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def window_crop(window: Box) -> Crop:
    return Crop(window, window)


def sample_places(start: float, stop: float, count: int, length: int) -> list[float]:
    """MODEL.md section 1: sample points of one axis, clamped to the outermost pixel centres."""
    places = [start + (stop - start) * (k + 0.5) / count for k in range(count)]
    return [min(max(place, 0.5), length - 0.5) for place in places]


def bilinear(values: Plane, x: float, y: float) -> Plane:
    """Values between pixel centres, at a place that lies between existing ones."""
    left, top = min(int(x - 0.5), values.shape[1] - 1), min(int(y - 0.5), values.shape[0] - 1)
    right, low = min(left + 1, values.shape[1] - 1), min(top + 1, values.shape[0] - 1)
    a, b = x - 0.5 - left, y - 0.5 - top
    upper: Plane = (1 - a) * values[top, left] + a * values[top, right]
    lower: Plane = (1 - a) * values[low, left] + a * values[low, right]
    return (1 - b) * upper + b * lower


def brute_force_crop(image: Image, window: Box, size: int) -> Plane:
    """(size, size, 3) in [0, 1]: 2 x 2 samples a crop pixel, averaged."""
    height, width = image.shape[:2]
    xs = sample_places(window[0], window[2], 2 * size, width)
    ys = sample_places(window[1], window[3], 2 * size, height)
    values = image.astype(np.float64)
    fine = np.array([[bilinear(values, x, y) for x in xs] for y in ys])
    return fine.reshape(size, 2, size, 2, 3).mean((1, 3)) / 255


@pytest.mark.parametrize(
    "boxes",
    [
        pytest.param([[0, 0, math.nan, 5]], id="nan"),
        pytest.param([[0, 0, math.inf, 5]], id="infinite"),
        pytest.param([[0, 0, 10**400, 5]], id="beyond-float"),
        pytest.param([[5, 0, 2, 5]], id="x-not-ordered"),
        pytest.param([[0, 5, 5, 2]], id="y-not-ordered"),
        pytest.param([[3, 3, 3, 9]], id="no-width"),
        pytest.param([[3, 3, 9, 3.0005]], id="almost-no-height"),
        pytest.param([[-9, 0, -2, 5]], id="left-of-the-image"),
        pytest.param([[0, 20, 5, 25]], id="below-the-image"),
        pytest.param([[0, 0, 5, 5], [40, 0, 50, 5]], id="one-of-two"),
        pytest.param([0, 0, 5, 5], id="not-in-a-list"),
        pytest.param([[0, 0, 5]], id="three-numbers"),
        pytest.param([[0, 0, 5, 5], [0, 0, 5]], id="ragged"),
        pytest.param(np.zeros((0, 3)), id="none-of-three-numbers"),
        pytest.param([["a", "b", "c", "d"]], id="text"),
        pytest.param([[None, 0, 5, 5]], id="a-missing-number"),
        pytest.param([[1j, 0, 5, 5]], id="complex"),
        pytest.param("nonsense", id="a-word"),
        pytest.param(None, id="nothing"),
        pytest.param(7, id="a-number"),
        pytest.param({"x": 1}, id="an-object"),
    ],
)
def test_boxes_that_hold_no_pixel_are_refused(boxes: object) -> None:
    with pytest.raises(BadBox):
        check_boxes(boxes, 20, 30)


def test_boxes_are_clipped_to_the_image() -> None:
    assert check_boxes([[-5, -5, 99, 99], [2.5, 3, 4, 8]], 20, 30) == [
        (0, 0, 30, 20),
        (2.5, 3, 4, 8),
    ]


@pytest.mark.parametrize("none", [[], (), np.zeros((0, 4))], ids=["list", "tuple", "array"])
def test_no_boxes_are_no_boxes(none: object) -> None:
    assert check_boxes(none, 20, 30) == []


def test_a_box_touches_every_pixel_it_overlaps() -> None:
    assert box_to_rect((1.2, 3.0, 4.1, 5.0), 20, 30) == (1, 3, 5, 5)
    assert box_to_rect((-3.0, -1.0, 99.0, 99.0), 20, 30) == (0, 0, 30, 20)


def test_the_window_grows_each_side_by_a_share_of_the_box() -> None:
    crop = Crop.around((10, 20, 20, 60), 0.2)
    assert crop.window == (8, 12, 22, 68)
    assert crop.relative_box() == pytest.approx((1 / 7, 1 / 7, 6 / 7, 6 / 7))


@pytest.mark.parametrize("window", WINDOWS)
def test_a_crop_equals_the_specification(window: Box) -> None:
    crop, _ = window_crop(window).apply(picture(), CropConfig(size=16))
    expected = brute_force_crop(picture(), window, 16).transpose(2, 0, 1)
    np.testing.assert_allclose(crop.numpy(), expected, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.tuples(*[st.floats(-15, 15)] * 2),
    st.tuples(*[st.floats(0.01, 30)] * 2),
)
def test_any_crop_of_any_small_image_equals_the_specification(
    height: int, width: int, corner: tuple[float, float], side: tuple[float, float]
) -> None:
    window = (*corner, corner[0] + side[0], corner[1] + side[1])
    image = picture(height, width)
    crop, _ = window_crop(window).apply(image, CropConfig(size=16))
    expected = brute_force_crop(image, window, 16).transpose(2, 0, 1)
    np.testing.assert_allclose(crop.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("window", WINDOWS)
def test_crop_pixels_centred_in_the_image_are_valid(window: Box) -> None:
    _, valid = window_crop(window).apply(picture(), CropConfig(size=16))
    x0, y0, x1, y1 = window
    for row in range(16):
        for column in range(16):
            x, y = x0 + (x1 - x0) * (column + 0.5) / 16, y0 + (y1 - y0) * (row + 0.5) / 16
            assert valid[row, column] == float(0 < x < 30 and 0 < y < 20)


def test_cropping_does_not_depend_on_where_the_object_lies() -> None:
    near, far = picture(), np.zeros((200, 300, 3), np.uint8)
    far[150:170, 220:250] = near
    config = CropConfig(size=16)
    first, _ = window_crop((4.5, 3.0, 24.0, 17.0)).apply(near, config)
    second, _ = window_crop((224.5, 153.0, 244.0, 167.0)).apply(far, config)
    assert torch.allclose(first, second, atol=1e-4)


def test_cropping_reads_a_locked_image_and_leaves_it_alone() -> None:
    image, before = picture(), picture()
    image.setflags(write=False)
    window_crop((-3, 2, 15, 15)).apply(image, CropConfig(size=16))
    assert np.array_equal(image, before)


def test_a_large_window_of_a_smooth_image_looks_the_same_when_shrunk_first() -> None:
    down, across = np.mgrid[:1500, :2000]
    smooth = np.stack([127 + 120 * np.sin(down / 90 + across / 150 + k) for k in range(3)], -1)
    image = smooth.round().astype(np.uint8)
    crop = Crop.around((200.0, 100.0, 1900.0, 1450.0), 0.2)
    shrunk, _ = crop.apply(image, CropConfig())
    whole, _ = crop.apply(image, CropConfig(max_window=8192))
    assert (shrunk - whole).abs().max() < 3.5 / 255  # grey levels; most at the image edge


def test_a_large_window_is_shrunk_without_aliasing() -> None:
    stripes = np.zeros((64, 2400, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = window_crop((100.0, 0.0, 2300.0, 64.0))
    shrunk, _ = crop.apply(stripes, CropConfig())
    whole, _ = crop.apply(stripes, CropConfig(max_window=8192))
    assert shrunk.std() < 0.05 < whole.std()


@pytest.mark.parametrize("window", WINDOWS)
def test_pasting_back_equals_the_specification(window: Box) -> None:
    values = torch.from_numpy(np.random.default_rng(1).random((12, 8))).float()
    x0, y0, x1, y1 = rect = (2, 1, 27, 19)
    xs = (torch.arange(x0, x1) + 0.5 - window[0]) / (window[2] - window[0]) * 2 - 1
    ys = (torch.arange(y0, y1) + 0.5 - window[1]) / (window[3] - window[1]) * 2 - 1
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1)[None]
    expected = F.grid_sample(values[None, None], grid, align_corners=False)[0, 0]
    got = window_crop(window).paste_back(values, rect)
    assert torch.allclose(got.T, expected, atol=1e-5)


def test_pasting_back_a_linear_ramp_returns_the_ramp() -> None:
    x0, y0, x1, y1 = window = (3.5, -4.25, 40.0, 21.0)
    xs = x0 + (x1 - x0) * (torch.arange(16) + 0.5) / 16
    ys = y0 + (y1 - y0) * (torch.arange(8) + 0.5) / 8
    ramp = 2 * xs[None, :] - 3 * ys[:, None]
    rect = (5, 0, 38, 19)  # every pixel centre lies between crop centres
    got = window_crop(window).paste_back(ramp, rect).T
    expected = 2 * (torch.arange(5, 38) + 0.5)[None] - 3 * (torch.arange(19) + 0.5)[:, None]
    assert torch.allclose(got, expected, atol=1e-3)


@pytest.mark.parametrize("window", [(10.0, 8.0, 90.0, 70.0), (13.7, 9.1, 60.2, 77.7)])
def test_a_picture_cropped_and_pasted_back_is_the_picture(window: Box) -> None:
    down, across = np.mgrid[:90, :100]
    image = np.stack([2 * across, 2 * down, across + down], -1).astype(np.uint8)
    crop, _ = window_crop(window).apply(image, CropConfig(size=64))
    rect = (20, 15, 55, 65)
    for channel in range(3):
        got = window_crop(window).paste_back(crop[channel], rect).T.numpy() * 255
        np.testing.assert_allclose(got, image[15:65, 20:55, channel], atol=0.01)


@pytest.mark.parametrize("edge", [10.0, 17.0, 30.0])
def test_a_half_plane_covers_its_share_of_each_cell(edge: float) -> None:
    mask = np.zeros((40, 60), np.bool_)
    mask[:, : int(edge)] = True
    x0, x1 = 4.0, 36.0
    coverage = window_crop((x0, 5.0, x1, 37.0)).sample_mask(mask, (0, 0), 64)
    cell = (x1 - x0) / 64
    starts = x0 + cell * torch.arange(64)
    assert torch.equal(coverage, coverage[:1].expand(64, 64))
    assert (coverage[0, starts + cell < edge - 0.5] == 1).all()
    assert (coverage[0, starts > edge + 0.5] == 0).all()
    assert float(coverage.mean()) == pytest.approx((edge - x0) / (x1 - x0), abs=1e-3)


def test_coverage_is_the_mean_of_four_samples() -> None:
    mask = np.random.default_rng(2).random((20, 30)) < 0.5
    window = (2.5, 1.5, 26.0, 18.25)
    expected = brute_force_crop(np.repeat(mask[:, :, None], 3, 2).astype(np.uint8), window, 16)
    coverage = window_crop(window).sample_mask(mask, (0, 0), 16)
    np.testing.assert_allclose(coverage.numpy(), expected[:, :, 0] * 255, atol=1e-4)


def test_coverage_is_the_same_from_any_part_that_holds_the_mask() -> None:
    mask = np.zeros((40, 50), np.bool_)
    mask[12:30, 8:41] = np.random.default_rng(3).random((18, 33)) < 0.7
    crop = window_crop((-4.0, 3.0, 55.0, 44.0))
    whole = crop.sample_mask(mask, (0, 0), 32)
    part = crop.sample_mask(mask[12:30, 8:41], (8, 12), 32)
    assert torch.allclose(whole, part, atol=1e-5)


def test_coverage_does_not_depend_on_where_the_object_lies() -> None:
    mask = np.random.default_rng(4).random((10, 12)) < 0.5
    near = window_crop((0.5, -1.0, 14.0, 9.0)).sample_mask(mask, (1, 0), 16)
    far = window_crop((500.5, 299.0, 514.0, 309.0)).sample_mask(mask, (501, 300), 16)
    assert torch.allclose(near, far, atol=1e-3)


def test_an_empty_mask_covers_nothing() -> None:
    coverage = window_crop((0, 0, 9, 9)).sample_mask(np.zeros((0, 0), np.bool_), (0, 0), 16)
    assert torch.equal(coverage, torch.zeros(16, 16))


@pytest.mark.parametrize(
    "window", [(-6, -4, 10, 12), (6, 8, 40, 44), (2, 2, 9, 9), (-70, -9, 9, 70)]
)
def test_a_mirrored_crop_is_the_crop_of_the_padded_image(
    window: tuple[float, float, float, float],
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    pad = 80
    large = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="symmetric")
    moved = tuple(side + pad for side in window)
    got, valid = window_crop(window).apply(image, CropConfig(size=16, mirror=True))
    wanted, _ = window_crop(moved).apply(large, CropConfig(size=16))
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=0)
    assert torch.equal(valid, window_crop(window).apply(image, CropConfig(size=16))[1])
