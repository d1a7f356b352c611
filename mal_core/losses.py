"""What training minimises: pure functions of logits and targets, in float32.

Every term is given for each item, so that data-parallel workers can average over the whole batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mal_core.config import CRFConfig, LossConfig
from mal_core.crf import Pairs, mean_field, teaches
from mal_core.model import normalise

COARSE_WEIGHT = 0.4  # of the stride-4 logits against the stride-2 ones
BCE_WEIGHT = 2.0
SMOOTH = 0.001  # of Dice in the box-only terms
TINY = 1e-6  # keeps a division by no weight finite


def dice_loss(probs: Tensor, target: Tensor, smooth: float) -> Tensor:
    """1 - 2 sum(ab) / (sum a^2 + sum b^2 + smooth), for each item.

    Args:
        probs: (B, ...) float in [0, 1].
        target: the same shape, float in [0, 1].
        smooth: keeps two empty maps finite, above zero.

    Returns:
        (B,) float: 1 when disjoint; when equal and 0/1, as near 0 as `smooth` is small.

    Raises:
        ValueError: if the shapes differ.

    Source: Milletari et al., 3DV 2016, as in Lan et al., CVPR 2023.
    """
    if probs.shape != target.shape:
        raise ValueError(f"shapes differ: {tuple(probs.shape)} and {tuple(target.shape)}")
    a, b = probs.flatten(1), target.flatten(1)
    return 1 - 2 * (a * b).sum(1) / ((a * a).sum(1) + (b * b).sum(1) + smooth)


def mask_losses(
    coarse: Tensor, fine: Tensor, target: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Fit masks that a person accepted or corrected: 2 BCE + Dice at both strides.

    Args:
        coarse: (B, s/2, s/2) logits at stride 4.
        fine: (B, s, s) logits at stride 2.
        target: (B, s, s) float in [0, 1], the share of each cell that the mask covers.
        weight: (B, s, s) float, 0 or more, what each cell counts against the others of its item;
            one that counts 0 has no say at either stride. None: all the same.

    Returns:
        (B,) float.

    Raises:
        ValueError: if the sizes do not fit.
    """
    weight = torch.ones_like(target) if weight is None else weight
    small_weight = _shrink(weight)  # (B, s/2, s/2)
    small = _shrink(target * weight) / small_weight.clamp(min=TINY)
    return _fit(fine, target, weight) + COARSE_WEIGHT * _fit(coarse, small, small_weight)


def distil_losses(student: Tensor, parent: Tensor) -> Tensor:
    """How far a network's answers have gone from its parent's: KL(parent | student), cell by cell.

    Args:
        student: (B, h, w) logits.
        parent: (B, h, w) logits, without gradient.

    Returns:
        (B,) float, the mean over the cells; 0 where they agree.

    Source: Hinton et al., 2015; against forgetting, Li and Hoiem, ECCV 2016.
    """
    logits, goal = student.float(), parent.float()
    probs = goal.sigmoid()
    gap = probs * (F.logsigmoid(goal) - F.logsigmoid(logits))
    gap = gap + (1 - probs) * (F.logsigmoid(-goal) - F.logsigmoid(-logits))
    return gap.mean((1, 2))


def mil_loss(probs: Tensor, box: Tensor) -> Tensor:
    """Ask every row and column that crosses the box to hold some foreground, and no other.

    Args:
        probs: (B, h, w) float in [0, 1], mask probabilities of the crop.
        box: (B, h, w) float in {0, 1}, one inside the box.

    Returns:
        (B,) float in [0, 2]: about 0 when row and column maxima equal those of the box, 2 for an
        empty map.

    Raises:
        ValueError: if the two shapes differ.

    Source: Lan et al., CVPR 2023, the MIL loss; after BoxInst's projection loss.
    """
    columns = dice_loss(probs.amax(1), box.amax(1), SMOOTH)
    return columns + dice_loss(probs.amax(2), box.amax(2), SMOOTH)


