"""How programs' routes are added: with a right, a shape of the answer, and the errors in words."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Security
from fastapi.security import HTTPBearer

from app.access import Right
from app.guard import Guard
from app.wire import Failure

WORDS = {
    401: "no token, or one that is not good any more",
    403: "you may not do this here",
    404: "there is no such thing, or not for you",
    409: "somebody saved first; your version is kept, `current` is the newest",
    413: "the body is longer than the studio takes",
    422: "what was sent cannot be used; the text says what must hold",
    429: "too much at once; nothing was done, try again after `Retry-After` seconds",
    503: "the studio cannot work now, or is stopping; nothing was done",
    507: "the disk is full, or the project holds as much as it may; nothing was saved",
}
COMMON = (401, 403, 404, 422, 503)
BEARER = Security(
    HTTPBearer(auto_error=False, description="a token of `python app.py user token NAME`")
)


class Door:
    """Collects the routes in a router.

    Args:
        guard: who lets in.
    """

    def __init__(self, guard: Guard) -> None:
        self.router = APIRouter(prefix="/mal/v1")
        self._guard = guard

    def add(
        self,
        act: str,
        endpoint: Callable[..., Any],
        right: Right | None,
        model: Any,  # noqa: ANN401 - FastAPI's own type
        fails: tuple[int, ...] = (),
        *,
        streams: bool = False,
        **more: Any,  # noqa: ANN401 - what FastAPI takes besides
    ) -> None:
        """Add a route.

        Args:
            act: method and path after /mal/v1; ids are named as in app.guard.KINDS.
            endpoint: what answers; its docstring is the documentation.
            right: what one must have in the project of all ids that are named; None for none.
            model: the shape of the answer; None for bytes.
            fails: the statuses of errors besides the common ones.
            streams: whether the body is long, so that only the address may name ids.
            more: for FastAPI.
        """
        method, path = act.split(" ")
        self.router.add_api_route(
            path,
            endpoint,
            methods=[method],
            response_model=model,
            dependencies=[BEARER, self._guard.needing(right, by_page=False, has_json=not streams)],
            responses=failures(fails),
            tags=[right or "own"],
            **more,
        )


def failures(fails: tuple[int, ...]) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a route's errors."""
    statuses = sorted({*COMMON, *fails})
    return {status: {"description": WORDS[status], "model": Failure} for status in statuses}
