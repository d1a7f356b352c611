"""Routes of logging in and out, and of one's account: forms that need no script."""

import re
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from app.access import Caller
from app.accounts import LONGEST, Accounts
from app.answers import status_of
from app.entrance import LOGIN
from app.errors import LoginNeeded, StudioError, TooLarge
from app.forms import POLICY, account_page, login_page
from app.guard import caller_of
from app.people import Login, User
from app.store import Store
from mal_core.errors import InputError, MALError

FORM_LIMIT = 16 * 1024  # bytes
_FIELDS = 8
_ONWARD = re.compile(r"/(\?[\w=&%.-]{0,200})?")
_HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}
Form = dict[str, str]


async def form_of(request: Request) -> Form:
    """The fields of a form, the last of each name.

    Raises:
        TooLarge: it is no form of ours.
    """
    body = await request.body()
    if len(body) > FORM_LIMIT:
        raise TooLarge(f"a form may hold {FORM_LIMIT} bytes")
    try:
        fields = parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_FIELDS)
    except ValueError as error:
        raise TooLarge("this is not a form of the studio") from error
    return {name: values[-1] for name, values in fields.items()}


class LoginRoutes:
    """The routes, bound to the users of a studio.

    Args:
        accounts: lets people in.
        store: tells whether there are users, and their roles.
        cookie: name of the cookie that holds a login's secret.
    """

    def __init__(self, accounts: Accounts, store: Store, cookie: str) -> None:
        self._accounts, self._store, self._cookie = accounts, store, cookie
        self._router = APIRouter()
        for method, path, endpoint in (
            ("GET", LOGIN, self.show),
            ("POST", LOGIN, self.enter),
            ("POST", "/mal/logout", self.leave),
            ("GET", "/mal/account", self.account),
            ("POST", "/mal/account", self.change),
        ):
            self._router.add_api_route(path, endpoint, methods=[method], response_model=None)

    def install(self, app: FastAPI) -> None:
        """Add the routes."""
        app.include_router(self._router)

    def show(self, request: Request) -> Response:
        """The page; who needs it not goes on to the studio."""
        onward = _onward(request.query_params.get("next", ""))
        if request.state.caller is not None:
            return RedirectResponse(onward, 303, headers=_HEADERS)
        return HTMLResponse(login_page(onward=onward), headers=_HEADERS)

    def enter(self, request: Request, form: Annotated[Form, Depends(form_of)]) -> Response:
        """Let somebody in, or say what is wrong."""
        name, onward = form.get("name", ""), _onward(form.get("next", ""))
        if not self._store.has_users():
            return RedirectResponse(onward, 303, headers=_HEADERS)
        try:
            secret = self._accounts.log_in(name, form.get("password", ""), _address_of(request))
        except StudioError as error:
            headers = dict(_HEADERS)
            if status_of(error) == 429:
                headers["Retry-After"] = str(getattr(error, "seconds", 5))
            page = login_page(name, str(error), onward)
            return HTMLResponse(page, status_of(error), headers=headers)
        if (before := request.state.caller) is not None and before.login is not None:
            self._accounts.log_out(before.login, before.user)
        answer = RedirectResponse(onward, 303, headers=_HEADERS)
        answer.set_cookie(
            self._cookie, secret, max_age=int(LONGEST.total_seconds()), httponly=True,
            samesite="strict", secure=request.url.scheme == "https",
        )  # fmt: skip
        return answer

    def leave(self, request: Request, form: Annotated[Form, Depends(form_of)]) -> Response:
        """Log out, here or everywhere; nothing this browser kept of the studio's images stays."""
        login, user = _logged_in(request)
        self._accounts.log_out(login, user, everywhere=form.get("everywhere") == "1")
        headers = _HEADERS | {"Clear-Site-Data": '"cache"'}
        answer = RedirectResponse(LOGIN, 303, headers=headers)
        answer.delete_cookie(self._cookie, httponly=True, samesite="strict")
        return answer

    def account(self, request: Request) -> Response:
        """Who one is."""
        return self._account(request, "")

    def change(self, request: Request, form: Annotated[Form, Depends(form_of)]) -> Response:
        """Another password."""
        login, user = _logged_in(request)
        try:
            if form.get("new", "") != form.get("again", ""):
                raise InputError("the two new passwords differ; nothing was changed")
            self._accounts.change_password(login, user, form.get("old", ""), form.get("new", ""))
        except MALError as error:
            return self._account(request, str(error), status_of(error))
        return self._account(request, "Changed. Other browsers were logged out.")

    def _account(self, request: Request, told: str, status: int = 200) -> Response:
        _, user = _logged_in(request)
        names = {project.id: project.name for project in self._store.list_projects()}
        members = self._store.list_members(user_id=user.id)
        roles = [f"{member.role} in {names[member.project_id]}" for member in members]
        if user.is_admin:
            roles.insert(0, "admin of the studio")
        logins = len(self._accounts.list_logins(user.id))
        page = account_page(user.name, roles, logins, told, good=status == 200)
        return HTMLResponse(page, status, headers=_HEADERS)


def _logged_in(request: Request) -> tuple[Login, User]:
    """The browser's login and whose it is.

    Raises:
        LoginNeeded: it has none: there are no users, or a program asks.
    """
    caller: Caller = caller_of(request.scope)
    if caller.login is None or caller.user is None:
        raise LoginNeeded("log in with a browser first")
    return caller.login, caller.user


def _onward(wanted: str) -> str:
    """A place in the studio; never another site."""
    return wanted if _ONWARD.fullmatch(wanted) else "/"


def _address_of(request: Request) -> str:
    return request.client.host if request.client else ""
