"""Instances and their history: nothing that was acknowledged is ever lost."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, update

from app import schema
from app.errors import Conflict, LeaseLost, NotAllowed
from app.leases import refuses
from app.records import Draft, Image, Instance, NewInstance, Revision, State, Viewer, Work
from app.session import COUNTABLE, check_draft, check_transition
from app.store.database import Database, fetch
from app.store.engines import insert_rows
from app.store.heads import get_head, head_id, heads, history, in_states, list_heads
from app.store.layers import (
    find_layer,
    late_in_layer,
    layer_for,
    list_blind,
    of_everybody,
    open_to,
    shown_to,
)
from app.store.leases import find_lease
from app.store.projects import take_numbers
from app.store.rows import (
    IMAGE,
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
            _add_effort(connection, head_id(connection, made.id), work)
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
            found = connection.execute(heads().where(schema.instance.c.id >= first)).all()
            return [row_to_instance(row) for row in found]

    def put_instances(
        self,
        instances: Sequence[NewInstance],
        person: str,
        reason: str,
        now: datetime,
        layers: Mapping[int, str] | None = None,
    ) -> int:
        """Add many instances as `add_instances` does, without reading them back.

        Args:
            instances: what to add, and where.
            person: who adds them.
            reason: why.
            now: the time.
            layers: whose own they are, by image; None where the person's, if the image is
                annotated blind.

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
            if layers is None:
                layers = _layers(connection, project_id, images, person)
            return _insert(connection, project_id, instances, (person, reason, now), layers)

    def get_instance(self, instance_id: int) -> Instance:
        """One instance at its head, deleted or not.

        Raises:
            NotFound: there is none with this id.
        """
        with self._read() as connection:
            return get_head(connection, instance_id)

    def list_instances(
        self, image_id: int, *, include_deleted: bool = False, viewer: str | None = None
    ) -> list[Instance]:
        """An image's instances by number.

        Args:
            image_id: the image.
            include_deleted: those, too.
            viewer: who works there, and sees their own of what is annotated blind; None for what
                is everybody's.

        Raises:
            NotFound: there is no such image.
        """
        states = frozenset(State) if include_deleted else COUNTABLE
        with self._read() as connection:
            fetch(connection, schema.image, image_id)
            return list_heads(connection, image_id, shown_to(viewer), states)

    def may_see(self, instance_id: int, viewer: Viewer) -> bool:
        """Whether an instance is not sealed to somebody, since another one annotates it blind."""
        query = select(schema.instance.c.id).where(
            schema.instance.c.id == instance_id, open_to(viewer)
        )
        with self._read() as connection:
            return connection.execute(query).one_or_none() is not None

    def list_project_instances(
        self, project_id: int, states: Collection[State] = COUNTABLE
    ) -> Iterator[tuple[Image, Instance]]:
        """Stream a project's instances in these states by number, each with its image.

        All are of one moment, however long the caller takes.

        Raises:
            NotFound: there is no such project.
        """
        pictures = select(*IMAGE).where(schema.image.c.project_id == project_id)
        query = heads().where(
            schema.instance.c.project_id == project_id, in_states(states), of_everybody()
        )
        with self._read() as connection:
            fetch(connection, schema.project, project_id)
            images = {row.id: row_to_image(row) for row in connection.execute(pictures)}
            for row in connection.execute(query, execution_options=_STREAM):
                yield images[row.image_id], row_to_instance(row)

    def list_project_revisions(self, project_id: int) -> Iterator[Revision]:
        """Stream a project's history, oldest first, lost races included; layers are left out.

        Raises:
            NotFound: there is no such project.
        """
        query = history().where(schema.instance.c.project_id == project_id, of_everybody())
        with self._read() as connection:
            fetch(connection, schema.project, project_id)
            for row in connection.execute(query, execution_options=_STREAM):
                yield row_to_revision(row)

    def list_image_revisions(self, image_id: int, viewer: str | None = None) -> list[Revision]:
        """The whole history of an image's instances, oldest first, lost races included.

        Args:
            image_id: the image.
            viewer: see `list_instances`.

        Raises:
            NotFound: there is no such image.
        """
        with self._read() as connection:
            fetch(connection, schema.image, image_id)
            seen = (schema.image.c.id == image_id, shown_to(viewer))
            rows = connection.execute(history().where(*seen))
            return [row_to_revision(row) for row in rows]

    def list_revisions(self, instance_id: int) -> list[Revision]:
        """An instance's whole history, oldest first, lost races included.

        Raises:
            NotFound: there is no such instance.
        """
        with self._read() as connection:
            fetch(connection, schema.instance, instance_id)
            rows = connection.execute(history().where(schema.instance.c.id == instance_id))
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
            LeaseLost: somebody else works on the image under a newer lease than `work` names, or
                it is not annotated blind any more; this draft is kept in the same way.
            NotFound: there is no such instance, category or model.
            NotAllowed: the state may not follow, needs a mask, the category is another project's,
                or there never was such a version.
            BadBox: the box leaves the image.
            BadMask: the mask is of another size than the image.
        """
        saving = (person, reason, now)
        with self._write() as connection:
            old = get_head(connection, instance_id)
            _check_version(old, expected_version)
            image = fetch(connection, schema.image, old.image_id)
            Checker(connection, image.project_id).draft(draft, image)
            late = _too_late(connection, old, (person, now), work.token)
            if not late and expected_version == old.version:
                check_transition(old.draft.state, draft.state)
                return _advance(connection, old, draft, saving, work)
            kept = _add_revision(connection, instance_id, expected_version + 1, draft, saving, 1)
            _add_effort(connection, kept, work)
        # Raised only after the commit: the late draft must be kept.
        if late:
            raise LeaseLost(f"{late}; yours is kept as revision {kept}", kept)
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


def _layers(
    connection: Connection, project_id: int, images: Iterable[int], person: str
) -> Mapping[int, str]:
    """Whose own new instances are, for images that are annotated blind."""
    keys = set(images)
    if len(keys) > 1:  # one question about all, rather than one about each
        keys &= {one.image_id for one in list_blind(connection, project_id)}
    found = {image_id: layer_for(connection, image_id, person) for image_id in sorted(keys)}
    return {image_id: layer for image_id, layer in found.items() if layer is not None}


def _insert(
    connection: Connection,
    project_id: int,
    instances: Sequence[NewInstance],
    saving: _Saving,
    layers: Mapping[int, str],
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
    placed = enumerate(instances if layers else ())
    own_of = [(first + i, layers[n.image_id]) for i, n in placed if n.image_id in layers]
    if own_of:
        insert_rows(connection, schema.layer, ("instance_id", "person"), own_of)
    return first


def next_id(connection: Connection, table: str) -> int:
    """Ids are counted on by hand, which is safe as no other writer is let in."""
    highest = func.max(schema.metadata.tables[table].c.id)
    return int(connection.execute(select(func.coalesce(highest, 0))).scalar_one()) + 1


def _too_late(
    connection: Connection, old: Instance, by: tuple[str, datetime], token: int | None
) -> str:
    """Why a save comes too late whatever its version; "" if it does not.

    In a layer nobody else works, so that no lease is asked for.
    """
    layer = find_layer(connection, old.id)
    if layer is not None:
        return late_in_layer(connection, old.image_id, layer, by[0])
    if token is None:
        return ""
    lease = find_lease(connection, old.image_id)
    if lease is None or not refuses(lease, by[0], token, by[1]):
        return ""
    return f"{lease.person or 'somebody'} works on this image now"


def _advance(
    connection: Connection, old: Instance, draft: Draft, saving: _Saving, work: Work
) -> Instance:
    """Add the next revision and move the head to it."""
    version = old.version + 1
    head = _add_revision(connection, old.id, version, draft, saving, 0)
    _add_effort(connection, head, work)
    change = update(schema.instance).where(schema.instance.c.id == bindparam("key"))
    connection.execute(change, {"key": old.id, "head_id": head, "version": version})
    return get_head(connection, old.id)


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
