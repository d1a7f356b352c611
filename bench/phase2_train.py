"""Phase 2's network: torchvision's Mask R-CNN from a random start, and a training that resumes.

A step's crops, its sampling of anchors and regions, all follow from (seed, step), so that a killed
run goes on to the same weights, and two kinds of masks are taught with the same crops.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

from bench.phase2_data import Sample, draw_crop
from mal_core.config import option
from mal_core.errors import TrainingError
from mal_core.files import write_whole

MAX_NORM = 10.0


@dataclass(frozen=True)
class Recipe:
    """The network and its training; the defaults are the reduced size for two CPU cores."""

    backbone: str = option("resnet18", "torchvision's ResNet, without pretrained weights")
    stages: int = option(3, "stages of it that are used, 1 to 4")
    channels: int = option(64, "of the pyramid and the heads")
    anchor: float = option(12.0, "smallest anchor side, pixels; twice that a level")
    long_side: int = option(512, "images are shrunk to this, pixels")
    crop: int = option(128, "side of a training crop, pixels")
    batch_size: int = option(4, "crops a step")
    regions: int = option(64, "regions an image that the heads are taught, a quarter objects")
    detections: int = option(300, "largest number of detections an image, also for AP")
    rate: float = option(1e-3, "peak learning rate of AdamW")
    warmup: float = option(0.05, "share of the steps in which the rate climbs")
    weight_decay: float = option(1e-3, "AdamW weight decay")
    save_every: int = option(50, "steps between two checkpoints")


def build_network(recipe: Recipe, categories: int, seed: int) -> MaskRCNN:
    """A Mask R-CNN for `categories` categories, its random weights drawn by `seed`."""
    torch.manual_seed(seed)
    sides = [recipe.anchor * 2**level for level in range(recipe.stages + 1)]
    levels = [str(level) for level in range(recipe.stages)]
    width = recipe.channels
    return MaskRCNN(
        _build_backbone(recipe),
        rpn_anchor_generator=AnchorGenerator(
            tuple((side,) for side in sides), ((0.5, 1.0, 2.0),) * len(sides)
        ),
        rpn_pre_nms_top_n_train=500,
        rpn_post_nms_top_n_train=500,
        rpn_pre_nms_top_n_test=1000,
        rpn_post_nms_top_n_test=1000,
        box_roi_pool=MultiScaleRoIAlign(levels, 7, 2),
        box_head=TwoMLPHead(width * 7 * 7, 4 * width),
        box_predictor=FastRCNNPredictor(4 * width, categories + 1),
        box_batch_size_per_image=recipe.regions,
        box_detections_per_img=recipe.detections,
        mask_roi_pool=MultiScaleRoIAlign(levels, 14, 2),
        mask_head=MaskRCNNHeads(width, (width,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(width, width, categories + 1),
        _skip_resize=True,
    )


class Run:
    """One training, whose state lives in one file; made again, it goes on where that file ends."""

    def __init__(self, path: Path, recipe: Recipe, categories: int, seed: int, steps: int) -> None:
        self._path, self._recipe, self._seed, self.steps = path, recipe, seed, steps
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.network = build_network(recipe, categories, seed).to(device)
        self._device = torch.device(device)
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), recipe.rate, weight_decay=recipe.weight_decay
        )
        self.step = self._load() if path.exists() else 0

    def train(self, samples: Sequence[Sample]) -> Iterator[float]:
        """Yield the loss of each step that is left; the state is saved now and then and at the end.

        Raises:
            TrainingError: a loss is not finite.
        """
        self.network.train()
        while self.step < self.steps:
            loss = self._take_step(samples)
            self.step += 1
            if self.step % self._recipe.save_every == 0 or self.step == self.steps:
                self.save()
            yield loss

    def _take_step(self, samples: Sequence[Sample]) -> float:
        random = np.random.default_rng([self._seed, self.step])
        torch.manual_seed(int(random.integers(2**62)))
        drawn = random.integers(len(samples), size=self._recipe.batch_size)
        crops = [draw_crop(samples[index], self._recipe.crop, random) for index in drawn]
        images = [image.to(self._device) for image, _ in crops]
        targets = [{k: v.to(self._device) for k, v in target.items()} for _, target in crops]
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.rate * rate_at(self.step, self.steps, self._recipe.warmup)
        loss: Tensor = sum(self.network(images, targets).values())
        if not math.isfinite(loss.item()):
            raise TrainingError(f"the loss of step {self.step} of {self._path.name} is not finite")
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), MAX_NORM)
        self._optimizer.step()
        return loss.item()

    def save(self) -> None:
        """Write network, optimizer and position, so that a crash leaves the old file or the new."""
        tensors = {f"network.{n}": value for n, value in self.network.state_dict().items()}
        for index, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
        whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        notes = json.dumps({"step": self.step, "steps": self.steps, "seed": self._seed})
        write_whole(self._path, tensors_to_bytes(whole, {"run": notes}))

    def _load(self) -> int:
        with safe_open(self._path, "pt") as file:
            notes = json.loads(file.metadata()["run"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if (notes["steps"], notes["seed"]) != (self.steps, self._seed):
            raise TrainingError(f"{self._path.name} is of another run: {notes}")
        parts = {n.removeprefix("network."): v for n, v in tensors.items() if n[0] == "n"}
        self.network.load_state_dict(parts)
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = value
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})
        return int(notes["step"])


def rate_at(step: int, steps: int, warmup: float) -> float:
    """The share of the peak rate at a step: a linear climb, then half a cosine to zero."""
    climb = max(1, round(steps * warmup))
    if step < climb:
        return (step + 1) / climb
    return 0.5 * (1 + math.cos(math.pi * (step - climb) / max(1, steps - climb)))


def _build_backbone(recipe: Recipe) -> BackboneWithFPN:
    """A ResNet of the first stages with a pyramid; groups are normalised, not batches of four."""
    body = getattr(resnet, recipe.backbone)(weights=None, norm_layer=_group_norm)
    stages = range(1, recipe.stages + 1)
    inputs = [body.inplanes // 2 ** (4 - stage) for stage in stages]
    layers = {f"layer{stage}": str(stage - 1) for stage in stages}
    return BackboneWithFPN(body, layers, inputs, recipe.channels, norm_layer=_group_norm)


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(16, channels)
