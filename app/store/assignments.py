"""Who is to do which images, layers of one's own where several do one, and their merging."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from app import schema
from app.errors import NotAllowed
from app.history import PROPOSED_AHEAD
from app.leases import is_held_against
from app.records import Assignment, Blind, Draft, Instance, NewInstance, State
from app.store.database import fetch
from app.store.engines import insert_into
from app.store.heads import list_heads
from app.store.instances import Instances
from app.store.layers import ASIDE, find_blind, find_layer, in_layer, list_blind, of_everybody
from app.store.leases import find_lease
from app.store.rows import row_to_assignment

BOX, GIVEN, UNDONE = "box", "given", "undo"
_TABLE, _LAYER, _MERGED = schema.assignment, schema.layer, schema.merged
_FREE = frozenset({State.PROPOSED, State.DELETED})  # nobody vouches for these
_COPIED = frozenset({State.PROPOSED})


class Assignments(Instances):
    """What the store knows of who is to do what."""

    def list_assignments(self, project_id: int) -> list[Assignment]:
        """All of a project, by image and person.

        Raises:
            NotFound: there is no such project.
        """
        query = (
            select(_TABLE)
            .join(schema.image, schema.image.c.id == _TABLE.c.image_id)
            .where(schema.image.c.project_id == project_id)
            .order_by(schema.image.c.number, _TABLE.c.person)
        )
        with self._read() as connection:
            fetch(connection, schema.project, project_id)
            return [row_to_assignment(row) for row in connection.execute(query)]

    def list_assigned(self, image_id: int) -> list[Assignment]:
        """Those of one image, by person."""
        with self._read() as connection:
            return _assigned(connection, image_id)

    def find_blind(self, image_id: int) -> Blind | None:
        """Who annotates an image blind, and how far they are; None where nobody does."""
        with self._read() as connection:
            return find_blind(connection, image_id)

    def list_blind(self, project_id: int) -> list[Blind]:
        """The images of a project that are annotated blind and not merged yet, by id."""
        with self._read() as connection:
            return list_blind(connection, project_id)

    def list_merged(self, project_id: int) -> Mapping[int, str]:
        """The act that merged each image of a project, by image id; the newest comes last."""
        query = (
            select(_MERGED.c.image_id, _MERGED.c.act)
            .join(schema.image, schema.image.c.id == _MERGED.c.image_id)
            .where(schema.image.c.project_id == project_id)
            .order_by(_MERGED.c.merged_at, _MERGED.c.image_id)
        )
        with self._read() as connection:
            return {row.image_id: row.act for row in connection.execute(query)}

    def list_layers(self, image_id: int) -> Mapping[str, Sequence[Instance]]:
        """Each assigned person's own instances of an image, by name and number."""
        with self._read() as connection:
            people = [one.person for one in _assigned(connection, image_id)]
            return {person: list_heads(connection, image_id, in_layer(person)) for person in people}

    def layer_of(self, instance_id: int) -> str | None:
        """Whose own an instance is, "" for one that is set aside; None for everybody's."""
        with self._read() as connection:
            return find_layer(connection, instance_id)

    def assign(self, image_id: int, person: str, by: str, now: datetime) -> bool:
        """Give an image to somebody; if it is another one's already, both annotate it blind.

        Returns:
            Whether that is new.

        Raises:
            NotFound: there is no such image.
            NotAllowed: a second person would not begin unseen: somebody judged a mask there, or
                somebody else works on it now; or all are done with it already.
        """
        with self._write() as connection:
            image = fetch(connection, schema.image, image_id)
            people = [one.person for one in _assigned(connection, image_id)]
            if person in people:
                return False
            if people:
                _check_unseen(connection, image.file_name, image_id, (by, now))
            values = {"image_id": image_id, "person": person, "assigned_by": by}
            connection.execute(_TABLE.insert(), values | {"assigned_at": now})
            if people:
                self._divide(connection, image_id, [*people, person], (by, now))
        return True

    def withdraw(self, image_id: int, person: str, by: str, now: datetime) -> bool:
        """Take an image from somebody; what they made of it alone stays in the history.

        Of two who annotate it blind the other one's masks are everybody's then.

        Returns:
            Whether it was theirs.

        Raises:
            NotAllowed: it was merged.
        """
        with self._write() as connection:
            image = fetch(connection, schema.image, image_id)
            if _is_merged(connection, image_id):
                raise NotAllowed(f"{image.file_name} was annotated by several people and merged")
            mine = (_TABLE.c.image_id == image_id, _TABLE.c.person == person)
            is_theirs = connection.execute(delete(_TABLE).where(*mine)).rowcount == 1
            left = [one.person for one in _assigned(connection, image_id)]
            if is_theirs and len(left) == 1:
                self._unite(connection, image_id, left[0], (by, now))
        return is_theirs

    def set_done(self, image_id: int, person: str, done_at: datetime | None) -> None:
        """Note that somebody is done with an image of theirs, or not yet.

        Raises:
            NotAllowed: the image is not theirs, or all who annotate it blind are done already.
        """
        mine = (_TABLE.c.image_id == image_id, _TABLE.c.person == person)
        with self._write() as connection:
            if _is_merged(connection, image_id):
                raise NotAllowed("this image was merged: it stays done")
            blind = find_blind(connection, image_id)
            if blind is not None and blind.is_complete and person in blind.people:
                raise NotAllowed("all who annotate this image are done: a reviewer reopens it")
            change = update(_TABLE).where(*mine).values(done_at=done_at)
            if connection.execute(change).rowcount == 0:
                raise NotAllowed("this image is not assigned to you")

    def reopen(self, image_id: int) -> None:
        """Let all who annotate an image blind go on; nothing where they are not all done."""
        with self._write() as connection:
            blind = find_blind(connection, image_id)
            if blind is not None and blind.is_complete:
                mine = _TABLE.c.image_id == image_id
                connection.execute(update(_TABLE).where(mine).values(done_at=None))

    def merge(
        self,
        image_id: int,
        drafts: Sequence[Draft],
        person: str,
        reason: str,
        act: str,
        now: datetime,
    ) -> list[Instance]:
        """Put instances for everybody in place of layers, which stay as they are.

        Args:
            image_id: an image that all who annotate it blind are done with.
            drafts: what it is to hold.
            person: who decided.
            reason: of the new instances.
            act: a name for the undo.
            now: the time.

        Raises:
            NotAllowed: not all are done, or it was merged already.
            Conflict, BadBox, BadMask: a draft does not fit.
        """
        with self._write() as connection:
            blind = find_blind(connection, image_id)
            if blind is None or not blind.is_complete:
                raise NotAllowed("only what all have said to be done with is merged, and once")
            values = {"image_id": image_id, "person": person, "act": act, "merged_at": now}
            connection.execute(_MERGED.insert(), values)
            new = [NewInstance(image_id, draft) for draft in drafts]
            return self.add_instances(new, person, reason, now)

    def undo_merge(
        self, project_id: int, act: str, person: str, reason: str, now: datetime
    ) -> list[int]:
        """Take merging back where everybody's instances are still those that it made.

        Args:
            project_id: the project.
            act: the name of the merging.
            person: who takes it back; an image on which somebody else works now stays.
            reason: of the instances that it made.
            now: the time.

        Returns:
            Ids of the images that are to be merged again.
        """
        with self._write() as connection:
            images = [key for key, name in self.list_merged(project_id).items() if name == act]
            return [key for key in images if self._unmerge(connection, key, reason, (person, now))]

    def _unmerge(
        self, connection: Connection, image_id: int, reason: str, by: tuple[str, datetime]
    ) -> bool:
        made = list_heads(connection, image_id, of_everybody())
        is_touched = any(one.version > 1 or one.reason != reason for one in made)
        if is_touched or is_held_against(find_lease(connection, image_id), by[0], by[1]):
            return False
        self._remove(made, by)
        _put_in_layer(connection, [one.id for one in made], ASIDE)
        connection.execute(delete(_MERGED).where(_MERGED.c.image_id == image_id))
        return True

    def _divide(
        self,
        connection: Connection,
        image_id: int,
        people: Sequence[str],
        by: tuple[str, datetime],
    ) -> None:
        """Set aside what everybody sees, and give each a copy of its proposals."""
        before = list_heads(connection, image_id, of_everybody())
        _put_in_layer(connection, [one.id for one in before], ASIDE)
        aside = list_heads(connection, image_id, in_layer(ASIDE), _COPIED)
        for person in people:
            if list_heads(connection, image_id, in_layer(person)):
                continue  # they had it before
            for reason in (BOX, PROPOSED_AHEAD):
                new = [
                    NewInstance(image_id, one.draft)
                    for one in aside
                    if (one.draft.rle is None) == (reason == BOX)
                ]
                self.put_instances(new, by[0], reason, by[1], layers={image_id: person})

    def _unite(
        self, connection: Connection, image_id: int, person: str, by: tuple[str, datetime]
    ) -> None:
        """Let one's own instances be everybody's, in place of what was set aside."""
        own = list_heads(connection, image_id, in_layer(person))
        aside = list_heads(connection, image_id, in_layer(ASIDE))
        keys = [one.id for one in (*own, *aside)]
        connection.execute(delete(_LAYER).where(_LAYER.c.instance_id.in_(keys)))
        self._remove(aside, by, GIVEN)

    def _remove(
        self, instances: Iterable[Instance], by: tuple[str, datetime], reason: str = UNDONE
    ) -> None:
        for one in instances:
            if one.draft.state is not State.DELETED:
                gone = replace(one.draft, state=State.DELETED)
                self.save_instance(one.id, gone, one.version, by[0], reason, by[1])


