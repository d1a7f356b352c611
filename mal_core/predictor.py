"""Predictor: an image and boxes in, masks out; the border between pixels and tensors.

Stateless: every call brings its image, so one predictor serves any number of threads.
"""

import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mal_core import checkpoint as checkpoints
from mal_core.checkpoint import Checkpoint
from mal_core.errors import BadImage, InputError
from mal_core.geometry import Box, Crop, Image, Rect, box_area, box_to_rect, check_boxes
from mal_core.masks import RLE, encode
from mal_core.model import present
from mal_core.prompts import Stroke, prompt_planes
from mal_core.refine import RefineConfig, refine_probs

BATCH = 16
SUSPICIOUS_FILL = (0.05, 0.95)  # mask area / box area; DiscoBox's filter for useless masks


@dataclass(frozen=True)
class Prediction:
    """What the network says of N boxes of one image.

    Attributes:
        height: rows of the image.
        width: columns of the image.
        crops: N crops, one a box.
        rects: N pixel rectangles that the masks may cover.
        probs: (N, s, s) float32 in [0, 1] on the crops.
        threshold: the checkpoint's own, used where none is given.
        seconds: time spent in "crop" and "model".
        image: (H, W, 3) uint8 RGB, for the edges; None: masks are pasted as they are.
        refine: whether and how their edges follow the image.
    """

    height: int
    width: int
    crops: Sequence[Crop]
    rects: Sequence[Rect]
    probs: Tensor
    threshold: float
    seconds: Mapping[str, float]
    image: Image | None = None
    refine: RefineConfig = field(default_factory=RefineConfig)

    def mask(self, index: int, threshold: float | None = None) -> NDArray[np.bool_]:
        """One mask on its rectangle: (y1 - y0, x1 - x0) bool, columns contiguous."""
        limit = self.threshold if threshold is None else threshold
        probs, crop, rect = self.probs[index], self.crops[index], self.rects[index]
        if self.image is not None and self.refine.wants(rect):
            values = refine_probs(probs, crop, rect, self.image, limit, self.refine)
        else:
            values = crop.paste_back(probs, rect)
        return (values > limit).numpy().T

    def encode(self, mask: NDArray[np.bool_], index: int) -> RLE:
        """A mask on its rectangle as the run-length code of the whole image."""
        x0, y0, _, _ = self.rects[index]
        return encode(mask, x0=x0, y0=y0, height=self.height, width=self.width)

    def rle(self, index: int, threshold: float | None = None) -> RLE:
        """One mask as the run-length code of the whole image."""
        return self.encode(self.mask(index, threshold), index)

    def masks(self, threshold: float | None = None) -> list[RLE]:
        """All N masks, in the order of the boxes.

        Args:
            threshold: probability above which a pixel belongs, 0 to 1; None: the checkpoint's.
        """
        return [self.rle(index, threshold) for index in range(len(self.rects))]

    @property
    def scores(self) -> NDArray[np.float32]:
        """(N,) in [0, 1]: the IoU to expect if each pixel is right with its own probability.

        With A the random true mask and M the answer: E|A and M| / E|A or M|, inside the box.
        """
        inside = [prompt_planes(crop, self.probs.shape[-1])[0] for crop in self.crops]
        probs = torch.stack(inside) * self.probs if inside else self.probs
        answer = probs > self.threshold
        both = (probs * answer).sum((1, 2))
        either = answer.sum((1, 2)) + (probs * ~answer).sum((1, 2))
        score: NDArray[np.float32] = (both / either.clamp(min=1e-6)).numpy()
        return score

    def flagged(self, rle: RLE, index: int) -> bool:
        """Whether a mask fills so little or so much of its box that it is probably useless."""
        x0, y0, x1, y1 = self.rects[index]
        fill = rle.area / ((x1 - x0) * (y1 - y0))
        low, high = SUSPICIOUS_FILL
        return not low <= fill <= high


