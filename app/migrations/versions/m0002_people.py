"""What people asked, said and like: answered requests, comments, preferences."""

import sqlalchemy as sa
from alembic import op

from app.migrations.dialects import append_only
from app.schema import Whole

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables; none of the first ones changes."""
    op.create_table(
        "answer",
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("instance_id", Whole, sa.ForeignKey("instance.id"), nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "comment",
        sa.Column("id", Whole, primary_key=True),
        sa.Column("image_id", Whole, sa.ForeignKey("image.id"), nullable=False),
        sa.Column("instance_id", Whole, sa.ForeignKey("instance.id")),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("written_at", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_index(None, "comment", ["image_id"])
    op.create_table(
        "preference",
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    append_only("comment", "comments")


def downgrade() -> None:
    """Take the tables away, and everything in them."""
    for name in ("preference", "comment", "answer"):
        op.drop_table(name)
