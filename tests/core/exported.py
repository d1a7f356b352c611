"""Small networks that went through `export-onnx`, and a clock that says what a table says."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mal_core import checkpoint as checkpoints
from mal_core.__main__ import main
from mal_core.checkpoint import Checkpoint
from mal_core.config import ModelConfig
from mal_core.model import MAL
from mal_core.runtime import beside

SIZE = 64
DESIGNS = {
    "studio": ModelConfig(dim=32, depth=1, heads=2, crop_size=SIZE, registers=2),
    "paper": ModelConfig(design="paper", backbone="vit_mini_patch16_224", crop_size=SIZE),
}


@dataclass(frozen=True)
class Exported:
    """A checkpoint on disk, what `export-onnx` wrote beside it, and what it printed."""

    weights: Path
    checkpoint: Checkpoint
    printed: str

    @property
    def onnx(self) -> Path:
        return beside(self.weights)

    @property
    def data(self) -> bytes:
        return self.onnx.read_bytes()

    @property
    def origin(self) -> tuple[str, int]:
        return self.checkpoint.sha256, SIZE

    def in_torch(self, *inputs: Tensor) -> Tensor:
        with torch.inference_mode():
            fine: Tensor = self.checkpoint.model(*inputs)[1]
            return fine


def make(config: ModelConfig, folder: Path) -> Exported:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = MAL(config)
        for name, value in model.named_parameters():  # a new network is deaf to prompts
            if "prompt" in name or "stem.c1.0" in name:
                nn.init.normal_(value, std=0.1)
    weights = folder / "weights.safetensors"
    checkpoints.save(model, weights, {"threshold": "0.4"})
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["export-onnx", "--weights", str(weights), "--json"]) == 0
    return Exported(weights, checkpoints.load(weights), out.getvalue())


class Clock:
    """Time that passes as a table says: torch's seconds and ONNX Runtime's, pair by pair."""

    def __init__(self, pairs: Sequence[tuple[float, float]]) -> None:
        self._times = self._tell(pairs)

    def __call__(self) -> float:
        return next(self._times)

    def _tell(self, pairs: Sequence[tuple[float, float]]) -> Iterator[float]:
        now = 0.0
        for first, second in pairs:
            yield now
            yield now + first
            yield now + first + second
            now += 100
