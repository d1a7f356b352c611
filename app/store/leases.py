"""Who works on which image: leases, each change of them one transaction."""

from datetime import datetime

from sqlalchemy import Connection, select, update

from app import schema
from app.leases import is_held_against, released, taken
from app.records import Lease
from app.store.database import Database, fetch
from app.store.rows import row_to_lease

_TABLE = schema.lease


class Leases(Database):
    """What the store knows of leases; the rules are those of app.leases."""

    def take_lease(
        self, image_id: int, person: str, now: datetime, *, force: bool = False
    ) -> Lease:
        """Ask to work on an image, or go on working there.

        Args:
            image_id: the image.
            person: who.
            now: the time.
            force: take it from whoever works there.

        Returns:
            The lease as it stands then, whoever holds it.

        Raises:
            NotFound: there is no such image.
        """
        # Whoever only waits for an image must not keep those who save from writing.
        held = None if force else self.get_lease(image_id)
        if held is not None and is_held_against(held, person, now):
            return held
        with self._write() as connection:
            fetch(connection, schema.image, image_id)
            old = find_lease(connection, image_id)
            new = taken(old, image_id, person, now, force=force)
            _put(connection, old, new)
        return new

    def release_lease(self, image_id: int, person: str, now: datetime) -> None:
        """Leave an image, so that it is free at once; nothing where another one works there."""
        with self._write() as connection:
            old = find_lease(connection, image_id)
            if old is not None:
                _put(connection, old, released(old, person, now))

    def get_lease(self, image_id: int) -> Lease | None:
        """The lease of an image as it stands, perhaps expired; None where nobody ever worked."""
        with self._read() as connection:
            return find_lease(connection, image_id)

    def list_leases(self, project_id: int, now: datetime) -> list[Lease]:
        """The leases of a project's images that somebody holds, by image."""
        query = (
            select(_TABLE)
            .join(schema.image, schema.image.c.id == _TABLE.c.image_id)
            .where(schema.image.c.project_id == project_id, _TABLE.c.expires_at > now)
            .order_by(_TABLE.c.image_id)
        )
        with self._read() as connection:
            return [row_to_lease(row) for row in connection.execute(query)]


def find_lease(connection: Connection, image_id: int) -> Lease | None:
    """The lease of an image; None where nobody ever worked there."""
    query = select(_TABLE).where(_TABLE.c.image_id == image_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else row_to_lease(row)


def _put(connection: Connection, old: Lease | None, new: Lease) -> None:
    if old is None:
        connection.execute(_TABLE.insert(), vars(new))
    elif new != old:
        place = _TABLE.c.image_id == new.image_id
        connection.execute(update(_TABLE).where(place).values(vars(new)))
