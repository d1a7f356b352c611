"""Losses of a fine-tune equal their formulas: cells of unequal weight, and distillation."""

import math

import pytest
import torch
from torch import Tensor

from mal_core.losses import distil_losses, mask_losses


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def brute_force_dice(probs: list[float], target: list[float]) -> float:
    both = sum(a * b for a, b in zip(probs, target, strict=True))
    return 1 - 2 * both / (sum(a * a for a in probs) + sum(b * b for b in target) + 1)


def test_a_cell_that_counts_nothing_has_no_say_at_either_stride() -> None:
    coarse, fine = 4 * numbers(2, 3, 3) - 2, 4 * numbers(2, 6, 6, seed=1) - 2
    target, weight = numbers(2, 6, 6, seed=2), torch.ones(2, 6, 6)
    weight[:, 1:4, 2:5] = 0  # cuts through the cells of stride 4
    other = torch.where(weight > 0, target, 1 - target)
    first, second = (mask_losses(coarse, fine, t, weight) for t in (target, other))
    assert first.tolist() == pytest.approx(second.tolist(), abs=1e-6)
    assert first.tolist() != pytest.approx(mask_losses(coarse, fine, target).tolist(), abs=1e-3)
    fine.requires_grad_(True)
    mask_losses(coarse, fine, target, weight).sum().backward()
    assert fine.grad is not None
    assert not fine.grad[weight == 0].any()


def test_only_the_proportions_of_weights_matter() -> None:
    maps = 4 * numbers(2, 3, 3) - 2, 4 * numbers(2, 6, 6, seed=1) - 2, numbers(2, 6, 6, seed=2)
    plain = [mask_losses(*maps, torch.full((2, 6, 6), value)) for value in (1.0, 1.0 + 1e-6)]
    assert plain[0].tolist() == pytest.approx(mask_losses(*maps).tolist(), abs=1e-6)
    assert plain[1].tolist() == pytest.approx(plain[0].tolist(), abs=1e-4)


def test_a_cell_of_weight_three_counts_as_three_cells() -> None:
    """The same logits and targets, written out three times each, in one row."""
    fine, target = 4 * numbers(1, 2, 2) - 2, numbers(1, 2, 2, seed=1)
    weight = torch.tensor([[[3.0, 1.0], [2.0, 1.0]]])
    counts = weight.flatten().long()
    long_fine, long_target = (x.flatten().repeat_interleave(counts) for x in (fine, target))
    coarse = torch.zeros(1, 1, 1)
    small = (target * weight).sum() / weight.sum()
    dice = brute_force_dice(
        [1 / (1 + math.exp(-v)) for v in long_fine.tolist()], long_target.tolist()
    )
    bce = torch.nn.functional.binary_cross_entropy_with_logits(long_fine, long_target)
    half = 0.5 * float(weight.mean()) ** 0.5
    goal = float(small) * float(weight.mean()) ** 0.5
    coarse_fit = 2 * math.log(2) + brute_force_dice([half], [goal])
    expected = 2 * float(bce) + dice + 0.4 * coarse_fit
    assert float(mask_losses(coarse, fine, target, weight)) == pytest.approx(expected, abs=1e-5)


def test_an_item_whose_cells_all_count_nothing_teaches_nothing() -> None:
    fine = (4 * numbers(1, 6, 6) - 2).requires_grad_(True)
    loss = mask_losses(torch.zeros(1, 3, 3), fine, numbers(1, 6, 6), torch.zeros(1, 6, 6))
    loss.sum().backward()
    assert bool(torch.isfinite(loss).all())
    assert fine.grad is not None
    assert not fine.grad.any()


def test_distillation_is_the_divergence_of_the_two_answers() -> None:
    student, parent = 6 * numbers(2, 3, 4) - 3, 6 * numbers(2, 3, 4, seed=1) - 3
    expected = []
    for mine, theirs in zip(student.flatten(1).tolist(), parent.flatten(1).tolist(), strict=True):
        total = 0.0
        for a, b in zip(mine, theirs, strict=True):
            q, p = 1 / (1 + math.exp(-a)), 1 / (1 + math.exp(-b))
            total += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
        expected.append(total / 12)
    assert distil_losses(student, parent).tolist() == pytest.approx(expected, abs=1e-5)
    assert min(expected) > 0


@pytest.mark.parametrize("value", [-1e4, -30.0, 0.0, 30.0, 1e4])
def test_a_student_that_answers_as_its_parent_has_nothing_to_learn(value: float) -> None:
    student = torch.full((1, 4, 4), value, requires_grad=True)
    loss = distil_losses(student, torch.full((1, 4, 4), value))
    loss.sum().backward()
    assert float(loss.detach()) == 0
    assert student.grad is not None
    assert float(student.grad.abs().max()) < 1e-6
