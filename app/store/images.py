"""Images of a project, and what they may be used for in training."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, func, select, update

from app import schema
from app.records import Image, ImageSummary, Sketch, Split, State, TakenImage
from app.session import COUNTABLE
from app.store.database import Database, fetch
from app.store.layers import of_everybody, shown_to
from app.store.projects import take_numbers
from app.store.rows import IMAGE, SKETCH, row_to_image, row_to_sketch


class Images(Database):
    """What the store knows of images."""

    def add_image(self, project_id: int, taken: TakenImage, now: datetime) -> tuple[Image, bool]:
        """Add an image that intake has stored, or return the one of the same upload.

        Returns:
            The image, and whether it is new to the project.

        Raises:
            NotFound: there is no such project.
        """
        table = schema.image
        same = (
            table.c.project_id == project_id,
            table.c.source_sha256 == taken.source_sha256,
        )
        with self._write() as connection:
            fetch(connection, schema.project, project_id)
            known = connection.execute(select(table).where(*same)).one_or_none()
            if known is not None:
                return row_to_image(known), False
            number = take_numbers(connection, project_id, "next_image", 1)
            values = vars(taken) | {"project_id": project_id, "number": number, "created_at": now}
            del values["n_bytes"]  # the files themselves tell
            row = connection.execute(table.insert().returning(table), values).one()
            return row_to_image(row), True

    def get_image(self, image_id: int) -> Image:
        """One image.

        Raises:
            NotFound: there is none with this id.
        """
        with self._read() as connection:
            return row_to_image(fetch(connection, schema.image, image_id))

    def list_all_images(self) -> list[Image]:
        """The images of all projects, in the order they were added."""
        with self._read() as connection:
            rows = connection.execute(select(schema.image).order_by(schema.image.c.id))
            return [row_to_image(row) for row in rows]

    def list_images(self, project_id: int, viewer: str | None = None) -> list[ImageSummary]:
        """A project's images by number, each with its instances counted by state.

        Args:
            project_id: the project.
            viewer: whose own instances count, too, where an image is annotated blind; None for
                what is everybody's.

        Raises:
            NotFound: there is no such project.
        """
        image, instance, revision = schema.image, schema.instance, schema.revision
        query: Select[Any] = (
            select(*IMAGE, revision.c.state, func.count(revision.c.id).label("n"))
            .select_from(image)
            .outerjoin(instance, (instance.c.image_id == image.c.id) & shown_to(viewer))
            .outerjoin(revision, schema.HEAD)
            .where(image.c.project_id == project_id)
            .group_by(image.c.id, revision.c.state)
            .order_by(image.c.number)
        )
        with self._read() as connection:
            fetch(connection, schema.project, project_id)
            rows = connection.execute(query).all()
        images = {row.id: row_to_image(row) for row in rows}
        counts = {key: dict.fromkeys(sorted(COUNTABLE), 0) for key in images}
        for row in rows:
            if row.state is not None and row.state in counts[row.id]:
                counts[row.id][State(row.state)] = row.n
        return [ImageSummary(image, counts[key]) for key, image in images.items()]

    def list_sketches(self, project_id: int, viewer: str | None = None) -> list[Sketch]:
        """All instances of a project that are not deleted, without their masks, by number.

        Args:
            project_id: the project.
            viewer: see `list_images`.

        Raises:
            NotFound: there is no such project.
        """
        instance, revision = schema.instance, schema.revision
        query = (
            select(*SKETCH)
            .select_from(instance)
            .join(revision, schema.HEAD)
            .where(
                instance.c.project_id == project_id,
                revision.c.state != str(State.DELETED),
                shown_to(viewer),
            )
            .order_by(instance.c.number)
        )
        with self._read() as connection:
            fetch(connection, schema.project, project_id)
            return [row_to_sketch(row) for row in connection.execute(query)]

    def list_newest_revisions(self, project_id: int) -> Mapping[int, int]:
        """The newest head on each image of a project, by the image's id.

        It is another one whenever an instance of the image is made, saved or deleted. Images
        that never had an instance are left out.

        Raises:
            NotFound: there is no such project.
        """
        instance = schema.instance
        query = (
            select(instance.c.image_id, func.max(instance.c.head_id).label("newest"))
            .where(instance.c.project_id == project_id, of_everybody())
            .group_by(instance.c.image_id)
        )
        with self._read() as connection:
            fetch(connection, schema.project, project_id)
            return {row.image_id: row.newest for row in connection.execute(query)}

    def set_splits(self, project_id: int, splits: Mapping[int, Split]) -> list[Image]:
        """Say what images are for in training; those that have a split keep it.

        Args:
            project_id: the project; images of others are left alone.
            splits: by image id.

        Returns:
            All images of the project, by number, as they are now.

        Raises:
            NotFound: there is no such project.
        """
        table = schema.image
        change = update(table).where(
            table.c.id == bindparam("key"),
            table.c.project_id == project_id,
            table.c.split.is_(None),
        )
        values = [{"key": key, "split": str(split)} for key, split in splits.items()]
        query = select(table).where(table.c.project_id == project_id).order_by(table.c.number)
        with self._write() as connection:
            fetch(connection, schema.project, project_id)
            if values:
                connection.execute(change, values)
            return [row_to_image(row) for row in connection.execute(query)]
