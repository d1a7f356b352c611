"""The optimisation of a fine-tune: epochs over cached features, the best held-out one kept.

Masks teach by the mask; boxes by bags, mean field and colour pairs, with the parent in the
teacher's place. Two things hold the weights back: after each step they are pulled a little towards
the parent's (in place of weight decay, which pulls towards zero), and on crops of other photos the
answers should stay those of the parent.

Source: Lan et al., CVPR 2023; Li et al., ICML 2018 (L2-SP), decoupled as in Loshchilov and Hutter,
ICLR 2019; Li and Hoiem, ECCV 2016.
"""

import math
import time
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mal_core.config import CRFConfig, LossConfig, rate_share
from mal_core.errors import TrainingError
from mal_core.features import Batch, FeatureCache
from mal_core.finetune_config import FinetuneConfig
from mal_core.losses import BoxBatch, box_only_loss, distil_losses, mask_losses
from mal_core.memory import Portions
from mal_core.model import MAL
from mal_core.runstate import Position, keep, load_state, save_state

Event = Mapping[str, Any]
LOSS, CRF = LossConfig(), CRFConfig()


@dataclass(frozen=True)
class Caches:
    """Features of the crops to learn from, to judge by, and of other photos to hold on to."""

    train: FeatureCache
    held_out: FeatureCache
    elsewhere: FeatureCache


