"""The database's tables; app.migrations builds them, app.store alone reads and writes them.

project ─┬─ category            named classes, numbered once and for ever
         ├─ image ── instance ── revision      an instance points at its head; history only grows
         ├─ job                 long work
         └─ model_version       checkpoints; one of them proposes the project's masks
answer · comment · preference   what people asked, said, and like; comments only grow
user ─┬─ membership     its role in a project
      ├─ login          browsers that are logged in; only hashes of their secrets are kept
      └─ token          programs that may act for it
audit                           who did what, and when; only grows
lease                           who works on an image, or did last
assignment · layer · merged     who is to do an image; instances that are one's own; when no more
effort                          what a save took of its person, where their page told
foreign_fields                  what other tools said of any of these, for the way back to them
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import (
    DOUBLE_PRECISION,
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    ColumnElement,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

from app.people import Role
from app.records import JobState, ModelState, Split, State

Whole: TypeEngine[int] = Integer().with_variant(BigInteger(), "postgresql")
"""A whole number of 64 bits in either database; the type of every identifier and count."""

Real: TypeEngine[float] = REAL().with_variant(DOUBLE_PRECISION(), "postgresql")
"""A float of 64 bits in either database."""


class Moment(TypeDecorator[datetime]):
    """A point in time, kept as ISO text in UTC with microseconds, so that text sorts as time."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """Write; a time without a zone is a caller's mistake."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"times must carry a zone, got {value!r}")
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        """Read."""
        return None if value is None else datetime.fromisoformat(value)


