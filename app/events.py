"""What an event of Gradio's pages may carry, and whose pages hear of it.

Gradio fetches a file whose path is an http address, before any handler of ours is asked, and for
whoever is logged in. A studio talks to nobody of its own accord, so such events are refused.

Gradio knows a page by a name that the page chose, and tells what becomes of its events to whoever
says that name. Here a page is its person's who was first to say it.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.answers import refusal

ROOM = 10_000  # pages remembered; the longest quiet goes first
_ACTS = re.compile(r"/gradio_api/(queue/join|run/\w+)")
_STREAMS = re.compile(r"/gradio_api/(queue/data|heartbeat/(\w+))")
_ELSEWHERE = re.compile(r"\s*([a-z][a-z0-9+.-]*:|//|\\\\)", re.IGNORECASE)


class Events:
    """The layer in front of Gradio's events; the entrance has let in who asks before."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._persons: OrderedDict[str, str] = OrderedDict()  # by page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass the request on as it was."""
        refused: Response | None = None
        if scope["type"] != "http":
            pass
        elif _ACTS.fullmatch(scope["path"]):
            body = await Request(scope, receive).body()
            refused, receive = self._refuse_act(scope, body), _again(body, receive)
        elif stream := _STREAMS.fullmatch(scope["path"]):
            query = parse_qs(scope["query_string"].decode("latin-1"))
            pages = [stream[2]] if stream[2] else query.get("session_hash", [])
            refused = self._refuse_pages(scope, pages)
        await (refused or self._app)(scope, receive, send)

    def _refuse_act(self, scope: Scope, body: bytes) -> Response | None:
        try:
            event = json.loads(body)  # as the route behind reads it: NaN and all
        except (ValueError, RecursionError):
            return None
        if any(_ELSEWHERE.match(path) for path in paths_in(event)):
            text = "a file must be uploaded here: the studio fetches none from an address"
            return refusal(422, "not_allowed", text)
        page = event.get("session_hash") if isinstance(event, dict) else None
        return self._refuse_pages(scope, [page] if isinstance(page, str) else [])

    def _refuse_pages(self, scope: Scope, pages: list[str]) -> Response | None:
        """Refuse who says the name of another person's page."""
        person = getattr(scope["state"].get("caller"), "person", "")
        if all(self._person_of(page, person) == person for page in pages):
            return None
        return refusal(403, "forbidden", "this page was opened by somebody else: reload it")

    def _person_of(self, page: str, person: str) -> str:
        """Whose a page is; it becomes this person's if it is nobody's."""
        owner = self._persons.setdefault(page, person)
        self._persons.move_to_end(page)
        if len(self._persons) > ROOM:
            self._persons.popitem(last=False)
        return owner


def paths_in(event: object) -> Iterator[str]:
    """Every text that stands under "path" in what JSON can hold."""
    waiting: list[Any] = [event]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            if isinstance(path := value.get("path"), str):
                yield path


def _again(body: bytes, receive: Receive) -> Receive:
    """A way to read a body that was read before."""
    is_read = False

    async def again() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
