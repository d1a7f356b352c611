"""Much at once, as an import brings it: a few statements for all, so that others wait shortly."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select, update

from app import schema
from app.errors import NotAllowed
from app.records import Change, NewInstance, State
from app.session import check_transition
from app.store.instances import Checker, Instances, next_id
from app.store.rows import draft_to_values

_BATCH = 500  # ids asked for at a time


class Incoming(Instances):
    """What the store takes in at once."""

    def newest_revision(self) -> int:
        """The id of the newest revision of all; later ones have higher ids."""
        with self._read() as connection:
            return next_id(connection, "revision") - 1

    def touched_since(self, project_id: int, revision_id: int) -> set[int]:
        """The ids of a project's images whose instances have a revision newer than this one."""
        query = (
            select(schema.instance.c.image_id)
            .join(schema.revision, schema.revision.c.instance_id == schema.instance.c.id)
            .where(schema.revision.c.id > revision_id, schema.instance.c.project_id == project_id)
        )
        with self._read() as connection:
            return set(connection.execute(query.distinct()).scalars())

    def bring(
        self,
        new: Sequence[NewInstance],
        changes: Sequence[Change],
        person: str,
        reason: str,
        now: datetime,
    ) -> int:
        """Add instances and new revisions of others, all of one project, or nothing.

        Returns:
            The id of the first new instance; the others follow it in order.

        Raises:
            NotFound: there is no such image, category or model.
            NotAllowed: an instance does not stand at the version that was said, a state may not
                follow, or something is of another project.
            BadBox: a box leaves its image.
            BadMask: a mask is of another size than its image.
        """
        with self._write() as connection:
            saving = (person, reason, now)
            for start in range(0, len(changes), _BATCH):
                _advance_all(connection, changes[start : start + _BATCH], saving)
            return self.put_instances(new, *saving)


def _stands() -> Select[Any]:
    """Instances with what a change of them is checked against."""
    return (
        select(
            *(schema.instance.c.id, schema.instance.c.version, schema.instance.c.project_id),
            *(schema.image.c.width, schema.image.c.height, schema.revision.c.state),
        )
        .select_from(schema.instance)
        .join(schema.revision, schema.HEAD)
        .join(schema.image, schema.image.c.id == schema.instance.c.image_id)
    )


def _advance_all(
    connection: Connection, changes: Sequence[Change], saving: tuple[str, str, datetime]
) -> None:
    """Add the next revision of each and move the heads to them."""
    keys = [change.instance_id for change in changes]
    found = connection.execute(_stands().where(schema.instance.c.id.in_(keys)))
    stands = {row.id: row for row in found}
    checkers: dict[int, Checker] = {}
    for change in changes:
        stand = stands.get(change.instance_id)
        if stand is None or stand.version != change.version:
            raise NotAllowed(f"instance {change.instance_id} has changed meanwhile; try again")
        check_transition(State(stand.state), change.draft.state)
        checker = checkers.setdefault(stand.project_id, Checker(connection, stand.project_id))
        checker.draft(change.draft, stand)
    first = next_id(connection, "revision")
    rows = [
        {"id": first + place, "instance_id": change.instance_id}
        | {"version": change.version + 1, "is_conflict": 0}
        | draft_to_values(change.draft, *saving)
        for place, change in enumerate(changes)
    ]
    connection.execute(schema.revision.insert(), rows)
    move = update(schema.instance).where(schema.instance.c.id == bindparam("key"))
    heads = [
        {"key": row["instance_id"], "head_id": row["id"], "version": row["version"]} for row in rows
    ]
    connection.execute(move, heads)
