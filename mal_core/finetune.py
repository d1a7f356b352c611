"""Fine-tune the decoder and the last blocks on corrected masks; guarded by held-out images.

The epoch that does best on the held-out crops is kept. That may be epoch 0, the parent itself.
Everything long is an iterator of events: stop iterating to cancel.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor, nn

from mal_core import checkpoint as checkpoints
from mal_core import coco
from mal_core.checkpoint import Checkpoint
from mal_core.coco import Dataset
from mal_core.config import FinetuneConfig
from mal_core.dataset import exact_examples, labelled, training_examples
from mal_core.errors import TrainingError
from mal_core.evaluate import InstanceScore, by_category, score_instances, summarise
from mal_core.features import Batch, FeatureCache
from mal_core.losses import mask_loss
from mal_core.model import MAL
from mal_core.predictor import Predictor

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Material:
    """What a fine-tune learns from and is judged by; no image may be in both."""

    train: Dataset
    held_out: Dataset
    folder: Path

    def __post_init__(self) -> None:
        if not labelled(self.train) or not labelled(self.held_out):
            raise TrainingError("training and held-out images each need at least one mask")
        names, judges = (
            {str(PurePosixPath(image.file_name)) for image in data.images}
            for data in (self.train, self.held_out)
        )
        if shared := sorted(names & judges):
            raise TrainingError(f"images both trained on and held out: {shared[:3]}")

    @property
    def sha256(self) -> str:
        """Of all annotations, hexadecimal: tells what weights were made from."""
        return hashlib.sha256(coco.write(self.train) + coco.write(self.held_out)).hexdigest()


def finetune(
    parent: Checkpoint, material: Material, out: Path, config: FinetuneConfig, device: torch.device
) -> Iterator[Event]:
    """Tune a copy of a checkpoint and write it.

    Args:
        parent: the weights to start from; not changed.
        material: corrected masks to learn from and held-out ones to be judged by.
        out: the new checkpoint file, written atomically at the very end, once judged.
        config: the recipe.
        device: where to compute.

    Yields:
        JSON-ready events, in order: "cache" {done, total}; "epoch" {epoch, epochs, loss,
        held_out_iou} from epoch 0, the parent, whose loss is None; "measure" {done, total};
        "judged" {before, after, categories}; "saved" {sha256, best_epoch, n_train}.

    Raises:
        TrainingError: the parent is not of the studio design, or a loss is not finite.
        BadImage: an image is missing or of another size.
        CheckpointError: the new file cannot be written.
        OSError: there is no folder for it, or no room for the features beside it.
    """
    if parent.model.config.design != "studio":
        design = parent.model.config.design
        raise TrainingError(f"fine-tuning takes weights of the studio design, got the {design}'s")
    model = deepcopy(parent.model).to(device)
    frozen = max(0, model.config.depth - config.tuned_blocks)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix="features-") as scratch:
        n_train, n_held = (_count(d) for d in (material.train, material.held_out))
        train = FeatureCache(Path(scratch, "train"), n_train * config.views)
        held_out = FeatureCache(Path(scratch, "held-out"), n_held)
        views = training_examples(material.train, material.folder, parent.crop, config)
        exact = exact_examples(material.held_out, material.folder, parent.crop)
        total = len(train) + len(held_out)
        for done in train.fill(model, views, frozen):
            yield {"event": "cache", "done": done, "total": total}
        for done in held_out.fill(model, exact, frozen):
            yield {"event": "cache", "done": len(train) + done, "total": total}
        tuning = Tuning(model, config, parent.threshold)
        yield from tuning.run(train, held_out)
        origin = {"parent": parent.sha256, "material": material.sha256}
        notes = {**parent.metadata, **origin, "epochs": str(tuning.best_epoch)}
        draft = Path(scratch, out.name)
        checkpoints.save(model, draft, notes)
        yield from _judge(parent, draft, material, device, n_held)
    sha256 = checkpoints.save(model, out, notes)
    yield {"event": "saved", "sha256": sha256, "best_epoch": tuning.best_epoch, "n_train": n_train}


class Tuning:
    """The optimisation: epochs over cached features, the best held-out epoch kept.

    Attributes:
        best_epoch: the epoch whose weights the model holds after `run`; 0 is the parent.
    """

    def __init__(self, model: MAL, config: FinetuneConfig, threshold: float) -> None:
        self._model = model
        self._config = config
        self._threshold = threshold
        self._frozen = max(0, model.config.depth - config.tuned_blocks)
        self._device = next(model.parameters()).device
        self.best_epoch = 0

    def run(self, train: FeatureCache, held_out: FeatureCache) -> Iterator[Event]:
        """Train in place; yields one "epoch" event an epoch, the parent first."""
        config = self._config
        best = self._held_out_iou(held_out)
        best_state = deepcopy(self._model.state_dict())
        yield self._event(0, None, best)
        optimizer = self._optimizer()
        steps = config.epochs * -(-len(train) // config.batch_size)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _rate(steps, config.warmup_share))
        order = torch.Generator().manual_seed(config.seed)
        for epoch in range(1, config.epochs + 1):
            losses = []
            for rows in torch.randperm(len(train), generator=order).split(config.batch_size):
                losses.append(self._step(train.batch(rows, self._device), optimizer))
                schedule.step()
            score = self._held_out_iou(held_out)
            if score > best:
                best, self.best_epoch = score, epoch
                best_state = deepcopy(self._model.state_dict())
            yield self._event(epoch, sum(losses) / len(losses), score)
        self._model.load_state_dict(best_state)

    def _event(self, epoch: int, loss: float | None, score: float) -> Event:
        row = {"epoch": epoch, "epochs": self._config.epochs, "loss": loss, "held_out_iou": score}
        return {"event": "epoch", **row}

    def _optimizer(self) -> torch.optim.Optimizer:
        """Free the decoder and the last blocks, each with its own rate; freeze the rest."""
        config, encoder = self._config, self._model.encoder
        self._model.requires_grad_(False)
        upper: list[nn.Parameter] = []
        for part in [*encoder.blocks[self._frozen :], encoder.norm]:
            upper += part.requires_grad_(True).parameters()
        decoder = list(self._model.decoder.requires_grad_(True).parameters())
        groups = [
            {"params": decoder, "lr": config.decoder_rate},
            {"params": upper, "lr": config.encoder_rate},
        ]
        return torch.optim.AdamW(groups, weight_decay=config.weight_decay)

    def _step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> float:
        coarse, fine = self._logits(batch)
        loss = mask_loss(coarse, fine, batch.target)
        if not bool(torch.isfinite(loss)):
            raise TrainingError("the loss is not finite: the run was stopped, nothing was written")
        optimizer.zero_grad()
        loss.backward()
        free = [p for p in self._model.parameters() if p.requires_grad]
        nn.utils.clip_grad_norm_(free, self._config.clip_norm)
        optimizer.step()
        return float(loss.detach())

    def _logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        encoder = self._model.encoder
        tokens = encoder.finish(encoder.attend(batch.tokens, start=self._frozen))
        coarse, fine = self._model.decoder(tokens, batch.skips)
        return coarse, fine

    @torch.no_grad()
    def _held_out_iou(self, cache: FeatureCache) -> float:
        """Mean IoU on the crop grid: cheap, for the curve and the choice of epoch."""
        ious: list[Tensor] = []
        for rows in torch.arange(len(cache)).split(self._config.batch_size):
            batch = cache.batch(rows, self._device)
            answer = self._logits(batch)[1].sigmoid() > self._threshold
            truth = batch.target > 0.5
            both, either = (answer & truth).sum((1, 2)), (answer | truth).sum((1, 2))
            ious.append(both / either.clamp(min=1))
        return float(torch.cat(ious).mean())


def _rate(steps: int, warmup_share: float) -> Any:  # noqa: ANN401
    """Linear climb, then linear fall to zero, as a factor of the peak rate."""
    warmup = max(1, round(steps * warmup_share))
    return lambda step: min((step + 1) / warmup, max(0.0, (steps - step) / max(1, steps - warmup)))


def _judge(
    parent: Checkpoint, out: Path, material: Material, device: torch.device, total: int
) -> Iterator[Event]:
    """Measure parent and child on the held-out images, from boxes to full-size masks."""
    scores: dict[str, list[InstanceScore]] = {"before": [], "after": []}
    predictors = {"before": Predictor(parent, device), "after": Predictor.load(out, str(device))}
    for name, predictor in predictors.items():
        for part in score_instances(predictor, material.held_out, material.folder):
            scores[name] += part
            done = len(scores["before"]) + len(scores["after"])
            yield {"event": "measure", "done": done, "total": 2 * total}
    names = {category.id: category.name for category in material.held_out.categories}
    means = {key: by_category(values) for key, values in scores.items()}
    categories = {
        names[key]: {"before": means["before"][key], "after": means["after"][key]}
        for key in means["before"]
    }
    figures = {key: summarise(values).to_dict() for key, values in scores.items()}
    yield {"event": "judged", **figures, "categories": categories}


def _count(dataset: Dataset) -> int:
    return sum(len(annotations) for _, annotations in labelled(dataset))
