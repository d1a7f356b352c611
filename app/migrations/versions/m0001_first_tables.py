"""The first tables, and the triggers that keep history and splits from being changed."""

import sqlalchemy as sa
from alembic import op

from app.migrations.dialects import append_only, is_postgresql, refuse
from app.schema import Real, Whole

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATES = "'proposed', 'corrected', 'accepted', 'rejected', 'deleted'"


def upgrade() -> None:
    """Build the tables in an empty database."""
    _create_projects()
    _create_images()
    _create_jobs()
    _create_instances()
    if is_postgresql():  # which wants both tables to be there first
        op.create_foreign_key(None, "project", "model_version", ["model_id"], ["id"])
        op.create_foreign_key(
            None,
            "instance",
            "revision",
            ["head_id"],
            ["id"],
            deferrable=True,
            initially="DEFERRED",
        )
    append_only("revision", "revisions")
    text = "the split of an image never changes"
    changed = "OLD.split IS NOT NULL AND (NEW.split IS NULL OR NEW.split <> OLD.split)"
    refuse("split_is_never_changed", "image", "UPDATE OF split", text, changed)


def downgrade() -> None:
    """Take the tables away, and everything in them."""
    if is_postgresql():
        op.drop_constraint(op.f("fk_project_model_id"), "project")
        op.drop_constraint(op.f("fk_instance_head_id"), "instance")
    for name in ("revision", "instance", "image", "category", "model_version", "job", "project"):
        op.drop_table(name)


def _create_projects() -> None:
    model = sa.ForeignKey("model_version.id", use_alter=True)
    op.create_table(
        "project",
        sa.Column("id", Whole, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("model_id", Whole, model, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("next_category", Whole, nullable=False),
        sa.Column("next_image", Whole, nullable=False),
        sa.Column("next_instance", Whole, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "category",
        sa.Column("id", Whole, primary_key=True),
        sa.Column("project_id", Whole, sa.ForeignKey("project.id"), nullable=False),
        sa.Column("number", Whole, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("name_folded", sa.Text, nullable=False),
        sa.Column("color", sa.Text, nullable=False),
        sa.UniqueConstraint("project_id", "number"),
        sa.UniqueConstraint("project_id", "name_folded"),
        sqlite_strict=True,
    )


def _create_images() -> None:
    op.create_table(
        "image",
        sa.Column("id", Whole, primary_key=True),
        sa.Column("project_id", Whole, sa.ForeignKey("project.id"), nullable=False),
        sa.Column("number", Whole, nullable=False),
        sa.Column("file_name", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("source_sha256", sa.Text, nullable=False),
        sa.Column("extension", sa.Text, nullable=False),
        sa.Column("width", Whole, nullable=False),
        sa.Column("height", Whole, nullable=False),
        sa.Column("split", sa.Text),
        sa.Column("notice", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.UniqueConstraint("project_id", "number"),
        sa.UniqueConstraint("project_id", "source_sha256"),
        sa.CheckConstraint("split IN ('train', 'held_out')", name="split"),
        sqlite_strict=True,
    )


def _create_instances() -> None:
    head = sa.ForeignKey("revision.id", deferrable=True, initially="DEFERRED", use_alter=True)
    op.create_table(
        "instance",
        sa.Column("id", Whole, primary_key=True),
        sa.Column("project_id", Whole, sa.ForeignKey("project.id"), nullable=False),
        sa.Column("image_id", Whole, sa.ForeignKey("image.id"), nullable=False),
        sa.Column("number", Whole, nullable=False),
        sa.Column("version", Whole, nullable=False),
        sa.Column("head_id", Whole, head, nullable=False, unique=True),
        sa.UniqueConstraint("project_id", "number"),
        sqlite_strict=True,
    )
    op.create_index(None, "instance", ["image_id"])
    _create_revisions()


def _create_revisions() -> None:
    op.create_table(
        "revision",
        sa.Column("id", Whole, primary_key=True),
        sa.Column("instance_id", Whole, sa.ForeignKey("instance.id"), nullable=False),
        sa.Column("version", Whole, nullable=False),
        sa.Column("is_conflict", Whole, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("category_id", Whole, sa.ForeignKey("category.id"), nullable=False),
        *(sa.Column(name, Real, nullable=False) for name in ("x0", "y0", "x1", "y1")),
        sa.Column("counts", sa.Text),
        sa.Column("score", Real),
        sa.Column("flagged", Whole, nullable=False),
        sa.Column("model_id", Whole, sa.ForeignKey("model_version.id")),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("saved_at", sa.Text, nullable=False),
        sa.CheckConstraint(f"state IN ({_STATES})", name="state"),
        sqlite_strict=True,
    )
    heads = sa.text("is_conflict = 0")
    columns = ["instance_id", "version"]
    op.create_index(None, "revision", columns)
    op.create_index(
        "uq_revision_head",
        "revision",
        columns,
        unique=True,
        sqlite_where=heads,
        postgresql_where=heads,
    )


def _create_jobs() -> None:
    op.create_table(
        "job",
        sa.Column("id", Whole, primary_key=True),
        sa.Column("project_id", Whole, sa.ForeignKey("project.id"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("params", "progress", "result")),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("ended_at", sa.Text),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'done', 'failed', 'stopped')", name="state"
        ),
        sqlite_strict=True,
    )
    op.create_table(
        "model_version",
        sa.Column("id", Whole, primary_key=True),
        sa.Column("project_id", Whole, sa.ForeignKey("project.id")),
        sa.Column("parent_id", Whole, sa.ForeignKey("model_version.id")),
        sa.Column("job_id", Whole, sa.ForeignKey("job.id")),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("figures", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.UniqueConstraint("sha256"),
        sa.CheckConstraint("state IN ('bundled', 'promoted', 'rejected')", name="state"),
        sqlite_strict=True,
    )
