"""A studio that serves from a process of its own, with users, and browsers that talk to it."""

import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from app.accounts import LONGEST
from app.auth import Sessions
from app.people import User
from app.settings import Settings
from app.store import Store
from tests import serving

PATIENCE = 10.0  # seconds that any answer may take


@dataclass
class Served:
    """The process, and its data folder as a command of the launcher sees it.

    Attributes:
        process: serves.
        store: on the same database.
        sessions: mints what its pages hold.
        slowest: seconds of the slowest answer so far.
    """

    process: serving.Studio
    store: Store
    sessions: Sessions
    slowest: float = field(default=0.0)

    @contextmanager
    def page(self, user: User) -> Iterator[httpx.Client]:
        """A browser in which somebody is logged in, with a page open."""
        now, secret = datetime.now(UTC), f"{user.name} {time.monotonic_ns()}"
        hashed = hashlib.sha256(secret.encode()).hexdigest()
        self.store.add_login(user.id, hashed, "test", now, now + LONGEST)
        headers = {"x-mal-session": self.sessions.mint(user.name), "origin": self.process.url}
        headers |= {"cookie": f"{self.sessions.cookie}={secret}"}
        with httpx.Client(base_url=self.process.url, headers=headers, timeout=60) as client:
            yield client

    def ask(self, page: httpx.Client, method: str, path: str, **more: object) -> httpx.Response:
        """Ask, and see that the answer comes within the product's patience."""
        begin = time.perf_counter()
        answer = page.request(method, path, **more)  # type: ignore[arg-type]
        seconds = time.perf_counter() - begin
        assert seconds < PATIENCE, (method, path)
        self.slowest = max(self.slowest, seconds)
        return answer


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory, prepared: Path, tiny_weights: Path
) -> Iterator[Served]:
    """Three photos and an admin named Ada."""
    folder = tmp_path_factory.mktemp("served")
    flags = ("--weights", str(tiny_weights), "--device", "cpu", "--threads", "1")
    process = serving.Studio(folder, *flags)
    shutil.copytree(prepared, process.data)
    with closing(Store(Settings(data_dir=process.data).database)) as store:
        store.add_user("Ada", "no hash at all", is_admin=True, now=datetime.now(UTC))
        process.start()
        try:
            yield Served(process, store, Sessions(process.data / "secret"))
        finally:
            process.stop()
