"""What the frozen lower blocks say of each crop, computed once and kept on disk.

A crop's features take 2.5 MB in float16. They are written and read as a plain file, not mapped: so
a full disk is an error and not a crash, and a fine-tune's memory stays flat however many
corrections there are.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from mal_core.dataset import Example, stack
from mal_core.encoder import Skips
from mal_core.errors import TrainingError
from mal_core.files import write_whole
from mal_core.losses import BoxBatch
from mal_core.memory import Portions
from mal_core.model import MAL

FEATURES, INDEX = "features.raw", "features.json"


@dataclass(frozen=True)
class Batch:
    """Features of B crops on their way into the tuned blocks, and what is known of each crop.

    Attributes:
        tokens: (B, registers + N, dim) float.
        skips: the stem's maps.
        target: (B, s, s) float in [0, 1], the mask's share of each cell; zero without one.
        weight: (B, s, s) float, 0 or more, what each cell of the target counts.
        boxes: colours, boxes and validity on the same grid.
        guess: (B, s, s) logits of the parent; zero for a crop with a mask.
        has_mask: (B,) bool.
    """

    tokens: Tensor
    skips: Skips
    target: Tensor
    weight: Tensor
    boxes: BoxBatch
    guess: Tensor
    has_mask: Tensor


class FeatureCache:
    """The features of `count` examples in one folder."""

    def __init__(self, folder: Path, count: int, key: str = "") -> None:
        """Take what an earlier sitting left there, if it is whole and of the same key.

        Args:
            folder: made where it is missing.
            count: examples.
            key: tells what the features depend on.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._index = folder / FEATURES, folder / INDEX
        self._count, self._key = count, key
        self._shapes: Sequence[Sequence[int]] = []
        if self._index.exists():
            kept = json.loads(self._index.read_bytes())
            if kept["key"] == key and kept["count"] == count:
                self._shapes = kept["shapes"]

    def __len__(self) -> int:
        return self._count

    def fill(
        self, model: MAL, examples: Iterable[Example], frozen: int, portions: Portions
    ) -> Iterator[int]:
        """Run `frozen` blocks on each example and keep the result; yields how many are done.

        Args:
            model: the parent, in eval mode.
            examples: exactly as many as there is room for; not looked at if all is there already.
            frozen: number of blocks whose output is kept.
            portions: how many to compute at a time.

        Raises:
            TrainingError: the disk refuses; the part that was written is removed.
        """
        if self._shapes or not self._count:
            yield self._count
            return
        self._index.unlink(missing_ok=True)
        try:
            with self._path.open("wb") as file:
                yield from self._write(file, model, examples, frozen, portions)
            facts = {"key": self._key, "count": self._count, "shapes": self._shapes}
            write_whole(self._index, json.dumps(facts).encode())
        except OSError as error:
            raise TrainingError(
                f"cannot keep the features of {self._count} crops ({error.strerror}): they take "
                "about 2.5 MB each beside the new weights"
            ) from error
        finally:
            if not self._index.exists():
                self._path.unlink(missing_ok=True)

    def batch(self, rows: Tensor, device: torch.device) -> Batch:
        """Read some rows (B,) back as float32."""
        sizes = [math.prod(shape) for shape in self._shapes]
        data = np.empty((len(rows), sum(sizes)), np.float16)
        with self._path.open("rb") as file:
            for line, row in zip(data, rows.tolist(), strict=True):
                file.seek(row * line.nbytes)
                file.readinto(line.data)
        flat = torch.from_numpy(data).to(device).float().split(sizes, 1)
        parts = [part.unflatten(1, list(s)) for part, s in zip(flat, self._shapes, strict=True)]
        tokens, f2, f4, f8, maps, has_mask = parts
        target, weight, guess, *grid = maps.unbind(1)
        boxes = BoxBatch(torch.stack(grid[:3], 1), grid[3], grid[4])
        return Batch(tokens, Skips(f2, f4, f8), target, weight, boxes, guess, has_mask[:, 0] > 0.5)

    def _write(
        self,
        file: BinaryIO,
        model: MAL,
        examples: Iterable[Example],
        frozen: int,
        portions: Portions,
    ) -> Iterator[int]:
        source, done = iter(examples), 0
        while group := list(islice(source, portions.size)):
            for part in portions.run(partial(_compute, model, group, frozen)):
                self._shapes = [list(values.shape[1:]) for values in part]
                rows = torch.cat([values.flatten(1).half() for values in part], 1)
                file.write(rows.numpy().tobytes())
            done += len(group)
            yield done


@torch.inference_mode()
def _compute(model: MAL, group: list[Example], frozen: int, size: int) -> list[list[Tensor]]:
    """What is kept of a few examples, `size` at a time: lists of (b, ...) on the CPU."""
    device = next(model.parameters()).device
    found = []
    for start in range(0, len(group), size):
        example = stack(group[start : start + size])
        crop, planes = example.crop.to(device), example.planes.to(device)
        tokens, skips = model.encoder.embed(crop, planes)
        tokens = model.encoder.attend(tokens, stop=frozen)
        guess = torch.zeros_like(example.target)
        if not bool(example.has_mask.all()):
            ready = model.encoder.finish(model.encoder.attend(tokens, start=frozen))
            guess = model.decoder(ready, skips)[1].cpu() * ~example.has_mask[:, None, None]
        maps = torch.stack([example.target, example.weight, guess], 1)
        maps = torch.cat([maps, example.grid], 1)  # (b, 8, s, s)
        has_mask = example.has_mask[:, None].float()
        found.append([part.cpu() for part in (tokens, *skips, maps, has_mask)])
    return found