def crf_loss(probs: Tensor, refined: Tensor, keep: Tensor) -> Tensor:
    """Fit the masks that the mean field made; see `mal_core.crf`.

    Args:
        probs: (B, h, w) float in [0, 1].
        refined: (B, h, w) float in {0, 1}, without gradient.
        keep: (B,) bool, which of them teach.

    Returns:
        (B,) float in [0, 1], exactly 0 where not kept.

    Raises:
        ValueError: if the shapes of the maps differ.

    Source: Lan et al., CVPR 2023, the CRF loss.
    """
    return dice_loss(probs, refined, SMOOTH) * keep


@dataclass(frozen=True)
class BoxBatch:
    """What is known of crops without a mask, on the grid of the logits.

    Attributes:
        image: (B, 3, h, w) float, normalised, without the student's colour changes.
        box: (B, h, w) float in {0, 1}, one inside the box and the image.
        valid: (B, h, w) float in {0, 1}, one inside the image.
    """

    image: Tensor
    box: Tensor
    valid: Tensor

    @classmethod
    def from_crops(cls, crops: Tensor, box: Tensor, valid: Tensor, stride: int) -> "BoxBatch":
        """Shrink crops to the grid of the logits; a cell counts by what most of it is.

        Args:
            crops: (B, 3, S, S) float in [0, 1], RGB.
            box: (B, S, S) float in [0, 1], the share of each pixel inside the box.
            valid: (B, S, S) float in {0, 1}, one inside the image.
            stride: crop pixels along the side of a cell.
        """
        exists = (F.avg_pool2d(valid.float(), stride) > 0.5).float()
        within = (F.avg_pool2d(box.float(), stride) > 0.5).float() * exists
        return cls(normalise(F.avg_pool2d(crops.float(), stride), exists), within, exists)


def pairwise_loss(logits: Tensor, batch: BoxBatch, config: LossConfig) -> Tensor:
    """Ask neighbours of similar colour for one label: -log P(same), the mean over such pairs.

    P(same) = p_i p_j + (1 - p_i)(1 - p_j). A pair counts if an end is in the box, both ends are
    in the image, and exp(-|I_i - I_j| / theta) is at least `pairwise_similarity`. BoxInst's colours
    are Lab, with theta 2; here they are those of the normalised image. Its paper divides by all
    pairs that touch the box; here, as in its published code, by those that count.

    Args:
        logits: (B, h, w) float.
        batch: the colours and boxes.
        config: theta, the threshold and the dilation.

    Returns:
        (B,) float, 0 or more; 0 where no pair counts.

    Source: Tian et al., CVPR 2021 (BoxInst), equations 5 to 8.
    """
    pairs = Pairs.of(logits, config.pairwise_dilation)
    maps = [pairs.flatten(x.float()) for x in (logits, batch.image, batch.box, batch.valid)]
    total = count = torch.zeros(len(logits), device=logits.device)
    for score, colour, box, valid in zip(*map(pairs.ends, maps), strict=True):
        similarity = torch.exp(-(colour[0] - colour[1]).norm(dim=1) / config.pairwise_theta)
        counts = (similarity >= config.pairwise_similarity) * torch.maximum(*box)
        counts = counts * valid[0] * valid[1]  # (B, n - offset)
        total = total + (_surprise_of_same(*score) * counts).sum(1)
        count = count + counts.sum(1)
    return total / count.clamp(min=1)


