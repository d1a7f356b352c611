"""Records of who may come in: users, their roles, logins and tokens, and what was done by whom."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """What a user is in a project; see app.access for what each may do."""

    ANNOTATOR = "annotator"
    REVIEWER = "reviewer"
    ADMIN = "admin"


@dataclass(frozen=True)
class User:
    """Somebody who may log in; the name is what revisions record and never changes."""

    id: int
    name: str
    is_admin: bool  # of the whole studio
    is_disabled: bool
    created_at: datetime


@dataclass(frozen=True)
class Member:
    """A user's role in a project."""

    project_id: int
    user: User
    role: Role


@dataclass(frozen=True)
class Login:
    """A browser that somebody logged in with."""

    id: int
    user_id: int
    address: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    def is_good(self, now: datetime) -> bool:
        """Whether it still lets in."""
        return self.revoked_at is None and now < self.expires_at


@dataclass(frozen=True)
class Token:
    """A program's way in, in the name of a user; None expires never."""

    id: int
    user_id: int
    label: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_good(self, now: datetime) -> bool:
        """Whether it still lets in."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True)
class Entry:
    """One line of the audit log: who did what to what, and when."""

    id: int
    at: datetime
    person: str
    act: str  # a noun and a verb, such as "login", "export" or "user.disable"
    project_id: int | None  # None: it is about the whole studio
    subject: str  # what it was done to, in words a person knows it by
    detail: Mapping[str, Any]


def fold_name(name: str) -> str:
    """The same for all names that people would take for one."""
    return unicodedata.normalize("NFKC", name.strip()).casefold()
