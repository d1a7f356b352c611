"""Predictor: an image and boxes in, masks out; the border between pixels and tensors.

Stateless: every call brings its image, so one predictor serves any number of threads. On a CPU
the network may run on ONNX Runtime, where that is faster.
"""

import logging
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
from mal_core.errors import BackendError, BadImage, InputError
from mal_core.geometry import Box, Crop, Image, Rect, box_area, box_to_rect, check_boxes
from mal_core.masks import RLE, decode_crop, decode_rect, encode
from mal_core.model import present
from mal_core.prompts import Stroke, paint, prompt_planes
from mal_core.refine import RefineConfig, refine_probs
from mal_core.runtime import Network, beside, choose
from mal_core.strokes import change_where_pointed, spread

BATCH = 16
log = logging.getLogger(__name__)
SURE = 1e-4  # how near to 0 or 1 a mask is as a probability
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
        hints: for each box the person's strokes, which every mask obeys, and the mask they
            correct; empty for none.
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
    hints: Sequence["Hint"] = ()

    def mask(self, index: int, threshold: float | None = None) -> NDArray[np.bool_]:
        """One mask on its rectangle: (y1 - y0, x1 - x0) bool, columns contiguous."""
        limit = self.threshold if threshold is None else threshold
        probs, crop, rect = self.probs[index], self.crops[index], self.rects[index]
        if self.image is not None and self.refine.wants(rect):
            values = refine_probs(probs, crop, rect, self.image, limit, self.refine)
        else:
            values = crop.paste_back(probs, rect)
        mask: NDArray[np.bool_] = (values > limit).numpy().T
        return self.hints[index].obey(mask, rect) if self.hints else mask

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