class Predictor:
    """Boxes to masks with one checkpoint."""

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, refine: RefineConfig | None = None
    ) -> None:
        self.checkpoint = checkpoint
        self.refine = refine or RefineConfig()
        self._device = device
        # `to` would move the checkpoint's own network.
        self._model = checkpoint.model if device.type == "cpu" else deepcopy(checkpoint.model)
        self._model.to(device)

    @classmethod
    def load(
        cls, path: Path | str, device: str = "auto", refine: RefineConfig | None = None
    ) -> "Predictor":
        """Read a checkpoint and make it ready.

        Args:
            path: a .safetensors checkpoint.
            device: "auto" (CUDA where there is one), "cpu", "cuda" or a torch device name.
            refine: whether and how edges follow the image; None: as `RefineConfig()` says.

        Raises:
            CheckpointError: the file cannot be used.
            InputError: this machine has no such device.
        """
        return cls(checkpoints.load(Path(path)), choose_device(device), refine)

    def predict(
        self,
        image: Image,
        boxes: Sequence[Box] | NDArray[np.floating],
        strokes: Sequence[Sequence[Stroke]] | None = None,
    ) -> Prediction:
        """Label boxes of one image.

        Args:
            image: (H, W, 3) uint8 RGB, upright.
            boxes: (N, 4) x0 y0 x1 y1 in pixels, half-open; clipped to the image.
            strokes: for each box the strokes so far, in image pixels; None for none.

        Returns:
            N answers, in the order of the boxes, each as if its box were alone.

        Raises:
            BadImage: not an (H, W, 3) uint8 array.
            BadBox: a box that is not finite or holds no pixel.
            ValueError: strokes are given, but not one sequence for each box.
        """
        _check_image(image)
        height, width = image.shape[:2]
        checked = check_boxes(boxes, height, width)
        marks: Sequence[Sequence[Stroke]] = [()] * len(checked) if strokes is None else strokes
        if len(marks) != len(checked):
            raise ValueError(f"strokes must be one a box: {len(marks)} for {len(checked)} boxes")
        crops = [Crop.around(box, self.checkpoint.crop.margin) for box in checked]
        logits, seconds = self._answer(image, crops, marks)
        rects = [
            _reach(crop, strokes, height, width) for crop, strokes in zip(crops, marks, strict=True)
        ]
        return Prediction(
            height,
            width,
            crops,
            rects,
            probs=logits.sigmoid(),
            threshold=self.checkpoint.threshold,
            seconds=seconds,
            image=image,
            refine=self.refine,
        )

    def _answer(
        self, image: Image, crops: Sequence[Crop], marks: Sequence[Sequence[Stroke]]
    ) -> tuple[Tensor, Mapping[str, float]]:
        """(N, s, s) logits and the seconds they took, a batch at a time to keep memory flat."""
        side = self.checkpoint.crop.size // 2
        logits, seconds = [torch.zeros(0, side, side)], {"crop": 0.0, "model": 0.0}
        for start in range(0, len(crops), BATCH):
            part = slice(start, start + BATCH)
            begin = time.perf_counter()
            images = self._cut(image, crops[part])
            cut = time.perf_counter()
            logits.append(self._label(crops[part], images, marks[part]))
            seconds["crop"] += cut - begin
            seconds["model"] += time.perf_counter() - cut
        return torch.cat(logits), seconds

    def _cut(self, image: Image, crops: Sequence[Crop]) -> Tensor:
        """(B, 3, S, S) normalised."""
        config = self.checkpoint.crop
        pixels, valid = zip(*(crop.apply(image, config) for crop in crops), strict=True)
        return present(torch.stack(pixels), torch.stack(valid), config)

    @torch.inference_mode()
    def _label(
        self, crops: Sequence[Crop], images: Tensor, marks: Sequence[Sequence[Stroke]]
    ) -> Tensor:
        """(B, s, s) logits. Boxes with strokes go twice: their first answer is a prompt."""
        size = self.checkpoint.crop.size
        planes = torch.stack([prompt_planes(crop, size) for crop in crops])
        areas = torch.tensor([box_area(crop.box) for crop in crops])
        logits = self._run(images, planes, areas)
        prompted = self.checkpoint.model.config.prompted
        marked = [index for index, strokes in enumerate(marks) if strokes and prompted]
        if marked:
            again = [prompt_planes(crops[i], size, marks[i], logits[i]) for i in marked]
            logits[marked] = self._run(images[marked], torch.stack(again), areas[marked])
        return logits

    def _run(self, *inputs: Tensor) -> Tensor:
        """Crops, planes and box areas -> (B, s, s) fine logits, back on the CPU."""
        fine: Tensor = self._model(*(part.to(self._device) for part in inputs))[1]
        return fine.cpu()


def choose_device(name: str) -> torch.device:
    """Turn "auto" into CUDA where there is one, else the CPU.

    Raises:
        InputError: there is no device of that name on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise InputError(
            f"device must be auto, cpu or a GPU of this machine, got {name}"
        ) from error


def _check_image(image: object) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise BadImage("an image must be an (H, W, 3) uint8 array")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise BadImage(f"an image must be an (H, W, 3) uint8 array, got shape {image.shape}")


def _reach(crop: Crop, strokes: Sequence[Stroke], height: int, width: int) -> Rect:
    """The pixels a mask may cover: the box, grown to hold adding strokes within the window."""
    x0, y0, x1, y1 = crop.box
    for stroke in strokes:
        if stroke.adds:
            xs, ys = zip(*stroke.points, strict=True)
            x0, x1 = min(x0, min(xs) - stroke.radius), max(x1, max(xs) + stroke.radius)
            y0, y1 = min(y0, min(ys) - stroke.radius), max(y1, max(ys) + stroke.radius)
    wx0, wy0, wx1, wy1 = crop.window
    return box_to_rect((max(x0, wx0), max(y0, wy0), min(x1, wx1), min(y1, wy1)), height, width)
