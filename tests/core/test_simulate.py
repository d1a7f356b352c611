"""A simulated stroke goes where the answer is wrong, and says only what is true."""

import numpy as np
import pytest
import torch

from mal_core.simulate import draw_stroke, show_strokes
from mal_core.views import View

TRUTH = np.zeros((32, 32), np.bool_)
TRUTH[8:24, 8:24] = True
EVERYWHERE = np.ones((32, 32), np.bool_)


def left_half() -> np.ndarray:
    answer = TRUTH.copy()
    answer[:, 16:] = False
    return answer


@pytest.mark.parametrize("seed", range(5))
def test_what_is_missing_gets_an_adding_stroke(seed: int) -> None:
    adds, erases = draw_stroke(left_half(), TRUTH, EVERYWHERE, np.random.default_rng(seed))
    assert adds.any()
    assert not erases.any()
    assert not (adds & ~TRUTH).any()
    assert (adds & TRUTH & ~left_half()).any()


@pytest.mark.parametrize("seed", range(5))
def test_what_is_too_much_gets_an_erasing_stroke(seed: int) -> None:
    answer = TRUTH.copy()
    answer[0:7, :] = True
    adds, erases = draw_stroke(answer, TRUTH, EVERYWHERE, np.random.default_rng(seed))
    assert erases.any()
    assert not adds.any()
    assert not (erases & TRUTH).any()


def test_a_right_answer_and_errors_elsewhere_get_none() -> None:
    random = np.random.default_rng(0)
    assert not draw_stroke(TRUTH, TRUTH, EVERYWHERE, random).any()
    assert not draw_stroke(left_half(), TRUTH, ~EVERYWHERE, random).any()
    speck = TRUTH.copy()
    speck[0, 0] = True
    assert not draw_stroke(speck, TRUTH, EVERYWHERE, random).any()


def test_both_kinds_of_error_get_strokes_in_proportion() -> None:
    answer = left_half()
    answer[8:24, 0:8] = True  # as much too much as is missing
    kinds = [
        draw_stroke(answer, TRUTH, EVERYWHERE, np.random.default_rng(s))[0].any() for s in range(60)
    ]
    assert 15 < sum(kinds) < 45


def make_views() -> tuple[View, torch.Tensor]:
    """Two views, the first with a mask; the answer misses the right half."""
    box = torch.zeros(2, 64, 64)
    box[:, 16:48, 16:48] = 1
    planes = torch.zeros(2, 4, 64, 64)
    planes[:, 0] = box
    target = torch.from_numpy(TRUTH).float().repeat(2, 1, 1)
    logits = torch.from_numpy(np.where(left_half(), 6.0, -6.0)).float().repeat(2, 1, 1)
    blank = torch.zeros(2, 3, 64, 64)
    facts = (torch.tensor([True, False]), torch.ones(2), torch.tensor([4, 5]))
    return View(blank, blank, box, planes, box, target, *facts), logits


def test_only_views_with_a_mask_are_shown_strokes_and_the_answer() -> None:
    view, logits = make_views()
    planes = show_strokes(view, logits, 1.0, 0)
    assert planes[0, 2].any()
    assert torch.equal(planes[0, 0], view.box[0])
    assert float(planes[0, 1].min()) == pytest.approx(-0.995, abs=0.01)
    assert float(planes[0, 1].max()) == pytest.approx(0.995, abs=0.01)
    assert torch.equal(planes[1], view.planes[1])
    assert not view.planes[:, 1:].any()


def test_strokes_depend_on_the_view_s_number_and_the_seed_alone() -> None:
    view, logits = make_views()
    assert torch.equal(show_strokes(view, logits, 1.0, 0), show_strokes(view, logits, 1.0, 0))
    assert not torch.equal(show_strokes(view, logits, 1.0, 0), show_strokes(view, logits, 1.0, 1))
    assert torch.equal(show_strokes(view, logits, 0.0, 0), view.planes)
