"""Where images are kept: each kind of place keeps, gives back and refuses alike."""

import hashlib
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import enumerate as enumerate_threads
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image as Pil

from app.errors import DiskFull, StudioError, Unavailable
from app.images import Vault, open_vault
from app.images.cache import USED_SECONDS, Cache
from app.images.content import files_below
from app.images.remote import Remote
from app.settings import Settings
from mal_core.errors import BadImage
from tests.studio.buckets import KEYS, Shelf
from tests.studio.conftest import PHOTOS

KINDS = ("folder", "file", "memory", "s3")


def content(number: int, size: int = 3000) -> bytes:
    return np.random.default_rng(number).bytes(size)


def name_for(data: bytes, suffix: str = ".png") -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    return f"{sha256[:2]}/{sha256}{suffix}"


class Place:
    """A vault, and how another program sees what it keeps."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.vault = open_vault(settings)
        self.shelf = Shelf(settings.images_url or f"file://{settings.images}")

    def keep(self, data: bytes, suffix: str = ".png", name: str = "") -> str:
        name = name or name_for(data, suffix)
        self.vault.scratch.mkdir(parents=True, exist_ok=True)
        source = self.vault.scratch / "source"
        source.write_bytes(data)
        self.vault.keep(name, source)
        source.unlink(missing_ok=True)
        return name

    def forget(self) -> None:
        """Let the cache be empty."""
        for path in self.settings.cache.rglob("*.*"):
            path.unlink()


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    kind = request.param
    urls = {"folder": "", "file": f"file://{tmp_path}/far", "memory": f"memory://{tmp_path.name}"}
    url = urls[kind] if kind in urls else request.getfixturevalue("bucket")
    return Place(Settings(data_dir=tmp_path / "data", images_url=url, cache_bytes=64_000))


every_kind = pytest.mark.parametrize("place", KINDS, indirect=True)
every_store = pytest.mark.parametrize("place", KINDS[1:], indirect=True)
in_memory = pytest.mark.parametrize("place", ["memory"], indirect=True)


@every_kind
def test_what_is_kept_comes_back_under_its_hash(place: Place, tmp_path: Path) -> None:
    data = content(0)
    name = place.keep(data)
    assert place.shelf.read(name) == data
    place.forget()
    assert place.vault.fetch(name).read_bytes() == data
    assert place.vault.head(name) == data[:4096]
    assert place.vault.trouble(name) == ""
    assert place.vault.sizes() == {name: len(data)}
    folder = place.vault.lay_out([name, name], tmp_path / "laid")
    place.forget()
    assert (folder / name).read_bytes() == data
    assert place.vault.obstacle() == ""
    assert place.vault.sizes() == {name: len(data)}  # the sign of a studio is no image


@every_kind
def test_what_is_gone_or_changed_is_said(place: Place) -> None:
    thumbnail = (PHOTOS / "rocket.jpg").read_bytes()
    names = [place.keep(content(0)), place.keep(content(1)), place.keep(thumbnail, ".thumb.jpg")]
    place.shelf.remove(names[0])
    place.shelf.write(names[1], content(2))
    place.shelf.write(names[2], thumbnail[:5000])
    gone, changed, torn = map(place.vault.trouble, names)
    assert gone == "cannot be found"
    assert changed == "cannot be trusted: another content than its name says"
    assert torn == "cannot be trusted: it is damaged"


@every_store
def test_no_copy_is_handed_out_that_is_not_what_its_name_says(place: Place) -> None:
    name = place.keep(content(0))
    place.shelf.write(name, content(1))
    place.forget()
    with pytest.raises(BadImage, match="another content"):
        place.vault.fetch(name)
    place.shelf.remove(name)
    with pytest.raises(BadImage, match="cannot be found"):
        place.vault.fetch(name)
    with pytest.raises(BadImage, match="cannot be found"):
        place.vault.head(name)
    with pytest.raises(BadImage, match=f"{name} cannot be found; bring it back"):
        place.vault.lay_out([name], place.settings.jobs)
    assert files(place.settings.cache) == []


@in_memory
def test_what_is_there_is_left_alone_if_it_is_right_and_mended_if_not(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    put = MemoryFileSystem.put_file

    def count(self: MemoryFileSystem, local: str, far: str, **named: Any) -> None:  # noqa: ANN401
        sent.append(far)
        put(self, local, far, **named)

    monkeypatch.setattr(MemoryFileSystem, "put_file", count)
    name = place.keep(content(0))
    place.keep(content(0))
    assert len(sent) == 1
    place.shelf.write(name, content(0)[:100])  # what a program that was killed had sent of it
    place.keep(content(0))
    assert len(sent) == 2
    assert place.shelf.read(name) == content(0)


@every_store
def test_nothing_is_sent_that_is_not_what_its_name_says(place: Place) -> None:
    with pytest.raises(BadImage, match="another content"):
        place.keep(content(0), name=name_for(content(1)))
    assert place.shelf.names() == set()


@in_memory
def test_what_was_damaged_on_its_way_is_fetched_once_more(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = place.keep(content(0))
    place.forget()
    turns = iter([content(1), content(0)])

    def get(_: MemoryFileSystem, __: str, local: str, **___: object) -> None:
        Path(local).write_bytes(next(turns))

    monkeypatch.setattr(MemoryFileSystem, "get_file", get)
    assert place.vault.fetch(name).read_bytes() == content(0)


@in_memory
def test_what_the_store_does_not_give_back_is_not_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryFileSystem, "put_file", lambda *_, **__: None)
    with pytest.raises(Unavailable, match="did not keep what it was given"):
        place.keep(content(0))


# The cache


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


@in_memory
def test_what_was_fetched_once_is_not_asked_for_again(place: Place) -> None:
    name = place.keep(content(0))
    place.shelf.remove(name)
    assert place.vault.fetch(name).read_bytes() == content(0)


@in_memory
def test_the_cache_keeps_to_its_limit_and_what_was_used_longest_ago_goes_first(
    place: Place,
) -> None:
    """Twenty files fit; each third is used again, and what was just used stays in any case."""
    names = [place.keep(content(number)) for number in range(60)]
    assert len(files(place.settings.cache)) == 60  # within a minute
    for order, name in enumerate(names):
        age(place.settings.cache / name, 10 * USED_SECONDS - order)
    again = names[::3]
    for order, name in enumerate(again):
        age(place.vault.fetch(name), 1.5 * USED_SECONDS - order / 100)
    leftover = place.settings.cache / "incoming-x" / "file"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half")
    age(leftover, 2 * 3600)
    for number in range(100, 102):  # a sixteenth of the limit comes in: the cache is swept
        place.keep(content(number))
    left = {path.relative_to(place.settings.cache).as_posix() for path in
            files(place.settings.cache)}  # fmt: skip
    assert sum(path.stat().st_size for path in files(place.settings.cache)) <= 64_000
    assert len(left) == 21
    assert left >= {name_for(content(100)), name_for(content(101))}
    assert left - {name_for(content(100)), name_for(content(101))} == set(again[1:])
    assert place.vault.fetch(names[1]).read_bytes() == content(1)  # comes in anew


def test_what_is_used_while_the_cache_is_looked_through_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path / "cache", max_bytes=1)
    for name in ("a/old", "a/used"):
        with cache.scratch() as folder:
            (folder / "file").write_bytes(b"12345")
            age(cache.take(folder / "file", name), 10 * USED_SECONDS)

    def looked(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
        yield from files_below(folder)
        assert cache.use("a/used")

    monkeypatch.setattr("app.images.cache.files_below", looked)
    with cache.scratch() as folder:
        (folder / "file").write_bytes(b"12345")
        cache.take(folder / "file", "a/new")
    assert cache.use("a/old") is None
    assert cache.use("a/used")


@pytest.mark.parametrize("place", ["file"], indirect=True)  # memory is not for many threads
def test_many_who_ask_at_once_get_the_same_whole_file(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight threads in each of two studios on one folder."""
    names = [place.keep(content(number)) for number in range(12)]
    place.forget()
    asked = []
    get = LocalFileSystem.get_file

    def count(self: LocalFileSystem, far: str, local: str, **named: Any) -> None:  # noqa: ANN401
        asked.append(far)
        time.sleep(0.002)
        get(self, far, local, **named)

    monkeypatch.setattr(LocalFileSystem, "get_file", count)
    url, cache = place.settings.images_url, place.settings.cache
    vaults: list[Vault] = [Remote(url, cache, 6000), Remote(url, cache, 6000)]
    with ThreadPoolExecutor(16) as pool:
        jobs = [(vaults[turn % 2], name) for turn in range(16) for name in names]
        found = list(pool.map(lambda job: job[0].fetch(job[1]).read_bytes(), jobs))
    assert [name_for(data) for data in found] == [name for _, name in jobs]
    assert len(asked) <= 2 * len(names)  # once by each studio


