"""Who is to do which images, and instances that are one annotator's own until they are merged."""

import sqlalchemy as sa
from alembic import op

from app.schema import Whole

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables; no other changes."""
    op.create_table(
        "assignment",
        sa.Column("image_id", Whole, sa.ForeignKey("image.id"), primary_key=True),
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("assigned_by", sa.Text, nullable=False),
        sa.Column("assigned_at", sa.Text, nullable=False),
        sa.Column("done_at", sa.Text),
        sqlite_strict=True,
    )
    op.create_table(
        "layer",
        sa.Column("instance_id", Whole, sa.ForeignKey("instance.id"), primary_key=True),
        sa.Column("person", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "merged",
        sa.Column("image_id", Whole, sa.ForeignKey("image.id"), primary_key=True),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("merged_at", sa.Text, nullable=False),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Take the tables away; what was one annotator's own is everybody's then."""
    for name in ("merged", "layer", "assignment"):
        op.drop_table(name)
