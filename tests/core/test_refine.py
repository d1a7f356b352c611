"""A refined edge: the filter equals its definition, snaps to colours, and off means off."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mal_core.checkpoint import Checkpoint
from mal_core.geometry import Box, Crop, Image, Rect, box_to_rect
from mal_core.masks import RLE, decode, encode, iou
from mal_core.predictor import Prediction, Predictor
from mal_core.refine import RefineConfig, guided_filter, refine_probs, settle_edge

GUIDED = RefineConfig(method="guided", min_side=0)
FIELD = RefineConfig(method="meanfield", min_side=0)
Floats = NDArray[np.float64]


def random_maps(seed: int, height: int = 7, width: int = 9) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    guide = torch.rand(3, height, width, generator=source)
    return guide, torch.rand(height, width, generator=source)


def window(y: int, x: int, radius: int, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """The places of a window, as far as it lies on the map."""
    rows = range(max(0, y - radius), min(shape[0], y + radius + 1))
    columns = range(max(0, x - radius), min(shape[1], x + radius + 1))
    return [(row, column) for row in rows for column in columns]


def by_definition(guide: Tensor, values: Tensor, radius: int, epsilon: float) -> Floats:
    """He et al., equations 14 to 16, a window at a time."""
    colours, p = guide.double().numpy(), values.double().numpy()
    places = [(y, x) for y in range(p.shape[0]) for x in range(p.shape[1])]
    fits: dict[tuple[int, int], tuple[Floats, float]] = {}
    for y, x in places:
        near = window(y, x, radius, p.shape)
        seen = np.array([colours[:, i, j] for i, j in near])
        wanted = np.array([p[i, j] for i, j in near])
        spread = np.cov(seen.T, bias=True) + epsilon * np.eye(3)
        both = ((seen - seen.mean(0)) * (wanted - wanted.mean())[:, None]).mean(0)
        slope = np.linalg.solve(spread, both)
        fits[y, x] = (slope, wanted.mean() - slope @ seen.mean(0))
    answer = np.zeros_like(p)
    for y, x in places:
        near = window(y, x, radius, p.shape)
        slope = np.mean([fits[place][0] for place in near], axis=0)
        answer[y, x] = slope @ colours[:, y, x] + np.mean([fits[place][1] for place in near])
    return np.clip(answer, p.min(), p.max())


@pytest.mark.parametrize("radius", [1, 2, 6])
@pytest.mark.parametrize("epsilon", [1e-4, 1e-1])
def test_the_filter_equals_its_definition_window_by_window(radius: int, epsilon: float) -> None:
    for seed in range(3):
        guide, values = random_maps(seed)
        expected = by_definition(guide, values, radius, epsilon)
        assert np.allclose(guided_filter(guide, values, radius, epsilon), expected, atol=1e-4)


def test_a_grey_guide_makes_no_numbers_burst() -> None:
    guide, values = random_maps(0)
    grey = guide[:1].expand(3, -1, -1)
    expected = by_definition(grey, values, 2, 1e-4)
    assert np.allclose(guided_filter(grey, values, 2, 1e-4), expected, atol=2e-3)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_an_even_answer_stays_as_it_is_on_any_guide(step: int) -> None:
    guide, values = random_maps(0, 20, 31)
    even = torch.full_like(values, 0.37)
    assert torch.equal(guided_filter(guide, even, 4, 1e-3, step), even)


def test_on_an_even_guide_the_filter_is_a_mean_of_means() -> None:
    _, values = random_maps(1)
    p = values.numpy()

    def means(maps: NDArray[Any]) -> NDArray[Any]:
        places = np.ndindex(*maps.shape)
        flat = [np.mean([maps[place] for place in window(y, x, 2, p.shape)]) for y, x in places]
        return np.array(flat).reshape(maps.shape)

    filtered = guided_filter(torch.full((3, *p.shape), 0.5), values, 2, 1e-4)
    assert np.allclose(filtered, means(means(p)), atol=1e-5)


@pytest.mark.parametrize("axes", [(-1,), (-2,), (-2, -1)], ids=str)
def test_a_mirrored_picture_gives_the_mirrored_answer(axes: tuple[int, ...]) -> None:
    guide, values = random_maps(2, 24, 18)
    there = guided_filter(guide.flip(axes), values.flip(axes), 3, 1e-3, 3)
    assert torch.allclose(there.flip(axes), guided_filter(guide, values, 3, 1e-3, 3), atol=1e-5)


def test_no_value_leaves_the_range_of_the_answer() -> None:
    guide, values = random_maps(3, 30, 30)
    values = 0.2 + 0.5 * (values > 0.5)
    for step in (1, 3):
        filtered = guided_filter(guide, values, 5, 1e-6, step)
        assert float(filtered.min()) >= float(values.min())
        assert float(filtered.max()) <= float(values.max())


def colour_step(height: int = 40, width: int = 60, at: int = 30) -> Tensor:
    """(3, height, width): one colour left of a column, another from it on, a little noise."""
    guide = torch.full((3, height, width), 0.3)
    guide[:, :, at:] = torch.tensor([0.7, 0.5, 0.2]).view(3, 1, 1)
    noise = torch.randn(guide.shape, generator=torch.Generator().manual_seed(0))
    return (guide + 0.01 * noise).clamp(0, 1)


@pytest.mark.parametrize(
    ("method", "shift"),
    [
        *(("guided", -2.0), ("guided", 2.0), ("guided-small", -2.0), ("guided-small", 1.5)),
        *(("meanfield", -1.0), ("meanfield", 1.0)),  # which trusts a sure answer more
    ],
)
def test_a_shifted_edge_snaps_to_the_step_between_colours(method: str, shift: float) -> None:
    guide = colour_step()
    columns = torch.arange(60) + 0.5
    probs = torch.sigmoid((columns - 30 - shift) / 2).expand(40, -1).contiguous()
    before = (probs > 0.5).sum(1)
    if method == "meanfield":
        after = settle_edge(guide, probs, 0.5, 4, FIELD)
    else:
        after = guided_filter(guide, probs, 8, 1e-4, 2 if method == "guided-small" else 1)
    assert int(before[0]) != 30
    assert set((after > 0.5).sum(1).tolist()) == {30}


def test_the_mean_field_changes_no_label_far_from_the_edge() -> None:
    guide = 0.02 * random_maps(4, 40, 60)[0]
    probs = torch.full((40, 60), 0.1)
    probs[:, 30:] = 0.9
    probs[5, 5] = 0.9  # a speck has an edge of its own
    after = settle_edge(guide, probs, 0.5, 3, FIELD)
    changed = torch.nonzero(after != (probs > 0.5).float())
    assert len(changed)
    near_edge, near_speck = (changed[:, 1] - 29.5).abs() < 3.5, (changed - 5).abs().amax(1) <= 3
    assert bool((near_edge | near_speck).all())


@pytest.mark.parametrize("threshold", [0.0, 0.4, 1.0])
def test_the_mean_field_starts_from_the_mask_at_the_threshold(threshold: float) -> None:
    guide, probs = random_maps(5, 20, 20)
    still = replace(FIELD, iterations=0)
    after = settle_edge(guide, probs, threshold, 2, still)
    assert torch.equal(after > 0.5, probs > threshold)


def painted(scale: int = 1) -> tuple[Image, NDArray[np.bool_], Tensor, Crop]:
    """A bright disc, its mask, and an answer that is soft and lies a pixel to the right."""
    side = 200 * scale
    down, across = (np.mgrid[:side, :side] + 0.5) / scale
    mask = np.hypot(down - 100, across - 100) < 60
    image = np.where(mask[..., None], (220, 180, 60), (60, 90, 120)).astype(np.uint8)
    box = (40.0 * scale, 40.0 * scale, 162.0 * scale, 160.0 * scale)
    crop = Crop.around(box, 0.2)
    places = [crop.window[i] + (crop.window[i + 2] - crop.window[i]) * (np.arange(128) + 0.5) / 128
              for i in (0, 1)]  # fmt: skip
    off = np.hypot(places[1][:, None] / scale - 100, places[0][None] / scale - 101) - 60
    return image, mask, torch.from_numpy(1 / (1 + np.exp(off / 1.5))).float(), crop


def to_mask(probs: Tensor, crop: Crop, image: Image, config: RefineConfig) -> RLE:
    rect = box_to_rect(crop.box, *image.shape[:2])
    prediction = Prediction(
        *image.shape[:2], [crop], [rect], probs[None], 0.5, {}, image=image, refine=config
    )
    return prediction.rle(0)


@pytest.mark.parametrize("config", [GUIDED, FIELD], ids=["guided", "meanfield"])
def test_a_disc_s_mask_goes_to_the_disc(config: RefineConfig) -> None:
    image, mask, probs, crop = painted()
    truth = encode(mask, height=200, width=200)
    plain = iou(to_mask(probs, crop, image, RefineConfig(method="none")), truth)
    assert plain < 0.985
    assert iou(to_mask(probs, crop, image, config), truth) > plain + 0.01


@pytest.mark.parametrize("config", [GUIDED, FIELD], ids=["guided", "meanfield"])
def test_a_box_above_the_longest_side_is_worked_on_smaller(config: RefineConfig) -> None:
    image, mask, probs, crop = painted(scale=3)
    small = to_mask(probs, crop, image, replace(config, max_side=160))
    whole = to_mask(probs, crop, image, replace(config, max_side=4096))
    assert small != whole
    truth = encode(mask, height=600, width=600)
    assert min(iou(small, truth), iou(whole, truth)) > 0.98


def test_what_is_refined_fills_its_rectangle_columns_first() -> None:
    image, _, probs, crop = painted()
    rect: Rect = (41, 50, 160, 131)
    for config in (GUIDED, FIELD, replace(GUIDED, max_side=32)):
        assert refine_probs(probs, crop, rect, image, 0.5, config).shape == (119, 81)


@pytest.mark.parametrize(
    ("rect", "method", "wanted"),
    [
        pytest.param((0, 0, 128, 128), "guided", False, id="as-large-as-the-least"),
        pytest.param((0, 0, 129, 5), "guided", True, id="wider"),
        pytest.param((7, 0, 12, 129), "meanfield", True, id="taller"),
        pytest.param((0, 0, 999, 999), "none", False, id="off"),
    ],
)
def test_only_boxes_above_the_least_side_are_refined(rect: Rect, method: str, wanted: bool) -> None:
    assert RefineConfig(method=method, min_side=128).wants(rect) is wanted


@pytest.mark.parametrize(
    "changes",
    [
        *({"method": "sharp"}, {"method": None}, {"min_side": -1}, {"max_side": 0}),
        *({"max_side": 1e4}, {"radius": 0}, {"epsilon": 0.0}, {"band": float("nan")}),
        *({"zeta": 0}, {"iterations": -1}, {"iterations": 2.5}),
    ],
    ids=str,
)
def test_a_setting_out_of_range_is_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        RefineConfig(**changes)


RED, YELLOW = (50.0, 50.0, 170.0, 190.0), (250.0, 130.0, 320.0, 240.0)
BOXES: list[Box] = [RED, YELLOW, (0.0, 0.0, 320.0, 240.0)]
RECTS = [box_to_rect(box, 240, 320) for box in BOXES]


@pytest.fixture
def answer(tiny: Checkpoint, scene: Image) -> Callable[..., Prediction]:
    def predict(config: RefineConfig, boxes: list[Box] = BOXES) -> Prediction:
        return Predictor(tiny, torch.device("cpu"), config).predict(scene, boxes)

    return predict


def test_off_means_the_pasted_mask_to_the_byte(answer: Callable[..., Prediction]) -> None:
    prediction = answer(RefineConfig(method="none"))
    for index, rle in enumerate(prediction.masks()):
        values = prediction.crops[index].paste_back(prediction.probs[index], RECTS[index])
        assert rle == prediction.encode((values > prediction.threshold).numpy().T, index)
    assert answer(replace(GUIDED, min_side=16384)).masks() == prediction.masks()


@pytest.mark.parametrize("config", [GUIDED, FIELD], ids=["guided", "meanfield"])
def test_boxes_together_give_the_masks_of_each_alone(
    answer: Callable[..., Prediction], config: RefineConfig
) -> None:
    together, plain = answer(config), answer(RefineConfig(method="none"))
    for index, box in enumerate(BOXES):
        half = float(together.probs[index].median())  # the network has learnt nothing
        rle = together.rle(index, half)
        assert iou(rle, answer(config, [box]).rle(0, half)) >= 0.999
        assert rle != plain.rle(index, half)


@pytest.mark.parametrize("config", [GUIDED, FIELD], ids=["guided", "meanfield"])
def test_any_box_can_be_refined(answer: Callable[..., Prediction], config: RefineConfig) -> None:
    thin = [(30.0, 20.0, 31.0, 90.0), (319.0, 0.0, 320.0, 1.0), (0.0, 100.5, 320.0, 101.0)]
    for threshold in (0.0, 0.5, 1.0):
        masks = answer(config, thin).masks(threshold)
        assert [decode(mask).shape for mask in masks] == [(240, 320)] * 3
