"""Several people at work: leases, and what a save took."""

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
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("token", Whole, nullable=False),
        sa.Column("expires_at", sa.Text, nullable=False),
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
    for name in ("effort", "lease"):
        op.drop_table(name)
