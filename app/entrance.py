"""What every request passes, Gradio's own included, before anything else sees it.

In this order: no foreign host or site; no route of Gradio's that the pages do not use; no body
that is too large; who asks; and no more at once, or a day, than one person may ask for.
"""

import re
from collections import Counter
from urllib.parse import quote

import anyio
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access import LOCAL, Caller
from app.accounts import Accounts
from app.answers import SECURITY_HEADERS, refusal, status_of
from app.auth import check_host, check_origin
from app.daily import DailyBytes
from app.errors import Busy, LoginNeeded, NotFound, StudioError, TooLarge
from app.settings import Settings
from app.store import Store

BODY_LIMIT = 8 * 2**20  # bytes
AT_ONCE = 64  # requests of one person: a page holds two open, and a browser asks for six at a time
LOGIN = "/mal/login"
OPEN = frozenset({LOGIN})
"""What is answered to those who are not logged in."""
UPLOAD = "/gradio_api/upload"
UPLOADS = re.compile(rf"{UPLOAD}|/mal/v1/projects/\d+/(images|imports)")
USED = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json)|/(assets|static|svelte|mal)/.*"
    r"|/gradio_api/(queue/(join|data)|run/\w+|upload|upload_progress|heartbeat/\w+|startup-events"
    r"|theme\.css|info)"
)
"""What is answered at all: Gradio has routes for files, proxies and more that no page needs."""
LAST: Message = {"type": "http.response.body", "body": b"", "more_body": False}
STREAM = "text/event-stream"  # goes on for as long as a page is open
_SAFE = ("GET", "HEAD", "OPTIONS")
_LOOKUPS = 8  # of callers at once


class Entrance:
    """The outermost layer of the app.

    Args:
        app: what is inside.
        settings: hosts and sizes.
        store: tells whether anybody must log in.
        accounts: tells who asks.
        cookie: name of the cookie that holds a login's secret.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        store: Store,
        accounts: Accounts,
        cookie: str,
    ) -> None:
        self._app, self._settings, self._store = app, settings, store
        self._accounts, self._cookie = accounts, cookie
        self._lookups = anyio.CapacityLimiter(_LOOKUPS)
        self._at_once: Counter[str] = Counter()
        self._daily = DailyBytes(settings.data_dir / "sent.json", settings.daily_upload_bytes)
        self._has_users = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on and add the security headers to the answer."""
        if scope["type"] == "websocket":  # there is none
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        elif answer := await self._refuse(request := Request(scope)):
            await answer(scope, receive, send)
        else:
            await self._pass(request, receive, send)

    async def _refuse(self, request: Request) -> Response | None:
        try:
            self._check(request)
            caller = await anyio.to_thread.run_sync(self._find, request, limiter=self._lookups)
            request.state.caller = caller
            if caller is not None:
                await self._check_quota(caller, request)
            elif request.scope["path"] not in OPEN:
                raise LoginNeeded("log in, in this browser: nothing that is unsaved gets lost")
        except LoginNeeded as error:
            if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
                return RedirectResponse(_login_for(request), 303, headers=SECURITY_HEADERS)
            return refusal(401, error.code, str(error))
        except Busy as error:
            return refusal(429, error.code, str(error), headers={"Retry-After": "5"})
        except StudioError as error:
            return refusal(status_of(error), error.code, str(error))
        return None

    def _check(self, request: Request) -> None:
        """What can be refused without knowing who asks."""
        host, path = request.headers.get("host", ""), request.scope["path"]
        check_host(host, self._settings)
        if request.method not in _SAFE:
            check_origin(request.headers.get("origin"), host)
        if not USED.fullmatch(path):
            raise NotFound("there is no such address")
        limit = self._settings.daily_upload_bytes if _is_upload(request) else BODY_LIMIT
        if _size_of(request) > limit:
            raise TooLarge(f"a request may hold {limit} bytes, and says how many it holds")

    def _find(self, request: Request) -> Caller | None:
        """Who asks; None where somebody has to log in first."""
        self._has_users = self._has_users or self._store.has_users()  # users are never deleted
        if not self._has_users:
            return LOCAL
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.casefold() == "bearer" and request.scope["path"].startswith("/mal/"):
            program = self._accounts.find_token(token.strip())
            return None if program is None else Caller(program[1].name, program[1])
        found = self._accounts.find_login(request.cookies.get(self._cookie, ""))
        return None if found is None else Caller(found[1].name, found[1], found[0])

    async def _check_quota(self, caller: Caller, request: Request) -> None:
        if self._at_once[caller.person] >= AT_ONCE:
            raise Busy("too many requests of yours at once: try again in a moment")
        if _is_upload(request) and caller.user is not None:
            size = int(_size_of(request))
            await anyio.to_thread.run_sync(self._daily.spend, caller.person, size)

    async def _pass(self, request: Request, receive: Receive, send: Send) -> None:
        streams = is_over = False

        async def guarded_send(message: Message) -> None:
            nonlocal streams, is_over
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                streams = headers.get("content-type", "").startswith(STREAM)
            elif streams and not is_over and not await self._is_still_in(request):
                is_over = True
                await send(LAST)  # the server then tells the app that nobody is there any more
            if not is_over:
                await send(message)

        key = "" if request.state.caller is None else request.state.caller.person
        self._at_once[key] += 1
        try:
            await self._app(request.scope, receive, guarded_send)
        finally:
            self._at_once[key] -= 1
            if not self._at_once[key]:
                del self._at_once[key]

    async def _is_still_in(self, request: Request) -> bool:
        """Whether who began to listen to a stream may hear what comes next."""
        try:
            found = await anyio.to_thread.run_sync(self._find, request, limiter=self._lookups)
        except StudioError:  # no database, no word
            return False
        return found is not None


def _is_upload(request: Request) -> bool:
    return request.method == "POST" and UPLOADS.fullmatch(request.scope["path"]) is not None


def _size_of(request: Request) -> float:
    """Bytes of the body as its header says; infinite where it does not say so."""
    length = request.headers.get("content-length", "")
    if "transfer-encoding" in request.headers:
        return float("inf")
    return (float(length) if length.isdecimal() else float("inf")) if length else 0.0


def _login_for(request: Request) -> str:
    """The way to the login page and back to where somebody wanted to go."""
    query = request.scope.get("query_string", b"").decode("latin-1")
    return f"{LOGIN}?next={quote('/?' + query)}" if query else LOGIN