@dataclass(frozen=True)
class Hint:
    """What is known of one box.

    Attributes:
        crop: its window.
        strokes: the person's, in image pixels.
        current: the mask they correct; None for the network's answer to the box alone.
    """

    crop: Crop
    strokes: Sequence[Stroke]
    current: RLE | None

    def previous(self, side: int) -> Tensor:
        """(side, side) logits that say the current mask; 0 where there is none."""
        if self.current is None:
            return torch.zeros(side, side)
        mask, *origin = decode_crop(self.current)
        return torch.logit(self.crop.sample_mask(mask, (origin[0], origin[1]), side), SURE)

    def reach(self, height: int, width: int) -> Rect:
        """The pixels a mask may cover: the box, grown to hold strokes that add, and the mask."""
        x0, y0, x1, y1 = self.crop.box
        boxes = [stroke.box for stroke in self.strokes if stroke.adds]
        if self.strokes and self.current is not None and self.current.box is not None:
            boxes.append(self.current.box)
        for a, b, c, d in boxes:
            x0, y0, x1, y1 = min(x0, a), min(y0, b), max(x1, c), max(y1, d)
        return box_to_rect((x0, y0, x1, y1), height, width)

    def obey(self, mask: NDArray[np.bool_], rect: Rect) -> NDArray[np.bool_]:
        """What becomes of the network's mask on `reach`: the person's strokes always win."""
        if not self.strokes:
            return mask
        if self.current is not None:
            current = decode_rect(self.current, rect)
            mask = change_where_pointed(mask, current, rect[:2], self.strokes)
        paint(mask, rect[:2], self.strokes)
        return mask


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
        self._network: Network = self._in_torch

    @classmethod
    def load(
        cls,
        path: Path | str,
        device: str = "auto",
        refine: RefineConfig | None = None,
        backend: str = "torch",
    ) -> "Predictor":
        """Read a checkpoint and make it ready.

        Args:
            path: a .safetensors checkpoint.
            device: "auto" (CUDA where there is one), "cpu", "cuda" or a torch device name.
            refine: whether and how edges follow the image; None: as `RefineConfig()` says.
            backend: "torch", "onnx" or "auto", see `hasten`; the exported network lies beside
                the checkpoint. With "auto" a file that cannot be used is logged, and torch answers.

        Raises:
            CheckpointError: the file cannot be used.
            InputError: this machine has no such device.
            BackendError: "onnx" was asked for and cannot be had.
        """
        predictor = cls(checkpoints.load(Path(path)), choose_device(device), refine)
        try:
            predictor.hasten(beside(Path(path)), backend)
        except BackendError as error:
            if backend == "onnx":
                raise
            log.warning("%s; torch answers instead", error)
        return predictor

    @property
    def is_on_cpu(self) -> bool:
        """Whether it runs on the CPU."""
        return self._device.type == "cpu"

    @property
    def backend(self) -> str:
        """Which runs the network: "torch" or "onnx"."""
        return "torch" if self._network == self._in_torch else "onnx"

    def hasten(self, exported: Path, backend: str = "auto") -> None:
        """Run the network on ONNX Runtime from now on, if it may be, and is faster here.

        Calls that run meanwhile end as they began.

        Args:
            exported: what `export-onnx` made of the checkpoint; it need not exist.
            backend: "auto": ONNX Runtime where it is installed, the file is there, and its
                answers are torch's and come sooner. "onnx": never mind the speed. "torch": torch.

        Raises:
            BackendError: the file cannot be used or answers otherwise than torch; or "onnx" was
                asked for and cannot be had. It answers as before.
        """
        if self.is_on_cpu:
            origin = (self.checkpoint.sha256, self.checkpoint.crop.size)
            self._network = choose(backend, self._in_torch, exported, origin)
        elif backend == "onnx":
            raise BackendError("ONNX Runtime answers on the CPU only: use --device cpu with it")

    def predict(
        self,
        image: Image,
        boxes: Sequence[Box] | NDArray[np.floating],
        strokes: Sequence[Sequence[Stroke]] | None = None,
        current: Sequence[RLE | None] | None = None,
    ) -> Prediction:
        """Label boxes of one image.

        Strokes steer the answer, and always win: what is under the last adding stroke is in the
        mask, what is under the last erasing one is out of it.

        Args:
            image: (H, W, 3) uint8 RGB, upright.
            boxes: (N, 4) x0 y0 x1 y1 in pixels, half-open; clipped to the image.
            strokes: for each box the strokes so far, in image pixels; None for none.
            current: for each box the mask that its strokes correct; None where that is the
                network's answer to the box alone. Not read where there are no strokes.

        Returns:
            N answers, in the order of the boxes, each as if its box were alone.

        Raises:
            BadImage: not an (H, W, 3) uint8 array.
            BadBox: a box that is not finite or holds no pixel.
            ValueError: strokes or current masks are given, but not one for each box; or a
                current mask is of another size than the image.
        """
        _check_image(image)
        height, width = image.shape[:2]
        checked = check_boxes(boxes, height, width)
        crops = [Crop.around(box, self.checkpoint.crop.margin) for box in checked]
        hints = _hints(crops, strokes, current, (height, width))
        logits, seconds = self._answer(image, hints)
        rects = [hint.reach(height, width) for hint in hints]
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
            hints=hints,
        )

    def _answer(self, image: Image, hints: Sequence[Hint]) -> tuple[Tensor, Mapping[str, float]]:
        """(N, s, s) logits and the seconds they took, a batch at a time to keep memory flat."""
        side = self.checkpoint.crop.size // 2
        logits, seconds = [torch.zeros(0, side, side)], {"crop": 0.0, "model": 0.0}
        for start in range(0, len(hints), BATCH):
            part = hints[start : start + BATCH]
            begin = time.perf_counter()
            images = self._cut(image, [hint.crop for hint in part])
            cut = time.perf_counter()
            logits.append(self._label(part, images))
            seconds["crop"] += cut - begin
            seconds["model"] += time.perf_counter() - cut
        return torch.cat(logits), seconds

    def _cut(self, image: Image, crops: Sequence[Crop]) -> Tensor:
        """(B, 3, S, S) normalised."""
        config = self.checkpoint.crop
        pixels, valid = zip(*(crop.apply(image, config) for crop in crops), strict=True)
        return present(torch.stack(pixels), torch.stack(valid), config)

    @torch.inference_mode()
    def _label(self, hints: Sequence[Hint], images: Tensor) -> Tensor:
        """(B, s, s) logits. Boxes with strokes go a second time: what they correct is a prompt."""
        size = self.checkpoint.crop.size
        areas = torch.tensor([box_area(hint.crop.box) for hint in hints])
        prompted = self.checkpoint.model.config.prompted
        marked = [i for i, hint in enumerate(hints) if hint.strokes and prompted]
        fresh = [i for i, hint in enumerate(hints) if i not in marked or hint.current is None]
        logits = torch.stack([hint.previous(size // 2) for hint in hints])
        if fresh:
            planes = torch.stack([prompt_planes(hints[i].crop, size) for i in fresh])
            logits[fresh] = self._run(images[fresh], planes, areas[fresh])
        if marked:
            again = [
                prompt_planes(hints[i].crop, size, hints[i].strokes, logits[i]) for i in marked
            ]
            logits[marked] = self._run(images[marked], torch.stack(again), areas[marked])
        if not prompted:
            self._spread(hints, images, logits)
        return logits

    def _spread(self, hints: Sequence[Hint], images: Tensor, logits: Tensor) -> None:
        """Let the strokes on each box correct (B, s, s) logits of a network that reads none."""
        side, threshold = logits.shape[-1], torch.tensor(self.checkpoint.threshold).logit()
        for index, hint in enumerate(hints):
            if not hint.strokes:
                continue
            planes = prompt_planes(hint.crop, images.shape[-1], hint.strokes)[2:]
            odds = logits[index] - threshold if hint.current is None else hint.previous(side)
            probs = spread(images[index], odds.sigmoid(), planes)
            logits[index] = torch.logit(probs, SURE) + threshold

    def _run(self, *inputs: Tensor) -> Tensor:
        """Crops, planes and box areas -> (B, s, s) fine logits, by torch where the other fails."""
        network = self._network
        try:
            return network(*inputs)
        except BackendError as error:
            log.warning("%s; torch answers from now on", error)
            self._network = self._in_torch
            return self._in_torch(*inputs)

    @torch.inference_mode()
    def _in_torch(self, *inputs: Tensor) -> Tensor:
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


def _hints(
    crops: Sequence[Crop],
    strokes: Sequence[Sequence[Stroke]] | None,
    current: Sequence[RLE | None] | None,
    size: tuple[int, int],
) -> list[Hint]:
    """What is known of each box, checked."""
    marks: Sequence[Sequence[Stroke]] = [()] * len(crops) if strokes is None else strokes
    masks: Sequence[RLE | None] = [None] * len(crops) if current is None else current
    for name, given in (("strokes", marks), ("current masks", masks)):
        if len(given) != len(crops):
            raise ValueError(f"{name} must be one a box: {len(given)} for {len(crops)} boxes")
    for mask in masks:
        if mask is not None and (mask.height, mask.width) != size:
            raise ValueError(f"a current mask must be of the image's size, {size}")
    return [Hint(*parts) for parts in zip(crops, marks, masks, strict=True)]
