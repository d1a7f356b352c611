"""From the network's own score to the IoU to expect, by four numbers fitted on known masks.

The numbers lie beside the weights they were fitted for, W.calibration.json beside W.safetensors.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from mal_core.errors import CheckpointError
from mal_core.files import write_whole
from mal_core.masks import RLE
from mal_core.predictor import Prediction

EDGE = 0.01  # raw scores nearer to 0 or 1 than this count as this near
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """expected IoU = sigmoid(bias + score logit(raw score) + fill * share + size * log side).

    Attributes:
        bias: the constant.
        score: of the raw score's logit; positive, so that a higher score never means less.
        fill: of the mask's share of its box, 0 to 1.
        size: of the log of the box's mean side, pixels.
    """

    bias: float
    score: float
    fill: float
    size: float

    def __post_init__(self) -> None:
        values = (self.bias, self.score, self.fill, self.size)
        if not all(map(math.isfinite, values)) or self.score <= 0:
            raise ValueError(f"four finite numbers, score above 0, make a calibration: {values}")

    def apply(self, table: Floats) -> Floats:
        """The IoU to expect.

        Args:
            table: (N, 3) of `features`.

        Returns:
            (N,) in [0, 1].
        """
        weights = np.array([self.score, self.fill, self.size])
        expected: Floats = expit(self.bias + table @ weights)
        return expected


def features(prediction: Prediction, masks: Sequence[RLE]) -> Floats:
    """What a calibration looks at.

    Args:
        prediction: answers for N boxes.
        masks: its N masks.

    Returns:
        (N, 3): logit of the raw score, the mask's share of its box, log of the box's mean side.
    """
    sides = [(x1 - x0, y1 - y0) for x0, y0, x1, y1 in prediction.rects]
    areas = np.array([width * height for width, height in sides], np.float64)  # (N,)
    raw = prediction.scores.astype(np.float64).clip(EDGE, 1 - EDGE)
    fills = np.array([rle.area for rle in masks]) / areas
    return np.stack([np.log(raw / (1 - raw)), fills, np.log(areas) / 2], axis=1)


def fit(table: Floats, ious: Floats) -> Calibration:
    """Fit a logistic curve to known IoUs, which count as chances.

    Args:
        table: (N, 3) of `features`.
        ious: (N,) in [0, 1], of the same masks with the true ones.

    Raises:
        ValueError: there are fewer than 10, or the IoU does not rise with the score.
    """
    if len(ious) < 10:
        raise ValueError(f"a calibration needs 10 masks or more, got {len(ious)}")
    columns = np.column_stack([np.ones(len(table)), table])  # (N, 4)

    def loss(weights: Floats) -> tuple[float, Floats]:
        """Mean cross-entropy, which is convex, and its slope."""
        logits = columns @ weights
        value = np.mean(np.logaddexp(0, logits) - ious * logits)
        return float(value), columns.T @ (expit(logits) - ious) / len(ious)

    as_it_is = np.array([0.0, 1.0, 0.0, 0.0])
    return Calibration(*map(float, minimize(loss, as_it_is, jac=True, tol=1e-7).x))


def calibration_error(expected: Floats, ious: Floats, bins: int = 10) -> float:
    """Expected calibration error: |mean expected - mean IoU| of each bin, weighted by its share.

    Args:
        expected: (N,) in [0, 1], N >= 1.
        ious: (N,) in [0, 1].
        bins: of equal width over the expected values.

    Source: Naeini et al., AAAI 2015.
    """
    bin_of = np.minimum((expected * bins).astype(np.int64), bins - 1)
    gaps = [abs((expected - ious)[bin_of == index].sum()) for index in range(bins)]
    return float(sum(gaps) / len(ious))


def beside(weights: Path) -> Path:
    """Where the calibration of a checkpoint file lies."""
    return weights.with_suffix(".calibration.json")


def save(calibration: Calibration, path: Path, sha256: str, notes: Mapping[str, Any]) -> None:
    """Write a calibration.

    Args:
        calibration: the four numbers.
        path: where to.
        sha256: of the weights it was fitted for, hexadecimal.
        notes: JSON-ready, what it was fitted on.

    Raises:
        OSError: the disk is full, or refuses.
    """
    document = {"weights": sha256, "coefficients": asdict(calibration), "notes": notes}
    write_whole(path, orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")


def keep(weights: Path, folder: Path, sha256: str) -> None:
    """Put a copy of a checkpoint's calibration beside its copy under its hash, if it has one.

    Args:
        weights: the checkpoint file the calibration lies beside; only read.
        folder: where checkpoints lie as <sha256>.safetensors.
        sha256: of the weights, hexadecimal.

    Raises:
        CheckpointError: the calibration is damaged, or the disk refuses.
    """
    source = beside(weights)
    if load(source, sha256) is None:
        return
    try:
        write_whole(beside(folder / f"{sha256}.safetensors"), source.read_bytes())
    except OSError as error:
        raise CheckpointError(f"cannot keep {source.name}: {error.strerror or error}") from error


def load(path: Path, sha256: str) -> Calibration | None:
    """Read a calibration; None where there is none for these weights.

    Raises:
        CheckpointError: the file is damaged, or not one of ours.
    """
    if not path.exists():
        return None
    try:
        document = orjson.loads(path.read_bytes())
        fitted_for, values = document["weights"], document["coefficients"]
        calibration = Calibration(**{name: float(value) for name, value in values.items()})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path.name} is not a calibration: {error!r:.200}") from error
    return calibration if fitted_for == sha256 else None
