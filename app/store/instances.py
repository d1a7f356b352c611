"""Instances and their history: nothing that was acknowledged is ever lost."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, select, update

from app import schema
from app.errors import Conflict, LeaseLost, NotAllowed
from app.leases import refuses
from app.records import Draft, Image, Instance, NewInstance, Revision, State, Work
from app.session import COUNTABLE, check_draft, check_transition
from app.store.database import Database, fetch
from app.store.engines import insert_rows
from app.store.leases import find_lease
from app.store.projects import take_numbers
from app.store.rows import (
    IMAGE,
    INSTANCE,
    REVISION,
    draft_to_values,
    row_to_image,
    row_to_instance,
    row_to_revision,
)

_STREAM = {"yield_per": 1000}  # rows read at a time
UNKNOWN = Work()
_OWNER = ("id", "project_id", "image_id", "number", "version", "head_id")


class Instances(Database):
    """What the store knows of instances."""

    def add_instance(
        self,
        image_id: int,
        draft: Draft,
        person: str,
        reason: str,
        now: datetime,
        work: Work = UNKNOWN,
    ) -> Instance:
        """Add an instance to an image, at version 1.

        Raises:
            NotFound: there is no such image, category or model.
            NotAllowed: the category is another project's, or the state cannot be a first one.
            BadBox: the box leaves the image.
            BadMask: the mask is of another size than the image.
        """
        with self._write() as connection:
            made = self.add_instances([NewInstance(image_id, draft)], person, reason, now)[0]
            _add_effort(connection, _head_id(connection, made.id), work)
        return made

    def add_instances(
        self, instances: Sequence[NewInstance], person: str, reason: str, now: datetime
    ) -> list[Instance]:
        """Add many instances, of images of one project, or none of them.

        Raises:
            NotFound: there is no such image, category or model.
            NotAllowed: images or a category of another project, or a state that cannot be first.
            BadBox: a box leaves its image.
            BadMask: a mask is of another size than its image.
        """
        if not instances:
            return []
        with self._write() as connection:
            first = self.put_instances(instances, person, reason, now)
            found = connection.execute(_heads().where(schema.instance.c.id >= first)).all()
            return [row_to_instance(row) for row in found]

    def put_instances(
        self, instances: Sequence[NewInstance], person: str, reason: str, now: datetime
    ) -> int:
        """Add many instances as `add_instances` does, without reading them back.

        Returns:
            The id of the first; the others follow it in order.
        """
        with self._write() as connection:
            if not instances:
                return next_id(connection, "instance")
            images = {new.image_id: None for new in instances}
            rows = {key: fetch(connection, schema.image, key) for key in images}
            project_id = _one_project(rows.values())
            check = Checker(connection, project_id)
            for new in instances:
                check_transition(None, new.draft.state)
                check.draft(new.draft, rows[new.image_id])
            return _insert(connection, project_id, instances, (person, reason, now))

    def get_instance(self, instance_id: int) -> Instance:
        """One instance at its head, deleted or not.

        Raises:
            NotFound: there is none with this id.
        """
        with self._read() as connection:
            return _get(connection, instance_id)

    def list_instances(self, image_id: int, *, include_deleted: bool = False) -> list[Instance]:
        """An image's instances by number.

        Raises:
            NotFound: there is no such image.
        """
        states = frozenset(State) if include_deleted else COUNTABLE
        query = _heads().where(schema.image.c.id == image_id, _in_states(states))
        with self._read() as connection:
            fetch(connection, schema.image, image_id)
            return [row_to_instance(row) for row in connection.execute(query)]

    def list_project_instances(
        self, project_id: int, states: Collection[State] = COUNTABLE
    ) -> Iterator[tuple[Image, Instance]]:
        """Stream a project's instances in these states by number, each with its image.

        All are of one moment, however long the caller takes.

        Raises:
            NotFound: there is no such project.
        """
        pictures = select(*IMAGE).where(schema.image.c.project_id == project_id)
        query = _heads().where(schema.instance.c.project_id == project_id, _in_states(states))
        with self._read() as connection:
            fetch(connection, schema.project, project_id)
            images = {row.id: row_to_image(row) for row in connection.execute(pictures)}
            for row in connection.execute(query, execution_options=_STREAM):
                yield images[row.image_id], row_to_instance(row)

    def list_project_revisions(self, project_id: int) -> Iterator[Revision]:
        """Stream a project's whole history, oldest first, lost races included.

        Raises:
            NotFound: there is no such project.
        """
        query = _history().where(schema.instance.c.project_id == project_id)
        with self._read() as connection:
            fetch(connection, schema.project, project_id)
            for row in connection.execute(query, execution_options=_STREAM):
                yield row_to_revision(row)

    def list_image_revisions(self, image_id: int) -> list[Revision]:
        """The whole history of an image's instances, oldest first, lost races included.

        Raises:
            NotFound: there is no such image.
        """
        with self._read() as connection:
            fetch(connection, schema.image, image_id)
            rows = connection.execute(_history().where(schema.image.c.id == image_id))
            return [row_to_revision(row) for row in rows]

    def list_revisions(self, instance_id: int) -> list[Revision]:
        """An instance's whole history, oldest first, lost races included.

        Raises:
            NotFound: there is no such instance.
        """
        with self._read() as connection:
            fetch(connection, schema.instance, instance_id)
            rows = connection.execute(_history().where(schema.instance.c.id == instance_id))
            return [row_to_revision(row) for row in rows]

    def save_instance(
        self,
        instance_id: int,
        draft: Draft,
        expected_version: int,
        person: str,
        reason: str,
        now: datetime,
        work: Work = UNKNOWN,
    ) -> Instance:
        """Save a new version of an instance on top of the one the person saw.

        Raises:
            Conflict: somebody saved first; this draft is kept as a revision beside theirs.
            LeaseLost: somebody else works on the image under a newer lease than `work` names;
                this draft is kept in the same way.
            NotFound: there is no such instance, category or model.
            NotAllowed: the state may not follow, needs a mask, the category is another project's,
                or there never was such a version.
            BadBox: the box leaves the image.
            BadMask: the mask is of another size than the image.
        """
        saving = (person, reason, now)
        with self._write() as connection:
            old = _get(connection, instance_id)
            _check_version(old, expected_version)
            image = fetch(connection, schema.image, old.image_id)
            Checker(connection, image.project_id).draft(draft, image)
            holder = _holder(connection, old, (person, now), work.token)
            if holder is None and expected_version == old.version:
                check_transition(old.draft.state, draft.state)
                return _advance(connection, old, draft, saving, work)
            kept = _add_revision(connection, instance_id, expected_version + 1, draft, saving, 1)
            _add_effort(connection, kept, work)
        # Raised only after the commit: the late draft must be kept.
        if holder is not None:
            raise LeaseLost(
                f"{holder or 'somebody'} works on this image now; yours is kept as revision {kept}",
                kept,
            )
        raise Conflict(
            f"{old.person or 'somebody'} saved version {old.version} first; yours is kept as"
            f" revision {kept}, load theirs and decide",
            kept,
        )


class Checker:
    """Checks drafts against one project; asks the database about each key once."""

    def __init__(self, connection: Connection, project_id: int) -> None:
        self._connection = connection
        self._project_id = project_id
        self._known: set[tuple[str, int]] = set()

    def draft(self, draft: Draft, image: Row[Any]) -> None:
        """Raise if a draft fits neither its image nor its project."""
        check_draft(draft, image.width, image.height)
        self._owned("category", draft.category_id)
        if draft.model_id is not None:
            self._owned("model_version", draft.model_id)

    def _owned(self, table: str, key: int) -> None:
        if (table, key) in self._known:
            return
        owner = fetch(self._connection, schema.metadata.tables[table], key).project_id
        if owner not in (None, self._project_id):
            raise NotAllowed(f"{table.replace('_', ' ')} {key} belongs to another project")
        self._known.add((table, key))


_Saving = tuple[str, str, datetime]  # person, reason, now


def _heads() -> Select[Any]:
    """All instances at their heads, by number."""
    return (
        select(*INSTANCE)
        .select_from(schema.instance)
        .join(schema.revision, schema.HEAD)
        .join(schema.image, schema.image.c.id == schema.instance.c.image_id)
        .order_by(schema.instance.c.number)
    )


def _history() -> Select[Any]:
    """All revisions, oldest first."""
    return (
        select(*REVISION, schema.instance.c.image_id)
        .select_from(schema.revision)
        .join(schema.instance, schema.instance.c.id == schema.revision.c.instance_id)
        .join(schema.image, schema.image.c.id == schema.instance.c.image_id)
        .outerjoin(schema.effort, schema.effort.c.revision_id == schema.revision.c.id)
        .order_by(schema.revision.c.id)
    )


def _in_states(states: Collection[State]) -> Any:  # noqa: ANN401 - SQLAlchemy's own type
    return schema.revision.c.state.in_([str(state) for state in sorted(states)])


def _get(connection: Connection, instance_id: int) -> Instance:
    fetch(connection, schema.instance, instance_id)
    query = _heads().where(schema.instance.c.id == instance_id)
    return row_to_instance(connection.execute(query).one())


def _head_id(connection: Connection, instance_id: int) -> int:
    query = select(schema.instance.c.head_id).where(schema.instance.c.id == instance_id)
    return int(connection.execute(query).scalar_one())


def _one_project(images: Collection[Row[Any]]) -> int:
    owners = {image.project_id for image in images}
    if len(owners) > 1:
        raise NotAllowed(f"instances must be of one project's images, got projects {owners}")
    return int(owners.pop())


def _check_version(old: Instance, expected: int) -> None:
    if not 1 <= expected <= old.version:
        raise NotAllowed(
            f"the version must be one of 1 to {old.version}, got {expected}; load it again"
        )


def _insert(
    connection: Connection, project_id: int, instances: Sequence[NewInstance], saving: _Saving
) -> int:
    """Insert checked instances with their first revisions; return the first instance's id."""
    number = take_numbers(connection, project_id, "next_instance", len(instances))
    first, head = next_id(connection, "instance"), next_id(connection, "revision")
    owners = (
        (first + i, project_id, new.image_id, number + i, 1, head + i)
        for i, new in enumerate(instances)
    )
    insert_rows(connection, schema.instance, _OWNER, owners)
    own = draft_to_values(instances[0].draft, *saving)
    columns = ["id", "instance_id", "version", "is_conflict", *own]
    revisions = (
        (head + i, first + i, 1, 0, *draft_to_values(new.draft, *saving).values())
        for i, new in enumerate(instances)
    )
    insert_rows(connection, schema.revision, columns, revisions)
    return first


