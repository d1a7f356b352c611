"""Secrets that let people in: logins of browsers, and tokens of programs.

Of each secret only a hash is kept. Secrets are long and random, so that a plain hash tells nothing.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, Table, select, update

from app import schema
from app.people import Login, Token, User
from app.store.database import Database, fetch
from app.store.rows import row_to_login, row_to_token, row_to_user


class Logins(Database):
    """What the store knows of logins and tokens; those that are over are kept."""

    def add_login(
        self, user_id: int, secret_hash: str, address: str, now: datetime, expires_at: datetime
    ) -> Login:
        """Let a browser in.

        Raises:
            NotFound: there is no such user.
        """
        values = {"user_id": user_id, "secret_hash": secret_hash, "address": address}
        values |= {"created_at": now, "seen_at": now, "expires_at": expires_at}
        with self._write() as connection:
            fetch(connection, schema.user, user_id)
            made = schema.login.insert().returning(schema.login)
            return row_to_login(connection.execute(made, values).one())

    def find_login(self, secret_hash: str) -> tuple[Login, User] | None:
        """The login with this secret, good or not, and whose it is."""
        query = select(schema.login).where(schema.login.c.secret_hash == secret_hash)
        with self._read() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            return row_to_login(row), row_to_user(fetch(connection, schema.user, row.user_id))

    def see_login(self, login_id: int, now: datetime) -> None:
        """Record that a login is in use."""
        change = update(schema.login).where(schema.login.c.id == login_id)
        with self._write() as connection:
            connection.execute(change.values(seen_at=now))

    def list_logins(self, now: datetime, user_id: int | None = None) -> list[Login]:
        """Logins that were not revoked and have not expired, the last seen first."""
        table = schema.login
        query = select(table).where(table.c.revoked_at.is_(None), table.c.expires_at > now)
        if user_id is not None:
            query = query.where(table.c.user_id == user_id)
        with self._read() as connection:
            rows = connection.execute(query.order_by(table.c.seen_at.desc(), table.c.id.desc()))
            return [row_to_login(row) for row in rows]

    def revoke_login(self, login_id: int, now: datetime) -> None:
        """End a login; one that was ended keeps its time."""
        self._revoke(schema.login, now, schema.login.c.id == login_id)

    def revoke_logins(self, user_id: int, now: datetime, *, but: int | None = None) -> None:
        """End all logins of a user, or all but one."""
        mine = schema.login.c.user_id == user_id
        self._revoke(schema.login, now, mine, schema.login.c.id != (but or 0))

    def add_token(
        self, user_id: int, secret_hash: str, label: str, now: datetime, expires_at: datetime | None
    ) -> Token:
        """Let a program in.

        Raises:
            NotFound: there is no such user.
        """
        values = {"user_id": user_id, "secret_hash": secret_hash, "label": label}
        values |= {"created_at": now, "expires_at": expires_at}
        with self._write() as connection:
            fetch(connection, schema.user, user_id)
            made = schema.token.insert().returning(schema.token)
            return row_to_token(connection.execute(made, values).one())

    def find_token(self, secret_hash: str) -> tuple[Token, User] | None:
        """The token with this secret, good or not, and whose it is."""
        query = select(schema.token).where(schema.token.c.secret_hash == secret_hash)
        with self._read() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            return row_to_token(row), row_to_user(fetch(connection, schema.user, row.user_id))

    def list_tokens(self, user_id: int) -> list[Token]:
        """All tokens of a user, those that are over too, the newest first."""
        table = schema.token
        query = select(table).where(table.c.user_id == user_id).order_by(table.c.id.desc())
        with self._read() as connection:
            return [row_to_token(row) for row in connection.execute(query)]

    def revoke_token(self, token_id: int, now: datetime) -> None:
        """End a token."""
        self._revoke(schema.token, now, schema.token.c.id == token_id)

    def revoke_tokens(self, user_id: int, now: datetime) -> None:
        """End all tokens of a user."""
        self._revoke(schema.token, now, schema.token.c.user_id == user_id)

    def revoke_all(self, now: datetime) -> None:
        """End every login and every token."""
        with self.transaction():
            for table in (schema.login, schema.token):
                self._revoke(table, now)

    def _revoke(self, table: Table, now: datetime, *which: ColumnElement[bool]) -> None:
        change = update(table).where(table.c.revoked_at.is_(None), *which)
        with self._write() as connection:
            connection.execute(change.values(revoked_at=now))
