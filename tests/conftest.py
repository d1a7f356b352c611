"""What many tests need: the bundled weights, loaded once; and how much is enough."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mal_core.predictor import Predictor

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "weights" / "mal-small-256.safetensors"


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    return Predictor.load(WEIGHTS, device="cpu")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="the full sizes of tests marked soak")
    parser.addoption(
        "--database",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="what the studios under test keep their tables in",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules with slow tests come first, so that no worker sits alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """Picks a test's size: the small one in CI, the full one by `make soak`."""
    is_full = request.config.getoption("--soak")
    return lambda small, full: full if is_full else small


@pytest.fixture
def tell() -> Callable[[str], None]:
    """Says what was counted; pytest shows it under -rP, as `make soak` does."""
    return lambda line: print(line)  # noqa: T201