def _assigned(connection: Connection, image_id: int) -> list[Assignment]:
    query = select(_TABLE).where(_TABLE.c.image_id == image_id).order_by(_TABLE.c.person)
    return [row_to_assignment(row) for row in connection.execute(query)]


def _is_merged(connection: Connection, image_id: int) -> bool:
    query = select(_MERGED.c.image_id).where(_MERGED.c.image_id == image_id)
    return connection.execute(query).one_or_none() is not None


def _put_in_layer(connection: Connection, keys: Iterable[int], person: str) -> None:
    rows = [{"instance_id": key, "person": person} for key in keys]
    if rows:
        connection.execute(insert_into(connection, _LAYER), rows)


def _check_unseen(
    connection: Connection, name: str, image_id: int, by: tuple[str, datetime]
) -> None:
    """Raise where another person would not begin unseen.

    Raises:
        NotAllowed: with the reason.
    """
    blind, lease = find_blind(connection, image_id), find_lease(connection, image_id)
    if _is_merged(connection, image_id) or (blind is not None and blind.is_complete):
        raise NotAllowed(f"{name}: all who annotate it are done")
    if is_held_against(lease, by[0], by[1]):  # whoever gives it knows what they have open
        who = lease.person if lease is not None else ""
        raise NotAllowed(f"{name}: {who} works on it now; try again when they have left")
    heads = list_heads(connection, image_id, of_everybody())
    if any(one.draft.state not in _FREE for one in heads):
        raise NotAllowed(f"{name}: somebody has judged masks there; two people must begin unseen")