class Json(TypeDecorator[Mapping[str, Any]]):
    """A JSON object, kept as text; a number that is not finite becomes null."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, Any] | None, dialect: Dialect) -> str | None:
        """Write."""
        return None if value is None else orjson.dumps(dict(value)).decode("utf-8")

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ANN401
        """Read."""
        return None if value is None else orjson.loads(value)


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """Hold a column to the words of its enumeration."""
    words = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({words})", name=column)


def _key(name: str, target: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, Whole, ForeignKey(target), nullable=nullable)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _number(name: str) -> Column[int]:
    return Column(name, Whole, nullable=False)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

project = Table(
    "project",
    metadata,
    Column("id", Whole, primary_key=True),
    _text("name"),
    Column("model_id", Whole, ForeignKey("model_version.id", use_alter=True), nullable=False),
    Column("created_at", Moment, nullable=False),
    # Numbers are handed out from here and never again, whatever becomes of their owners.
    *(_number(name) for name in ("next_category", "next_image", "next_instance")),
    sqlite_strict=True,
)

category = Table(
    "category",
    metadata,
    Column("id", Whole, primary_key=True),
    _key("project_id", "project.id"),
    _number("number"),
    _text("name"),
    _text("name_folded"),  # for uniqueness whatever the case, in every alphabet
    _text("color"),
    UniqueConstraint("project_id", "number"),
    UniqueConstraint("project_id", "name_folded"),
    sqlite_strict=True,
)

image = Table(
    "image",
    metadata,
    Column("id", Whole, primary_key=True),
    _key("project_id", "project.id"),
    _number("number"),
    *(_text(name) for name in ("file_name", "sha256", "source_sha256", "extension")),
    *(_number(name) for name in ("width", "height")),
    Column("split", Text),
    _text("notice"),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("project_id", "number"),
    UniqueConstraint("project_id", "source_sha256"),
    _one_of("split", Split),
    sqlite_strict=True,
)

instance = Table(
    "instance",
    metadata,
    Column("id", Whole, primary_key=True),
    _key("project_id", "project.id"),
    Column("image_id", Whole, ForeignKey("image.id"), nullable=False, index=True),
    _number("number"),
    _number("version"),
    # Instance and revision point at each other; the database checks this side at commit.
    Column(
        "head_id",
        Whole,
        ForeignKey("revision.id", deferrable=True, initially="DEFERRED", use_alter=True),
        nullable=False,
        unique=True,  # also the index without which that check reads the whole table
    ),
    UniqueConstraint("project_id", "number"),
    sqlite_strict=True,
)

revision = Table(
    "revision",
    metadata,
    Column("id", Whole, primary_key=True),
    _key("instance_id", "instance.id"),
    _number("version"),
    _number("is_conflict"),
    _text("state"),
    _key("category_id", "category.id"),
    *(Column(name, Real, nullable=False) for name in ("x0", "y0", "x1", "y1")),
    Column("counts", Text),  # of the whole image's run-length code; its size is the image's
    Column("score", Real),
    _number("flagged"),
    _key("model_id", "model_version.id", nullable=True),
    _text("person"),
    _text("reason"),
    Column("saved_at", Moment, nullable=False),
    _one_of("state", State),
    Index(None, "instance_id", "version"),
    sqlite_strict=True,
)
Index(
    "uq_revision_head",
    revision.c.instance_id,
    revision.c.version,
    unique=True,
    sqlite_where=text("is_conflict = 0"),
    postgresql_where=text("is_conflict = 0"),
)

job = Table(
    "job",
    metadata,
    Column("id", Whole, primary_key=True),
    _key("project_id", "project.id"),
    _text("kind"),
    _text("state"),
    *(Column(name, Json, nullable=False) for name in ("params", "progress", "result")),
    _text("error"),
    _number("launches"),
    Column("created_at", Moment, nullable=False),
    Column("alive_at", Moment),
    Column("ended_at", Moment),
    _one_of("state", JobState),
    sqlite_strict=True,
)

model_version = Table(
    "model_version",
    metadata,
    Column("id", Whole, primary_key=True),
    _key("project_id", "project.id", nullable=True),
    _key("parent_id", "model_version.id", nullable=True),
    _key("job_id", "job.id", nullable=True),
    _text("name"),
    _text("sha256"),
    _text("state"),
    Column("figures", Json, nullable=False),
    _text("notes"),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("sha256"),
    _one_of("state", ModelState),
    sqlite_strict=True,
)

answer = Table(
    "answer",
    metadata,
    Column("person", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    _key("instance_id", "instance.id"),
    sqlite_strict=True,
)

comment = Table(
    "comment",
    metadata,
    Column("id", Whole, primary_key=True),
    Column("image_id", Whole, ForeignKey("image.id"), nullable=False, index=True),
    _key("instance_id", "instance.id", nullable=True),  # none: it is about the image
    _text("person"),
    _text("text"),
    Column("written_at", Moment, nullable=False),
    sqlite_strict=True,
)

preference = Table(
    "preference",
    metadata,
    Column("person", Text, primary_key=True),
    Column("value", Json, nullable=False),
    sqlite_strict=True,
)

lease = Table(
    "lease",
    metadata,
    Column("image_id", Whole, ForeignKey("image.id"), primary_key=True),
    _text("person"),
    _number("token"),
    Column("expires_at", Moment, nullable=False),
    sqlite_strict=True,
)

assignment = Table(  # an image with two rows or more is annotated blind, until it is merged
    "assignment",
    metadata,
    Column("image_id", Whole, ForeignKey("image.id"), primary_key=True),
    Column("person", Text, primary_key=True),
    _text("assigned_by"),
    Column("assigned_at", Moment, nullable=False),
    Column("done_at", Moment),
    sqlite_strict=True,
)

layer = Table(  # an instance without a row here is everybody's; "" is nobody's: it is set aside
    "layer",
    metadata,
    Column("instance_id", Whole, ForeignKey("instance.id"), primary_key=True),
    _text("person"),
    sqlite_strict=True,
)

merged = Table(
    "merged",
    metadata,
    Column("image_id", Whole, ForeignKey("image.id"), primary_key=True),
    _text("person"),
    _text("act"),  # images that were merged at once have the same, for the undo
    Column("merged_at", Moment, nullable=False),
    sqlite_strict=True,
)

effort = Table(
    "effort",
    metadata,
    Column("revision_id", Whole, ForeignKey("revision.id"), primary_key=True),
    Column("seconds", Real),
    Column("strokes", Whole),
    sqlite_strict=True,
)

foreign_fields = Table(
    "foreign_fields",
    metadata,
    Column("family", Text, primary_key=True),  # of formats, such as coco
    Column("owner", Text, primary_key=True),  # project, category, image or instance
    Column("owner_id", Whole, primary_key=True),  # no key: its table follows from the owner
    Column("value", Json, nullable=False),
    CheckConstraint("owner IN ('project', 'category', 'image', 'instance')", name="owner"),
    sqlite_strict=True,
)

user = Table(
    "user",
    metadata,
    Column("id", Whole, primary_key=True),
    _text("name"),
    _text("name_folded"),  # two names that differ in case only would be taken for each other
    _text("password_hash"),
    _number("is_admin"),
    _number("is_disabled"),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("name_folded"),
    sqlite_strict=True,
)

membership = Table(
    "membership",
    metadata,
    Column("project_id", Whole, ForeignKey("project.id"), primary_key=True),
    Column("user_id", Whole, ForeignKey("user.id"), primary_key=True),
    _text("role"),
    _one_of("role", Role),
    sqlite_strict=True,
)

login = Table(
    "login",
    metadata,
    Column("id", Whole, primary_key=True),
    _text("secret_hash"),
    Column("user_id", Whole, ForeignKey("user.id"), nullable=False, index=True),
    Column("created_at", Moment, nullable=False),
    _text("address"),
    Column("seen_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("revoked_at", Moment),
    UniqueConstraint("secret_hash"),
    sqlite_strict=True,
)

token = Table(
    "token",
    metadata,
    Column("id", Whole, primary_key=True),
    _text("secret_hash"),
    Column("user_id", Whole, ForeignKey("user.id"), nullable=False, index=True),
    Column("created_at", Moment, nullable=False),
    _text("label"),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
    UniqueConstraint("secret_hash"),
    sqlite_strict=True,
)

audit = Table(
    "audit",
    metadata,
    Column("id", Whole, primary_key=True),
    Column("at", Moment, nullable=False),
    _text("person"),
    _text("act"),
    Column("project_id", Whole, ForeignKey("project.id"), index=True),
    _text("subject"),
    Column("detail", Json, nullable=False),
    sqlite_strict=True,
)

HEAD: ColumnElement[bool] = instance.c.head_id == revision.c.id
"""Joins an instance to the revision it stands at."""
