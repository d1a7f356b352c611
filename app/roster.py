"""The launcher's command `user`: who may come in, and as what."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from getpass import getpass
from pathlib import Path
from typing import Any

from app.accounts import Accounts
from app.errors import NotFound, StudioError
from app.people import Role, User
from app.settings import Settings
from app.store import Store
from app.trade import PERSON, find_project, open_store

Act = Callable[[Store, Accounts, argparse.Namespace], Iterator[str]]
NOTHING = "none"  # a role that takes the one they have away


def add_user_commands(commands: Any) -> None:  # noqa: ANN401 - argparse's own type is private
    """Add `user add|list|password|role|disable|enable|logout|token`."""
    parser = commands.add_parser("user", help="who may come in, and as what")
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    add = _add_act(acts, "add", "add a user; the first one is an admin", add_user)
    add.add_argument("--admin", action="store_true", help="of the whole studio")
    _add_role(add)
    _add_password(add)
    _add_act(acts, "list", "users, their roles and tokens", list_users, named=False)
    _add_password(_add_act(acts, "password", "give a user another password", set_password))
    role = _add_act(acts, "role", "what a user is in a project, or in the studio", set_role)
    _add_role(role)
    role.add_argument("--admin", choices=("yes", "no"), help="of the whole studio")
    _add_act(acts, "disable", "let a user in no more; what they did stays", disable)
    _add_act(acts, "enable", "let a disabled user in again", enable)
    _add_act(acts, "logout", "end all logins of a user", log_out)
    token = _add_act(
        acts, "token", "a token, shown once, by which a program acts for a user", token_of
    )
    token.add_argument("--label", default="", help="what it is for")
    token.add_argument("--days", type=int, help="until it expires (default: never)")
    token.add_argument("--revoke", type=int, metavar="NUMBER", help="end this token instead")


def run_user(settings: Settings, arguments: argparse.Namespace) -> Iterator[str]:
    """Carry out one act.

    Raises:
        StudioError, InputError: what keeps it from being done; nothing was changed.
    """
    # The first user may come before the studio ever served; anything else needs one that is there.
    store = Store(settings.database) if arguments.act == "add" else open_store(settings)
    with closing(store):
        yield from arguments.does(store, Accounts(store), arguments)


def add_user(store: Store, accounts: Accounts, arguments: argparse.Namespace) -> Iterator[str]:
    """Add a user, with a role where one is named."""
    wanted = _wanted_role(store, arguments)
    user = accounts.add_user(
        arguments.name, _password(arguments), is_admin=arguments.admin, by=PERSON
    )
    yield f"added {user.name}" + (", an admin of the studio" if user.is_admin else "")
    if wanted is not None:
        accounts.set_role(wanted[0], user.id, wanted[1], PERSON)
        yield f"{user.name} is {wanted[1]} in project {wanted[0]}"


def list_users(store: Store, _: Accounts, __: argparse.Namespace) -> Iterator[str]:
    """A line a user, then its roles and tokens."""
    projects = {project.id: project.name for project in store.list_projects()}
    for user in store.list_users():
        marks = ["admin"] * user.is_admin + ["disabled"] * user.is_disabled
        yield user.name + (f" ({', '.join(marks)})" if marks else "")
        for member in store.list_members(user_id=user.id):
            yield f"  {member.role} in {projects[member.project_id]} ({member.project_id})"
        for token in store.list_tokens(user.id):
            end = "never" if token.expires_at is None else f"{token.expires_at:%Y-%m-%d}"
            state = "revoked" if token.revoked_at is not None else f"expires {end}"
            yield f"  token {token.id} {token.label!r}, {state}"


def set_password(store: Store, accounts: Accounts, arguments: argparse.Namespace) -> Iterator[str]:
    """Another password; whoever is logged in with the old one is out."""
    user = _find_user(store, arguments.name)
    accounts.set_password(user.id, _password(arguments), PERSON)
    yield f"{user.name} has another password, and is logged out everywhere"


def set_role(store: Store, accounts: Accounts, arguments: argparse.Namespace) -> Iterator[str]:
    """A role in a project, or in the whole studio."""
    user, wanted = _find_user(store, arguments.name), _wanted_role(store, arguments)
    if wanted is None and arguments.admin is None:
        raise StudioError("say --project P --role R, or --admin yes|no")
    if wanted is not None:
        accounts.set_role(wanted[0], user.id, wanted[1], PERSON)
        yield f"{user.name} is {wanted[1] or 'nothing'} in project {wanted[0]}"
    if arguments.admin is not None:
        accounts.set_user(user.id, PERSON, is_admin=arguments.admin == "yes")
        yield f"{user.name} is {'an' if arguments.admin == 'yes' else 'no'} admin of the studio"


def disable(store: Store, accounts: Accounts, arguments: argparse.Namespace) -> Iterator[str]:
    """Out, with all logins and tokens."""
    user = _find_user(store, arguments.name)
    accounts.set_user(user.id, PERSON, is_disabled=True)
    yield f"{user.name} is disabled; logins and tokens are revoked"


def enable(store: Store, accounts: Accounts, arguments: argparse.Namespace) -> Iterator[str]:
    """In again, with the old password and new logins."""
    user = _find_user(store, arguments.name)
    accounts.set_user(user.id, PERSON, is_disabled=False)
    yield f"{user.name} may log in again; tokens stay revoked"


def log_out(store: Store, accounts: Accounts, arguments: argparse.Namespace) -> Iterator[str]:
    """Out, until the next login."""
    user = _find_user(store, arguments.name)
    accounts.revoke_logins(user.id, PERSON)
    yield f"{user.name} is logged out everywhere"


def token_of(store: Store, accounts: Accounts, arguments: argparse.Namespace) -> Iterator[str]:
    """A new token, told once; or the end of one."""
    user = _find_user(store, arguments.name)
    if arguments.revoke is not None:
        if arguments.revoke not in {token.id for token in store.list_tokens(user.id)}:
            raise NotFound(f"{user.name} has no token {arguments.revoke}")
        accounts.revoke_token(arguments.revoke, PERSON)
        yield f"token {arguments.revoke} is revoked"
        return
    if arguments.days is not None and not 1 <= arguments.days <= 3650:
        raise StudioError(f"--days must be 1 to 3650, got {arguments.days}")
    yield accounts.make_token(user.id, arguments.label, arguments.days, PERSON)


def _add_act(acts: Any, name: str, help_: str, act: Act, *, named: bool = True) -> Any:  # noqa: ANN401
    parser = acts.add_parser(name, help=help_)
    if named:
        parser.add_argument("name", metavar="NAME", help="of the user")
    parser.add_argument(
        "--data-dir", type=Path, default=argparse.SUPPRESS, help="where everything is kept"
    )
    parser.set_defaults(run=run_user, does=act)
    return parser


def _add_role(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project", metavar="P", help="its name or number")
    roles = [*map(str, Role), NOTHING]
    parser.add_argument("--role", choices=roles, help="in that project")


def _add_password(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--password-stdin", action="store_true", help="read it from the first line of input"
    )


def _wanted_role(store: Store, arguments: argparse.Namespace) -> tuple[int, Role | None] | None:
    """Project and role the flags ask for; None where they ask for none."""
    if (arguments.project is None) != (arguments.role is None):
        raise StudioError("--project and --role must come together")
    if arguments.project is None:
        return None
    role = None if arguments.role == NOTHING else Role(arguments.role)
    return find_project(store, arguments.project).id, role


def _password(arguments: argparse.Namespace) -> str:
    """Asked twice without an echo, or one line of input."""
    if arguments.password_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass("Password: ")
    if getpass("Once more: ") != first:
        raise StudioError("the two passwords differ; nothing was changed")
    return first


def _find_user(store: Store, name: str) -> User:
    found = store.find_user(name)
    if found is None:
        known = ", ".join(user.name for user in store.list_users()) or "none"
        raise NotFound(f"there is no user {name!r}; there are {known}")
    return found[0]
