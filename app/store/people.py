"""What people asked, said and like: answered requests, comments, preferences."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from app import schema
from app.errors import NotAllowed
from app.records import Comment, Viewer
from app.store.database import Database, fetch
from app.store.engines import insert_into
from app.store.layers import said_to
from app.store.rows import row_to_comment
from mal_core.errors import InputError

TEXT_MAX = 4000  # characters of a comment


class People(Database):
    """What the store knows of the people at work, beside their masks."""

    def add_answer(self, person: str, request_id: str, instance_id: int) -> None:
        """Remember which instance a request made, so that asking again makes no second one.

        Raises:
            NotFound: there is no such instance.
        """
        values = {"person": person, "request_id": request_id, "instance_id": instance_id}
        with self._write() as connection:
            fetch(connection, schema.instance, instance_id)
            once = insert_into(connection, schema.answer).on_conflict_do_nothing()
            connection.execute(once, values)

    def find_answer(self, person: str, request_id: str, image_id: int) -> int | None:
        """Id of the instance that a request of this person made, if it was answered.

        Args:
            person: who asks.
            request_id: under which name.
            image_id: of the image that the request is about now. Whoever asks was let to see that
                one, and may have lost their role where an earlier request made something.

        Raises:
            NotAllowed: the name was used on another image.
        """
        table = schema.answer
        query = (
            select(table.c.instance_id, schema.instance.c.image_id)
            .join(schema.instance, schema.instance.c.id == table.c.instance_id)
            .where(table.c.person == person, table.c.request_id == request_id)
        )
        with self._read() as connection:
            found = connection.execute(query).one_or_none()
        if found is not None and found.image_id != image_id:
            raise NotAllowed("this request_id was used on another image: choose another one")
        return None if found is None else int(found.instance_id)

    def add_comment(
        self, image_id: int, instance_id: int | None, person: str, text: str, now: datetime
    ) -> Comment:
        """Write a comment on an image, or on an instance of it.

        Raises:
            InputError: the text is empty or too long.
            NotFound: there is no such image or instance.
            NotAllowed: the instance is another image's.
        """
        text = text.strip()
        if not 1 <= len(text) <= TEXT_MAX:
            raise InputError(f"a comment must be 1 to {TEXT_MAX} characters, got {len(text)}")
        about = {"image_id": image_id, "instance_id": instance_id}
        with self._write() as connection:
            fetch(connection, schema.image, image_id)
            if instance_id is not None:
                owner = fetch(connection, schema.instance, instance_id).image_id
                if owner != image_id:
                    raise NotAllowed(f"instance {instance_id} is not one of image {image_id}")
            values = about | {"person": person, "text": text, "written_at": now}
            made = schema.comment.insert().returning(schema.comment)
            return row_to_comment(connection.execute(made, values).one())

    def list_comments(self, image_id: int, viewer: Viewer | None = None) -> list[Comment]:
        """The comments on an image and its instances, oldest first.

        Args:
            image_id: the image.
            viewer: who reads; what others say who annotate it blind is sealed. None may read all.

        Raises:
            NotFound: there is no such image.
        """
        table = schema.comment
        query = select(table).where(table.c.image_id == image_id, said_to(viewer))
        query = query.order_by(table.c.id)
        with self._read() as connection:
            fetch(connection, schema.image, image_id)
            return [row_to_comment(row) for row in connection.execute(query)]

    def newest_comment(self, image_id: int, viewer: Viewer | None = None) -> int:
        """Id of the newest of `list_comments`; 0 while there is none."""
        table = schema.comment
        query = select(func.coalesce(func.max(table.c.id), 0))
        query = query.where(table.c.image_id == image_id, said_to(viewer))
        with self._read() as connection:
            return int(connection.execute(query).scalar_one())

    def get_preferences(self, person: str) -> Mapping[str, Any]:
        """What a person likes; nothing while they have not said."""
        table = schema.preference
        query = select(table.c.value).where(table.c.person == person)
        with self._read() as connection:
            value: Mapping[str, Any] | None = connection.execute(query).scalar_one_or_none()
        return value or {}

    def set_preferences(self, person: str, value: Mapping[str, Any]) -> None:
        """Keep what a person likes, in place of what they said before."""
        with self._write() as connection:
            wanted = insert_into(connection, schema.preference).values(person=person, value=value)
            put = wanted.on_conflict_do_update(
                index_elements=["person"], set_={"value": wanted.excluded.value}
            )
            connection.execute(put)
