"""A simulated annotator: where would a person's next stroke go, given the answer and the truth?

Source: random clicks in the error region, after Sofiiuk et al., RITM, 2021; capsules instead of
discs, as a brush draws them.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from mal_core.views import View

Grid = NDArray[np.bool_]
Places = NDArray[np.signedinteger]
RADII = (1.5, 6.5)  # of a brush, cells
REACH = 10.0  # typical length of a stroke, cells
MOST = 3  # strokes shown at once
SMALLEST_ERROR = 4  # cells; smaller ones nobody would correct


def show_strokes(view: View, logits: Tensor, share: float, seed: int) -> Tensor:
    """Draw strokes that correct an answer into the prompts of some views.

    Args:
        view: B views; only those with a mask can be shown strokes.
        logits: (B, s, s) float, the answer to the box alone.
        share: chance that a view is shown strokes.
        seed: of the run.

    Returns:
        (B, 4, S, S) float prompt planes: the answer and one to three strokes where a view was
        chosen, the view's own planes elsewhere.
    """
    planes = view.planes.clone()
    size = planes.shape[-1]
    for index in torch.nonzero(view.has_mask).flatten().tolist():
        random = np.random.default_rng([seed, int(view.number[index]), 1])
        if random.random() >= share:
            continue
        answer = (logits[index] > 0).cpu().numpy()
        truth = (view.target[index] > 0.5).cpu().numpy()
        inside = F.max_pool2d(view.box[index][None], 2)[0].cpu().numpy() > 0
        strokes = np.zeros((2, *truth.shape), np.bool_)
        for _ in range(int(random.integers(1, MOST + 1))):
            strokes |= draw_stroke(answer, truth, inside & ~strokes.any(0), random)
        shown = torch.from_numpy(strokes).to(planes)[None]
        previous = (2 * logits[index].sigmoid() - 1)[None, None]
        planes[index, 1] = F.interpolate(previous, (size, size), mode="bilinear")[0, 0]
        planes[index, 2:] = F.interpolate(shown, (size, size))[0]
    return planes


def draw_stroke(answer: Grid, truth: Grid, allowed: Grid, random: np.random.Generator) -> Grid:
    """Draw one stroke in an error of the answer.

    Args:
        answer: (s, s) bool, what the network says.
        truth: (s, s) bool, what it should say.
        allowed: (s, s) bool, where errors are looked for.
        random: source of the choices.

    Returns:
        (2, s, s) bool: what the stroke adds, what it takes away; a stroke adds only true cells and
        takes only false ones. All False where there is no error worth one.
    """
    strokes = np.zeros((2, *truth.shape), np.bool_)
    missing, extra = truth & ~answer & allowed, answer & ~truth & allowed
    total = int(missing.sum() + extra.sum())
    if not total:
        return strokes
    kind = int(random.random() * total >= missing.sum())
    errors = (missing, extra)[kind]
    if errors.sum() < SMALLEST_ERROR:
        return strokes
    density = ndimage.uniform_filter(errors.astype(np.float64), 9) * errors
    start = _pick(density, random)
    rows, columns = np.ogrid[: truth.shape[0], : truth.shape[1]]
    near = np.exp(-((rows - start[0]) ** 2 + (columns - start[1]) ** 2) / (2 * REACH**2))
    stop = _pick(near * errors, random)
    capsule = _capsule(rows, columns, start, stop, random.uniform(*RADII))
    strokes[kind] = capsule & (truth if kind == 0 else ~truth)
    return strokes


def _pick(weights: NDArray[np.float64], random: np.random.Generator) -> tuple[int, int]:
    """A cell, drawn in proportion to its weight."""
    edges = np.cumsum(weights)
    place = int(np.searchsorted(edges, random.random() * edges[-1], side="right"))
    row, column = divmod(min(place, weights.size - 1), weights.shape[1])
    return row, column


def _capsule(
    rows: Places,
    columns: Places,
    start: tuple[int, int],
    stop: tuple[int, int],
    radius: float,
) -> Grid:
    """Cells whose centre is within `radius` of the line from start to stop."""
    dy, dx = stop[0] - start[0], stop[1] - start[1]
    length = dy * dy + dx * dx or 1
    along = np.clip(((rows - start[0]) * dy + (columns - start[1]) * dx) / length, 0, 1)
    gap = (rows - start[0] - along * dy) ** 2 + (columns - start[1] - along * dx) ** 2
    hit: Grid = gap <= radius**2
    return hit