def next_id(connection: Connection, table: str) -> int:
    """Ids are counted on by hand, which is safe as no other writer is let in."""
    highest = func.max(schema.metadata.tables[table].c.id)
    return int(connection.execute(select(func.coalesce(highest, 0))).scalar_one()) + 1


def _holder(
    connection: Connection, old: Instance, by: tuple[str, datetime], token: int | None
) -> str | None:
    """Who works on the instance's image under a newer lease than the saver's; None if nobody."""
    if token is None:
        return None
    lease = find_lease(connection, old.image_id)
    return lease.person if lease is not None and refuses(lease, by[0], token, by[1]) else None


def _advance(
    connection: Connection, old: Instance, draft: Draft, saving: _Saving, work: Work
) -> Instance:
    """Add the next revision and move the head to it."""
    version = old.version + 1
    head = _add_revision(connection, old.id, version, draft, saving, 0)
    _add_effort(connection, head, work)
    change = update(schema.instance).where(schema.instance.c.id == bindparam("key"))
    connection.execute(change, {"key": old.id, "head_id": head, "version": version})
    return _get(connection, old.id)


def _add_revision(
    connection: Connection,
    instance_id: int,
    version: int,
    draft: Draft,
    saving: _Saving,
    is_conflict: int,
) -> int:
    key = next_id(connection, "revision")
    values = {"id": key, "instance_id": instance_id, "version": version, "is_conflict": is_conflict}
    connection.execute(schema.revision.insert(), values | draft_to_values(draft, *saving))
    return key


def _add_effort(connection: Connection, revision_id: int, work: Work) -> None:
    if work.seconds is None and work.strokes is None:
        return
    values = {"revision_id": revision_id, "seconds": work.seconds, "strokes": work.strokes}
    connection.execute(schema.effort.insert(), values)
