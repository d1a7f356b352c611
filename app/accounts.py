"""Letting people in: passwords, logins that expire, tokens; every act of it stands in the log.

A password is kept as an argon2id hash. A login is a long random secret in a cookie; the store
keeps only its hash, and it ends after half a day of quiet, a week at most, or when it is revoked.
"""

import hashlib
import math
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import BoundedSemaphore, Lock

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.errors import Busy, LockedOut, NotAllowed, WrongPassword
from app.lockout import Lockout
from app.people import Login, Role, Token, User, fold_name
from app.store import Store
from mal_core.errors import InputError

IDLE, LONGEST = timedelta(hours=12), timedelta(days=7)  # a login's
SEEN_EVERY = timedelta(minutes=2)  # a login's sign of life is written down
NAME_READ = 200  # characters of a name that is tried
PASSWORD_MIN, PASSWORD_MAX, DIFFERENT = 10, 1000, 5  # characters
TRIES_A_NAME, TRIES_AN_ADDRESS = 5, 20  # before the first wait
AT_WORK, WAITING = 1, 4  # hashes at once, and more that wait: each takes 64 MiB and a core
RECALLED = 10_000  # tries of before a restart that are counted
ENTERED, REFUSED = "login", "login.refused"  # as the log has them
TOKEN_MARK = "mal_"  # noqa: S105 - how a token begins, so that it is known where it leaks
HASHER = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1)
NOBODYS_PASSWORD = "the password of nobody"  # noqa: S105 - verified where a name is unknown


def _now() -> datetime:
    return datetime.now(UTC)


