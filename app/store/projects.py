"""Projects and their categories."""

from datetime import datetime

from sqlalchemy import Connection, select, update

from app import schema
from app.errors import NotFound
from app.records import Category, Project
from app.session import check_name, color_of
from app.store.database import Database, fetch
from app.store.models import check_usable
from app.store.rows import row_to_category, row_to_project
from mal_core.errors import InputError


class Projects(Database):
    """What the store knows of projects and categories."""

    def add_project(self, name: str, model_id: int, now: datetime) -> Project:
        """Add an empty project whose masks the given model proposes.

        Raises:
            InputError: the name is empty, too long, or holds control characters.
            NotFound: there is no such model.
            NotAllowed: the model belongs to another project, or was rejected.
        """
        values = {"name": check_name(name), "model_id": model_id, "created_at": now}
        counters = dict.fromkeys(("next_category", "next_image", "next_instance"), 1)
        with self._write() as connection:
            check_usable(fetch(connection, schema.model_version, model_id), project_id=None)
            insert = schema.project.insert().returning(schema.project)
            return row_to_project(connection.execute(insert, values | counters).one())

    def list_projects(self) -> list[Project]:
        """All projects, oldest first."""
        with self._read() as connection:
            rows = connection.execute(select(schema.project).order_by(schema.project.c.id))
            return [row_to_project(row) for row in rows]

    def get_project(self, project_id: int) -> Project:
        """One project.

        Raises:
            NotFound: there is none with this id.
        """
        with self._read() as connection:
            return row_to_project(fetch(connection, schema.project, project_id))

    def rename_project(self, project_id: int, name: str) -> Project:
        """Give a project another name.

        Raises:
            InputError: the name is empty, too long, or holds control characters.
            NotFound: there is no such project.
        """
        change = update(schema.project).where(schema.project.c.id == project_id)
        with self._write() as connection:
            fetch(connection, schema.project, project_id)
            connection.execute(change.values(name=check_name(name)))
            return row_to_project(fetch(connection, schema.project, project_id))

    def add_category(self, project_id: int, name: str, color: str | None = None) -> Category:
        """Add a category, or return the one that has this name already, whatever its case.

        Args:
            project_id: the project it belongs to.
            name: what people call it.
            color: "#rrggbb"; None for the next of the palette.

        Raises:
            InputError: the name is empty, too long, or holds control characters.
            NotFound: there is no such project.
        """
        name = check_name(name)
        with self._write() as connection:
            fetch(connection, schema.project, project_id)
            if (known := _find_category(connection, project_id, name)) is not None:
                return known
            number = take_numbers(connection, project_id, "next_category", 1)
            values = {"project_id": project_id, "number": number, "name": name}
            values |= {"name_folded": name.casefold(), "color": color or color_of(number)}
            insert = schema.category.insert().returning(schema.category)
            return row_to_category(connection.execute(insert, values).one())

    def list_categories(self, project_id: int) -> list[Category]:
        """A project's categories by number.

        Raises:
            NotFound: there is no such project.
        """
        table = schema.category
        query = select(table).where(table.c.project_id == project_id).order_by(table.c.number)
        with self._read() as connection:
            fetch(connection, schema.project, project_id)
            return [row_to_category(row) for row in connection.execute(query)]

    def rename_category(self, category_id: int, name: str) -> Category:
        """Give a category another name; number and colour stay.

        Raises:
            InputError: the name is empty, too long, holds control characters, or is taken.
            NotFound: there is no such category.
        """
        name = check_name(name)
        with self._write() as connection:
            row = fetch(connection, schema.category, category_id)
            taken = _find_category(connection, row.project_id, name)
            if taken is not None and taken.id != category_id:
                raise InputError(f"there is a category {taken.name!r} already; choose another name")
            change = update(schema.category).where(schema.category.c.id == category_id)
            connection.execute(change.values(name=name, name_folded=name.casefold()))
            return row_to_category(fetch(connection, schema.category, category_id))


def take_numbers(connection: Connection, project_id: int, counter: str, count: int) -> int:
    """Take `count` consecutive numbers from a project's counter; they are never given out again.

    Returns:
        The first of them.

    Raises:
        NotFound: there is no such project.
    """
    column = schema.project.c[counter]
    change = update(schema.project).where(schema.project.c.id == project_id)
    after = connection.execute(change.values({column: column + count}).returning(column)).scalar()
    if after is None:
        raise NotFound(f"there is no project {project_id}")
    return int(after) - count


def _find_category(connection: Connection, project_id: int, name: str) -> Category | None:
    table = schema.category
    query = select(table).where(
        table.c.project_id == project_id, table.c.name_folded == name.casefold()
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else row_to_category(row)
