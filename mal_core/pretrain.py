"""Pretrain the studio design's encoder on images without labels, as an iterator of events.

Each crop and what is hidden of it depend on the seed and the number of the crop alone, so a
resumed run follows the same curve. One process is enough for what this is for: images of a
project, and a network of some ten million weights.

Source: He et al., CVPR 2022.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PilImage
from torch import Tensor, nn

from mal_core import checkpoint as checkpoints
from mal_core.coco import Dataset, ImageRecord
from mal_core.config import CropConfig, ModelConfig, PretrainConfig
from mal_core.errors import InputError, TrainingError
from mal_core.geometry import Box, Crop, Image
from mal_core.mae import MaskedAutoencoder
from mal_core.model import normalise
from mal_core.pool import INDEX, PIXELS, Pictures, Source, decode_events, fingerprint
from mal_core.runstate import STATE, Position, keep, load_state, save_state
from mal_core.trainer import decay_groups

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
ASPECT = 4 / 3  # a crop's sides differ by at most this factor
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # Exif: these swap width and height
Event = Mapping[str, Any]


@dataclass(frozen=True)
class Material:
    """The images of a run.

    Attributes:
        pictures: the decoded pixels.
        numbers: which of them could be decoded.
    """

    pictures: Pictures
    numbers: Sequence[int]


class Pretraining:
    """One run: its network, its optimizer and its place on disk."""

    def __init__(
        self, model: ModelConfig, config: PretrainConfig, device: torch.device, folder: Path
    ) -> None:
        """Make a new network and its optimizer ready.

        Args:
            model: the network's shape, of the studio design.
            config: the settings.
            device: where to compute.
            folder: where the state of the run is kept; it exists.

        Raises:
            InputError: another design, or a share that hides no token or every one.
        """
        if model.design != "studio":
            raise InputError("pretrain is for the studio design; see `convert` for a timm ViT")
        self.config, self._device, self._folder = config, device, folder
        torch.manual_seed(config.seed)
        self._model = checkpoints.build(model)
        try:
            self.network = MaskedAutoencoder(self._model.encoder, config).to(device).train()
        except ValueError as error:
            raise InputError(str(error)) from error
        groups = decay_groups(self.network, config.weight_decay)
        self._optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
        self._has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        self.position = Position()

    def resume(self, identity: Mapping[str, Any]) -> Position:
        """Go back to the saved state of the same run, if there is one.

        Raises:
            TrainingError: the saved run has other settings or data.
            CheckpointError: the state is damaged.
        """
        self.position = load_state(self._folder, self._modules(), self._optimizer, identity)
        return self.position

    def save(self, identity: Mapping[str, Any]) -> None:
        """Keep the state.

        Raises:
            OSError: the disk refuses; the old state is intact.
        """
        save_state(self._folder, self._modules(), self._optimizer, self.position, identity)

    def identify(self, data: str) -> Mapping[str, Any]:
        """What two sittings of one run have in common, JSON-ready; `data` tells the images."""
        return {
            "pretrain": asdict(self.config),
            "model": asdict(self._model.config),
            "data": data,
        }

    def steps(self, material: Material) -> Iterator[Event]:
        """Train to the last step.

        Yields:
            "step" {step, steps, loss, rate, norm, crops_per_second}.

        Raises:
            TrainingError: a gradient is not finite; the step is named and not taken.
        """
        total = self.config.steps
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self._draw, material, self.position.step)
            while self.position.step < total:
                step, begin = self.position.step, time.perf_counter()
                crops, order = ahead.result()
                ahead = reader.submit(self._draw, material, min(step + 1, total - 1))
                rate = self.config.rate_at(step)
                loss, norm = self._step(crops, order, step, rate)
                spent = time.perf_counter() - begin
                seconds = self.position.seconds + spent
                self.position = replace(self.position, step=step + 1, seconds=seconds)
                figures = {"loss": loss, "rate": rate, "norm": norm}
                speed = {"crops_per_second": self.config.batch_size / spent}
                yield {"event": "step", "step": step + 1, "steps": total, **figures, **speed}

    def finish(self, out: Path, notes: Mapping[str, str]) -> str:
        """Write the encoder, with a decoder that has learnt nothing, as a checkpoint of ours.

        Returns:
            SHA-256 of the file.

        Raises:
            CheckpointError: the file cannot be written.
        """
        steps = str(self.position.step)
        notes = {"pretrained": "mae", "parent": "random", "steps": steps, **notes}
        return checkpoints.save(self._model, out, notes)

    def _modules(self) -> dict[str, nn.Module]:
        return {"mae": self.network}

    def _draw(self, material: Material, step: int) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) crops in [0, 1] and (B, N) orders of a step."""
        first = step * self.config.batch_size
        size = self._model.config.crop_size
        numbers = range(first, first + self.config.batch_size)
        drawn = [draw_crop(material, n, size, self.config, self._device) for n in numbers]
        return torch.stack([crop for crop, _ in drawn]), torch.stack([order for _, order in drawn])

    def _step(self, crops: Tensor, order: Tensor, step: int, rate: float) -> tuple[float, float]:
        """One optimizer step; returns the loss and the gradient's norm."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        seen = normalise(crops, torch.ones_like(crops[:, 0]))
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._has_bf16):
            loss = self.network(seen, order)
        loss.backward()
        learning = [p for p in self.network.parameters() if p.requires_grad]
        norm = float(nn.utils.clip_grad_norm_(learning, self.config.clip_norm))
        if not math.isfinite(norm):
            raise TrainingError(
                f"step {step + 1}: the gradient is not finite; the step was not taken. Go on from "
                "the last saved state, with a lower --rate if it happens again"
            )
        self._optimizer.step()
        return float(loss.detach()), norm


def pretrain(folders: Sequence[Path], out: Path, run: Pretraining, folder: Path) -> Iterator[Event]:
    """Pretrain from the first decoded image to the written encoder.

    Args:
        folders: of images; looked through to the bottom.
        out: the encoder, a checkpoint of ours.
        run: new; what it left in `folder` before is gone on with.
        folder: of the run; its state and pixels are removed at the end.

    Yields:
        "skipped" and "decode" as in `decode_events`; "start" {step, steps}; "step" as in
        `Pretraining`; "kept" {step} or "not_kept" {step, reason}; "saved" {sha256, seconds}.

    Raises:
        InputError: a folder holds no image file.
        TrainingError: no image can be read, the saved run is another one, the disk refuses
            the pixels, or a gradient is not finite.
        CheckpointError: the saved state is damaged, or the encoder cannot be written.
    """
    sources = find_images(folders)
    yield from decode_events(sources, folder, run.config.longest)
    material = gather(sources, folder)
    data = fingerprint(sources)
    identity = run.identify(data)
    start, kept = run.resume(identity).step, time.monotonic()
    yield {"event": "start", "step": start, "steps": run.config.steps}
    for event in run.steps(material):
        yield event
        if time.monotonic() - kept >= 60 * run.config.save_minutes:
            yield keep(partial(run.save, identity), event["step"])
            kept = time.monotonic()
    sha256 = run.finish(out, {"data": data})
    for name in (PIXELS, INDEX, STATE):
        (folder / name).unlink(missing_ok=True)
    yield {"event": "saved", "sha256": sha256, "seconds": run.position.seconds}


def find_images(folders: Sequence[Path]) -> list[Source]:
    """The image files below some folders, by name, as data sets without annotations.

    Raises:
        InputError: there is none in one of the folders.
    """
    return [Source(Dataset(_records(folder), [], []), folder) for folder in folders]


def gather(sources: Sequence[Source], folder: Path) -> Material:
    """Take what `decode` left of the sources in a folder.

    Raises:
        TrainingError: not one image could be decoded.
    """
    pictures = Pictures(folder)
    total = sum(len(source.dataset.images) for source in sources)
    numbers = [number for number in range(total) if pictures.has(number)]
    if not numbers:
        raise TrainingError(f"not one of {total} images can be read")
    return Material(pictures, numbers)


def draw_crop(
    material: Material, number: int, size: int, config: PretrainConfig, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cut the n-th crop of a run, and choose what is hidden of it.

    Args:
        material: what to draw from, each image as often as any other.
        number: of the crop, counted over the whole run from 0.
        size: side of the crop, pixels.
        config: seed, and the smallest share of the image.
        device: where pixels are resampled.

    Returns:
        crop: (3, S, S) float in [0, 1].
        order: (N,) int64, a permutation of the tokens, the shown ones first.
    """
    random = np.random.default_rng([config.seed, number])
    image = material.pictures.get(material.numbers[int(random.integers(len(material.numbers)))])
    window = _window(image, config.scale_low, random)
    crop, _ = Crop(window, window).apply(image, CropConfig(size=size), device)
    if random.random() < 0.5:
        crop = crop.flip(-1)
    return crop, torch.from_numpy(random.permutation((size // 16) ** 2)).to(device)


def _window(image: Image, scale_low: float, random: np.random.Generator) -> Box:
    """A window of `scale_low` to all of the image's area, its sides 3:4 to 4:3, inside it."""
    height, width = image.shape[:2]
    reach = math.log(ASPECT)
    for _ in range(10):
        area = height * width * random.uniform(scale_low, 1)
        aspect = math.exp(random.uniform(-reach, reach))
        w, h = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if w <= width and h <= height:
            break
    else:  # a long image: as much of it as that shape allows
        w, h = min(width, height * ASPECT), min(height, width * ASPECT)
    x0, y0 = random.uniform(0, width - w), random.uniform(0, height - h)
    return (x0, y0, x0 + w, y0 + h)


def _records(folder: Path) -> list[ImageRecord]:
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise InputError(f"{folder.name} is not a folder with image files")
    return [
        ImageRecord(number, path.relative_to(folder).as_posix(), *_size_wh(path))
        for number, path in enumerate(paths, start=1)
    ]


def _size_wh(path: Path) -> tuple[int, int]:
    """Width and height upright, by the file's header; `decode` names a file without one."""
    try:
        with PilImage.open(path) as file:
            width, height = file.size
            turned = file.getexif().get(_ORIENTATION) in _TURNED
    except (OSError, SyntaxError, ValueError, PilImage.DecompressionBombError):
        return 1, 1
    return (height, width) if turned else (width, height)
