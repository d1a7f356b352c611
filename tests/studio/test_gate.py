"""When new weights may replace the ones in use: the gate as a table."""

from typing import Any

import numpy as np
import pytest

from app.gate import judge
from app.records import ModelState

PROMOTED, REJECTED, UNDECIDED = ModelState.PROMOTED, ModelState.REJECTED, ModelState.UNDECIDED
NAN = float("nan")


def gain(mean: float, low: float, high: float, n: int = 12) -> dict[str, Any]:
    return {"mean": mean, "low": low, "high": high, "n": n}


def category(before: float, after: float, n: int = 6) -> dict[str, Any]:
    return {"before": before, "after": after, "n": n}


BETTER = {
    "gain": gain(0.05, 0.01, 0.09),
    "boundary_gain": gain(0.02, -0.01, 0.05),
    "categories": {"leaf": category(0.7, 0.75)},
    "probe": category(0.9, 0.9, 30),
    "best_epoch": 3,
}


@pytest.mark.parametrize(
    ("changes", "images", "state", "words"),
    [
        pytest.param({}, 3, PROMOTED, "surely better", id="surely better"),
        pytest.param({"gain": gain(0.05, 0.0, 0.1)}, 3, PROMOTED, "better outlines",
                     id="the interval touches zero, but the outlines are better"),
        pytest.param({"gain": gain(0.05, 0.0, 0.1), "boundary_gain": gain(0.0, 0, 0)}, 3, REJECTED,
                     "not surely better", id="the interval touches zero, outlines as before"),
        pytest.param({"gain": gain(-0.005, -0.02, 0.01)}, 3, PROMOTED, "as good",
                     id="as good, with better outlines"),
        pytest.param({"gain": gain(-0.0051, -0.02, 0.01)}, 3, REJECTED, "not surely better",
                     id="a little worse, with better outlines"),
        pytest.param({"gain": gain(-0.002, -0.02, 0.01), "boundary_gain": gain(-0.001, 0, 0)}, 3,
                     REJECTED, "not surely better", id="as good, with worse outlines"),
        pytest.param({"categories": {"leaf": category(0.7, 0.8), "pod": category(0.8, 0.77)}}, 3,
                     PROMOTED, "surely", id="a category falls by as much as it may"),
        pytest.param({"categories": {"leaf": category(0.7, 0.8), "pod": category(0.8, 0.769)}}, 3,
                     REJECTED, "pod 0.800 to 0.769 on 6 masks", id="a category falls by more"),
        pytest.param({"probe": category(0.9, 0.89, 30)}, 3, PROMOTED, "surely",
                     id="the probe falls by as much as it may"),
        pytest.param({"probe": category(0.9, 0.889, 30)}, 3, REJECTED, "it forgets: on 30",
                     id="the probe falls by more"),
        pytest.param({"probe": None}, 3, PROMOTED, "surely", id="there is no probe"),
        pytest.param({"gain": gain(0.2, 0.1, 0.3, 7)}, 3, UNDECIDED, "7 held-out masks, images: 3",
                     id="too few masks"),
        pytest.param({"gain": gain(0.2, 0.1, 0.3, 8)}, 2, PROMOTED, "surely",
                     id="just enough of both"),
        pytest.param({"gain": gain(0.2, 0.1, 0.3, 80)}, 1, UNDECIDED,
                     "80 held-out masks, images: 1", id="all on one image"),
        pytest.param({"gain": gain(-0.3, -0.5, -0.1, 3)}, 1, UNDECIDED, "too few",
                     id="too few to refuse, too"),
        pytest.param({"gain": None, "boundary_gain": None, "categories": {}}, 0, UNDECIDED,
                     "no held-out mask", id="none at all"),
        pytest.param({"gain": None, "boundary_gain": None, "categories": {},
                      "probe": category(0.9, 0.5, 30)}, 0, REJECTED, "it forgets",
                     id="none at all, and it forgets"),
        pytest.param({"gain": gain(0.2, 0.1, 0.3, 3), "probe": category(0.9, 0.5, 30)}, 1, REJECTED,
                     "it forgets", id="too few, and it forgets"),
        pytest.param({"best_epoch": 0}, 3, REJECTED, "no epoch beat", id="the parent itself"),
        pytest.param({"gain": gain(NAN, NAN, NAN)}, 3, REJECTED, "not a number", id="NaN gain"),
        pytest.param({"probe": category(0.9, NAN)}, 3, REJECTED, "not a number", id="NaN probe"),
        pytest.param({"categories": {"leaf": category(0.9, NAN)}}, 3, REJECTED, "not a number",
                     id="NaN category"),
        pytest.param({"boundary_gain": gain(float("inf"), 0, 0)}, 3, REJECTED, "not a number",
                     id="infinite outlines"),
    ],
)  # fmt: skip
def test_the_gate(changes: dict[str, Any], images: int, state: ModelState, words: str) -> None:
    verdict = judge(BETTER | changes, images)
    assert verdict.state is state
    assert words in verdict.reason


@pytest.mark.parametrize("seed", range(20))
def test_weights_that_learned_random_masks_are_refused(seed: int) -> None:
    """Held-out masks are right, training masks were not: the IoU falls on most of them."""
    random = np.random.default_rng(seed)
    before = random.uniform(0.6, 0.95, 12)
    after = before * random.uniform(0.2, 1.02, 12)
    change = after - before
    means = [random.choice(change, 12).mean() for _ in range(500)]
    low, high = np.percentile(means, [2.5, 97.5])
    figures = {
        "gain": gain(float(change.mean()), float(low), float(high)),
        "boundary_gain": gain(float(change.mean()), float(low), float(high)),
        "categories": {"leaf": category(float(before.mean()), float(after.mean()), 12)},
    }
    assert judge(BETTER | figures, 3).state is REJECTED
