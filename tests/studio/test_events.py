"""Whose events Gradio's pages hear of, and what they may carry."""

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from app import events
from app.access import Caller
from app.events import Events, paths_in

JOIN, RUN, DATA = "/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/queue/data"
Ask = Callable[..., int]


@pytest.fixture
def ask() -> Ask:
    """Asks the layer in a person's name; what is behind it must get the body as it was sent."""
    seen: list[bytes] = []

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(await Request(scope, receive).body())
        await JSONResponse({})(scope, receive, send)

    layer = Events(inside)

    def act(person: str, path: str, body: bytes | dict[str, Any] = b"", query: str = "") -> int:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        parts, statuses = [data[:5], data[5:]], []

        async def receive() -> dict[str, Any]:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: Any) -> None:  # noqa: ANN401
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        scope = {"type": "http", "method": "POST" if data else "GET", "path": path, "headers": [],
                 "query_string": query.encode(), "state": {"caller": Caller(person)}}  # fmt: skip
        anyio.run(layer, scope, receive, send)
        assert statuses[0] != 200 or seen.pop() == data
        return int(statuses[0])

    return act


def test_the_events_of_a_page_are_its_person_s_alone(ask: Ask) -> None:
    assert ask("Ada", JOIN, {"session_hash": "ab1", "data": []}) == 200
    assert ask("Eve", DATA, query="session_hash=ab1") == 403
    assert ask("Eve", DATA, query="session_hash=mine&session_hash=ab1") == 403
    assert ask("Eve", "/gradio_api/heartbeat/ab1") == 403
    assert ask("Eve", RUN, {"session_hash": "ab1", "data": []}) == 403
    assert ask("Ada", DATA, query="session_hash=ab1") == 200
    assert ask("Ada", "/gradio_api/heartbeat/ab1") == 200
    assert ask("Eve", "/gradio_api/heartbeat/ab2") == 200
    assert ask("Ada", JOIN, {"session_hash": "ab2"}) == 403


def test_a_flood_of_pages_fills_no_memory(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "ROOM", 3)
    for page in ("a", "b", "c", "a", "d"):
        assert ask("Ada", DATA, query=f"session_hash={page}") == 200
    assert ask("Eve", DATA, query="session_hash=a") == 403
    assert ask("Eve", DATA, query="session_hash=b") == 200  # the longest quiet went


@pytest.mark.parametrize(
    "path",
    [
        "http://a/x",
        "HTTPS://a/x",
        " http://a",
        "\t//a/x",
        "file:///etc",
        "\\\\a\\x",
        "s3://b/x",
        "data:,",
    ],
)
def test_no_event_carries_an_address(ask: Ask, path: str) -> None:
    for data in ([{"path": path}], [[{"a": {"b": [{"path": path, "url": "/x"}]}}]]):
        assert ask("Ada", JOIN, {"data": data}) == 422
        assert ask("Ada", RUN, {"data": data}) == 422


@pytest.mark.parametrize(
    "body",
    [b"{", b"[" * 100_000, b"\xff\xfe", b"null", b"5", b'{"session_hash": 5}',
     b'{"data": [{"path": null}, {"path": "/data/uploads/a.png", "url": "http://127.0.0.1/x"}]}'],
    ids=["cut", "deep", "bytes", "null", "number", "no name", "an upload"],
)  # fmt: skip
def test_what_is_no_such_event_goes_on_as_it_is(ask: Ask, body: bytes) -> None:
    assert ask("Ada", JOIN, body) == 200
    assert ask("Ada", "/mal/propose", b'{"path": "http://a/x"}') == 200


def test_a_path_is_found_however_deep_it_lies() -> None:
    nested: Any = {"path": "x"}
    for _ in range(100_000):
        nested = [nested]
    assert list(paths_in(nested)) == ["x"]
