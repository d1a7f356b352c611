"""What many tests need: the bundled weights, loaded once."""

from pathlib import Path

import pytest

from mal_core.predictor import Predictor

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "weights" / "mal-small-256.safetensors"


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    return Predictor.load(WEIGHTS, device="cpu")
