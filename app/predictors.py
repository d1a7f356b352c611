"""Predictors kept by the hash of their weights: loaded at first use, checked, and tried out."""

from collections import OrderedDict
from pathlib import Path
from threading import Lock

import numpy as np

from app.backends import Backends
from app.errors import NotFound
from app.settings import Settings
from mal_core.errors import CheckpointError
from mal_core.predictor import Predictor

CACHED_MODELS = 2


class Predictors:
    """The newest used ones stay in memory; thread-safe."""

    def __init__(self, settings: Settings, backends: Backends | None = None) -> None:
        self._settings = settings
        self._backends = backends
        self._kept: OrderedDict[str, Predictor] = OrderedDict()
        self._loading = Lock()

    def path_of(self, sha256: str) -> Path:
        """Where a checkpoint lies among the studio's models."""
        return self._settings.models / f"{sha256}.safetensors"

    def of(self, sha256: str, name: str) -> Predictor:
        """The predictor of a checkpoint.

        Args:
            sha256: of the checkpoint.
            name: what to call it in an error.

        Raises:
            NotFound: the file is gone, or is not the one it was.
            CheckpointError: it cannot be read, or its network answers no numbers.
        """
        with self._loading:
            if sha256 not in self._kept:
                predictor = Predictor.load(self.path_of(sha256), self._settings.device)
                if predictor.checkpoint.sha256 != sha256:
                    raise NotFound(f"the weights of {name} are damaged: roll back to others")
                _try_out(predictor, name)
                if self._backends is not None:
                    self._backends.hasten(predictor, self.path_of(sha256))
                self._kept[sha256] = predictor
                if len(self._kept) > CACHED_MODELS:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(sha256)
            return self._kept[sha256]


def _try_out(predictor: Predictor, name: str) -> None:
    """The smoke test of weights: one box on a tiny image gets a score."""
    ramp = np.arange(48 * 64 * 3, dtype=np.uint32) % 251
    answer = predictor.predict(ramp.astype(np.uint8).reshape(48, 64, 3), [(8, 8, 56, 40)])
    if not np.isfinite(answer.scores).all():
        raise CheckpointError(f"the weights of {name} answer no numbers: roll back to others")