class Accounts:
    """Use cases around users; thread-safe.

    Args:
        store: where users are.
        hasher: of passwords; HASHER unless said otherwise.
        now: the time of day, in UTC.
        clock: seconds that never step back.
    """

    def __init__(
        self,
        store: Store,
        hasher: PasswordHasher | None = None,
        now: Callable[[], datetime] = _now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._hasher = store, hasher or HASHER
        self._now, self._clock = now, clock
        self._names, self._addresses = Lockout(TRIES_A_NAME), Lockout(TRIES_AN_ADDRESS)
        self._nobody = ""  # a hash for names nobody has, made at first need
        self._queue, self._work = BoundedSemaphore(AT_WORK + WAITING), BoundedSemaphore(AT_WORK)
        self._nobody_lock = Lock()

    def recall(self) -> None:
        """Count the tries that the log tells of, so that a restart forgives none.

        Names that nobody has are not in the log; there the address alone counts.
        """
        now, clock = self._now(), self._clock()
        for entry in reversed(self._store.list_audit(acts=(ENTERED, REFUSED), limit=RECALLED)):
            name, at = _key_of(entry.subject), clock - (now - entry.at).total_seconds()
            if entry.act == ENTERED:
                self._names.succeed(name)
                continue
            self._addresses.recall(str(entry.detail.get("address", "")), at)
            if name:
                self._names.recall(name, at)

    def add_user(self, name: str, password: str, *, is_admin: bool, by: str) -> User:
        """Add a user; the first one is an admin in any case.

        Raises:
            InputError: the name cannot be used or is taken, or the password is too easy.
        """
        hashed = self._hash(name, password)
        with self._store.transaction():
            user = self._store.add_user(name, hashed, is_admin=is_admin, now=self._now())
            self._note(by, "user.add", user.name, is_admin=user.is_admin)
        return user

    def log_in(self, name: str, password: str, address: str) -> str:
        """Let a browser in.

        Args:
            name: as it was typed.
            password: as it was typed.
            address: where the request came from.

        Returns:
            The secret that the browser keeps.

        Raises:
            LockedOut: too many tries under this name or from this address; its `seconds` say for
                how long.
            WrongPassword: name and password do not belong together, or the user is disabled.
            Busy: too many people log in at once.
        """
        user = self._verified(name, password, address)
        secret, now = secrets.token_urlsafe(32), self._now()
        with self._store.transaction():
            self._store.add_login(user.id, _hash_of(secret), address, now, now + LONGEST)
            self._note(user.name, ENTERED, user.name, address=address)
        return secret

    def find_login(self, secret: str) -> tuple[Login, User] | None:
        """The login of a secret and whose it is, while it is good; notes that it is in use."""
        found = self._store.find_login(_hash_of(secret))
        if found is None:
            return None
        (login, user), now = found, self._now()
        if not login.is_good(now) or now - login.seen_at >= IDLE or user.is_disabled:
            return None
        if now - login.seen_at >= SEEN_EVERY:
            self._store.see_login(login.id, now)
        return found

    def list_logins(self, user_id: int | None = None) -> list[Login]:
        """Logins that are good, of one user or of all, the last seen first."""
        now = self._now()
        return [
            login for login in self._store.list_logins(now, user_id) if now - login.seen_at < IDLE
        ]

    def log_out(self, login: Login, user: User, *, everywhere: bool = False) -> None:
        """End a login, or all of its user."""
        with self._store.transaction():
            if everywhere:
                self._store.revoke_logins(user.id, self._now())
            else:
                self._store.revoke_login(login.id, self._now())
            self._note(user.name, "logout", user.name, everywhere=everywhere)

    def revoke_logins(self, user_id: int, by: str) -> None:
        """End all logins of a user in another's name.

        Raises:
            NotFound: there is no such user.
        """
        user = self._store.get_user(user_id)
        with self._store.transaction():
            self._store.revoke_logins(user.id, self._now())
            self._note(by, "user.logout", user.name)

    def change_password(self, login: Login, user: User, old: str, new: str) -> None:
        """Change one's own password; all other logins end.

        Raises:
            LockedOut, WrongPassword, Busy: as for a login with the old one.
            InputError: the new one is too easy.
        """
        self._verified(user.name, old, login.address)
        hashed = self._hash(user.name, new)
        with self._store.transaction():
            self._store.set_password(user.id, hashed)
            self._store.revoke_logins(user.id, self._now(), but=login.id)
            self._note(user.name, "user.password", user.name)

    def set_password(self, user_id: int, password: str, by: str) -> None:
        """Give a user another password; all their logins end.

        Raises:
            NotFound: there is no such user.
            InputError: the password is too easy.
        """
        user = self._store.get_user(user_id)
        hashed = self._hash(user.name, password)
        with self._store.transaction():
            self._store.set_password(user.id, hashed)
            self._store.revoke_logins(user.id, self._now())
            self._note(by, "user.password", user.name)

    def set_user(
        self,
        user_id: int,
        by: str,
        *,
        is_admin: bool | None = None,
        is_disabled: bool | None = None,
    ) -> User:
        """Make or unmake an admin; let in or out. Who is let out loses logins and tokens.

        Raises:
            NotFound: there is no such user.
            NotAllowed: nobody would be left who is an admin of the studio.
        """
        with self._store.transaction():
            user = self._store.set_user(user_id, is_admin=is_admin, is_disabled=is_disabled)
            if user.is_disabled:
                self._store.revoke_logins(user.id, self._now())
                self._store.revoke_tokens(user.id, self._now())
            self._note(by, "user.change", user.name, is_admin=user.is_admin,
                       is_disabled=user.is_disabled)  # fmt: skip
        return user

    def set_role(self, project_id: int, user_id: int, role: Role | None, by: str) -> None:
        """Give a user a role in a project; None takes it away.

        Raises:
            NotFound: there is no such project or user.
        """
        with self._store.transaction():
            self._store.set_role(project_id, user_id, role)
            user = self._store.get_user(user_id)
            self._note(by, "user.role", user.name, project_id=project_id, role=role)

    def make_token(self, user_id: int, label: str, days: int | None, by: str) -> str:
        """Let a program act for a user.

        Args:
            user_id: for whom.
            label: what it is for.
            days: until it expires; None for never.
            by: who makes it.

        Returns:
            The token; only its hash is kept, so that it can be shown once only.

        Raises:
            NotFound: there is no such user.
            NotAllowed: the user is disabled.
        """
        user, now = self._store.get_user(user_id), self._now()
        if user.is_disabled:
            raise NotAllowed(f"{user.name} is disabled")
        token = TOKEN_MARK + secrets.token_urlsafe(32)
        expires = None if days is None else now + timedelta(days=days)
        with self._store.transaction():
            self._store.add_token(user.id, _hash_of(token), label, now, expires)
            self._note(by, "token.add", user.name, label=label)
        return token

    def find_token(self, token: str) -> tuple[Token, User] | None:
        """The token and whose it is, while it is good."""
        found = self._store.find_token(_hash_of(token))
        if found is None or not found[0].is_good(self._now()) or found[1].is_disabled:
            return None
        return found

    def revoke_token(self, token_id: int, by: str) -> None:
        """End a token."""
        with self._store.transaction():
            self._store.revoke_token(token_id, self._now())
            self._note(by, "token.revoke", str(token_id))

    def _verified(self, name: str, password: str, address: str) -> User:
        """Who has this name and password; it takes the same time whether there is such a name."""
        key, now = _key_of(name), self._clock()
        if wait := self._addresses.begin(address, now) or self._names.begin(key, now):
            raise LockedOut(math.ceil(wait))
        found = self._store.find_user(name[:NAME_READ])
        user, hashed = (None, self._hash_of_nobody()) if found is None else found
        with self._place_at_work():
            is_right = self._is_right(hashed, password[:PASSWORD_MAX])
        if user is None or user.is_disabled or not is_right:
            # What was typed may be a password in the wrong field: only known names are written.
            self._note("", REFUSED, user.name if user else "", address=address)
            raise WrongPassword("name or password is wrong")
        self._names.succeed(key)
        self._addresses.take_back(address)
        if self._hasher.check_needs_rehash(hashed):
            self._store.set_password(user.id, self._hasher.hash(password))
        return user

    def _is_right(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)  # raises where it is wrong
        except (VerificationError, InvalidHashError):
            return False

    def _hash(self, name: str, password: str) -> str:
        check_password(name, password)
        with self._place_at_work():
            return self._hasher.hash(password)

    def _hash_of_nobody(self) -> str:
        with self._nobody_lock:
            if not self._nobody:
                self._nobody = self._hasher.hash(NOBODYS_PASSWORD)
            return self._nobody

    @contextmanager
    def _place_at_work(self) -> Iterator[None]:
        """Hash one at a time, and let few wait: a flood of logins must not take all cores."""
        if not self._queue.acquire(blocking=False):
            raise Busy("many people log in at this moment: try again in a few seconds")
        try:
            with self._work:
                yield
        finally:
            self._queue.release()

    def _note(
        self, by: str, act: str, subject: str, project_id: int | None = None, **detail: object
    ) -> None:
        self._store.add_audit(
            by, act, self._now(), project_id=project_id, subject=subject, detail=detail
        )


def check_password(name: str, password: str) -> None:
    """Refuse a password that is guessed soon.

    Raises:
        InputError: it is too short or too long, repeats a few characters, or holds the name.
    """
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise InputError(f"a password must have {PASSWORD_MIN} to {PASSWORD_MAX} characters")
    if len(set(password)) < DIFFERENT:
        raise InputError(f"a password must have {DIFFERENT} different characters at least")
    rest = password.casefold().replace(name.strip().casefold(), "")
    if len(rest) < PASSWORD_MIN // 2:
        raise InputError("a password must be more than the name")


def _hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key_of(name: str) -> str:
    """Under which tries are counted: the same for every spelling that finds the same user."""
    return fold_name(name[:NAME_READ])
