"""The one dependency of all routes: who asks, and whether what the request names is theirs.

It reads every id that path, query or body names, so that no route can forget one of them; a test
holds the names that routes take against KINDS.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from pydantic import TypeAdapter, ValidationError

from app.access import Access, Caller, Right
from app.auth import Sessions
from app.bodies import to_work
from app.errors import Forbidden, LoginNeeded, NotAllowed
from app.records import Viewer

KINDS = {
    "project_id": "project",
    "image_id": "image",
    "instance_id": "instance",
    "left": "image",
    "from_id": "instance",
    "category_id": "category",
    "model_id": "model_version",
    "job_id": "job",
}
"""What the ids in requests are ids of."""

Names = list[tuple[str, int]]
Quiet = Annotated[str, Header(include_in_schema=False)]  # the routes document what is theirs
_ID = TypeAdapter(int)  # reads what FastAPI reads, so that both mean the same thing


async def names_of(request: Request) -> Names:
    """Every id that a request names, and a version, each with the word it stands under."""
    try:
        body = await request.json()
    except (ValueError, RecursionError):  # none, or not JSON: the route says so
        body = None
    found = names_in_address(request)
    return found + _ids(body.items() if isinstance(body, dict) else ())


def names_in_address(request: Request) -> Names:
    """Every id that the address names, for a request whose body is a file."""
    return _ids([*request.path_params.items(), *request.query_params.multi_items()])


def _ids(found: Iterable[tuple[str, object]]) -> Names:
    ids = ((word, _to_id(value)) for word, value in found if word in KINDS or word == "version")
    return [(word, key) for word, key in ids if key is not None]


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """Who asks, as the entrance found out.

    Raises:
        LoginNeeded: the request did not come through it.
    """
    caller = scope.get("state", {}).get("caller")
    if not isinstance(caller, Caller):
        raise LoginNeeded("log in first")
    return caller


class Guard:
    """Makes the dependencies."""

    def __init__(self, sessions: Sessions, access: Access) -> None:
        self._sessions, self._access = sessions, access

    def needing(self, right: Right | None, *, by_page: bool = True, has_json: bool = True) -> Any:  # noqa: ANN401
        """A dependency that lets through who has a right in the project of all that is named.

        Args:
            right: the right; None for routes about the person alone, which name nothing.
            by_page: whether a browser must send its page's token; false for links.
            has_json: whether the body may name something; false for files, which are not read here.
        """

        def check(
            request: Request,
            names: Annotated[Names, Depends(names_of if has_json else names_in_address)],
            x_mal_session: Quiet = "",
            if_match: Quiet = "",
            x_mal_work: Quiet = "",
        ) -> None:
            caller = caller_of(request.scope)
            if by_page:
                caller = self._of_page(caller, x_mal_session)
            request.state.caller, request.state.person = caller, caller.person
            request.state.work = to_work(x_mal_work)
            if right is None or caller.user is None:
                return
            for word, key in names:
                if word in KINDS:
                    self._access.check(caller, right, KINDS[word], key)
            version = to_version(if_match) if if_match else dict(names).get("version")
            for word, key in names:
                if word == "instance_id" and version is not None:
                    self._access.check_change(caller, key, version)

        return Depends(check)

    def _of_page(self, caller: Caller, page_token: str) -> Caller:
        """Who asks; a page must hold a token of the person whose browser it is.

        Raises:
            Forbidden: the page has no token that is good, or is somebody else's.
        """
        if caller.user is not None and caller.login is None:  # a program; it has no page
            return caller
        person = self._sessions.person(page_token)
        if caller.user is None:
            return Caller(person)
        if person != caller.person:
            raise Forbidden(f"this page was opened by {person}: reload it")
        return caller

    def viewer(self, request: Request, project_id: int) -> Viewer | None:
        """Who asks, as one to whom what others annotate blind is sealed; None: they see all."""
        return self._access.viewer(request.state.caller, project_id)

    def renew(self, request: Request, page_token: str) -> str:
        """A fresh token for a page, perhaps of one too old to be served.

        Raises:
            LoginNeeded: nobody is logged in.
            Forbidden: the old one is not ours, too old even for that, or somebody else's.
        """
        caller, fresh = caller_of(request.scope), self._sessions.renew(page_token)
        if caller.user is not None and self._sessions.person(fresh) != caller.person:
            raise Forbidden("this page was opened by somebody else: reload it")
        return fresh


def to_version(if_match: str) -> int:
    """The version that a change was made from, of the header If-Match.

    Raises:
        NotAllowed: it is none.
    """
    text = if_match.strip().strip('"')
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise NotAllowed("If-Match must be the version the change was made from")
    return int(text)


def _to_id(value: object) -> int | None:
    try:
        return _ID.validate_python(value)
    except ValidationError:
        return None
