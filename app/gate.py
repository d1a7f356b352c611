"""The gate: whether new weights may replace the ones in use. Pure; a table of rules.

It refuses weights that forget (the probe) or that learned nothing; asks where there are too few
held-out masks to say; refuses where a category loses; and lets through what is surely better, or
as good with better outlines. docs/adr/0010 says why these numbers.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.records import ModelState

MIN_HELD_MASKS, MIN_HELD_IMAGES = 8, 2
PROBE_FALL, CATEGORY_FALL, GAIN_FALL = 0.01, 0.03, 0.005
_ROUNDING = 1e-9
Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What becomes of new weights, and why, in a person's words."""

    state: ModelState  # promoted, rejected or undecided
    reason: str


def judge(result: Figures, held_out_images: int) -> Verdict:
    """Promote, refuse, or say that it takes a person.

    Args:
        result: the "judged" and "saved" events of the trainer, merged.
        held_out_images: number of images that the held-out masks lie on.
    """
    gain = result["gain"]
    if objection := _forgets(result):
        return Verdict(ModelState.REJECTED, objection)
    if gain is None:
        return Verdict(ModelState.UNDECIDED, "there is no held-out mask to judge by")
    change = _change(gain)
    if gain["n"] < MIN_HELD_MASKS or held_out_images < MIN_HELD_IMAGES:
        reason = (
            f"too few to judge by: {gain['n']} held-out masks, images: {held_out_images};"
            f" it takes {MIN_HELD_MASKS} on {MIN_HELD_IMAGES}; {change}"
        )
        return Verdict(ModelState.UNDECIDED, reason)
    if lost := [_loss(name, figures) for name, figures in _fallen(result["categories"])]:
        return Verdict(ModelState.REJECTED, f"a category got worse: {'; '.join(lost)}; {change}")
    return _weigh(gain, result["boundary_gain"], change)


def _weigh(gain: Figures, outline: Figures, change: str) -> Verdict:
    """Decide by the gain, and by the outlines where there is none to be sure of."""
    if gain["low"] > 0:
        return Verdict(ModelState.PROMOTED, f"surely better: {change}")
    outlines = f"Boundary IoU {outline['mean']:+.4f}"
    if gain["mean"] >= -GAIN_FALL - _ROUNDING and outline["mean"] > 0:
        return Verdict(ModelState.PROMOTED, f"as good, with better outlines: {change}, {outlines}")
    return Verdict(ModelState.REJECTED, f"not surely better: {change}, {outlines}")


def _forgets(result: Figures) -> str:
    """Why these weights are refused whatever the held-out masks say; "" if nothing is wrong."""
    if not all(map(math.isfinite, _numbers(result))):
        return "a figure is not a number"
    if result["best_epoch"] == 0:
        return "no epoch beat the model in use"
    probe = result["probe"]
    if probe is not None and probe["before"] - probe["after"] > PROBE_FALL + _ROUNDING:
        return (
            f"it forgets: on {probe['n']} objects of common photos the IoU falls from"
            f" {probe['before']:.4f} to {probe['after']:.4f}"
        )
    return ""


def _numbers(result: Figures) -> Iterator[float]:
    """Every figure that a rule compares."""
    for name in ("gain", "boundary_gain", "probe"):
        yield from (float(value) for value in (result[name] or {}).values())
    for category in result["categories"].values():
        yield from (category["before"], category["after"])


def _fallen(categories: Mapping[str, Figures]) -> list[tuple[str, Figures]]:
    limit = CATEGORY_FALL + _ROUNDING
    return [(n, c) for n, c in categories.items() if c["before"] - c["after"] > limit]


def _loss(name: str, category: Figures) -> str:
    return f"{name} {category['before']:.3f} to {category['after']:.3f} on {category['n']} masks"


def _change(gain: Figures) -> str:
    low, high = (f"{gain[key]:+.4f}" for key in ("low", "high"))
    return f"held-out IoU {gain['mean']:+.4f} (95 % interval {low} to {high}, {gain['n']} masks)"
