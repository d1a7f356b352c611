"""What the frozen lower blocks say of each crop, computed once and kept on disk.

A crop's features take 2 MB in float16; memory-mapped files keep a fine-tune's memory flat however
many corrections there are.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mal_core.dataset import Example, stack
from mal_core.encoder import Skips
from mal_core.model import MAL


@dataclass(frozen=True)
class Batch:
    """Features of B crops on their way into the tuned blocks."""

    tokens: Tensor  # (B, registers + N, dim) float
    skips: Skips
    target: Tensor  # (B, S/2, S/2) float in [0, 1]


class FeatureCache:
    """Room for the features of `count` examples under one folder."""

    def __init__(self, folder: Path, count: int) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._count = count
        self._arrays: list[NDArray[np.float16]] = []

    def __len__(self) -> int:
        return self._count

    def fill(self, model: MAL, examples: Iterable[Example], frozen: int) -> Iterator[int]:
        """Run `frozen` blocks on each example and keep the result; yields how many are done.

        Args:
            model: in eval mode.
            examples: exactly as many as there is room for.
            frozen: number of blocks whose output is kept.
        """
        device = next(model.parameters()).device
        for row, example in enumerate(examples):
            crop, planes, target = stack([example])
            with torch.inference_mode():
                tokens, skips = model.encoder.embed(crop.to(device), planes.to(device))
                tokens = model.encoder.attend(tokens, stop=frozen)
            self._keep(row, [tokens, *skips, target])
            yield row + 1

    def batch(self, rows: Tensor, device: torch.device) -> Batch:
        """Read some rows (B,) back as float32."""
        index = rows.numpy()
        parts = [torch.from_numpy(array[index]).float().to(device) for array in self._arrays]
        return Batch(parts[0], Skips(*parts[1:4]), parts[4])

    def _keep(self, row: int, parts: list[Tensor]) -> None:
        if not self._arrays:
            self._arrays = [
                np.lib.format.open_memmap(
                    self._folder / f"{name}.npy",
                    mode="w+",
                    dtype=np.float16,
                    shape=(self._count, *part.shape[1:]),
                )
                for name, part in enumerate(parts)
            ]
        for array, part in zip(self._arrays, parts, strict=True):
            array[row] = part[0].half().cpu().numpy()
