"""Losses equal their formulas, written out in plain Python."""

import math

import pytest
import torch
from torch import Tensor

from mal_core.losses import dice_loss, mask_loss


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def brute_force_dice(probs: list[float], target: list[float], smooth: float) -> float:
    both = sum(a * b for a, b in zip(probs, target, strict=True))
    return 1 - 2 * both / (sum(a * a for a in probs) + sum(b * b for b in target) + smooth)


def brute_force_fit(logits: Tensor, target: Tensor) -> float:
    """2 BCE, the mean over all cells, and Dice with smooth 1, the mean over the items."""
    probs = [[1 / (1 + math.exp(-v)) for v in item.flatten().tolist()] for item in logits]
    truth = [item.flatten().tolist() for item in target]
    bce = [
        -t * math.log(p) - (1 - t) * math.log(1 - p)
        for row, wanted in zip(probs, truth, strict=True)
        for p, t in zip(row, wanted, strict=True)
    ]
    dice = [brute_force_dice(row, wanted, 1) for row, wanted in zip(probs, truth, strict=True)]
    return 2 * sum(bce) / len(bce) + sum(dice) / len(dice)


@pytest.mark.parametrize("smooth", [1e-3, 1.0])
def test_dice_equals_its_formula_for_each_item(smooth: float) -> None:
    probs, target = numbers(3, 4, 5), numbers(3, 4, 5, seed=1)
    expected = [
        brute_force_dice(p.flatten().tolist(), t.flatten().tolist(), smooth)
        for p, t in zip(probs, target, strict=True)
    ]
    assert dice_loss(probs, target, smooth).tolist() == pytest.approx(expected, abs=1e-6)


def test_dice_runs_from_nearly_nothing_to_one() -> None:
    left = torch.zeros(1, 8, 8)
    left[..., :4] = 1
    assert float(dice_loss(left, left, 1e-3)) == pytest.approx(0, abs=1e-4)
    assert float(dice_loss(left, 1 - left, 1e-3)) == 1
    assert float(dice_loss(left * 0, left * 0, 1e-3)) == 1


def test_the_mask_loss_weighs_both_strides() -> None:
    coarse, fine = 4 * numbers(2, 3, 3) - 2, 4 * numbers(2, 6, 6, seed=1) - 2
    target = numbers(2, 6, 6, seed=2)
    small = target.reshape(2, 3, 2, 3, 2).mean((2, 4))
    expected = brute_force_fit(fine, target) + 0.4 * brute_force_fit(coarse, small)
    assert float(mask_loss(coarse, fine, target)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("value", [-1e4, -100.0, 0.0, 100.0, 1e4])
@pytest.mark.parametrize("wanted", [0.0, 1.0])
def test_the_gradient_is_finite_at_extremes(value: float, wanted: float) -> None:
    coarse = torch.full((1, 4, 4), value, requires_grad=True)
    fine = torch.full((1, 8, 8), value, requires_grad=True)
    loss = mask_loss(coarse, fine, torch.full((1, 8, 8), wanted))
    loss.backward()
    assert coarse.grad is not None
    assert fine.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(coarse.grad).all()
    assert torch.isfinite(fine.grad).all()


def test_the_loss_pulls_towards_the_target() -> None:
    fine = torch.zeros(1, 4, 4, requires_grad=True)
    target = torch.zeros(1, 4, 4)
    target[..., :2] = 1
    mask_loss(torch.zeros(1, 2, 2), fine, target).backward()
    assert fine.grad is not None
    assert (fine.grad[..., :2] < 0).all()
    assert (fine.grad[..., 2:] > 0).all()


def test_dice_refuses_maps_of_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"shapes differ: \(1, 4, 4\) and \(1, 4, 5\)"):
        dice_loss(numbers(1, 4, 4), numbers(1, 4, 5), 1.0)


@pytest.mark.parametrize(
    ("coarse", "fine"),
    [
        pytest.param((1, 4, 4), (1, 4, 4), id="coarse"),
        pytest.param((1, 2, 2), (1, 8, 8), id="fine"),
    ],
)
def test_the_mask_loss_refuses_maps_of_other_shapes(
    coarse: tuple[int, ...], fine: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="size"):
        mask_loss(numbers(*coarse), numbers(*fine), numbers(1, 4, 4))
