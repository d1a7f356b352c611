"""Several people at work: leases, assignments, layers of one's own, and what a save took."""

import sqlalchemy as sa
from alembic import op

from app.schema import Real, Whole

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables; no other changes."""
    op.create_table(
        "lease",
        sa.Column("image_id", Whole, sa.ForeignKey("image.id"), primary_key=True),
        sa.Column("layer", sa.Text, primary_key=True),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("token", Whole, nullable=False),
        sa.Column("expires_at", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "assignment",
        sa.Column("image_id", Whole, sa.ForeignKey("image.id"), primary_key=True),
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("is_blind", Whole, nullable=False),
        sa.Column("assigned_by", sa.Text, nullable=False),
        sa.Column("assigned_at", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "layer",
        sa.Column("instance_id", Whole, sa.ForeignKey("instance.id"), primary_key=True),
        sa.Column("person", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "effort",
        sa.Column("revision_id", Whole, sa.ForeignKey("revision.id"), primary_key=True),
        sa.Column("seconds", Real),
        sa.Column("strokes", Whole),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Take the tables away, and everything in them."""
    for name in ("effort", "layer", "assignment", "lease"):
        op.drop_table(name)
