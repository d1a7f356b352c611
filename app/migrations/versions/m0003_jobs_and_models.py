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

_OLD_STATES = "'bundled', 'promoted', 'rejected'"
_NEW_STATES = f"{_OLD_STATES}, 'undecided'"
_MODEL = "id, project_id, parent_id, job_id, name, sha256, state, figures, created_at"
_JOB = "id, project_id, kind, state, params, progress, result, error, created_at, ended_at"


def upgrade() -> None:
    """Change both tables around the rows they have."""
    if is_postgresql():
        _add_columns()
        _check_states(_NEW_STATES)
    else:
        _build_anew(is_new=True)
    op.execute("UPDATE job SET result = '{}'")
    op.execute(
        "UPDATE job SET state = 'failed', ended_at = created_at, error ="
        " 'the studio was renewed while this job ran; start it again'"
        " WHERE state IN ('queued', 'running')"
    )


def downgrade() -> None:
    """Put both tables back; a model that waits for a person's word becomes one that is not used.

    How often jobs were begun, when they last lived, and the notes on models are gone then.
    """
    op.execute("UPDATE model_version SET state = 'rejected' WHERE state = 'undecided'")
    if is_postgresql():
        for table, name in (("job", "launches"), ("job", "alive_at"), ("model_version", "notes")):
            op.drop_column(table, name)
        _check_states(_OLD_STATES)
    else:
        _build_anew(is_new=False)


def _add_columns() -> None:
    new = (
        ("job", sa.Column("launches", Whole, nullable=False, server_default="1")),
        ("job", sa.Column("alive_at", sa.Text)),
        ("model_version", sa.Column("notes", sa.Text, nullable=False, server_default="")),
    )
    for table, column in new:
        op.add_column(table, column)
        op.alter_column(table, column.name, server_default=None)


def _check_states(states: str) -> None:
    name = op.f("ck_model_version_state")
    op.drop_constraint(name, "model_version")
    op.create_check_constraint(name, "model_version", f"state IN ({states})")


def _build_anew(*, is_new: bool) -> None:
    """Take both tables away and build those of this version, or those of the one before."""
    op.execute("PRAGMA defer_foreign_keys = ON")
    for table in ("model_version", "job"):
        op.execute(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")  # noqa: S608
        op.drop_table(table)
    _create_job(is_new=is_new)
    _create_model_version(is_new=is_new)
    for table, columns, added, values in (
        ("job", _JOB, ", launches", ", 1"),
        ("model_version", _MODEL, ", notes", ", ''"),
    ):
        names, selected = (columns + (more if is_new else "") for more in (added, values))
        op.execute(f"INSERT INTO {table} ({names}) SELECT {selected} FROM kept_{table}")  # noqa: S608
        op.drop_table(f"kept_{table}")


def _create_job(*, is_new: bool) -> None:
    states = "'queued', 'running', 'done', 'failed', 'stopped'"
    launches, alive_at = (
        sa.Column("launches", Whole, nullable=False),
        sa.Column("alive_at", sa.Text),
    )
    op.create_table(
        "job",
        sa.Column("id", Whole, primary_key=True),
        sa.Column("project_id", Whole, sa.ForeignKey("project.id"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("params", "progress", "result")),
        sa.Column("error", sa.Text, nullable=False),
        *((launches,) if is_new else ()),
        sa.Column("created_at", sa.Text, nullable=False),
        *((alive_at,) if is_new else ()),
        sa.Column("ended_at", sa.Text),
        sa.CheckConstraint(f"state IN ({states})", name="state"),
        sqlite_strict=True,
    )


def _create_model_version(*, is_new: bool) -> None:
    notes, states = sa.Column("notes", sa.Text, nullable=False), _NEW_STATES
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
        *((notes,) if is_new else ()),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.UniqueConstraint("sha256"),
        sa.CheckConstraint(f"state IN ({states if is_new else _OLD_STATES})", name="state"),
        sqlite_strict=True,
    )