class Tuning:
    """The networks and the optimizer of a run.

    Attributes:
        position: how far it is; `step` counts epochs.
    """

    def __init__(
        self, model: MAL, config: FinetuneConfig, threshold: float, portions: Portions
    ) -> None:
        """Free the decoder and the last blocks; freeze the rest.

        Args:
            model: the parent's copy, in eval mode; changed in place.
            config: the recipe.
            threshold: of the held-out masks, 0 to 1.
            portions: how many crops to compute at a time.
        """
        self._model, self._config, self._threshold = model, config, threshold
        self._portions = portions
        self._device = next(model.parameters()).device
        self._frozen = config.frozen_blocks(model.config.depth, self._device.type)
        self.position = Position()
        upper = nn.ModuleList([*model.encoder.blocks[self._frozen :], model.encoder.norm])
        self._free = nn.ModuleDict({"decoder": model.decoder, "upper": upper})
        model.requires_grad_(False)
        self._free.requires_grad_(True)
        self._parent, self._best = deepcopy(self._free), deepcopy(self._free)
        groups = [
            {"params": list(model.decoder.parameters()), "peak": config.decoder_rate},
            {"params": list(upper.parameters()), "peak": config.encoder_rate},
        ]
        self._optimizer = torch.optim.AdamW(groups, weight_decay=0.0)

    def resume(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """Go back to the saved state of the same run, if there is one.

        Raises:
            TrainingError: the saved run has other settings or data.
            CheckpointError: the state is damaged.
        """
        self.position = load_state(folder, self._modules(), self._optimizer, identity)

    def run(self, caches: Caches, folder: Path, identity: Mapping[str, Any]) -> Iterator[Event]:
        """Train in place to the last epoch, and take the best one's weights.

        Args:
            caches: what to learn from.
            folder: keeps the state after each epoch.
            identity: what a later resume must have in common with this run.

        Yields:
            "epoch" for each epoch from 0, the parent, on; those of earlier sittings come first, as
            they were. "notice" {text}.

        Raises:
            TrainingError: a gradient is not finite, or there is no memory for one crop.
        """
        yield from self.position.curve
        if not self.position.curve:
            yield self._look(caches.held_out, None)
        while not self._is_over():
            begin = time.perf_counter()
            loss = self._epoch(caches, self.position.step + 1)
            seconds = self.position.seconds + time.perf_counter() - begin
            self.position = replace(self.position, step=self.position.step + 1, seconds=seconds)
            event = self._look(caches.held_out, loss)
            yield from self._portions.tell()
            yield from self._keep(folder, identity)
            yield event
        self._free.load_state_dict(self._best.state_dict())

    def _is_over(self) -> bool:
        config, position = self._config, self.position
        exhausted = bool(config.patience) and position.looks >= config.patience
        return exhausted or position.step >= config.epochs

    def _keep(self, folder: Path, identity: Mapping[str, Any]) -> Iterator[Event]:
        """Write the state; a full disk is said and does not end the run."""
        modules, position = self._modules(), self.position
        save = partial(save_state, folder, modules, self._optimizer, position, identity)
        kept = keep(save, position.step)
        if kept["event"] == "not_kept":
            text = f"epoch {position.step} could not be kept ({kept['reason']}): a run that is "
            yield {"event": "notice", "text": text + "killed now would not be resumed from it"}

    def _look(self, held_out: FeatureCache, loss: float | None) -> Event:
        """Measure on the held-out crops and keep the weights if they are the best so far."""
        score = self._held_out_iou(held_out) if len(held_out) else None
        position, best = self.position, self.position.best
        if score is None or best is None or score > best:
            self._best.load_state_dict(self._free.state_dict())
            position = replace(position, best=score, best_step=position.step, looks=0)
        else:
            position = replace(position, looks=position.looks + 1)
        left = self._config.epochs - position.step
        event = {
            "event": "epoch",
            "epoch": position.step,
            "epochs": self._config.epochs,
            "loss": loss,
            "held_out_iou": score,
            "eta_seconds": left * position.seconds / position.step if position.step else None,
        }
        self.position = replace(position, curve=[*position.curve, event])
        return event

    def _epoch(self, caches: Caches, number: int) -> float:
        """Learn from each crop once, or more often if they are few; returns the mean loss.

        The order and the crops of other photos depend on the seed and the epoch alone.
        """
        config, draw = self._config, torch.Generator()
        draw.manual_seed(config.seed * 1_000_003 + number)
        passes = -(-config.epoch_steps // -(-len(caches.train) // config.batch_size))
        orders = [torch.randperm(len(caches.train), generator=draw) for _ in range(passes)]
        parts = [rows for order in orders for rows in order.split(config.batch_size)]
        count = config.distil_batch if len(caches.elsewhere) else 0
        first, total = (number - 1) * len(parts), config.epochs * len(parts)
        losses = 0.0
        for step, rows in enumerate(parts, start=first):
            share = rate_share(step, total, config.warmup_share, 0.0)
            others = torch.randint(max(1, len(caches.elsewhere)), (count,), generator=draw)
            work = partial(self._step, caches, rows, others, share, step / total)
            losses += self._portions.run(work)
        return losses / (passes * len(caches.train))

    def _step(
        self, caches: Caches, rows: Tensor, others: Tensor, share: float, progress: float, size: int
    ) -> float:
        """One optimizer step, `size` crops at a time; returns the sum of the losses of its rows."""
        self._optimizer.zero_grad()
        total = 0.0
        for part in rows.split(size):
            losses = self._taught(caches.train.batch(part, self._device), progress)
            (losses.sum() / len(rows)).backward()
            total += float(losses.detach().sum())
        for part in others.split(size) if len(others) else ():
            batch = caches.elsewhere.batch(part, self._device)
            losses = distil_losses(self._logits(batch)[1], batch.guess)
            (self._config.distil_weight * losses.sum() / len(others)).backward()
        norm = nn.utils.clip_grad_norm_(self._free.parameters(), self._config.clip_norm)
        if not math.isfinite(norm):
            raise TrainingError("the loss is not finite: the run was stopped, nothing was written")
        self._move(share)
        return total

    @torch.no_grad()
    def _move(self, share: float) -> None:
        """Follow the gradient, and give way to the pull of the parent."""
        for group in self._optimizer.param_groups:
            group["lr"] = share * group["peak"]
        self._optimizer.step()
        for name, group in zip(("decoder", "upper"), self._optimizer.param_groups, strict=True):
            goals: list[Tensor] = list(self._parent[name].parameters())
            torch._foreach_lerp_(group["params"], goals, min(1.0, group["lr"] * self._config.pull))

    def _taught(self, batch: Batch, progress: float) -> Tensor:
        """(B,) losses: masks teach by the mask, boxes by all that boxes can teach."""
        coarse, fine = self._logits(batch)
        losses = torch.zeros(len(fine), device=fine.device)
        if bool((rows := batch.has_mask).any()):
            maps = (coarse, fine, batch.target, batch.weight)
            losses = losses.index_put((rows,), mask_losses(*(x[rows] for x in maps)))
        if bool((rows := ~batch.has_mask).any()):
            boxes = BoxBatch(*(x[rows] for x in vars(batch.boxes).values()))
            found, _ = box_only_loss(fine[rows], batch.guess[rows], boxes, progress, LOSS, CRF)
            losses = losses.index_put((rows,), self._config.box_weight * found)
        return losses

    def _logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        encoder = self._model.encoder
        tokens = encoder.finish(encoder.attend(batch.tokens, start=self._frozen))
        coarse, fine = self._model.decoder(tokens, batch.skips)
        return coarse, fine

    def _held_out_iou(self, cache: FeatureCache) -> float:
        """Mean IoU on the crop grid: cheap, for the curve and the choice of epoch."""
        return float(self._portions.run(partial(self._ious, cache)).mean())

    @torch.no_grad()
    def _ious(self, cache: FeatureCache, size: int) -> Tensor:
        """(N,) of all held-out crops, `size` at a time."""
        ious: list[Tensor] = []
        for rows in torch.arange(len(cache)).split(size):
            batch = cache.batch(rows, self._device)
            answer = self._logits(batch)[1].sigmoid() > self._threshold
            truth = batch.target > 0.5
            both, either = (answer & truth).sum((1, 2)), (answer | truth).sum((1, 2))
            ious.append(both / either.clamp(min=1))
        return torch.cat(ious)

    def _modules(self) -> Mapping[str, nn.Module]:
        return {"model": self._free, "best": self._best}
