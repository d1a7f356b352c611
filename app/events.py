"""What an event of the pages may carry: files that were uploaded here, by no address of elsewhere.

Gradio fetches a file whose path is an http address, before any handler of ours is asked, and for
whoever is logged in. A studio talks to nobody of its own accord, so such events are refused.
"""

import json
import re
from collections.abc import Iterator

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.answers import refusal

EVENTS = re.compile(r"/gradio_api/(queue/join|run/\w+)")
_ELSEWHERE = re.compile(r"\s*([a-z][a-z0-9+.-]*:|//|\\\\)", re.IGNORECASE)


class Events:
    """The layer in front of Gradio's events; the entrance has bounded their bodies before."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass the request on as it was."""
        if scope["type"] != "http" or not EVENTS.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        body = await Request(scope, receive).body()
        if any(_ELSEWHERE.match(path) for path in paths_in(body)):
            text = "a file must be uploaded here: the studio fetches none from an address"
            await refusal(422, "not_allowed", text)(scope, receive, send)
            return
        is_read = False

        async def again() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, send)


def paths_in(body: bytes) -> Iterator[str]:
    """Every text that stands under "path" in JSON; none where it is not JSON."""
    try:
        waiting = [json.loads(body)]  # as the route behind reads it: NaN and all
    except (ValueError, RecursionError):
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            if isinstance(path := value.get("path"), str):
                yield path
