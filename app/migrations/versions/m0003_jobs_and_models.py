"""Jobs know how often they were begun and when they last lived; models can wait and have notes.

SQLite cannot change a check: there, both tables are built anew. Others point at them, so those
keys are checked at the end of the transaction, when the rows are back under their names. The
figures of former fine-tunes lack what the new gate reads: jobs forget them, their models keep them.
"""

import sqlalchemy as sa
from alembic import op

from app.migrations.dialects import is_postgresql
from app.schema import Whole

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_MODEL_STATES = "'bundled', 'promoted', 'rejected', 'undecided'"
_MODEL = "id, project_id, parent_id, job_id, name, sha256, state, figures, created_at"
_JOB = "id, project_id, kind, state, params, progress, result, error, created_at, ended_at"


def upgrade() -> None:
    """Change both tables around the rows they have."""
    if is_postgresql():
        _alter_tables()
    else:
        _build_anew()
    op.execute("UPDATE job SET result = '{}'")
    op.execute(
        "UPDATE job SET state = 'failed', ended_at = created_at, error ="
        " 'the studio was renewed while this job ran; start it again'"
        " WHERE state IN ('queued', 'running')"
    )


def downgrade() -> None:
    """There is no way back: a model that waits has no place in the older tables."""
    raise NotImplementedError("a data folder cannot go back to an older studio; use a backup")


def _alter_tables() -> None:
    new = (
        ("job", sa.Column("launches", Whole, nullable=False, server_default="1")),
        ("job", sa.Column("alive_at", sa.Text)),
        ("model_version", sa.Column("notes", sa.Text, nullable=False, server_default="")),
    )
    for table, column in new:
        op.add_column(table, column)
        op.alter_column(table, column.name, server_default=None)
    name = op.f("ck_model_version_state")
    op.drop_constraint(name, "model_version")
    op.create_check_constraint(name, "model_version", f"state IN ({_MODEL_STATES})")


def _build_anew() -> None:
    op.execute("PRAGMA defer_foreign_keys = ON")
    for table in ("model_version", "job"):
        op.execute(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")  # noqa: S608
        op.drop_table(table)
    _create_jobs()
    for table, columns, new, values in (
        ("job", _JOB, "launches", "1"),
        ("model_version", _MODEL, "notes", "''"),
    ):
        op.execute(
            f"INSERT INTO {table} ({columns}, {new}) "  # noqa: S608
            f"SELECT {columns}, {values} FROM kept_{table}"
        )
        op.drop_table(f"kept_{table}")


def _create_jobs() -> None:
    states = "'queued', 'running', 'done', 'failed', 'stopped'"
    op.create_table(
        "job",
        sa.Column("id", Whole, primary_key=True),
        sa.Column("project_id", Whole, sa.ForeignKey("project.id"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("params", "progress", "result")),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("launches", Whole, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("alive_at", sa.Text),
        sa.Column("ended_at", sa.Text),
        sa.CheckConstraint(f"state IN ({states})", name="state"),
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
        sa.Column("notes", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.UniqueConstraint("sha256"),
        sa.CheckConstraint(f"state IN ({_MODEL_STATES})", name="state"),
        sqlite_strict=True,
    )
