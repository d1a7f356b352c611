"""The simulated annotator: it mends what is wrong, says nothing false, and is reproducible."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from mal_core.annotator import HANDS, THICKEST, Course, annotate, brush, next_stroke
from mal_core.checkpoint import Checkpoint
from mal_core.geometry import Box, Image
from mal_core.masks import RLE, decode, encode, iou
from mal_core.predictor import Predictor
from mal_core.prompts import Stroke

Mask = NDArray[np.bool_]
BOX: Box = (20.0, 15.0, 80.0, 75.0)


def to_rle(mask: Mask) -> RLE:
    return encode(mask, height=mask.shape[0], width=mask.shape[1])


def disc(y: float = 45, x: float = 50, radius: float = 30) -> Mask:
    down, across = np.mgrid[:90, :100] + 0.5
    return np.asarray(np.hypot(down - y, across - x) < radius)


def wrong_masks(seed: int) -> Mask:
    """The disc with parts missing and parts too much."""
    noise = np.random.default_rng(seed).normal(size=(90, 100))
    return disc() ^ (ndimage.gaussian_filter(noise, 4) > 0.11)


def draw(mask: Mask, truth: Mask, seed: int = 0) -> Stroke | None:
    return next_stroke(to_rle(mask), to_rle(truth), BOX, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(8))
def test_a_stroke_of_the_plain_brush_never_lowers_the_iou(seed: int) -> None:
    truth, mask = to_rle(disc()), to_rle(wrong_masks(seed))
    values = [iou(mask, truth)]
    for turn in range(12):
        stroke = next_stroke(mask, truth, BOX, np.random.default_rng(turn))
        if stroke is None:
            break
        painted = decode(brush(mask, stroke))
        change = painted ^ decode(mask)
        assert (painted == disc())[change].all()
        mask = to_rle(painted)
        values.append(iou(mask, truth))
    assert values == sorted(values)
    assert values[-1] > values[0] + 0.05


def test_a_stroke_lies_on_the_largest_error_and_says_which_kind() -> None:
    truth = disc()
    mask = truth.copy()
    mask[20:24, 45:50] = False  # a small part is missing
    mask[:, 85:95] = True  # a large one is too much
    stroke = draw(mask, truth)
    assert stroke is not None
    assert not stroke.adds
    under = decode(brush(to_rle(np.ones_like(mask)), stroke))
    assert (~under)[:, 85:95].any()
    assert not (~under & truth).any()


def test_a_missing_object_gets_an_adding_stroke_no_thicker_than_the_brush() -> None:
    stroke = draw(np.zeros((90, 100), np.bool_), disc())
    assert stroke is not None
    assert stroke.adds
    assert THICKEST * 30 < stroke.radius <= THICKEST * 60


@pytest.mark.parametrize("place", [(0, 0), (89, 99), (45, 50)], ids=["first", "last", "middle"])
@pytest.mark.parametrize("adds", [True, False])
def test_an_error_of_one_pixel_is_mended_by_a_dot(place: tuple[int, int], adds: bool) -> None:
    truth = disc(radius=200) if adds else disc(80, 10, 5)
    mask = truth.copy()
    mask[place] = not adds
    stroke = draw(mask, truth)
    assert stroke is not None
    assert stroke.adds is adds
    assert np.array_equal(decode(brush(to_rle(mask), stroke)), truth)


def test_where_nothing_is_wrong_no_stroke_is_made() -> None:
    assert draw(disc(), disc()) is None
    assert brush(to_rle(disc()), None) == to_rle(disc())


def test_a_brush_can_begin_on_an_empty_mask_and_leave_the_image() -> None:
    empty = to_rle(np.zeros((90, 100), np.bool_))
    stroke = Stroke([(-3.0, 40.0), (20.0, 40.0)], 5.0, adds=True)
    painted = decode(brush(empty, stroke))
    down, across = np.mgrid[:90, :100] + 0.5
    reach = np.hypot(across - np.clip(across, -3, 20), down - 40) <= 5
    assert np.array_equal(painted, reach)
    assert brush(brush(empty, stroke), Stroke(stroke.points, 9.0, adds=False)) == empty


BOXES: list[Box] = [(50.0, 50.0, 170.0, 190.0), (200.0, 20.0, 300.0, 100.0)]


@pytest.fixture
def small(tiny: Checkpoint) -> Predictor:
    """It has learnt nothing, so that there is much to correct."""
    return Predictor(tiny, torch.device("cpu"))


@pytest.fixture
def truths() -> list[RLE]:
    """Of an ellipse in the first box and a disc in the second."""
    down, across = np.mgrid[:240, :320]
    ellipse = ((down - 120) / 70) ** 2 + ((across - 110) / 60) ** 2 <= 1
    return [to_rle(ellipse), to_rle(np.hypot(down - 60, across - 250) < 38)]


def test_both_hands_start_from_the_proposal(
    small: Predictor, scene: Image, truths: list[RLE]
) -> None:
    plain = small.predict(scene, BOXES).masks()
    courses = annotate(small, scene, BOXES, truths, strokes=0, seed=0)
    for course, mask, truth in zip(courses, plain, truths, strict=True):
        assert course.ious == {hand: [iou(mask, truth)] for hand in HANDS}


def test_a_simulation_depends_on_its_seed_alone(
    small: Predictor, scene: Image, truths: list[RLE]
) -> None:
    first, again, other = (
        annotate(small, scene, BOXES, truths, strokes=2, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert {len(course.ious[hand]) for course in first for hand in HANDS} == {3}


def test_a_hand_does_not_look_at_other_instances(
    small: Predictor, scene: Image, truths: list[RLE]
) -> None:
    both = annotate(small, scene, BOXES, truths, strokes=2, seed=0)
    alone = annotate(small, scene, BOXES[1:], truths[1:], strokes=2, seed=0)
    assert both[1].ious["plain"] == alone[0].ious["plain"]


@pytest.mark.parametrize(
    ("target", "strokes"), [(0.5, 0), (0.6, 0), (0.61, 1), (0.9, 2), (0.95, None)]
)
def test_strokes_are_counted_to_the_first_that_reaches_the_target(
    target: float, strokes: int | None
) -> None:
    course = Course({"plain": [0.6, 0.7, 0.9, 0.8]})
    assert course.strokes_to(target, "plain") == strokes
