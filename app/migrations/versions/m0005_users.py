"""People find a place of their own: users, roles, logins, tokens, and a log of what was done."""

import sqlalchemy as sa
from alembic import op

from app.migrations.dialects import append_only
from app.schema import Whole

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables; no other changes."""
    _create_users()
    _create_secrets("login", sa.Column("address", sa.Text, nullable=False), _moment("seen_at"),
                    _moment("expires_at"))  # fmt: skip
    _create_secrets("token", sa.Column("label", sa.Text, nullable=False),
                    sa.Column("expires_at", sa.Text))  # fmt: skip
    op.create_table(
        "audit",
        sa.Column("id", Whole, primary_key=True),
        _moment("at"),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("person", "act")),
        sa.Column("project_id", Whole, sa.ForeignKey("project.id")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("subject", "detail")),
        sqlite_strict=True,
    )
    op.create_index(None, "audit", ["project_id"])
    append_only("audit", "entries of the audit log")


def downgrade() -> None:
    """Take the tables away, and everything in them."""
    for name in ("audit", "token", "login", "membership", "user"):
        op.drop_table(name)


def _moment(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _create_users() -> None:
    op.create_table(
        "user",
        sa.Column("id", Whole, primary_key=True),
        *(sa.Column(n, sa.Text, nullable=False) for n in ("name", "name_folded", "password_hash")),
        *(sa.Column(name, Whole, nullable=False) for name in ("is_admin", "is_disabled")),
        _moment("created_at"),
        sa.UniqueConstraint("name_folded"),
        sqlite_strict=True,
    )
    op.create_table(
        "membership",
        sa.Column("project_id", Whole, sa.ForeignKey("project.id"), primary_key=True),
        sa.Column("user_id", Whole, sa.ForeignKey("user.id"), primary_key=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.CheckConstraint("role IN ('annotator', 'reviewer', 'admin')", name="role"),
        sqlite_strict=True,
    )


def _create_secrets(name: str, *columns: sa.Column[str]) -> None:
    """A table of secrets that let their user in until they expire or are revoked."""
    op.create_table(
        name,
        sa.Column("id", Whole, primary_key=True),
        sa.Column("secret_hash", sa.Text, nullable=False),
        sa.Column("user_id", Whole, sa.ForeignKey("user.id"), nullable=False),
        _moment("created_at"),
        *columns,
        sa.Column("revoked_at", sa.Text),
        sa.UniqueConstraint("secret_hash"),
        sqlite_strict=True,
    )
    op.create_index(None, name, ["user_id"])
