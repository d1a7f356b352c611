"""From database rows to records and back, in one place."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row

from app import schema
from app.people import Entry, Login, Member, Role, Token, User
from app.records import (
    Assignment,
    Category,
    Comment,
    Draft,
    Image,
    Instance,
    Job,
    JobState,
    Lease,
    ModelState,
    ModelVersion,
    Project,
    Revision,
    Sketch,
    Split,
    State,
)
from mal_core.masks import RLE

_DRAFT = [
    *(schema.revision.c[name] for name in ("state", "category_id", "x0", "y0", "x1", "y1")),
    *(schema.revision.c[name] for name in ("counts", "score", "flagged", "model_id")),
    *(schema.revision.c[name] for name in ("person", "reason", "saved_at")),
    *(schema.image.c[name] for name in ("width", "height")),
]
INSTANCE = [schema.instance.c[name] for name in ("id", "image_id", "number", "version")] + _DRAFT
"""What `row_to_instance` needs, of instance, revision and image joined."""

REVISION = [
    *(schema.revision.c[name] for name in ("id", "instance_id", "version", "is_conflict")),
    *(*_DRAFT, schema.effort.c.seconds, schema.effort.c.strokes),
]
"""What `row_to_revision` needs, of the same three tables and effort."""

SKETCH = [
    *(schema.instance.c[name] for name in ("id", "image_id", "number", "version")),
    *(schema.revision.c[name] for name in ("state", "category_id", "score", "flagged")),
    *(schema.revision.c[name] for name in ("model_id", "person", "reason")),
    *(schema.revision.c[name] for name in ("x0", "y0", "x1", "y1")),
    schema.revision.c.counts.is_not(None).label("has_mask"),
]
"""What `row_to_sketch` needs, of instance and revision joined."""

IMAGE = list(schema.image.c)


def row_to_project(row: Row[Any]) -> Project:
    """Of a row of project."""
    return Project(row.id, row.name, row.model_id, row.created_at)


def row_to_category(row: Row[Any]) -> Category:
    """Of a row of category."""
    return Category(row.id, row.project_id, row.number, row.name, row.color)


def row_to_image(row: Row[Any]) -> Image:
    """Of a row that holds at least the columns of image."""
    return Image(
        id=row.id,
        project_id=row.project_id,
        number=row.number,
        file_name=row.file_name,
        sha256=row.sha256,
        source_sha256=row.source_sha256,
        extension=row.extension,
        width=row.width,
        height=row.height,
        split=None if row.split is None else Split(row.split),
        notice=row.notice,
        created_at=row.created_at,
    )


def row_to_draft(row: Row[Any]) -> Draft:
    """Of a row that holds the columns of a draft and the size of its image."""
    return Draft(
        state=State(row.state),
        category_id=row.category_id,
        box=(row.x0, row.y0, row.x1, row.y1),
        rle=None if row.counts is None else RLE(row.height, row.width, row.counts),
        score=row.score,
        flagged=bool(row.flagged),
        model_id=row.model_id,
    )


def row_to_instance(row: Row[Any]) -> Instance:
    """Of a row of the columns INSTANCE."""
    return Instance(
        id=row.id,
        image_id=row.image_id,
        number=row.number,
        version=row.version,
        draft=row_to_draft(row),
        person=row.person,
        reason=row.reason,
        saved_at=row.saved_at,
    )


def row_to_sketch(row: Row[Any]) -> Sketch:
    """Of a row of the columns SKETCH."""
    return Sketch(
        id=row.id,
        image_id=row.image_id,
        number=row.number,
        version=row.version,
        state=State(row.state),
        category_id=row.category_id,
        has_mask=bool(row.has_mask),
        score=row.score,
        flagged=bool(row.flagged),
        model_id=row.model_id,
        person=row.person,
        reason=row.reason,
        box=(row.x0, row.y0, row.x1, row.y1),
    )


def row_to_revision(row: Row[Any]) -> Revision:
    """Of a row of the columns REVISION."""
    return Revision(
        id=row.id,
        instance_id=row.instance_id,
        version=row.version,
        is_conflict=bool(row.is_conflict),
        draft=row_to_draft(row),
        person=row.person,
        reason=row.reason,
        saved_at=row.saved_at,
        seconds=row.seconds,
        strokes=row.strokes,
    )


def row_to_lease(row: Row[Any]) -> Lease:
    """Of a row of lease."""
    return Lease(row.image_id, row.person, row.token, row.expires_at)


def row_to_assignment(row: Row[Any]) -> Assignment:
    """Of a row of assignment."""
    return Assignment(row.image_id, row.person, row.assigned_by, row.assigned_at, row.done_at)


def row_to_comment(row: Row[Any]) -> Comment:
    """Of a row of comment."""
    about = (row.id, row.image_id, row.instance_id)
    return Comment(*about, row.person, row.text, row.written_at)


def row_to_job(row: Row[Any]) -> Job:
    """Of a row of job."""
    return Job(
        id=row.id,
        project_id=row.project_id,
        kind=row.kind,
        state=JobState(row.state),
        params=row.params,
        progress=row.progress,
        result=row.result,
        error=row.error,
        launches=row.launches,
        created_at=row.created_at,
        alive_at=row.alive_at,
        ended_at=row.ended_at,
    )


def row_to_model(row: Row[Any]) -> ModelVersion:
    """Of a row of model_version."""
    return ModelVersion(
        id=row.id,
        project_id=row.project_id,
        parent_id=row.parent_id,
        job_id=row.job_id,
        name=row.name,
        sha256=row.sha256,
        state=ModelState(row.state),
        figures=row.figures,
        notes=row.notes,
        created_at=row.created_at,
    )


def row_to_user(row: Row[Any]) -> User:
    """Of a row that holds the columns of user; its password's hash stays behind."""
    return User(row.id, row.name, bool(row.is_admin), bool(row.is_disabled), row.created_at)


def row_to_member(row: Row[Any]) -> Member:
    """Of a row of membership and user joined."""
    return Member(row.project_id, row_to_user(row), Role(row.role))


def row_to_login(row: Row[Any]) -> Login:
    """Of a row of login; its secret's hash stays behind."""
    times = (row.created_at, row.seen_at, row.expires_at, row.revoked_at)
    return Login(row.id, row.user_id, row.address, *times)


def row_to_token(row: Row[Any]) -> Token:
    """Of a row of token; its secret's hash stays behind."""
    times = (row.created_at, row.expires_at, row.revoked_at)
    return Token(row.id, row.user_id, row.label, *times)


def row_to_entry(row: Row[Any]) -> Entry:
    """Of a row of audit."""
    about = (row.act, row.project_id, row.subject, row.detail)
    return Entry(row.id, row.at, row.person, *about)


def draft_to_values(draft: Draft, person: str, reason: str, now: datetime) -> dict[str, Any]:
    """The columns of a revision that a draft and its saving decide."""
    x0, y0, x1, y1 = map(float, draft.box)
    return {
        "state": str(draft.state),
        "category_id": draft.category_id,
        **{"x0": x0, "y0": y0, "x1": x1, "y1": y1},
        "counts": None if draft.rle is None else draft.rle.counts,
        "score": None if draft.score is None else float(draft.score),
        "flagged": int(draft.flagged),
        "model_id": draft.model_id,
        "person": person,
        "reason": reason,
        "saved_at": now,
    }
