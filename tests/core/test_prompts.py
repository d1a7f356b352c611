"""Prompt planes equal weights/MODEL.md, section 2, pixel by pixel."""

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch

from mal_core.geometry import Box, Crop
from mal_core.prompts import Stroke, prompt_planes

CROP = Crop.around((20.0, 10.0, 50.0, 70.0), 0.2)
SIZE = 24
Point = tuple[float, float]
Points = Sequence[Point]


def centre(row: int, column: int, crop: Crop = CROP) -> Point:
    """The image place of a crop pixel's centre."""
    x0, y0, x1, y1 = crop.window
    return x0 + (x1 - x0) * (column + 0.5) / SIZE, y0 + (y1 - y0) * (row + 0.5) / SIZE


def distance(place: Point, start: Point, end: Point) -> float:
    """From a place to the nearest of 501 points on a piece of stroke."""
    (ax, ay), (bx, by) = start, end
    steps = [k / 500 for k in range(501)]
    return min(math.dist(place, (ax + t * (bx - ax), ay + t * (by - ay))) for t in steps)


def brute_force_stroke(points: Points, radius: float) -> list[list[bool | None]]:
    """Whether each crop pixel is under the stroke; None where it is too close to say."""
    pieces = list(pairwise(points)) or [(points[0], points[0])]
    rows = []
    for row in range(SIZE):
        gaps = [
            min(distance(centre(row, column), *piece) for piece in pieces) - radius
            for column in range(SIZE)
        ]
        rows.append([None if abs(gap) < 5e-3 else gap < 0 for gap in gaps])
    return rows


@pytest.mark.parametrize("window", [CROP.window, (16.0, -5.5, 80.0, 71.0)], ids=["even", "uneven"])
def test_the_box_plane_is_one_inside_the_box(window: Box) -> None:
    crop = Crop(CROP.box, window)
    plane = prompt_planes(crop, SIZE)[0]
    for row in range(SIZE):
        for column in range(SIZE):
            x, y = centre(row, column, crop)
            assert plane[row, column] == float(20 < x < 50 and 10 < y < 70)


def test_without_strokes_and_answer_only_the_box_is_drawn() -> None:
    planes = prompt_planes(CROP, SIZE)
    assert planes.shape == (4, SIZE, SIZE)
    assert planes.dtype == torch.float32
    assert not planes[1:].any()


@pytest.mark.parametrize(
    ("points", "radius"),
    [
        pytest.param([(30.0, 40.0)], 7.0, id="dot"),
        pytest.param([(25.0, 20.0), (45.0, 60.0)], 3.0, id="line"),
        pytest.param([(25.0, 20.0), (45.0, 25.0), (30.0, 60.0)], 2.5, id="bent"),
        pytest.param([(30.0, 30.0), (30.0, 30.0)], 5.0, id="twice-the-same-point"),
        pytest.param([(0.0, 0.0), (90.0, 90.0)], 4.0, id="across-and-out"),
        pytest.param([(34.9, 40.1)], 0.2, id="thinner-than-a-pixel"),
    ],
)
def test_a_stroke_covers_what_is_within_its_radius(points: Points, radius: float) -> None:
    plane = prompt_planes(CROP, SIZE, [Stroke(points, radius, adds=True)])[2]
    expected = brute_force_stroke(points, radius)
    for row in range(SIZE):
        for column, under in enumerate(expected[row]):
            assert under is None or bool(plane[row, column]) == under


def test_a_stroke_away_from_the_crop_draws_nothing() -> None:
    planes = prompt_planes(CROP, SIZE, [Stroke([(500.0, 500.0), (600.0, 500.0)], 9, adds=True)])
    assert not planes[2:].any()


def test_strokes_that_add_and_erase_have_their_own_planes() -> None:
    adding, erasing = (Stroke([(35.0, y)], 6, adds=a) for y, a in ((20.0, True), (60.0, False)))
    planes = prompt_planes(CROP, SIZE, [adding, erasing])
    assert torch.equal(planes[2], prompt_planes(CROP, SIZE, [adding])[2])
    assert torch.equal(planes[3], prompt_planes(CROP, SIZE, [erasing])[3])
    assert planes[2].any()
    assert planes[3].any()
    assert not (planes[2] * planes[3]).any()


def test_several_strokes_are_their_union() -> None:
    strokes = [Stroke([(30.0, 20.0)], 6, adds=True), Stroke([(34.0, 22.0)], 6, adds=True)]
    union = prompt_planes(CROP, SIZE, strokes)[2]
    parts = [prompt_planes(CROP, SIZE, [stroke])[2] for stroke in strokes]
    assert torch.equal(union, torch.maximum(*parts))


@pytest.mark.parametrize(
    ("logit", "value"), [(-100.0, -1.0), (0.0, 0.0), (math.log(3), 0.5), (100.0, 1.0)]
)
def test_the_answer_before_lies_between_minus_one_and_one(logit: float, value: float) -> None:
    plane = prompt_planes(CROP, SIZE, previous=torch.full((12, 12), logit))[1]
    assert torch.allclose(plane, torch.full((SIZE, SIZE), value))


def test_the_answer_before_is_doubled_in_place() -> None:
    previous = torch.full((12, 12), -100.0)
    previous[:, 6:] = 100
    plane = prompt_planes(CROP, SIZE, previous=previous)[1]
    assert torch.allclose(plane[0, 10:14], torch.tensor([-1.0, -0.5, 0.5, 1.0]))


@pytest.mark.parametrize(
    ("points", "radius"),
    [
        pytest.param([], 3.0, id="no-points"),
        pytest.param([(1.0, 1.0)], 0.0, id="no-radius"),
        pytest.param([(1.0, 1.0)], -1.0, id="negative-radius"),
        pytest.param([(1.0, 1.0)], math.nan, id="radius-not-a-number"),
        pytest.param([(1.0, 1.0)], math.inf, id="radius-without-end"),
        pytest.param([(1.0, math.nan)], 3.0, id="point-not-a-number"),
        pytest.param([(1.0, 1.0), (math.inf, 1.0)], 3.0, id="point-without-end"),
    ],
)
def test_a_stroke_needs_finite_points_and_a_radius(points: Points, radius: float) -> None:
    with pytest.raises(ValueError, match="a stroke needs"):
        Stroke(points, radius, adds=True)
