"""Fine-tune the decoder and the last blocks on corrections; guarded by held-out images.

The epoch that does best on the held-out crops is kept. That may be epoch 0, the parent itself.
Everything long is an iterator of events: stop iterating to cancel. What is there by then lies in
OUT.run, and a run that is resumed goes on along the same curve to the same weights.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mal_core import checkpoint as checkpoints
from mal_core.checkpoint import Checkpoint
from mal_core.errors import TrainingError
from mal_core.features import FeatureCache
from mal_core.files import move_whole
from mal_core.finetune_config import FinetuneConfig
from mal_core.judging import judge
from mal_core.material import Material
from mal_core.memory import Portions, is_shortage
from mal_core.predictor import Predictor
from mal_core.runstate import open_folder
from mal_core.tuning import Caches, Tuning

Event = Mapping[str, Any]


def finetune(
    parent: Checkpoint,
    material: Material,
    out: Path,
    config: FinetuneConfig,
    device: torch.device,
    *,
    resume: bool = False,
) -> Iterator[Event]:
    """Tune a copy of a checkpoint and write it.

    Args:
        parent: the weights to start from; not changed.
        material: what to learn from and to be judged by.
        out: the new checkpoint file, written atomically at the very end, once judged. Beside it
            lies OUT.run while the run is not at its end, and OUT.compare.json once it was judged.
        config: the recipe.
        device: where to compute.
        resume: go on from what OUT.run holds, if it is of the same run.

    Yields:
        JSON-ready events, in order: "cache" {done, total}; "epoch" {epoch, epochs, loss,
        held_out_iou, eta_seconds} from epoch 0, the parent, whose loss and eta are None; "measure"
        {done, total}; "judged" {before, after, gain, boundary_gain, categories, probe}; "saved"
        {sha256, best_epoch, n_train, n_boxes}. "notice" {text} may come at any time. Without a
        held-out mask all that they would say is None, and the last epoch is kept.

    Raises:
        InputError: OUT.run holds an unfinished run, and `resume` is not asked for.
        TrainingError: the parent is not of the studio design, a loss is not finite, disk or memory
            are too small, or the unfinished run is another one.
        BadImage: an image is missing or of another size.
        CheckpointError: the new file cannot be written.
        OSError: there is no folder for it.
    """
    if parent.model.config.design != "studio":
        design = parent.model.config.design
        raise TrainingError(f"fine-tuning takes weights of the studio design, got the {design}'s")
    folder = open_folder(out, resume=resume)
    try:
        yield from _finetune(parent, material, out, config, device, folder)
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error):
            raise
        raise TrainingError(f"there is not enough memory: {error!s:.200}") from error


def _finetune(
    parent: Checkpoint,
    material: Material,
    out: Path,
    config: FinetuneConfig,
    device: torch.device,
    folder: Path,
) -> Iterator[Event]:
    """All events of a run whose folder is there."""
    origin = {"parent": parent.sha256, "material": material.sha256}
    identity = {**origin, **asdict(config), "device": device.type}
    model, portions = deepcopy(parent.model).to(device), Portions(config.batch_size)
    caches = _caches(material, config, folder, json.dumps(identity))
    sources = (
        (caches.train, material.lessons(parent.crop, config)),
        (caches.held_out, material.exam(parent.crop)),
        (caches.elsewhere, material.elsewhere(parent.crop, config)),
    )
    frozen = config.frozen_blocks(model.config.depth, device.type)
    done, total = 0, sum(len(cache) for cache, _ in sources)
    for cache, examples in sources:
        for count in cache.fill(model, examples, frozen, portions):
            yield from portions.tell()
            yield {"event": "cache", "done": done + count, "total": total}
        done += len(cache)
    tuning = Tuning(model, config, parent.threshold, portions)
    tuning.resume(folder, identity)
    yield from tuning.run(caches, folder, identity)
    best = tuning.position.best_step
    draft = folder / out.name
    checkpoints.save(model, draft, {**parent.metadata, **origin, "epochs": str(best)})
    child = Predictor.load(draft, str(device))
    pictures = out.with_name(f"{out.name}.compare.json")
    yield from judge(Predictor(parent, device), child, material, pictures)
    move_whole(draft, out)
    shutil.rmtree(folder)
    counts = {"n_train": material.n_masks, "n_boxes": material.n_boxes}
    yield {"event": "saved", "sha256": child.checkpoint.sha256, "best_epoch": best, **counts}


def _caches(material: Material, config: FinetuneConfig, folder: Path, key: str) -> Caches:
    """Room for the features of all crops, or what an earlier sitting left of them."""
    n_views = (material.n_masks + material.n_boxes) * config.views
    n_elsewhere = config.distil_crops if material.photos and config.distil_batch else 0
    counts = {"train": n_views, "held_out": material.n_held_out, "elsewhere": n_elsewhere}
    return Caches(**{name: FeatureCache(folder / name, n, key) for name, n in counts.items()})