@in_memory
def test_a_full_disk_is_not_the_store_s_fault(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    name = place.keep(content(0))
    place.forget()
    monkeypatch.setattr("app.images.cache.move_whole", refuse)
    with pytest.raises(DiskFull, match="make room"):
        place.vault.fetch(name)
    monkeypatch.undo()
    monkeypatch.setattr(MemoryFileSystem, "get_file", refuse)
    with pytest.raises(DiskFull, match="make room"):
        place.vault.fetch(name)
    monkeypatch.undo()
    assert place.vault.fetch(name).read_bytes() == content(0)
    assert len(files(place.settings.cache)) == 1


# A store that is not there


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No server where the variables say that S3 is."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for name, value in (KEYS | {"AWS_ENDPOINT_URL": address}).items():
            monkeypatch.setenv(name, value)
        yield


class Asked:
    """A client of a store that notes what it is asked, and fails."""

    def __init__(self) -> None:
        self.acts: list[str] = []

    def __getattr__(self, act: str) -> None:
        self.acts.append(act)
        raise ConnectionError


@pytest.mark.usefixtures("nobody")
def test_a_store_that_is_down_is_said_at_once_to_those_who_come_after(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path, images_url="s3://down/studio")
    place = Place(settings)
    with pytest.raises(Unavailable, match=r"cannot be reached.*nothing was kept, try again"):
        place.keep(content(0))
    assert isinstance(place.vault, Remote)
    asked = Asked()
    monkeypatch.setattr(place.vault, "_system", asked)
    for act in (place.vault.fetch, place.vault.trouble, place.vault.head):
        with pytest.raises(Unavailable):
            act(name_for(content(0)))
    with pytest.raises(Unavailable):
        place.vault.sizes()
    assert "cannot be reached" in place.vault.obstacle()
    assert asked.acts == []
    monkeypatch.setattr("app.images.remote.time.monotonic", lambda: 1e9)
    assert "cannot be reached" in place.vault.obstacle()
    assert asked.acts == ["info"]  # later it is asked again
    assert files(tmp_path) == [place.vault.scratch / "source"]
    assert not any(secret in caplog.text for secret in KEYS.values())


@pytest.mark.usefixtures("s3")
def test_a_bucket_that_is_not_there_is_said(tmp_path: Path) -> None:
    place = Place(Settings(data_dir=tmp_path, images_url="s3://never-made/studio"))
    text = "its bucket or folder must be made first"
    assert text in place.vault.obstacle()
    with pytest.raises(Unavailable, match=text):
        place.keep(content(0))
    assert place.vault.sizes() == {}


def test_a_server_that_takes_calls_and_never_answers_costs_a_probe_three_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.images.remote.REACH_SECONDS", 0.05)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name, value in (KEYS | {"AWS_ENDPOINT_URL": address}).items():
            monkeypatch.setenv(name, value)
        vault = open_vault(Settings(data_dir=tmp_path, images_url="s3://silent/studio"))
        assert vault.obstacle() == vault.obstacle() == "the image store does not answer"
        assert [thread.name for thread in enumerate_threads()].count("the image store") == 1


@pytest.mark.parametrize(
    ("url", "why"),
    [("floppy://a/b", "not known"), ("ftp://127.0.0.1:1/b", "Connection refused")],
    ids=["no such kind", "nobody answers"],
)
def test_a_url_that_nothing_here_can_open_is_refused_at_the_start(
    tmp_path: Path, url: str, why: str
) -> None:
    with pytest.raises(StudioError, match=f"images_url cannot be opened: .*{why}"):
        open_vault(Settings(data_dir=tmp_path, images_url=url))


def test_a_raster_s_size_is_in_its_head(tmp_path: Path) -> None:
    """What HEAD_BYTES rests on: the encoders that intake uses put the size first."""
    path = tmp_path / "a"
    for kind, options in (("JPEG", {"quality": 95, "subsampling": 0}), ("PNG", {})):
        Pil.effect_noise((300, 200), 90).convert("RGB").save(path, kind, **options)
        (tmp_path / "head").write_bytes(path.read_bytes()[:4096])
        with Pil.open(tmp_path / "head") as head:
            assert head.size == (300, 200)
