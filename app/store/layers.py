"""Which instances somebody sees: everybody's, and their own of images that are annotated blind.

Conditions for queries that read `instance`, and the rule for what is written. An image is
annotated blind while it has two assignments or more and was not merged; meanwhile every instance
on it is in a layer: one annotator's own, or nobody's, if it was there before.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select

from app import schema
from app.errors import NotAllowed
from app.records import Blind, Viewer

ASIDE = ""  # the layer of what an image held before it was annotated blind
_LAYER, _ASSIGNMENT = schema.layer.c, schema.assignment.c


def of_everybody() -> ColumnElement[bool]:
    """Instances that are in no layer."""
    return ~exists().where(_LAYER.instance_id == schema.instance.c.id)


def in_layer(person: str) -> ColumnElement[bool]:
    """Instances that are somebody's own."""
    return exists().where(_LAYER.instance_id == schema.instance.c.id, _LAYER.person == person)


def shown_to(person: str | None) -> ColumnElement[bool]:
    """Instances that somebody works with: everybody's, and their own while an image is blind."""
    if not person:
        return of_everybody()
    mine = _blind().where(_is_assigned(person))
    return or_(of_everybody(), and_(schema.instance.c.image_id.in_(mine), in_layer(person)))


def open_to(viewer: Viewer | None) -> ColumnElement[bool]:
    """Instances whose history somebody may read; None may read all."""
    if viewer is None:
        return schema.instance.c.id == schema.instance.c.id
    foreign = exists().where(
        _LAYER.instance_id == schema.instance.c.id, _LAYER.person.not_in([ASIDE, viewer.person])
    )
    return or_(~foreign, schema.instance.c.image_id.not_in(sealed(viewer)))


def sealed(viewer: Viewer) -> Select[Any]:
    """Ids of images on which they may not see what others annotate blind."""
    if not viewer.reviews:
        return _blind()
    is_open = func.count(_ASSIGNMENT.done_at) < func.count()
    return _blind().where(_is_assigned(viewer.person)).having(is_open)


def said_to(viewer: Viewer | None) -> ColumnElement[bool]:
    """Comments, joined with their instances, that somebody may read; None may read all."""
    comment = schema.comment.c
    if viewer is None:
        return comment.id == comment.id
    others = exists().where(
        _ASSIGNMENT.image_id == comment.image_id,
        _ASSIGNMENT.person == comment.person,
        _ASSIGNMENT.person != viewer.person,
    )
    foreign = exists().where(
        _LAYER.instance_id == comment.instance_id, _LAYER.person.not_in([ASIDE, viewer.person])
    )
    return or_(comment.image_id.not_in(sealed(viewer)), and_(~others, ~foreign))


def find_blind(connection: Connection, image_id: int) -> Blind | None:
    """An image that is annotated blind; None if this one is not."""
    return next(iter(_read_blind(connection, _ASSIGNMENT.image_id == image_id)), None)


def list_blind(connection: Connection, project_id: int) -> list[Blind]:
    """The images of a project that are annotated blind, by id."""
    mine = select(schema.image.c.id).where(schema.image.c.project_id == project_id)
    return _read_blind(connection, _ASSIGNMENT.image_id.in_(mine))


def find_layer(connection: Connection, instance_id: int) -> str | None:
    """Whose own an instance is; None where it is everybody's."""
    query = select(_LAYER.person).where(_LAYER.instance_id == instance_id)
    owner: str | None = connection.execute(query).scalar_one_or_none()
    return owner


def layer_for(connection: Connection, image_id: int, person: str) -> str | None:
    """The layer that a new instance goes to.

    Raises:
        NotAllowed: the image is annotated blind, by others or no more.
    """
    blind = find_blind(connection, image_id)
    if blind is None:
        return None
    if person not in blind.people or blind.is_complete:
        raise NotAllowed(f"image {image_id} {_why(blind)}: nothing is added to it until then")
    return person


def late_in_layer(connection: Connection, image_id: int, layer: str, person: str) -> str:
    """Why a change of an instance in a layer comes too late; "" if it does not.

    Raises:
        NotAllowed: it is another one's own.
    """
    if layer not in (ASIDE, person) and person:
        raise NotAllowed(f"this mask is {layer}'s own: only they change it")
    blind = find_blind(connection, image_id)
    if layer == ASIDE or blind is None or layer not in blind.people:
        return "this image was given to others or merged meanwhile"
    return "all who annotate this image blind have said that they are done" * blind.is_complete


def _why(blind: Blind) -> str:
    names = " and ".join(blind.people)
    if blind.is_complete:
        return f"was annotated blind by {names}, and a reviewer is to merge it"
    return f"is annotated blind by {names} until a reviewer merges it"


def _read_blind(connection: Connection, which: ColumnElement[bool]) -> list[Blind]:
    """Those of some assignments' images that are annotated blind, by id."""
    several = _blind().where(which).correlate(None)
    rows = connection.execute(
        select(schema.assignment)
        .where(which, _ASSIGNMENT.image_id.in_(several))
        .order_by(_ASSIGNMENT.image_id, _ASSIGNMENT.person)
    ).all()
    done = {(row.image_id, row.person) for row in rows if row.done_at is not None}
    people: dict[int, list[str]] = {}
    for row in rows:
        people.setdefault(row.image_id, []).append(row.person)
    return [
        Blind(key, tuple(names), frozenset(name for name in names if (key, name) in done))
        for key, names in people.items()
    ]


def _blind() -> Select[Any]:
    """Ids of the images that are annotated blind."""
    several = (
        select(_ASSIGNMENT.image_id)
        .where(_ASSIGNMENT.image_id.not_in(select(schema.merged.c.image_id)))
        .group_by(_ASSIGNMENT.image_id)
        .having(func.count() > 1)
    )
    return several


def _is_assigned(person: str) -> ColumnElement[bool]:
    rows = schema.assignment.alias()
    return exists().where(rows.c.image_id == _ASSIGNMENT.image_id, rows.c.person == person)
