"""Losses equal their formulas, written out in plain Python."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from mal_core.config import CRFConfig, LossConfig
from mal_core.crf import mean_field
from mal_core.losses import (
    BoxBatch,
    box_only_loss,
    crf_loss,
    dice_loss,
    mask_losses,
    mil_loss,
    pairwise_loss,
    teacher_loss,
    warmup,
)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def mask_loss(coarse: Tensor, fine: Tensor, target: Tensor) -> Tensor:
    return mask_losses(coarse, fine, target).mean()


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


def test_the_mask_loss_of_each_item_is_as_if_it_were_alone() -> None:
    maps = 4 * numbers(3, 3, 3) - 2, 4 * numbers(3, 6, 6, seed=1) - 2, numbers(3, 6, 6, seed=2)
    alone = [float(mask_loss(*(x[i : i + 1] for x in maps))) for i in range(3)]
    assert mask_losses(*maps).tolist() == pytest.approx(alone, abs=1e-6)
    assert float(mask_loss(*maps)) == pytest.approx(sum(alone) / 3, abs=1e-6)


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


def box_map(low: int = 15, high: int = 113, size: int = 128) -> Tensor:
    box = torch.zeros(1, size, size)
    box[:, low:high, low:high] = 1
    return box


def test_bags_equal_their_formula() -> None:
    probs, box = numbers(2, 4, 5), (numbers(2, 4, 5, seed=1) > 0.6).float()
    for i in range(2):
        p, b = probs[i].tolist(), box[i].tolist()
        rows = brute_force_dice([max(r) for r in p], [max(r) for r in b], 1e-3)
        columns = brute_force_dice(
            [max(c) for c in zip(*p, strict=True)], [max(c) for c in zip(*b, strict=True)], 1e-3
        )
        assert float(mil_loss(probs, box)[i]) == pytest.approx(rows + columns, abs=1e-5)


@pytest.mark.parametrize(
    ("answer", "expected", "tolerance"),
    [
        pytest.param(box_map(), 0, 1e-3, id="full-box"),
        pytest.param(torch.eye(128)[None] * box_map(), 0, 1e-3, id="diagonal"),
        pytest.param(torch.zeros(1, 128, 128), 2, 0, id="empty"),
        pytest.param(1 - box_map(), 0.27, 0.005, id="inverted"),
    ],
)
def test_bags_have_the_known_values(answer: Tensor, expected: float, tolerance: float) -> None:
    assert float(mil_loss(answer, box_map())) == pytest.approx(expected, abs=tolerance)


def test_the_crf_loss_is_dice_where_kept_and_nothing_elsewhere() -> None:
    probs, refined = numbers(2, 3, 4).requires_grad_(), (numbers(2, 3, 4, seed=1) > 0.5).float()
    loss = crf_loss(probs, refined, torch.tensor([True, False]))
    wanted = brute_force_dice(probs[0].flatten().tolist(), refined[0].flatten().tolist(), 1e-3)
    assert loss.tolist() == pytest.approx([wanted, 0], abs=1e-6)
    loss.sum().backward()
    assert probs.grad is not None
    assert bool(probs.grad[0].any())
    assert not bool(probs.grad[1].any())


def crops(count: int = 3, size: int = 12, seed: int = 0) -> BoxBatch:
    image = 0.25 * torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
    valid = torch.ones(count, size, size)
    valid[:, :2], valid[..., 11] = 0, 0
    box = torch.zeros(count, size, size)
    box[:, 2:9, 3:10] = 1
    return BoxBatch(image, box, valid)


def brute_force_pairwise(logits: Tensor, batch: BoxBatch, config: LossConfig, item: int) -> float:
    image, box, valid = (x[item] for x in (batch.image, batch.box, batch.valid))
    height, width = box.shape
    reach = (-config.pairwise_dilation, 0, config.pairwise_dilation)
    losses = []
    for y, x in ((y, x) for y in range(height) for x in range(width)):
        for v, u in ((y + dy, x + dx) for dy in reach for dx in reach if (dy, dx) > (0, 0)):
            if not (0 <= v < height and 0 <= u < width and valid[y, x] and valid[v, u]):
                continue
            similarity = math.exp(
                -math.dist(image[:, y, x], image[:, v, u]) / config.pairwise_theta
            )
            if similarity >= config.pairwise_similarity and (box[y, x] or box[v, u]):
                p, q = (1 / (1 + math.exp(-float(logits[item][i]))) for i in ((y, x), (v, u)))
                losses.append(-math.log(p * q + (1 - p) * (1 - q)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize(
    "config",
    [LossConfig(), LossConfig(pairwise_theta=0.2, pairwise_similarity=0.1, pairwise_dilation=1)],
    ids=["defaults", "others"],
)
def test_the_pairwise_loss_equals_its_formula(config: LossConfig) -> None:
    batch, logits = crops(), 6 * numbers(3, 12, 12) - 3
    expected = [brute_force_pairwise(logits, batch, config, i) for i in range(3)]
    assert pairwise_loss(logits, batch, config).tolist() == pytest.approx(expected, rel=1e-4)


def test_the_pairwise_loss_is_nothing_where_no_colours_are_alike() -> None:
    batch = crops()
    far = BoxBatch(1000 * batch.image, batch.box, batch.valid)
    assert pairwise_loss(numbers(3, 12, 12), far, LossConfig()).tolist() == [0, 0, 0]


def test_the_pairwise_loss_is_finite_at_extremes() -> None:
    batch = crops()
    logits = (1e4 * torch.where(numbers(3, 12, 12) > 0.5, 1.0, -1.0)).requires_grad_()
    loss = pairwise_loss(logits, batch, LossConfig()).sum()
    loss.backward()
    assert logits.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_the_teacher_s_mask_teaches_by_how_sure_the_teacher_is() -> None:
    batch, logits, teacher = crops(), numbers(3, 12, 12) - 0.5, 8 * numbers(3, 12, 12, seed=1) - 4
    for item, got in enumerate(teacher_loss(logits, teacher, batch).tolist()):
        bce, both, squares = 0.0, 0.0, 1.0
        for y, x in itertools.product(range(12), repeat=2):
            t = float(teacher[item, y, x].sigmoid() * batch.box[item, y, x])
            s = float(logits[item, y, x].sigmoid())
            valid, label = float(batch.valid[item, y, x]), float(t > 0.5)
            bce -= valid * abs(2 * t - 1) * math.log(s if label else 1 - s) / 144
            both, squares = both + valid * s * label, squares + valid * s * s + label
        assert got == pytest.approx(bce + (1 - 2 * both / squares) / 2, abs=1e-5)


def test_a_teacher_that_cannot_decide_teaches_less_than_a_sure_one() -> None:
    gradients = []
    for certainty in (0.0, -9.0):
        logits = (numbers(3, 12, 12) - 0.5).requires_grad_()
        teacher_loss(logits, torch.full((3, 12, 12), certainty), crops()).sum().backward()
        assert logits.grad is not None
        gradients.append(logits.grad[crops().box > 0].abs())
    assert bool((gradients[0] < gradients[1]).all())


SETTINGS = LossConfig(mil_warmup=0.2, crf_warmup=0.5, teacher_weight=0.7), CRFConfig(zeta=0.5)


@pytest.mark.parametrize(
    ("progress", "mil", "rest"), [(0, 0, 0), (0.1, 0.5, 0.2), (0.25, 1, 0.5), (1, 1, 1)]
)
def test_the_parts_add_up_with_their_warm_ups(progress: float, mil: float, rest: float) -> None:
    student, teacher = 6 * numbers(3, 12, 12) - 3, 6 * numbers(3, 12, 12, seed=1) - 3
    loss, parts = box_only_loss(student, teacher, crops(), progress, *SETTINGS)
    weights = {"mil": 4 * mil, "crf": 0.5 * rest, "pairwise": rest, "teacher": 0.7 * rest}
    expected = sum(weight * parts[name] for name, weight in weights.items())
    assert isinstance(expected, Tensor)
    assert loss.tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_each_part_is_its_own_function() -> None:
    student, teacher = 6 * numbers(3, 12, 12) - 3, 6 * numbers(3, 12, 12, seed=1) - 3
    batch = crops()
    _, parts = box_only_loss(student, teacher, batch, 1, *SETTINGS)
    probs = student.sigmoid() * batch.valid
    start = (student.sigmoid() + teacher.sigmoid()) / 2
    refined = mean_field(batch.image, start, batch.box, batch.valid, SETTINGS[1])
    assert torch.allclose(parts["mil"], mil_loss(probs, batch.box))
    assert torch.allclose(parts["crf"], crf_loss(probs, refined, torch.ones(3)) * parts["taught"])
    assert torch.allclose(parts["pairwise"], pairwise_loss(student, batch, SETTINGS[0]))
    assert torch.allclose(parts["teacher"], teacher_loss(student, teacher, batch))
    assert torch.allclose(parts["fill"], refined.sum((1, 2)) / 49)
    assert parts["taught"].tolist() == [float(0.05 <= f <= 0.95) for f in parts["fill"].tolist()]


def test_items_of_a_batch_have_the_losses_they_have_alone() -> None:
    student, teacher, batch = 6 * numbers(3, 12, 12) - 3, 4 * numbers(3, 12, 12) - 2, crops()
    together, _ = box_only_loss(student, teacher, batch, 1, *SETTINGS)
    for i in range(3):
        part = slice(i, i + 1)
        one = BoxBatch(batch.image[part], batch.box[part], batch.valid[part])
        alone, _ = box_only_loss(student[part], teacher[part], one, 1, *SETTINGS)
        assert float(alone) == pytest.approx(float(together[i]), abs=1e-6)


def test_only_the_student_learns() -> None:
    student, teacher = (numbers(3, 12, 12, seed=i).requires_grad_() for i in range(2))
    loss, parts = box_only_loss(student, teacher, crops(), 1, *SETTINGS)
    loss.sum().backward()
    assert student.grad is not None
    assert bool(student.grad.any())
    assert teacher.grad is None
    assert not any(part.requires_grad for part in parts.values())


def test_pixels_outside_the_image_change_nothing() -> None:
    student, teacher, batch = 6 * numbers(3, 12, 12) - 3, numbers(3, 12, 12, seed=1), crops()
    before, _ = box_only_loss(student, teacher, batch, 1, *SETTINGS)
    for x in (student, teacher):
        x[:, :2] = 9
    batch.image[:, :, :2] = 7
    after, _ = box_only_loss(student, teacher, batch, 1, *SETTINGS)
    assert torch.equal(before, after)


@pytest.mark.parametrize("name", ["pairwise", "teacher"])
def test_a_weight_of_0_leaves_a_term_out(name: str) -> None:
    config = LossConfig(pairwise_weight=0, teacher_weight=0)
    _, parts = box_only_loss(
        numbers(3, 12, 12), numbers(3, 12, 12), crops(), 1, config, CRFConfig()
    )
    assert parts[name].tolist() == [0, 0, 0]


def test_box_only_losses_are_float32_under_autocast() -> None:
    student, teacher = 6 * numbers(3, 12, 12) - 3, 4 * numbers(3, 12, 12, seed=1) - 2
    expected, _ = box_only_loss(student, teacher, crops(), 1, *SETTINGS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = box_only_loss(student, teacher, crops(), 1, *SETTINGS)
    assert loss.dtype is torch.float32
    assert torch.equal(loss, expected)


@pytest.mark.parametrize(
    ("progress", "share", "factor"),
    [(0, 0, 1), (0, 0.1, 0), (0.05, 0.1, 0.5), (0.1, 0.1, 1), (1, 0.1, 1), (0.5, 1, 0.5)],
)
def test_a_weight_climbs_linearly(progress: float, share: float, factor: float) -> None:
    assert warmup(progress, share) == factor


def test_crops_shrink_to_the_grid_of_the_logits() -> None:
    colours, valid, box = numbers(1, 3, 8, 8), torch.ones(1, 8, 8), torch.zeros(1, 8, 8)
    valid[:, :, :3] = 0  # the second column of cells is half outside: not most of it is inside
    box[:, :5, 2:8] = 1
    batch = BoxBatch.from_crops(colours, box, valid, stride=2)
    assert batch.valid[0].tolist() == [[0, 0, 1, 1]] * 4
    assert batch.box[0].tolist() == [[0, 0, 1, 1]] * 2 + [[0, 0, 0, 0]] * 2
    cell = colours[0, 0, :2, 4:6].mean()
    assert float(batch.image[0, 0, 0, 2]) == pytest.approx((float(cell) - 0.485) / 0.229, abs=1e-5)
    assert bool((batch.image[..., :2] == 0).all())
