"""The outermost layer: an id and a log line for each request, its figures, probes, and the end.

When the studio is told to stop, what is in hand is finished and what comes is told to come back.
"""

import logging
import time
from collections.abc import Callable

import anyio
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.logs import REQUESTS, begin_request
from app.metrics import Answered
from app.vitals import PATHS, Vitals

DRAIN_SECONDS = 20.0  # what is in hand may take, after which the studio ends all the same
RETRY_AFTER = "5"  # seconds
log = logging.getLogger(REQUESTS)


class Drain:
    """Counts what is in hand, and says when the studio may end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self.in_hand = 0

    @property
    def is_on(self) -> bool:
        """Whether the studio was told to stop."""
        return self._since is not None

    def begin(self) -> None:
        """Take nothing new from now on."""
        self._since = self._clock() if self._since is None else self._since

    @property
    def is_over(self) -> bool:
        """Whether nothing is in hand any more, or it took too long."""
        if self._since is None:
            return False
        return self.in_hand == 0 or self._clock() - self._since >= DRAIN_SECONDS


class Watch:
    """Wraps the whole app."""

    def __init__(self, app: ASGIApp, vitals: Vitals, drain: Drain) -> None:
        self._app, self._vitals, self._drain = app, vitals, drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a probe, or watch a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = begin_request()
        scope.setdefault("state", {})["request_id"] = request.name
        begin, status = time.perf_counter(), 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request.name
            await send(message)

        counts = not _is_endless(scope)
        self._drain.in_hand += counts
        try:
            await self._dispatch(scope, receive, note)
        finally:
            self._drain.in_hand -= counts
            self._tell(scope, status, time.perf_counter() - begin)
            request.is_over = True

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_probe = scope["path"] in PATHS and scope["method"] in ("GET", "HEAD")
        if self._drain.is_on and scope["path"] != "/healthz":
            refusal = {"code": "stopping", "message": "the studio is stopping: nothing was done"}
            headers = {"Retry-After": RETRY_AFTER, "Connection": "close"}
            await JSONResponse({"error": refusal}, 503, headers)(scope, receive, send)
        elif is_probe:
            answer = await anyio.to_thread.run_sync(self._vitals.answer, Request(scope))
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        method, route = scope["method"], _template(scope, status)
        self._vitals.metrics.answered(Answered(method, route, status, seconds))
        fields: dict[str, object] = {"method": method, "route": route, "status": status}
        fields["ms"] = round(1000 * seconds, 1)
        if person := scope.get("state", {}).get("person"):
            fields["person"] = person
        log.info("%s %s %s", method, route, status, extra={"fields": fields})


def _is_endless(scope: Scope) -> bool:
    """Whether it is one of Gradio's streams, which an open page never lets end."""
    return scope["method"] == "GET" and str(scope["path"]).startswith("/gradio_api/")


def _template(scope: Scope, status: int) -> str:
    """The route's template: an address may hold names, and there are endlessly many."""
    if scope["path"] in PATHS:
        return str(scope["path"])
    route = scope.get("route")
    template = getattr(route, "path", None)
    return template if isinstance(template, str) and status != 404 else "other"
