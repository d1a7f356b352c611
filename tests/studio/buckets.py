"""Image stores for tests: a bucket of an S3 server of our own, and what else fsspec speaks to."""

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import fsspec
import pytest

from app.images import open_vault
from app.workflow import Workflow

if TYPE_CHECKING:
    from tests.studio.conftest import Studio

KEYS = {"AWS_ACCESS_KEY_ID": "ada", "AWS_SECRET_ACCESS_KEY": "hush-hush"}
_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of a server of S3, known to all clients by their own variables."""
    moto = pytest.importorskip("moto.server")  # takes a second, and few tests need it
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> fsspec.AbstractFileSystem:
    """The server, to which this test's programs are logged in."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    return fsspec.filesystem("s3", skip_instance_cache=True)


@pytest.fixture
def bucket(s3: fsspec.AbstractFileSystem) -> str:
    """URL of a folder in a new bucket."""
    name = f"photos-{next(_NUMBERS)}"
    s3.mkdir(name)
    return f"s3://{name}/studio"


class Shelf:
    """What lies at a URL, as another program sees it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.system, self._root = fsspec.core.url_to_fs(url, skip_instance_cache=True)

    def read(self, name: str) -> bytes:
        found: bytes = self.system.cat_file(f"{self._root}/{name}")
        return found

    def write(self, name: str, content: bytes) -> None:
        if self.url.startswith("file"):
            self.system.makedirs(f"{self._root}/{name[:2]}", exist_ok=True)
        self.system.pipe_file(f"{self._root}/{name}", content)

    def remove(self, name: str) -> None:
        self.system.rm_file(f"{self._root}/{name}")

    def names(self) -> set[str]:
        self.system.invalidate_cache()
        start = len(self._root) + 1
        return {path[start:] for path in self.system.find(self._root)}


def move(studio: "Studio", url: str) -> "Studio":
    """The studio with its images at a URL, and none of them on its own disk."""
    settings = replace(studio.settings, images_url=url)
    vault = open_vault(settings)
    for path in studio.settings.images.glob("*/*"):
        vault.keep(path.relative_to(studio.settings.images).as_posix(), path)
    shutil.rmtree(settings.images)
    shutil.rmtree(settings.cache, ignore_errors=True)
    return replace(studio, settings=settings, workflow=Workflow(settings, studio.store))
