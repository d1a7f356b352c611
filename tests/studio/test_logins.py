"""Letting people in: passwords, logins that end, tokens; and what the log says of it."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from app.accounts import (
    HASHER,
    IDLE,
    LONGEST,
    SEEN_EVERY,
    TRIES_A_NAME,
    TRIES_AN_ADDRESS,
    Accounts,
    check_password,
)
from app.errors import LockedOut, NotAllowed, StudioError, WrongPassword
from app.lockout import FORGET
from app.people import User
from app.store import Store
from mal_core.errors import InputError
from tests.studio.conftest import NOW

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
GOOD, OTHER = "correct horse", "battery staple"
HERE, THERE = "127.0.0.1", "192.0.2.7"


class Clock:
    """A time of day that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(one_place: Path | str) -> Iterator[Store]:
    opened = Store(one_place)
    yield opened
    opened.close()


@pytest.fixture
def accounts(store: Store, clock: Clock) -> Accounts:
    return Accounts(store, CHEAP, clock, clock.seconds)


@pytest.fixture
def ada(accounts: Accounts) -> User:
    return accounts.add_user("Ada", GOOD, is_admin=False, by="Ada")


def refused(act: Callable[[], object]) -> type[StudioError]:
    with pytest.raises(StudioError) as caught:
        act()
    return type(caught.value)


def test_a_password_is_kept_as_argon2id_with_a_salt_of_its_own(
    accounts: Accounts, store: Store, ada: User
) -> None:
    accounts.add_user("Bob", GOOD, is_admin=False, by="Ada")
    hashes = [found[1] for name in ("Ada", "Bob") if (found := store.find_user(name))]
    assert all(text.startswith("$argon2id$") for text in hashes)
    assert len(set(hashes)) == 2


def test_a_hash_takes_the_memory_the_standard_asks_for() -> None:
    assert (HASHER.time_cost, HASHER.memory_cost, HASHER.parallelism) == (3, 64 * 1024, 1)


@pytest.mark.parametrize("name", ["Ada", "ada", " ADA "])
def test_the_right_password_lets_in(accounts: Accounts, ada: User, name: str) -> None:
    secret = accounts.log_in(name, GOOD, HERE)
    found = accounts.find_login(secret)
    assert found is not None
    assert (found[0].address, found[1]) == (HERE, ada)


def test_the_store_holds_no_secret(
    accounts: Accounts, store: Store, ada: User, tmp_path: Path
) -> None:
    secrets = [accounts.log_in("Ada", GOOD, HERE), accounts.make_token(ada.id, "x", None, "Ada")]
    data = b"".join(line for _, lines in store.dump() for line in lines)
    data += b"".join(path.read_bytes() for path in tmp_path.glob("studio.db*"))
    assert not [s for s in (*secrets, GOOD) if s.encode() in data]
    assert all(len(secret) >= 43 for secret in secrets)  # 256 bits


def test_no_login_is_made_from_another_secret(accounts: Accounts, ada: User) -> None:
    secret = accounts.log_in("Ada", GOOD, HERE)
    assert accounts.log_in("Ada", GOOD, HERE) != secret
    for wrong in ("", "x", secret[:-1], secret + "x", "\ud800"):
        assert accounts.find_login(wrong) is None


