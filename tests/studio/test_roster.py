"""`python app.py user`: who may come in, and as what."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from app import cli, roster
from app.accounts import Accounts
from app.people import Role
from app.store import Store
from tests.studio.conftest import Studio
from tests.studio.test_logins import CHEAP, GOOD, HERE, OTHER

Run = Callable[..., list[str]]


@pytest.fixture
def run(studio: Studio, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Carry out `user ...` with a password on its input; the lines it says, or its error."""
    monkeypatch.setattr(roster, "Accounts", partial(Accounts, hasher=CHEAP))

    def act(*arguments: str, password: str = GOOD, code: int = 0) -> list[str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        folder = ("--data-dir", str(studio.settings.data_dir))
        assert cli.main([*folder, "user", *arguments]) == code
        captured = capsys.readouterr()
        return (captured.err if code else captured.out).splitlines()

    return act


def add(run: Run, *arguments: str) -> list[str]:
    return run("add", *arguments, "--password-stdin")


def lets_in(store: Store, name: str, password: str) -> bool:
    found = store.find_user(name)
    assert found is not None
    return Accounts(store, CHEAP)._is_right(found[1], password)


def test_the_first_user_is_told_to_be_an_admin(run: Run, studio: Studio) -> None:
    assert add(run, "Ada") == ["added Ada, an admin of the studio"]
    said = add(run, "Bob", "--project", "Photos", "--role", "annotator")
    assert said == ["added Bob", "Bob is annotator in project 1"]
    assert lets_in(studio.store, "Ada", GOOD)
    assert run("list") == [
        "Ada (admin)",
        "Bob",
        "  annotator in Photos (1)",
    ]


@pytest.mark.sqlite
def test_a_user_may_come_before_the_studio_ever_served(run: Run, tmp_path: Path) -> None:
    assert add(run, "Ada", "--data-dir", str(tmp_path / "new")) == [
        "added Ada, an admin of the studio"
    ]
    assert run("list", "--data-dir", str(tmp_path / "other"), code=1)
    assert not (tmp_path / "other").exists()


def test_a_password_is_asked_twice_without_an_echo(
    run: Run, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = iter([GOOD, OTHER, GOOD, GOOD])
    monkeypatch.setattr(roster, "getpass", lambda _: next(typed))
    assert run("add", "Ada", code=1) == ["error: the two passwords differ; nothing was changed"]
    assert not studio.store.has_users()
    run("add", "Ada")
    assert lets_in(studio.store, "Ada", GOOD)


def test_a_role_is_given_and_taken_away(run: Run, studio: Studio) -> None:
    add(run, "Ada")
    run("role", "Ada", "--project", "1", "--role", "reviewer")
    assert studio.store.get_role(1, 1) is Role.REVIEWER
    run("role", "ada", "--project", "Photos", "--role", "none")
    assert studio.store.get_role(1, 1) is None


def test_the_last_admin_stays(run: Run) -> None:
    add(run, "Ada")
    for act in (("role", "Ada", "--admin", "no"), ("disable", "Ada")):
        (line,) = run(*act, code=1)
        assert "last admin" in line
    add(run, "Bob", "--admin")
    run("disable", "Ada")
    assert run("list")[0] == "Ada (admin, disabled)"
    run("enable", "Ada")
    run("role", "Bob", "--admin", "no")
    assert run("list") == ["Ada (admin)", "Bob"]


def test_another_password_ends_all_logins_and_so_does_logout(run: Run, studio: Studio) -> None:
    add(run, "Ada")
    accounts = Accounts(studio.store, CHEAP)
    for act in (("password", "Ada", "--password-stdin"), ("logout", "Ada")):
        secret = accounts.log_in("Ada", GOOD, HERE)
        run(*act)
        assert accounts.find_login(secret) is None


def test_a_token_is_shown_once_listed_and_revoked(run: Run, studio: Studio) -> None:
    add(run, "Ada")
    (token,) = run("token", "Ada", "--label", "robot", "--days", "30")
    accounts = Accounts(studio.store, CHEAP)
    assert accounts.find_token(token)
    assert run("list")[1].startswith("  token 1 'robot', expires 20")
    run("token", "Ada", "--revoke", "1")
    assert accounts.find_token(token) is None
    assert run("list")[1] == "  token 1 'robot', revoked"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(("add", "ADA", "--password-stdin"), "choose another name", id="taken"),
        pytest.param(("password", "Eve", "--password-stdin"), "no user 'Eve'", id="nobody"),
        pytest.param(("role", "Ada"), "--project P --role R", id="nothing to do"),
        pytest.param(("role", "Ada", "--role", "admin"), "must come together", id="half a role"),
        pytest.param(
            ("role", "Ada", "--role", "admin", "--project", "9"), "no project '9'", id="no project"
        ),
        pytest.param(("token", "Ada", "--days", "0"), "--days must be 1 to", id="no days"),
        pytest.param(("token", "Ada", "--revoke", "9"), "has no token 9", id="no token"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_changes(
    run: Run, studio: Studio, arguments: tuple[str, ...], text: str
) -> None:
    add(run, "Ada")
    before = (studio.store.list_users(), studio.store.list_audit())
    (line,) = run(*arguments, code=1)
    assert line.startswith("error: ")
    assert text in line
    assert (studio.store.list_users(), studio.store.list_audit()) == before


def test_a_password_that_is_too_easy_makes_no_user(run: Run, studio: Studio) -> None:
    (line,) = run("add", "Ada", "--password-stdin", password="short", code=1)
    assert line == "error: a password must have 10 to 1000 characters"
    assert not studio.store.has_users()
