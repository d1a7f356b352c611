"""Fields of other tools: kept as they came in, to be written back in the format they came from."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, and_, select

from app import schema
from app.records import Image, Instance, State
from app.store.database import Database, fetch
from app.store.engines import insert_into
from app.store.layers import of_everybody
from app.store.rows import IMAGE, INSTANCE, row_to_image, row_to_instance

Fields = Mapping[str, Any]
Owner = Literal["project", "category", "image", "instance"]
_STREAM = {"yield_per": 1000}  # rows read at a time
_TABLE = schema.foreign_fields
_BATCH = 500  # ids asked for at a time


class Foreign(Database):
    """What the store knows of fields that are not the studio's own."""

    def keep_fields(self, family: str, owner: Owner, fields: Mapping[int, Fields]) -> None:
        """Keep fields of a family of formats by the id of their owner; newer ones win."""
        with self._write() as connection:
            known = _get(connection, family, owner, fields)
            rows = [
                {"family": family, "owner": owner, "owner_id": key, "value": value}
                for key, new in fields.items()
                if (value := {**known.get(key, {}), **new}) and value != known.get(key)
            ]
            if rows:
                change = insert_into(connection, _TABLE)
                again = change.on_conflict_do_update(
                    index_elements=list(_TABLE.primary_key), set_={"value": change.excluded.value}
                )
                connection.execute(again, rows)

    def get_fields(self, family: str, owner: Owner, ids: Collection[int]) -> dict[int, Fields]:
        """The fields that are kept for some owners, by id; those without any are missing."""
        with self._read() as connection:
            return _get(connection, family, owner, ids)

    def list_sheets(
        self, project_id: int, states: Collection[State], family: str
    ) -> Iterator[tuple[Image, Fields, list[tuple[Instance, Fields]]]]:
        """Stream a project's images by number, each with its instances and the fields of a family.

        All are of one moment, however long the caller takes.

        Raises:
            NotFound: there is no such project.
        """
        mine = schema.image.c.project_id == project_id
        pictures = _with_fields(select(*IMAGE), schema.image.c.id, "image", family)
        pictures = pictures.where(mine).order_by(schema.image.c.number)
        with self._read() as connection:
            fetch(connection, schema.project, project_id)
            images = connection.execute(pictures).all()
            query = _instances(states, family).where(mine)
            groups = _grouped(connection.execute(query, execution_options=_STREAM))
            waiting = next(groups, None)
            for row in images:
                found: list[Row[Any]] = []
                if waiting is not None and waiting[0].image_id == row.id:
                    found, waiting = waiting, next(groups, None)
                items = [(row_to_instance(item), item.value or {}) for item in found]
                yield row_to_image(row), row.value or {}, items


def _instances(states: Collection[State], family: str) -> Select[Any]:
    """Instances at their heads, by image and number."""
    heads = (
        select(*INSTANCE)
        .select_from(schema.instance)
        .join(schema.revision, schema.HEAD)
        .join(schema.image, schema.image.c.id == schema.instance.c.image_id)
        .where(schema.revision.c.state.in_([str(state) for state in sorted(states)]))
        .where(of_everybody())
        .order_by(schema.image.c.number, schema.instance.c.number)
    )
    return _with_fields(heads, schema.instance.c.id, "instance", family)


def _with_fields(query: Select[Any], key: Any, owner: Owner, family: str) -> Select[Any]:  # noqa: ANN401
    """Add the column `value`, the fields kept for each row's owner."""
    same = (_TABLE.c.family == family, _TABLE.c.owner == owner, _TABLE.c.owner_id == key)
    return query.add_columns(_TABLE.c.value).outerjoin(_TABLE, and_(*same))


def _grouped(rows: Any) -> Iterator[list[Row[Any]]]:  # noqa: ANN401 - SQLAlchemy's own type
    """Rows of one image together."""
    group: list[Row[Any]] = []
    for row in rows:
        if group and group[0].image_id != row.image_id:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _get(
    connection: Connection, family: str, owner: Owner, ids: Collection[int]
) -> dict[int, Fields]:
    found: dict[int, Fields] = {}
    keys, columns = list(ids), _TABLE.c
    for start in range(0, len(keys), _BATCH):
        query = select(columns.owner_id, columns.value).where(
            columns.family == family,
            columns.owner == owner,
            columns.owner_id.in_(keys[start : start + _BATCH]),
        )
        found |= {row.owner_id: row.value for row in connection.execute(query)}
    return found
