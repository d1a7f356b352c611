"""Calibration: the curve behind the numbers is found again, and the error is what it says."""

import math
from pathlib import Path

import numpy as np
import pytest

from mal_core import calibrate
from mal_core.calibrate import Calibration, calibration_error, features, fit
from mal_core.errors import CheckpointError
from mal_core.geometry import Image
from mal_core.predictor import Predictor

CURVE = Calibration(-0.7, 0.9, 0.6, 0.1)


def table(count: int) -> np.ndarray:
    random = np.random.default_rng(0)
    columns = random.normal(1, 1, count), random.uniform(0, 1, count), random.uniform(2, 6, count)
    return np.stack(columns, axis=1)


def test_the_formula_is_a_logistic_curve() -> None:
    (row,) = rows = table(1)
    total = -0.7 + 0.9 * row[0] + 0.6 * row[1] + 0.1 * row[2]
    assert CURVE.apply(rows) == pytest.approx([1 / (1 + math.exp(-total))])


def test_a_known_curve_is_found_again() -> None:
    rows = table(400)
    found = fit(rows, CURVE.apply(rows))
    for name in ("bias", "score", "fill", "size"):
        assert getattr(found, name) == pytest.approx(getattr(CURVE, name), abs=1e-3)


def test_a_higher_raw_score_never_means_less() -> None:
    rows = table(1).repeat(99, axis=0)
    rows[:, 0] = np.linspace(-4, 4, 99)
    assert (np.diff(CURVE.apply(rows)) > 0).all()


def test_an_iou_that_falls_with_the_score_is_refused() -> None:
    rows = table(400)
    with pytest.raises(ValueError, match="score above 0"):
        fit(rows, 1 - CURVE.apply(rows))


def test_too_few_masks_are_refused() -> None:
    with pytest.raises(ValueError, match="10 masks or more, got 9"):
        fit(table(9), np.ones(9))


def test_features_are_logit_fill_and_side(predictor: Predictor, scene: Image) -> None:
    prediction = predictor.predict(scene, [(50.0, 50.0, 170.0, 190.0)])
    (rle,) = prediction.masks()
    raw = float(prediction.scores[0])
    wanted = [math.log(raw / (1 - raw)), rle.area / (120 * 140), math.log(math.sqrt(120 * 140))]
    assert features(prediction, [rle]) == pytest.approx(np.array([wanted]), rel=1e-5)


def test_no_boxes_have_no_features(predictor: Predictor, scene: Image) -> None:
    assert features(predictor.predict(scene, []), []).shape == (0, 3)


def test_the_calibration_error_is_the_weighted_gap_of_the_bins() -> None:
    expected, ious = np.array([0.12, 0.18, 0.91, 1.0]), np.array([0.25, 0.25, 0.9, 0.8])
    by_hand = 2 / 4 * abs(0.15 - 0.25) + 2 / 4 * abs(0.955 - 0.85)
    assert calibration_error(expected, ious) == pytest.approx(by_hand)
    assert calibration_error(ious, ious) == 0


def test_a_saved_calibration_is_read_for_its_own_weights_only(tmp_path: Path) -> None:
    path = calibrate.beside(tmp_path / "w.safetensors")
    assert path.name == "w.calibration.json"
    assert calibrate.load(path, "a" * 64) is None
    calibrate.save(CURVE, path, "a" * 64, {"masks": 3})
    assert calibrate.load(path, "a" * 64) == CURVE
    assert calibrate.load(path, "b" * 64) is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="no-json"),
        pytest.param("[]", id="no-object"),
        pytest.param('{"weights": "a"}', id="no-numbers"),
        pytest.param('{"weights": "a", "coefficients": {"bias": 1}}', id="too-few"),
        pytest.param(
            '{"weights": "a", "coefficients": {"bias": 1, "score": -1, "fill": 0, "size": 0}}',
            id="falling",
        ),
    ],
)
def test_a_damaged_calibration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "w.calibration.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"w\.calibration\.json is not a calibration"):
        calibrate.load(path, "a")
