"""Train a network from boxes, from masks, or from both, as an iterator of events.

The student learns on re-coloured crops; the teacher, its moving average, sees clean ones and is
what is kept. An instance with a mask teaches by the mask, one without by its box: bags, mean field
and colour pairs. Every draw depends on the seed and the number of the crop alone, so a resumed run
follows the same curve, and N processes compute what one would.

Source: Lan et al., CVPR 2023.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mal_core import checkpoint as checkpoints
from mal_core.checkpoint import Checkpoint
from mal_core.coco import Dataset
from mal_core.config import CropConfig, ModelConfig, Recipe
from mal_core.encoder import set_drop_path
from mal_core.errors import TrainingError
from mal_core.evaluate import InstanceScore, score_instances, summarise
from mal_core.losses import BoxBatch, box_only_loss, mask_losses, mil_loss, warmup
from mal_core.model import MAL, present
from mal_core.pool import Pool
from mal_core.predictor import SUSPICIOUS_FILL, Predictor
from mal_core.runstate import Position, keep, load_state, save_state
from mal_core.simulate import show_strokes
from mal_core.teacher import Teacher
from mal_core.views import View, make_view, stack_views

BEST = "best.safetensors"
Event = Mapping[str, Any]


@dataclass(frozen=True)
class HeldOut:
    """What a run is judged by while it goes on."""

    dataset: Dataset
    folder: Path


class Training:
    """One run: its networks, its optimizer and its place on disk."""

    def __init__(
        self, model: MAL, crop: CropConfig, recipe: Recipe, fabric: Fabric, folder: Path
    ) -> None:
        """Make student, teacher and optimizer ready.

        Args:
            model: the start; becomes the student.
            crop: size, sampling and test margin of crops.
            recipe: the settings.
            fabric: where and with how many processes to compute; already launched.
            folder: where the state of the run is kept; it exists.
        """
        self.recipe, self.crop, self.folder = recipe, crop, folder
        self._fabric = fabric
        self._module = model.to(fabric.device)
        self.teacher = Teacher(self._module, recipe.train.momentum)
        set_drop_path(self._module, recipe.train.drop_path)
        betas = (recipe.train.beta1, recipe.train.beta2)
        bare = torch.optim.AdamW(decay_groups(self._module, recipe.train.weight_decay), betas=betas)
        self._student, self._optimizer = fabric.setup(self._module.train(), bare)
        self._bare = bare
        self.position = Position()

    def resume(self, identity: Mapping[str, Any]) -> Position:
        """Go back to the saved state of the same run, if there is one.

        Raises:
            TrainingError: the saved run has other settings or data.
            CheckpointError: the state is damaged.
        """
        self.position = load_state(self.folder, self._modules(), self._bare, identity)
        return self.position

    def save(self, identity: Mapping[str, Any]) -> None:
        """Keep the state, from the first process.

        Raises:
            OSError: the disk refuses; the old state is intact.
        """
        if self._fabric.is_global_zero:
            save_state(self.folder, self._modules(), self._bare, self.position, identity)

    def steps(self, pool: Pool) -> Iterator[Event]:
        """Train to the last step.

        Args:
            pool: the instances to draw from.

        Yields:
            "step" {step, steps, loss, rate, norm, crops_per_second, and each part of the loss}.

        Raises:
            TrainingError: a gradient is not finite; the step is named and not taken.
        """
        config, total = self.recipe.train, self.recipe.train.steps
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self._draw, pool, self.position.step)
            while self.position.step < total:
                step, begin = self.position.step, time.perf_counter()
                views = ahead.result()
                ahead = reader.submit(self._draw, pool, min(step + 1, total - 1))
                rate = config.rate_at(step)
                loss, norm, parts = self._step(views, step, rate)
                spent = time.perf_counter() - begin
                seconds = self.position.seconds + spent
                self.position = replace(self.position, step=step + 1, seconds=seconds)
                figures = {"loss": loss, "rate": rate, "norm": norm, **parts}
                speed = {"crops_per_second": config.batch_size / spent}
                yield {"event": "step", "step": step + 1, "steps": total, **figures, **speed}

    def look(self, held_out: HeldOut) -> Iterator[Event]:
        """Measure the teacher on the held-out images and keep it if it is the best so far.

        Yields:
            "look" {step, iou, boundary_iou, box_iou, below, above, best}, from the first process;
            `below` and `above` are the shares of masks that fill less than 5 % or more than 95 %
            of the box, the signs of a collapse.

        Raises:
            BadImage: a held-out image is missing or of another size.
        """
        if self._fabric.is_global_zero:
            predictor = Predictor(self.snapshot(), self._fabric.device)
            parts = score_instances(predictor, held_out.dataset, held_out.folder)
            scores = [score for part in parts for score in part]
            figures = summarise(scores)
            is_best = self._note(figures.instance_iou)
            low, high = collapse(scores)
            ious = {"iou": figures.instance_iou, "boundary_iou": figures.boundary_iou}
            shares = {"box_iou": figures.box_iou, "below": low, "above": high}
            step = self.position.step
            yield {"event": "look", "step": step, **ious, **shares, "best": is_best}
        self._agree()

    def _note(self, iou: float) -> bool:
        """Keep the teacher if nothing before was better."""
        best = self.position.best
        if best is not None and iou <= best:
            self.position = replace(self.position, looks=self.position.looks + 1)
            return False
        self.position = replace(self.position, best=iou, best_step=self.position.step, looks=0)
        checkpoints.save(self._taught, self.folder / BEST, self._notes())
        return True

    def _agree(self) -> None:
        """Tell the other processes how long nothing was gained, so that all stop together."""
        looks = torch.zeros((), device=self._fabric.device)
        if self._fabric.is_global_zero:
            looks += self.position.looks
        self.position = replace(self.position, looks=int(self._over_all(looks)))

    def snapshot(self) -> Checkpoint:
        """The teacher as a checkpoint that a predictor takes."""
        return Checkpoint(self._taught, self.crop, self.recipe.train.threshold, "", {})

    def finish(self, out: Path, notes: Mapping[str, str]) -> str:
        """Write the best teacher, or the last one where none was held out.

        Returns:
            SHA-256 of the file.

        Raises:
            CheckpointError: the file cannot be written.
        """
        model = self._taught
        if (self.folder / BEST).exists() and self.position.best is not None:
            model = checkpoints.load(self.folder / BEST).model
        return checkpoints.save(model, out, {**self._notes(), **notes})

    def check_agreement(self) -> None:
        """See that all processes hold the same teacher, which data-parallel training promises.

        Raises:
            TrainingError: they do not.
        """
        total = torch.as_tensor(sum(p.double().sum() for p in self.teacher.module.parameters()))
        mean = self._over_all(total.clone()) / self._fabric.world_size  # reduced in place
        if not torch.isclose(mean, total, rtol=1e-6, atol=1e-6):
            raise TrainingError("the processes of this run hold different weights; start it anew")

    def is_exhausted(self) -> bool:
        """Whether the last looks brought nothing and patience is at its end."""
        patience = self.recipe.train.patience
        return bool(patience) and self.position.looks >= patience

    @property
    def _taught(self) -> MAL:
        """The teacher's network: what a run is for."""
        assert isinstance(self.teacher.module, MAL)
        return self.teacher.module

    def _notes(self) -> dict[str, str]:
        threshold = self.recipe.train.threshold
        return {"threshold": f"{threshold:g}", "eval_expand": f"{self.crop.margin:g}"}

    def _modules(self) -> dict[str, nn.Module]:
        return {"student": self._module, "teacher": self.teacher.module}

    def _draw(self, pool: Pool, step: int) -> list[View]:
        """This process's crops of a step: every world-size-th one, from its rank on."""
        config, fabric = self.recipe.train, self._fabric
        first = step * config.batch_size
        numbers = range(first + fabric.global_rank, first + config.batch_size, fabric.world_size)
        chosen = (self.crop, self.recipe.view, config.seed, fabric.device)
        return [make_view(pool, number, *chosen) for number in numbers]

    def _step(
        self, views: Sequence[View], step: int, rate: float
    ) -> tuple[float, float, dict[str, float]]:
        """One optimizer step; returns the loss, the gradient's norm and the loss's parts."""
        config = self.recipe.train
        torch.manual_seed((config.seed * 1_000_003 + step) * 64 + self._fabric.global_rank)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        sums = self._backward(views, step)
        norm = float(nn.utils.clip_grad_norm_(self._module.parameters(), config.clip_norm))
        if not math.isfinite(norm):
            raise TrainingError(
                f"step {step + 1}: the gradient is not finite; the step was not taken. Go on from "
                "the last saved state, with a lower --rate if it happens again"
            )
        self._optimizer.step()
        self.teacher.update(self._module, step)
        means = {name: float(self._over_all(v)) / config.batch_size for name, v in sums.items()}
        return means.pop("loss"), norm, means

    def _backward(self, views: Sequence[View], step: int) -> dict[str, Tensor]:
        """Add up the gradient part by part; returns the sums of the loss and of its parts."""
        config, fabric = self.recipe.train, self._fabric
        size = -(-len(views) // config.accumulate)
        sums: dict[str, Tensor] = {}
        for start in range(0, len(views), size):
            view = stack_views(list(views[start : start + size]))
            with self._sync(is_last=start + size >= len(views)):
                losses, parts = self._losses(view, step)
                # DDP averages over the processes: this becomes the mean over the whole batch.
                fabric.backward(losses.sum() * fabric.world_size / config.batch_size)
            for name, values in {"loss": losses.detach(), **parts}.items():
                sums[name] = sums.get(name, torch.zeros_like(values.sum())) + values.sum()
        return sums

    def _sync(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Let the processes exchange gradients only once a step."""
        if self._fabric.world_size == 1:
            return nullcontext()
        context: AbstractContextManager[None] = self._fabric.no_backward_sync(
            self._student, enabled=not is_last
        )
        return context

    def _over_all(self, value: Tensor) -> Tensor:
        """The sum over all processes."""
        if self._fabric.world_size == 1:
            return value
        total: Tensor = self._fabric.all_reduce(value, reduce_op="sum")  # type: ignore[assignment]
        return total

    def _losses(self, view: View, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """(B,) losses, and their parts as (B,) each."""
        clean, planes = present(view.clean, view.valid, self.crop), view.planes
        guesses = (torch.zeros(0), torch.zeros(0))
        shown = self.recipe.view.stroke_share > 0 and bool(view.has_mask.any())
        if shown or not bool(view.has_mask.all()):
            with torch.no_grad(), self._fabric.autocast():
                guesses = self.teacher(clean, planes, view.area)
        if shown:
            seed = self.recipe.train.seed
            planes = show_strokes(view, guesses[1].float(), self.recipe.view.stroke_share, seed)
        seen = present(view.seen, view.valid, self.crop)
        coarse, fine = self._student(seen, planes, view.area)
        guess = guesses[1] if self.recipe.loss.stride == 2 else guesses[0]
        return self._by_kind(view, guess, (coarse.float(), fine.float()), step)

    def _by_kind(
        self, view: View, guess: Tensor, logits: tuple[Tensor, Tensor], step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Masks teach by the mask and the bags; boxes by bags, mean field and colour pairs."""
        (coarse, fine), recipe = logits, self.recipe
        stride, progress = recipe.loss.stride, step / recipe.train.steps
        answer = fine if stride == 2 else coarse  # (B, S / stride, S / stride)
        losses, parts = torch.zeros(len(fine), device=fine.device), {}
        for rows, is_masked in ((~view.has_mask, False), (view.has_mask, True)):
            if not bool(rows.any()):
                continue
            grid = BoxBatch.from_crops(view.clean[rows], view.box[rows], view.valid[rows], stride)
            if is_masked:
                fitted = mask_losses(coarse[rows], fine[rows], view.target[rows])
                bags = mil_loss(answer[rows].sigmoid() * grid.valid, grid.box)
                climb = recipe.loss.mil_weight * warmup(progress, recipe.loss.mil_warmup)
                found = recipe.loss.mask_weight * fitted + climb * bags
                parts["mask"] = fitted.detach()
            else:
                found, boxed = box_only_loss(
                    answer[rows], guess[rows], grid, progress, recipe.loss, recipe.crf
                )
                parts |= boxed
            losses = losses.index_put((rows,), found)
        return losses, parts


def fit(
    training: Training, pool: Pool, held_out: HeldOut | None, identity: Mapping[str, Any]
) -> Iterator[Event]:
    """Train to the end, looking at the held-out images and saving the state on the way.

    Args:
        training: the run, resumed or new.
        pool: what to draw from.
        held_out: what to judge by, or None.
        identity: what a later resume must have in common with this run.

    Yields:
        "step" and "look" as in `Training`; "kept" {step} when the state is on disk, "not_kept"
        {step, reason} when the disk refused; "stopped" {step} when patience ended.

    Raises:
        TrainingError: a gradient is not finite.
        BadImage: a held-out image is missing or of another size.
    """
    config, kept = training.recipe.train, time.monotonic()
    for event in training.steps(pool):
        yield event
        step = event["step"]
        if held_out and (step % config.evaluate_every == 0 or step == config.steps):
            yield from training.look(held_out)
            if training.is_exhausted():
                yield {"event": "stopped", "step": step}
                return
        if time.monotonic() - kept >= 60 * config.save_minutes:
            yield keep(partial(training.save, identity), step)
            kept = time.monotonic()


def identify(
    recipe: Recipe, model: ModelConfig, data: str, origin: Mapping[str, str]
) -> Mapping[str, Any]:
    """What two sittings of one run have in common, JSON-ready."""
    return {**asdict(recipe), "model": asdict(model), "data": data, **origin}


def collapse(scores: Sequence[InstanceScore]) -> tuple[float, float]:
    """Shares of masks that fill less than 5 % and more than 95 % of their box."""
    low, high = SUSPICIOUS_FILL
    return (
        sum(score.fill < low for score in scores) / len(scores),
        sum(score.fill > high for score in scores) / len(scores),
    )


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay matrices and kernels; leave biases, norms and free tokens alone."""
    tokens = ("pos", "pos_embed", "reg", "mask_token")
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    free = [p for name, p in named if p.ndim < 2 or name.endswith(tokens)]
    kept = {id(p) for p in free}
    decayed = [p for _, p in named if id(p) not in kept]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
