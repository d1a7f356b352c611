"""Figures: a perfect predictor scores 1, and each mean is taken over what it says."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from mal_core.coco import Dataset
from mal_core.dataset import read_image
from mal_core.evaluate import (
    InstanceScore,
    by_category,
    fill_box,
    score_instances,
    summarise,
)
from mal_core.geometry import Box, Image
from mal_core.masks import RLE, decode, encode, iou
from mal_core.predictor import Predictor

Draw = Callable[[int, int], Dataset]
EMPTY = encode(np.zeros((1, 1), np.bool_), height=1, width=1)
SCORE = InstanceScore(1, 1, 500, 0.5, 0.5, 0.5, 0.8, 0.5, None, 0.1, 1, EMPTY)


@dataclass(frozen=True)
class Answer:
    given: Sequence[RLE]

    def masks(self, threshold: float | None) -> Sequence[RLE]:
        assert threshold in (None, 0.7)
        return self.given

    @property
    def scores(self) -> Sequence[float]:
        return [0.25] * len(self.given)


@dataclass
class Oracle:
    """Knows the masks of two discs; answers the filled box instead where it is a `boxer`."""

    dataset: Dataset
    boxer: bool = False
    asked: list[Sequence[Box]] = field(default_factory=list)

    def predict(self, image: Image, boxes: Sequence[Box]) -> Answer:
        known = {a.box: a.rle for a in self.dataset.annotations if a.rle is not None}
        self.asked.append(boxes)
        if not all(box in known for box in boxes):  # the jittered run: the boxes before are meant
            boxes = self.asked[-2]
        return Answer([fill_box(b, known[b]) if self.boxer else known[b] for b in boxes])


def scores_of(oracle: Oracle, folder: Path, jitter: float = 0.0) -> list[InstanceScore]:
    predictor = cast(Predictor, oracle)
    parts = score_instances(predictor, oracle.dataset, folder, jitter=jitter)
    return [score for part in parts for score in part]


def test_a_perfect_predictor_scores_one(draw_dataset: Draw, tmp_path: Path) -> None:
    scores = scores_of(Oracle(draw_dataset(0, 3)), tmp_path / "images")
    figures = summarise(scores)
    assert figures.n == len(scores) == 6
    assert (figures.instance_iou, figures.class_iou, figures.boundary_iou) == (1, 1, 1)
    assert {score.expected_iou for score in scores} == {0.25}
    assert figures.box_iou < 0.9


def test_a_predictor_that_fills_the_box_scores_the_baseline(
    draw_dataset: Draw, tmp_path: Path
) -> None:
    figures = summarise(scores_of(Oracle(draw_dataset(0, 3), boxer=True), tmp_path / "images"))
    assert figures.instance_iou == figures.box_iou
    assert figures.box_iou == pytest.approx(np.pi / 4, abs=0.05)  # an ellipse in its box


def test_the_baseline_is_the_iou_of_the_filled_box(draw_dataset: Draw, tmp_path: Path) -> None:
    data = draw_dataset(0, 1)
    for score, annotation in zip(
        scores_of(Oracle(data), tmp_path / "images"), data.annotations, strict=True
    ):
        assert annotation.rle is not None
        x0, y0, x1, y1 = map(int, annotation.box)
        assert score.box_iou == annotation.rle.area / ((x1 - x0) * (y1 - y0))
        assert (score.annotation_id, score.area) == (annotation.id, annotation.rle.area)


def test_a_filled_box_covers_the_pixels_it_touches_inside_the_image() -> None:
    like = fill_box((0, 0, 1, 1), RLE.from_runs(np.array([200]), 10, 20))
    mask = decode(fill_box((-4.0, 2.5, 3.5, 99.0), like))
    expected = np.zeros((10, 20), np.bool_)
    expected[2:, :4] = True
    assert np.array_equal(mask, expected)


def test_jitter_asks_a_second_time_with_other_boxes(draw_dataset: Draw, tmp_path: Path) -> None:
    oracle = Oracle(draw_dataset(0, 2))
    scores = scores_of(oracle, tmp_path / "images", jitter=0.05)
    assert len(oracle.asked) == 4
    assert summarise(scores).jittered_iou == 1
    for exact, moved in zip(oracle.asked[::2], oracle.asked[1::2], strict=True):
        shift = np.abs(np.subtract(exact, moved))
        assert (shift > 0).all()
        assert shift.max() < 8


def test_jitter_is_the_same_each_time(draw_dataset: Draw, tmp_path: Path) -> None:
    data = draw_dataset(0, 1)
    first, second = Oracle(data), Oracle(data)
    for oracle in (first, second):
        scores_of(oracle, tmp_path / "images", jitter=0.05)
    assert first.asked == second.asked


def test_without_jitter_nothing_is_asked_twice(draw_dataset: Draw, tmp_path: Path) -> None:
    oracle = Oracle(draw_dataset(0, 2))
    scores = scores_of(oracle, tmp_path / "images")
    assert len(oracle.asked) == 2
    assert summarise(scores).jittered_iou is None


def test_the_threshold_reaches_the_predictor(draw_dataset: Draw, tmp_path: Path) -> None:
    oracle = cast(Predictor, Oracle(data := draw_dataset(0, 1)))
    parts = score_instances(oracle, data, tmp_path / "images", threshold=0.7, jitter=0.05)
    assert len(list(parts)) == 1


def test_crowds_and_boxes_without_mask_are_left_out(draw_dataset: Draw, tmp_path: Path) -> None:
    data = draw_dataset(0, 2)
    first, second, third, fourth = data.annotations
    changed = [first, replace(second, iscrowd=True), replace(third, rle=None), fourth]
    scores = scores_of(Oracle(replace(data, annotations=changed)), tmp_path / "images")
    assert [score.annotation_id for score in scores] == [first.id, fourth.id]


def test_a_real_predictor_is_measured_on_what_it_answers(
    predictor: Predictor, draw_dataset: Draw, tmp_path: Path
) -> None:
    data = draw_dataset(0, 1)
    (part,) = score_instances(predictor, data, tmp_path / "images")
    image = read_image(tmp_path / "images" / "0.png")
    masks = predictor.predict(image, [a.box for a in data.annotations]).masks()
    truths = [a.rle for a in data.annotations if a.rle is not None]
    assert [score.iou for score in part] == list(map(iou, masks, truths))
    assert all(score.seconds > 0 for score in part)


def test_class_and_instance_means_differ_where_classes_do_in_number() -> None:
    scores = [replace(SCORE, category_id=1, iou=0.9)] * 3 + [replace(SCORE, category_id=2, iou=0.1)]
    figures = summarise(scores)
    assert figures.instance_iou == pytest.approx(0.7)
    assert figures.class_iou == pytest.approx(0.5)
    assert by_category(scores) == pytest.approx({1: 0.9, 2: 0.1})


def test_sizes_are_those_of_the_true_mask() -> None:
    scores = [replace(SCORE, area=area, iou=iou) for area, iou in ((1023, 0.2), (1024, 0.6))]
    figures = summarise(scores)
    assert (figures.small, figures.medium, figures.large) == (0.2, 0.6, None)


def test_the_time_of_a_box_is_the_median() -> None:
    scores = [replace(SCORE, seconds=seconds) for seconds in (0.1, 0.2, 9.0)]
    assert summarise(scores).seconds_per_box == 0.2


def test_the_jittered_mean_is_over_those_that_were_jittered() -> None:
    scores = [SCORE, replace(SCORE, jittered_iou=0.25)]
    assert summarise(scores).jittered_iou == 0.25


def test_figures_have_exactly_the_promised_keys() -> None:
    figures = json.loads(json.dumps(summarise([SCORE]).to_dict()))
    promised = "n instance_iou class_iou boundary_iou small medium large jittered_iou box_iou"
    assert list(figures) == [*promised.split(), "seconds_per_box"]


def test_nothing_cannot_be_summarised() -> None:
    with pytest.raises(ValueError, match="no instance"):
        summarise([])
