"""No queue grows without end and nobody waits for ever: who comes too late is told so."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from threading import Barrier, Event
from typing import Any

import anyio
import pytest
from starlette.requests import Request
from starlette.types import Scope

from app.errors import Busy, TooLarge
from app.library import Library
from app.rest.data import LONG_ACTS
from app.rest.streams import AT_ONCE, Receiver
from app.settings import Settings
from tests.studio.conftest import Studio
from tests.studio.programs import Door, opened
from tests.studio.rest import error_of

PATIENCE = 60.0  # seconds; nothing here takes long, but a machine may be busy


@pytest.fixture
def door(studio: Studio) -> Iterator[Door]:
    with opened(studio) as made:
        yield made


def upload(data: bytes, says: int | None = None) -> Request:
    """A request with a body, which may be another than its header says."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    length = str(len(data) if says is None else says).encode()
    scope: Scope = {"type": "http", "method": "POST", "headers": [(b"content-length", length)]}
    return Request(scope, receive)


def test_few_bodies_come_in_at_once_and_the_next_is_told_to_come_back(studio: Studio) -> None:
    receiver = Receiver(studio.settings)

    async def main() -> None:
        async with AsyncExitStack() as coming:
            for _ in range(AT_ONCE):
                await coming.enter_async_context(receiver.body(upload(b"x"), "a.png"))
            with pytest.raises(Busy):
                await coming.enter_async_context(receiver.body(upload(b"x"), "a.png"))
        async with receiver.body(upload(b"whole"), "a.png") as path:  # there is room again
            assert path.read_bytes() == b"whole"

    with_patience(main)
    assert list(studio.settings.uploads.iterdir()) == []


@pytest.mark.parametrize("says", [None, 5, 0], ids=["honest", "too little", "nothing"])
def test_a_body_that_is_too_long_is_cut_off_whatever_it_says(
    studio: Studio, says: int | None
) -> None:
    receiver = Receiver(Settings(data_dir=studio.settings.data_dir, max_upload_bytes=100))

    async def main() -> None:
        for _ in range(AT_ONCE + 1):  # none of them keeps a place
            with pytest.raises(TooLarge, match="100 bytes"):
                async with receiver.body(upload(b"x" * 101, says), "a.png"):
                    raise AssertionError("it came in")

    with_patience(main)
    assert list(studio.settings.uploads.glob("*")) == []


def with_patience(main: Callable[[], Any]) -> None:
    async def timed() -> None:
        with anyio.fail_after(PATIENCE):
            await main()

    anyio.run(timed)


def test_few_exports_are_made_at_once_and_the_next_is_told_to_come_back(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, let_go = Barrier(LONG_ACTS + 1), Event()
    export = Library.export

    def slow(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        at_work.wait(PATIENCE)
        assert let_go.wait(PATIENCE)
        return export(*args, **kwargs)

    monkeypatch.setattr(Library, "export", slow)

    def ask() -> Any:  # noqa: ANN401
        return door.http.post("/mal/v1/projects/1/exports", json={})

    with ThreadPoolExecutor(LONG_ACTS) as threads:
        working = [threads.submit(ask) for _ in range(LONG_ACTS)]
        at_work.wait(PATIENCE)
        late = ask()
        let_go.set()
        assert [work.result(PATIENCE).status_code for work in working] == [201] * LONG_ACTS
    error_of(late, 429, "busy")
    assert int(late.headers["retry-after"]) > 0
    monkeypatch.setattr(Library, "export", export)
    assert ask().status_code == 201
