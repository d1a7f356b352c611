"""Users and their roles in projects."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, exists, func, select, update

from app import schema
from app.errors import NotAllowed
from app.people import Member, Role, User, fold_name
from app.session import check_name
from app.store.database import Database, fetch
from app.store.rows import row_to_member, row_to_user
from mal_core.errors import InputError


class Accounts(Database):
    """What the store knows of users; none is ever deleted, since history names them."""

    def has_users(self) -> bool:
        """Whether anybody has to log in."""
        with self._read() as connection:
            return bool(connection.execute(select(exists(select(schema.user.c.id)))).scalar())

    def add_user(self, name: str, password_hash: str, *, is_admin: bool, now: datetime) -> User:
        """Add a user; the first one is an admin in any case.

        Raises:
            InputError: the name is empty, too long, holds control characters, or is taken.
        """
        name = check_name(name)
        values: dict[str, Any] = {"name": name, "name_folded": fold_name(name)}
        values |= {"password_hash": password_hash, "is_disabled": 0, "created_at": now}
        with self._write() as connection:
            if _find(connection, name) is not None:
                raise InputError(f"there is a user {name!r} already; choose another name")
            is_first = not connection.execute(select(exists(select(schema.user.c.id)))).scalar()
            values["is_admin"] = int(is_admin or is_first)
            made = schema.user.insert().returning(schema.user)
            return row_to_user(connection.execute(made, values).one())

    def list_users(self) -> list[User]:
        """All users, by name."""
        query = select(schema.user).order_by(schema.user.c.name_folded)
        with self._read() as connection:
            return [row_to_user(row) for row in connection.execute(query)]

    def get_user(self, user_id: int) -> User:
        """One user.

        Raises:
            NotFound: there is none with this id.
        """
        with self._read() as connection:
            return row_to_user(fetch(connection, schema.user, user_id))

    def find_user(self, name: str) -> tuple[User, str] | None:
        """The user of this name, whatever its case, and the hash of their password."""
        query = select(schema.user).where(schema.user.c.name_folded == fold_name(name))
        with self._read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else (row_to_user(row), row.password_hash)

    def set_password(self, user_id: int, password_hash: str) -> None:
        """Let a user in by another password.

        Raises:
            NotFound: there is no such user.
        """
        change = update(schema.user).where(schema.user.c.id == user_id)
        with self._write() as connection:
            fetch(connection, schema.user, user_id)
            connection.execute(change.values(password_hash=password_hash))

    def set_user(
        self, user_id: int, *, is_admin: bool | None = None, is_disabled: bool | None = None
    ) -> User:
        """Change what is given, and leave the rest.

        Raises:
            NotFound: there is no such user.
            NotAllowed: nobody would be left who is an admin of the studio.
        """
        table = schema.user
        given = {"is_admin": is_admin, "is_disabled": is_disabled}
        values = {name: int(value) for name, value in given.items() if value is not None}
        with self._write() as connection:
            old = fetch(connection, table, user_id)
            if values:
                connection.execute(update(table).where(table.c.id == user_id).values(**values))
            if old.is_admin and not old.is_disabled and _count_admins(connection) == 0:
                raise NotAllowed("this is the last admin of the studio: make another one first")
            return row_to_user(fetch(connection, table, user_id))

    def set_role(self, project_id: int, user_id: int, role: Role | None) -> None:
        """Give a user a role in a project, in place of the one they have; None takes it away.

        Raises:
            NotFound: there is no such project or user.
        """
        table = schema.membership
        mine = (table.c.project_id == project_id) & (table.c.user_id == user_id)
        values = {"project_id": project_id, "user_id": user_id, "role": str(role)}
        with self._write() as connection:
            fetch(connection, schema.project, project_id)
            fetch(connection, schema.user, user_id)
            connection.execute(delete(table).where(mine))
            if role is not None:
                connection.execute(table.insert(), values)

    def get_role(self, project_id: int, user_id: int) -> Role | None:
        """What a user is in a project; None for nothing, also where there is no such project."""
        table = schema.membership
        query = select(table.c.role).where(
            table.c.project_id == project_id, table.c.user_id == user_id
        )
        with self._read() as connection:
            found = connection.execute(query).scalar_one_or_none()
        return None if found is None else Role(found)

    def list_members(
        self, project_id: int | None = None, user_id: int | None = None
    ) -> list[Member]:
        """Who is what in which project, by project and name.

        Args:
            project_id: in this project only.
            user_id: this user only.
        """
        table = schema.membership
        query = (
            select(table, schema.user)
            .join(schema.user, schema.user.c.id == table.c.user_id)
            .order_by(table.c.project_id, schema.user.c.name_folded)
        )
        if project_id is not None:
            query = query.where(table.c.project_id == project_id)
        if user_id is not None:
            query = query.where(table.c.user_id == user_id)
        with self._read() as connection:
            return [row_to_member(row) for row in connection.execute(query)]

    def project_of(self, kind: str, key: int) -> int | None:
        """The project that a thing belongs to; None for a model version that all may use.

        Args:
            kind: project, category, image, instance, job or model_version.
            key: its id.

        Raises:
            NotFound: there is no such thing.
        """
        with self._read() as connection:
            row = fetch(connection, _OWNED[kind], key)
        owner: int | None = row.id if kind == "project" else row.project_id
        return owner


_OWNED = {
    table.name: table
    for table in (schema.project, schema.category, schema.image, schema.instance, schema.job,
                  schema.model_version)
}  # fmt: skip


def _find(connection: Connection, name: str) -> int | None:
    query = select(schema.user.c.id).where(schema.user.c.name_folded == fold_name(name))
    found: int | None = connection.execute(query).scalar_one_or_none()
    return found


def _count_admins(connection: Connection) -> int:
    table = schema.user
    able = (table.c.is_admin == 1) & (table.c.is_disabled == 0)
    return int(connection.execute(select(func.count()).where(able)).scalar_one())