def test_an_unknown_name_a_wrong_password_and_a_disabled_user_are_told_alike_and_work_alike(
    accounts: Accounts, store: Store, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = accounts.add_user("Bob", GOOD, is_admin=False, by="Ada")
    accounts.set_user(bob.id, "Ada", is_disabled=True)
    verified: list[str] = []
    verify = PasswordHasher.verify
    monkeypatch.setattr(
        PasswordHasher,
        "verify",
        lambda self, hashed, password: verified.append(hashed) or verify(self, hashed, password),
    )
    words = set()
    for name, password in (("Eve", GOOD), ("Ada", OTHER), ("Bob", GOOD), ("", ""), ("Ada", "")):
        with pytest.raises(WrongPassword) as caught:
            accounts.log_in(name, password, HERE)
        words.add(str(caught.value))
    assert len(words) == 1
    assert len(verified) == 5
    assert store.list_logins(NOW) == []


@pytest.mark.parametrize("name", ["Ada", "Eve"], ids=["a user", "nobody"])
def test_too_many_tries_under_a_name_lock_it_from_everywhere(
    accounts: Accounts, ada: User, clock: Clock, name: str
) -> None:
    tries = [refused(lambda n=n: accounts.log_in(name, OTHER, f"10.0.0.{n}")) for n in range(7)]
    assert tries == [WrongPassword] * TRIES_A_NAME + [LockedOut] * 2
    with pytest.raises(LockedOut, match="wait 2 seconds") as caught:
        accounts.log_in(name, GOOD, THERE)
    clock.now += timedelta(seconds=caught.value.seconds)
    if name == "Ada":
        assert accounts.log_in(name, GOOD, THERE)


def test_too_many_tries_from_an_address_lock_it_for_every_name(
    accounts: Accounts, ada: User
) -> None:
    for n in range(TRIES_AN_ADDRESS):
        assert refused(lambda n=n: accounts.log_in(f"name {n}", OTHER, THERE)) is WrongPassword
    assert refused(lambda: accounts.log_in("Ada", GOOD, THERE)) is LockedOut
    assert accounts.log_in("Ada", GOOD, HERE)


@pytest.mark.parametrize("spelt", ["ADA", " Ada ", "\uff21da", "\U0001d400\U0001d41d\U0001d41a"])
def test_another_spelling_of_a_name_is_no_way_to_more_tries(
    accounts: Accounts, ada: User, spelt: str
) -> None:
    for n in range(TRIES_A_NAME):
        refused(lambda n=n: accounts.log_in("Ada", OTHER, f"10.0.0.{n}"))
    assert refused(lambda: accounts.log_in(spelt, GOOD, THERE)) is LockedOut


def test_a_restart_forgives_no_tries(
    accounts: Accounts, store: Store, clock: Clock, ada: User
) -> None:
    def restarted() -> Accounts:
        again = Accounts(store, CHEAP, clock, clock.seconds)
        again.recall()
        return again

    for n in range(TRIES_A_NAME):
        refused(lambda n=n: accounts.log_in("Ada", OTHER, f"10.0.0.{n}"))
    for n in range(TRIES_AN_ADDRESS):
        refused(lambda n=n: accounts.log_in(f"name {n}", OTHER, THERE))
    assert refused(lambda: restarted().log_in("Ada", GOOD, HERE)) is LockedOut
    assert refused(lambda: restarted().log_in("Eve", GOOD, THERE)) is LockedOut
    clock.now += timedelta(seconds=2)
    assert restarted().log_in("Ada", GOOD, HERE)  # and that forgives, also after the next restart
    for _ in range(TRIES_A_NAME):
        again = restarted()
        assert refused(lambda again=again: again.log_in("Ada", OTHER, HERE)) is WrongPassword
    assert refused(lambda: restarted().log_in("Ada", OTHER, HERE)) is LockedOut
    clock.now += timedelta(seconds=FORGET)
    assert restarted().log_in("Ada", GOOD, THERE)


def test_one_s_own_logins_are_no_way_to_more_tries(accounts: Accounts, ada: User) -> None:
    for n in range(TRIES_AN_ADDRESS):
        assert refused(lambda n=n: accounts.log_in(f"name {n}", OTHER, THERE)) is WrongPassword
        if n < TRIES_AN_ADDRESS - 1:
            accounts.log_in("Ada", GOOD, THERE)
    assert refused(lambda: accounts.log_in("Ada", GOOD, THERE)) is LockedOut


def test_an_office_behind_one_address_logs_in_as_often_as_it_likes(
    accounts: Accounts, ada: User
) -> None:
    for _ in range(3 * TRIES_AN_ADDRESS):
        accounts.log_in("Ada", GOOD, THERE)


def test_a_locked_name_costs_no_work(
    accounts: Accounts, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(TRIES_A_NAME):
        refused(lambda: accounts.log_in("Ada", OTHER, HERE))
    monkeypatch.setattr(PasswordHasher, "verify", lambda *_: pytest.fail("hashed"))
    assert refused(lambda: accounts.log_in("Ada", GOOD, HERE)) is LockedOut


def test_a_flood_of_logins_hashes_one_at_a_time_and_turns_the_rest_away(
    accounts: Accounts, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, most, gate = 0, 0, threading.Event()

    def verify(*_: object) -> bool:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        gate.wait(10)
        at_work -= 1
        return True

    monkeypatch.setattr(PasswordHasher, "verify", verify)

    def attempt(n: int) -> str:
        try:
            return accounts.log_in(f"name {n}", GOOD, f"10.0.0.{n}")
        except StudioError as error:
            return error.code

    with ThreadPoolExecutor(16) as threads:
        told = [threads.submit(attempt, n) for n in range(16)]
        while sum(future.done() for future in told) < 11:
            time.sleep(0.001)
        gate.set()
        codes = [future.result() for future in told]
    assert (most, codes.count("busy"), codes.count("wrong_password")) == (1, 11, 5)


def test_a_login_ends_after_half_a_day_of_quiet(
    accounts: Accounts, ada: User, clock: Clock
) -> None:
    secret = accounts.log_in("Ada", GOOD, HERE)
    clock.now += IDLE - timedelta(seconds=1)
    assert accounts.find_login(secret)
    clock.now += IDLE
    assert accounts.find_login(secret) is None


def test_a_login_in_use_ends_after_a_week(accounts: Accounts, ada: User, clock: Clock) -> None:
    secret = accounts.log_in("Ada", GOOD, HERE)
    while clock.now < NOW + LONGEST:
        assert accounts.find_login(secret)
        clock.now += timedelta(hours=6)
    assert accounts.find_login(secret) is None


def test_a_login_in_use_writes_seldom(accounts: Accounts, ada: User, clock: Clock) -> None:
    secret = accounts.log_in("Ada", GOOD, HERE)
    seen = []
    for _ in range(7):
        found = accounts.find_login(secret)
        assert found is not None
        seen.append(found[0].seen_at)
        clock.now += SEEN_EVERY / 3
    assert len(set(seen)) == 2


def test_whoever_logs_out_is_out_here_or_everywhere(accounts: Accounts, ada: User) -> None:
    secrets = [accounts.log_in("Ada", GOOD, HERE) for _ in range(3)]
    here = accounts.find_login(secrets[0])
    assert here is not None
    accounts.log_out(*here)
    assert [bool(accounts.find_login(s)) for s in secrets] == [False, True, True]
    accounts.log_out(*here, everywhere=True)
    assert not any(accounts.find_login(s) for s in secrets)


def test_one_changes_one_s_password_by_the_old_one_and_other_browsers_are_out(
    accounts: Accounts, ada: User
) -> None:
    mine, other = (accounts.log_in("Ada", GOOD, HERE) for _ in range(2))
    found = accounts.find_login(mine)
    assert found is not None
    with pytest.raises(WrongPassword):
        accounts.change_password(*found, OTHER, OTHER)
    accounts.change_password(*found, GOOD, OTHER)
    assert [bool(accounts.find_login(s)) for s in (mine, other)] == [True, False]
    assert refused(lambda: accounts.log_in("Ada", GOOD, HERE)) is WrongPassword
    assert accounts.log_in("Ada", OTHER, HERE)


def test_a_password_given_by_an_admin_ends_all_logins(accounts: Accounts, ada: User) -> None:
    secret = accounts.log_in("Ada", GOOD, HERE)
    accounts.set_password(ada.id, OTHER, "Bob")
    assert accounts.find_login(secret) is None
    assert accounts.log_in("Ada", OTHER, HERE)


def test_a_disabled_user_is_out_with_logins_and_tokens_for_good(
    accounts: Accounts, ada: User
) -> None:
    bob = accounts.add_user("Bob", GOOD, is_admin=False, by="Ada")
    secret, token = accounts.log_in("Bob", GOOD, HERE), accounts.make_token(bob.id, "", None, "Ada")
    accounts.set_user(bob.id, "Ada", is_disabled=True)
    assert (accounts.find_login(secret), accounts.find_token(token)) == (None, None)
    with pytest.raises(NotAllowed, match="disabled"):
        accounts.make_token(bob.id, "", None, "Ada")
    accounts.set_user(bob.id, "Ada", is_disabled=False)
    assert (accounts.find_login(secret), accounts.find_token(token)) == (None, None)
    assert accounts.log_in("Bob", GOOD, HERE)


def test_a_token_is_good_until_it_expires_or_is_revoked(
    accounts: Accounts, ada: User, clock: Clock
) -> None:
    token, short = (accounts.make_token(ada.id, "robot", days, "Ada") for days in (None, 30))
    assert token.startswith("mal_")
    assert [bool(accounts.find_token(t)) for t in (token, short, "mal_", "")] == [1, 1, 0, 0]
    clock.now += timedelta(days=30)
    assert [bool(accounts.find_token(t)) for t in (token, short)] == [True, False]
    found = accounts.find_token(token)
    assert found is not None
    accounts.revoke_token(found[0].id, "Ada")
    assert accounts.find_token(token) is None


def test_a_hash_of_older_strength_is_renewed_at_the_next_login(
    accounts: Accounts, store: Store, ada: User, clock: Clock
) -> None:
    stronger = Accounts(store, PasswordHasher(2, 16, 1), clock, clock.seconds)
    stronger.log_in("Ada", GOOD, HERE)
    found = store.find_user("Ada")
    assert found is not None
    assert "m=16,t=2" in found[1]
    assert stronger.log_in("Ada", GOOD, HERE)


@pytest.mark.parametrize(
    "password",
    ["", "short", "a" * 100, "abcabcabcabc", "Ada Ada Ada Ada Ada", "x" * 1001 + "abcd"],
)
def test_a_password_that_is_soon_guessed_is_refused(
    accounts: Accounts, store: Store, password: str
) -> None:
    with pytest.raises(InputError, match="a password must"):
        accounts.add_user("Ada", password, is_admin=False, by="")
    assert not store.has_users()


def test_a_long_sentence_in_any_alphabet_is_a_password() -> None:
    check_password("Ada", "четыре слова и пробелы")


def test_the_log_tells_who_let_whom_in_and_never_what_was_typed(
    accounts: Accounts, store: Store, ada: User
) -> None:
    secret = accounts.log_in("Ada", GOOD, HERE)
    refused(lambda: accounts.log_in("Ada", OTHER, THERE))
    refused(lambda: accounts.log_in(OTHER, "", THERE))  # the password in the field of the name
    found = accounts.find_login(secret)
    assert found is not None
    accounts.log_out(*found)
    entries = store.list_audit()
    assert [(e.act, e.person, e.subject) for e in reversed(entries)] == [
        ("user.add", "Ada", "Ada"),
        ("login", "Ada", "Ada"),
        ("login.refused", "", "Ada"),
        ("login.refused", "", ""),
        ("logout", "Ada", "Ada"),
    ]
    assert not [e for e in entries if OTHER in str(e) or GOOD in str(e)]
