"""Instances at their heads, and their histories, as queries that several parts of the store ask."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select

from app import schema
from app.records import Instance, State
from app.store.database import fetch
from app.store.rows import INSTANCE, REVISION, row_to_instance


def heads() -> Select[Any]:
    """All instances at their heads, by number."""
    return (
        select(*INSTANCE)
        .select_from(schema.instance)
        .join(schema.revision, schema.HEAD)
        .join(schema.image, schema.image.c.id == schema.instance.c.image_id)
        .order_by(schema.instance.c.number)
    )


def list_heads(
    connection: Connection,
    image_id: int,
    condition: ColumnElement[bool],
    states: Collection[State] = frozenset(State),
) -> list[Instance]:
    """An image's instances that fulfil a condition, at their heads by number."""
    found = heads().where(schema.image.c.id == image_id, condition, in_states(states))
    return [row_to_instance(row) for row in connection.execute(found)]


def history() -> Select[Any]:
    """All revisions, oldest first."""
    return (
        select(*REVISION, schema.instance.c.image_id)
        .select_from(schema.revision)
        .join(schema.instance, schema.instance.c.id == schema.revision.c.instance_id)
        .join(schema.image, schema.image.c.id == schema.instance.c.image_id)
        .outerjoin(schema.effort, schema.effort.c.revision_id == schema.revision.c.id)
        .order_by(schema.revision.c.id)
    )


def in_states(states: Collection[State]) -> Any:  # noqa: ANN401 - SQLAlchemy's own type
    """Revisions in one of these states."""
    return schema.revision.c.state.in_([str(state) for state in sorted(states)])


def get_head(connection: Connection, instance_id: int) -> Instance:
    """One instance at its head.

    Raises:
        NotFound: there is none with this id.
    """
    fetch(connection, schema.instance, instance_id)
    query = heads().where(schema.instance.c.id == instance_id)
    return row_to_instance(connection.execute(query).one())


def head_id(connection: Connection, instance_id: int) -> int:
    """The id of the revision that an instance stands at."""
    query = select(schema.instance.c.head_id).where(schema.instance.c.id == instance_id)
    return int(connection.execute(query).scalar_one())