def teacher_loss(logits: Tensor, teacher: Tensor, batch: BoxBatch) -> Tensor:
    """Fit the teacher's mask inside the box, each cell by how sure the teacher is: BCE + Dice / 2.

    With t the teacher's probability (0 outside the box), a cell's BCE weighs |2t - 1|.

    Args:
        logits: (B, h, w) float, the student's.
        teacher: (B, h, w) float, the teacher's logits; no gradient flows there.
        batch: the boxes; cells outside the image do not count.

    Returns:
        (B,) float, 0 or more.

    Source: ours, after the mean teacher's self-training; BoxTeacher (CVPR 2023) has the like.
    """
    probs = teacher.detach().float().sigmoid() * batch.box
    answer = (probs > 0.5).float()
    bce = F.binary_cross_entropy_with_logits(logits, answer, reduction="none")
    sure = (bce * (2 * probs - 1).abs() * batch.valid).mean((1, 2))
    return sure + dice_loss(logits.sigmoid() * batch.valid, answer, smooth=1.0) / 2


def box_only_loss(
    student: Tensor,
    teacher: Tensor,
    batch: BoxBatch,
    progress: float,
    config: LossConfig,
    crf: CRFConfig,
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """All that boxes can teach: bags, the mean field's masks, and similar neighbours.

    The mean field starts from the mean of student and teacher. Only the student learns.

    Args:
        student: (B, h, w) logits.
        teacher: (B, h, w) logits.
        batch: image, boxes and validity on the same grid.
        progress: share of the run that is over, 0 to 1; the terms climb with it.
        config: weights and warm-ups.
        crf: the mean field and its filter.

    Returns:
        loss: (B,) float32, to be averaged over the whole batch of all workers.
        parts: each (B,), without weight and without gradient: "mil", "crf" (0 where not
            taught), "pairwise" and "teacher" (0 if left out), "fill" (refined share of the box)
            and "taught" (0 or 1).
    """
    logits = student.float()
    probs = logits.sigmoid() * batch.valid
    start = (probs + teacher.float().sigmoid()) / 2
    refined = mean_field(batch.image, start, batch.box, batch.valid, crf)
    keep = teaches(refined, batch.box, crf)
    parts = {"mil": mil_loss(probs, batch.box), "crf": crf_loss(probs, refined, keep)}
    parts["pairwise"] = torch.zeros_like(parts["mil"])
    if config.pairwise_weight:
        parts["pairwise"] = pairwise_loss(logits, batch, config)
    parts["teacher"] = torch.zeros_like(parts["mil"])
    if config.teacher_weight:
        parts["teacher"] = teacher_loss(logits, teacher, batch)
    climb = warmup(progress, config.crf_warmup)
    loss = config.mil_weight * warmup(progress, config.mil_warmup) * parts["mil"]
    loss = loss + config.crf_weight * climb * parts["crf"]
    loss = loss + config.pairwise_weight * climb * parts["pairwise"]
    loss = loss + config.teacher_weight * climb * parts["teacher"]
    parts["fill"] = refined.sum((1, 2)) / batch.box.sum((1, 2)).clamp(min=1)
    parts["taught"] = keep.float()
    return loss, {name: value.detach() for name, value in parts.items()}


def warmup(progress: float, share: float) -> float:
    """The factor, 0 to 1, of a weight that climbs linearly in the first `share` of a run."""
    return 1.0 if progress >= share else progress / share


def _surprise_of_same(first: Tensor, second: Tensor) -> Tensor:
    """-log(p q + (1 - p)(1 - q)) of two logits, finite at any size."""
    both = F.logsigmoid(first) + F.logsigmoid(second)
    neither = F.logsigmoid(-first) + F.logsigmoid(-second)
    return -torch.logaddexp(both, neither)


def _fit(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    logits = logits.float()
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    bce = (bce * weight).sum((1, 2)) / weight.sum((1, 2)).clamp(min=TINY)
    root = weight.sqrt()  # Dice is made of products of two
    return BCE_WEIGHT * bce + dice_loss(logits.sigmoid() * root, target * root, smooth=1.0)


def _shrink(maps: Tensor) -> Tensor:
    """(B, s, s) -> (B, s/2, s/2), means of 2 x 2."""
    return F.avg_pool2d(maps[:, None], 2)[:, 0]
