"""The predictor: boxes in, masks out, each as if its box were alone."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as PilImage

from mal_core.checkpoint import Checkpoint
from mal_core.errors import BadBox, BadImage, CheckpointError, InputError
from mal_core.geometry import Box, Crop, Image, Rect, box_to_rect
from mal_core.masks import RLE, decode, iou
from mal_core.predictor import Prediction, Predictor, choose_device
from mal_core.prompts import Stroke

RED, YELLOW = (50.0, 50.0, 170.0, 190.0), (250.0, 130.0, 320.0, 240.0)
PARITY = Path(__file__).parent / "data" / "parity.npz"


@pytest.fixture
def small(tiny: Checkpoint) -> Predictor:
    """Quick, and of no use: for what must hold whatever the weights."""
    return Predictor(tiny, torch.device("cpu"))


def parity(name: str) -> NDArray[np.generic]:
    with np.load(PARITY, allow_pickle=False) as file:
        return np.asarray(file[name])


def many_boxes(count: int) -> list[Box]:
    random = np.random.default_rng(5)
    corners = random.uniform(0, 200, (count, 2))
    sides = random.uniform(5, 120, (count, 2))
    return [(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, sides, strict=True)]


def answer(probs: torch.Tensor, box: Box, *, height: int = 40, width: int = 60) -> Prediction:
    """A prediction of one box with known probabilities."""
    rect = box_to_rect(box, height, width)
    return Prediction(height, width, [Crop.around(box, 0.2)], [rect], probs[None], 0.4, {})


def test_a_box_around_an_object_gives_its_mask(predictor: Predictor, scene: Image) -> None:
    down, across = np.mgrid[:240, :320]
    ellipse = ((down - 120) / 70) ** 2 + ((across - 110) / 60) ** 2 <= 1
    mask = decode(predictor.predict(scene, [RED]).masks()[0])
    assert (mask & ellipse).sum() / (mask | ellipse).sum() > 0.95


def test_boxes_together_give_the_masks_of_each_alone(predictor: Predictor, scene: Image) -> None:
    boxes = [RED, YELLOW, (10.5, 5.25, 90.0, 77.0), (100.0, 100.0, 130.0, 120.0)]
    together = predictor.predict(scene, boxes).masks()
    alone = [predictor.predict(scene, [box]).masks()[0] for box in boxes]
    assert min(map(iou, together, alone)) >= 0.999


def test_more_boxes_than_a_batch_holds_keep_their_order(small: Predictor, scene: Image) -> None:
    boxes = many_boxes(37)
    together = small.predict(scene, boxes)
    backwards = small.predict(scene, boxes[::-1])
    assert together.probs.shape == (37, 32, 32)
    assert torch.allclose(together.probs, backwards.probs.flip(0), atol=1e-5)
    for index in (0, 15, 16, 36):
        alone = small.predict(scene, [boxes[index]])
        assert torch.allclose(alone.probs[0], together.probs[index], atol=1e-5)
        assert alone.rects[0] == together.rects[index]


@pytest.mark.parametrize("none", [[], np.zeros((0, 4))], ids=["list", "array"])
def test_no_boxes_give_no_masks(
    small: Predictor, scene: Image, none: Sequence[Box] | NDArray[np.float64]
) -> None:
    prediction = small.predict(scene, none)
    assert prediction.masks() == []
    assert prediction.scores.shape == (0,)
    assert prediction.probs.shape == (0, 32, 32)


def test_masks_have_the_size_of_the_image(small: Predictor, scene: Image) -> None:
    for mask in small.predict(scene, many_boxes(3)).masks():
        assert (mask.height, mask.width) == (240, 320)
        assert decode(mask).shape == (240, 320)


def test_a_mask_stays_on_the_pixels_its_box_touches(small: Predictor, scene: Image) -> None:
    boxes = [*many_boxes(5), (30.4, 20.6, 60.5, 70.2), (-20.0, 200.5, 400.0, 300.0)]
    for box, mask in zip(boxes, small.predict(scene, boxes).masks(threshold=0.0), strict=True):
        x0, y0, x1, y1 = box_to_rect(box, 240, 320)
        assert mask.box == (x0, y0, x1, y1)
        assert mask.area == (x1 - x0) * (y1 - y0)


def test_a_box_that_leaves_the_image_counts_as_its_part_inside(
    predictor: Predictor, scene: Image
) -> None:
    x0, y0, _, _ = YELLOW
    out, inside = predictor.predict(scene, [(x0, y0, 999.0, 500.0), YELLOW]).masks()
    assert out == inside


@pytest.mark.parametrize("side", [1.0, 2.0, 0.5])
def test_a_box_one_or_two_pixels_wide_does_not_vanish(
    small: Predictor, scene: Image, side: float
) -> None:
    boxes = [(30.0, 20.0, 30.0 + side, 90.0), RED, (319.0, 0.0, 320.0, 1.0)]
    prediction = small.predict(scene, boxes)
    assert len(prediction.masks()) == len(prediction.scores) == 3
    assert prediction.mask(0, threshold=0.0).shape == (70, 2 if side == 2 else 1)
    assert prediction.mask(0, threshold=0.0).all()


def test_an_image_of_one_pixel_has_a_mask(small: Predictor) -> None:
    prediction = small.predict(np.zeros((1, 1, 3), np.uint8), [(0.0, 0.0, 1.0, 1.0)])
    assert prediction.masks(0.0)[0].area == 1


def test_a_locked_image_is_read_and_left_alone(small: Predictor, scene: Image) -> None:
    before = scene.copy()
    scene.setflags(write=False)
    small.predict(scene, [RED])
    assert np.array_equal(scene, before)


def test_a_view_of_an_image_gives_the_masks_of_its_copy(small: Predictor, scene: Image) -> None:
    view = scene[::-1, :, ::-1]
    first, second = (small.predict(i, [RED]).probs for i in (view, np.ascontiguousarray(view)))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((9, 9), np.uint8), id="grey"),
        pytest.param(np.zeros((9, 9, 4), np.uint8), id="alpha"),
        pytest.param(np.zeros((3, 9, 9), np.uint8), id="channels-first"),
        pytest.param(np.zeros((9, 9, 3), np.float32), id="float"),
        pytest.param(np.zeros((0, 9, 3), np.uint8), id="no-rows"),
        pytest.param(np.zeros((1, 9, 9, 3), np.uint8), id="batch"),
        pytest.param([[[0, 0, 0]]], id="list"),
        pytest.param(None, id="nothing"),
    ],
)
def test_what_is_not_an_rgb_image_is_refused(small: Predictor, image: Image) -> None:
    with pytest.raises(BadImage, match="an image must be"):
        small.predict(image, [(0.0, 0.0, 1.0, 1.0)])


@pytest.mark.parametrize(
    "boxes",
    [
        pytest.param([RED, (1.0, 1.0, np.nan, 9.0)], id="not-finite"),
        pytest.param([RED, (400.0, 0.0, 500.0, 9.0)], id="outside"),
        pytest.param(RED, id="one-box-not-in-a-list"),
        pytest.param(None, id="nothing"),
    ],
)
def test_bad_boxes_are_refused(small: Predictor, scene: Image, boxes: list[Box]) -> None:
    with pytest.raises(BadBox):
        small.predict(scene, boxes)


def test_strokes_must_be_one_list_a_box(small: Predictor, scene: Image) -> None:
    with pytest.raises(ValueError, match="strokes must be one a box"):
        small.predict(scene, [RED, YELLOW], [[]])


def test_threads_share_a_predictor(predictor: Predictor, scene: Image) -> None:
    boxes: list[Box] = [RED, YELLOW, (10.0, 5.0, 90.0, 77.0), (100.0, 100.0, 130.0, 120.0)]

    def label(box: Box) -> RLE:
        return predictor.predict(scene, [box]).masks()[0]

    alone = list(map(label, boxes))
    with ThreadPoolExecutor(4) as pool:
        assert min(map(iou, pool.map(label, boxes), alone)) >= 0.999


@pytest.mark.parametrize(
    ("stroke", "rect"),
    [
        pytest.param(Stroke([(180.0, 100.0)], 5, adds=True), (50, 50, 185, 190), id="right"),
        pytest.param(Stroke([(100.0, 45.0)], 2, adds=True), (50, 43, 170, 190), id="above"),
        pytest.param(Stroke([(110.0, 120.0)], 9, adds=True), (50, 50, 170, 190), id="inside"),
        pytest.param(Stroke([(310.0, 230.0)], 5, adds=True), (50, 50, 315, 235), id="far"),
        pytest.param(Stroke([(180.0, 100.0)], 5, adds=False), (50, 50, 170, 190), id="erasing"),
    ],
)
def test_an_adding_stroke_lets_the_mask_grow(
    small: Predictor, scene: Image, stroke: Stroke, rect: Rect
) -> None:
    assert small.predict(scene, [RED], [[stroke]]).rects == [rect]


def test_the_mask_may_reach_to_the_edge_of_the_image_but_not_beyond(
    small: Predictor, scene: Image
) -> None:
    stroke = Stroke([(300.0, 235.0)], 30, adds=True)
    assert small.predict(scene, [YELLOW], [[stroke]]).rects == [(250, 130, 320, 240)]


@pytest.mark.parametrize(
    ("place", "adds"),
    [pytest.param((60.0, 60.0), True, id="adds"), pytest.param((110.0, 80.0), False, id="erases")],
)
def test_a_stroke_changes_the_mask_under_it(
    predictor: Predictor, scene: Image, place: tuple[float, float], adds: bool
) -> None:
    y, x = slice(int(place[1]) - 4, int(place[1]) + 4), slice(int(place[0]) - 4, int(place[0]) + 4)
    before = decode(predictor.predict(scene, [RED]).masks()[0])[y, x].mean()
    strokes = [[Stroke([place], 7.0, adds=adds)]]
    after = decode(predictor.predict(scene, [RED], strokes).masks()[0])[y, x].mean()
    assert (before, after) == ((0, 1) if adds else (1, 0))


def test_strokes_on_one_box_leave_the_others_alone(small: Predictor, scene: Image) -> None:
    strokes = [[], [Stroke([(280.0, 180.0)], 9, adds=False)]]
    plain, marked = (
        small.predict(scene, [RED, YELLOW]),
        small.predict(scene, [RED, YELLOW], strokes),
    )
    alone = small.predict(scene, [YELLOW], strokes[1:])
    assert torch.allclose(plain.probs[0], marked.probs[0], atol=1e-6)
    assert torch.allclose(alone.probs[0], marked.probs[1], atol=1e-5)


def test_a_higher_threshold_gives_a_part_of_the_mask(predictor: Predictor, scene: Image) -> None:
    prediction = predictor.predict(scene, [YELLOW])
    masks = [decode(prediction.masks(t)[0]) for t in (0.1, 0.3, 0.5, 0.7, 0.9)]
    areas = [int(mask.sum()) for mask in masks]
    assert areas == sorted(areas, reverse=True)
    assert areas[0] > areas[-1] > 0
    assert all(not (high & ~low).any() for low, high in pairwise(masks))


def test_without_a_threshold_the_checkpoint_s_own_is_used(small: Predictor, scene: Image) -> None:
    prediction = small.predict(scene, [RED])
    assert prediction.masks() == prediction.masks(small.checkpoint.threshold)


def test_scores_lie_between_nothing_and_one(small: Predictor, scene: Image) -> None:
    scores = small.predict(scene, many_boxes(8)).scores
    assert scores.shape == (8,)
    assert (scores >= 0).all()
    assert (scores <= 1).all()


@pytest.mark.parametrize(
    ("prob", "score"),
    [pytest.param(1.0, 1.0, id="sure"), pytest.param(0.7, 0.7, id="as-good-as-its-pixels")],
)
def test_an_even_probability_is_the_iou_to_expect(prob: float, score: float) -> None:
    prediction = answer(torch.full((32, 32), prob), (10.0, 10.0, 30.0, 30.0))
    assert prediction.scores == pytest.approx([score])


def test_doubt_outside_the_mask_lowers_the_score() -> None:
    probs = torch.full((32, 32), 0.2)
    probs[:, :16] = 0.9
    prediction = answer(probs, (10.0, 10.0, 30.0, 30.0))
    assert prediction.scores == pytest.approx([0.9 / (1 + 0.2)])


@pytest.mark.parametrize("prob", [0.0, 0.3])
def test_nothing_above_the_threshold_scores_nothing(prob: float) -> None:
    assert answer(torch.full((32, 32), prob), (10.0, 10.0, 30.0, 30.0)).scores == [0.0]


@pytest.mark.parametrize(
    ("columns", "flagged"),
    [(0, True), (1, False), (10, False), (19, False), (20, True)],
    ids=["empty", "1/20", "half", "19/20", "full"],
)
def test_a_mask_that_fills_hardly_any_or_nearly_all_of_its_box_is_flagged(
    columns: int, flagged: bool
) -> None:
    prediction = answer(torch.zeros(32, 32), (10.0, 10.0, 30.0, 30.0))
    mask = np.zeros((20, 20), np.bool_)
    mask[:, :columns] = True
    assert prediction.flagged(prediction.encode(mask, 0), 0) is flagged


@pytest.mark.parametrize("case", ["centre", "border", "strokes", "small"])
@pytest.mark.parametrize(("threshold", "name"), [(0.4, "mask"), (0.5, "mask_thr05")])
def test_the_reference_logits_paste_into_the_reference_mask(
    case: str, threshold: float, name: str
) -> None:
    height, width = parity(f"{case}/image").shape[:2]
    x0, y0, x1, y1 = map(float, parity(f"{case}/box"))
    probs = torch.from_numpy(parity(f"{case}/logits2")).sigmoid()
    prediction = answer(probs, (x0, y0, x1, y1), height=height, width=width)
    mask, expected = decode(prediction.masks(threshold)[0]), parity(f"{case}/{name}")
    assert (mask & expected).sum() / (mask | expected).sum() >= 0.999


@pytest.mark.parametrize("factor", [2, 4, 6])
@pytest.mark.parametrize("case", ["centre", "small"])
def test_an_enlarged_image_gives_the_enlarged_mask(
    predictor: Predictor, case: str, factor: int
) -> None:
    image, (x0, y0, x1, y1) = parity(f"{case}/image"), parity(f"{case}/box").astype(float) * factor
    size = (image.shape[1] * factor, image.shape[0] * factor)
    large = np.asarray(PilImage.fromarray(image).resize(size, PilImage.Resampling.BICUBIC))
    mask = decode(predictor.predict(large, [(x0, y0, x1, y1)]).masks()[0])
    expected = np.kron(parity(f"{case}/mask"), np.ones((factor, factor), np.bool_))
    assert (mask & expected).sum() / (mask | expected).sum() >= 0.9


def test_a_missing_checkpoint_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read none"):
        Predictor.load(tmp_path / "none.safetensors")


def test_a_device_that_is_not_there_is_told() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in {"cpu", "cuda"}
    with pytest.raises(InputError, match="device must be"):
        choose_device("abacus")
