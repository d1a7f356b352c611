"""Fields of other tools find a place, so that an import and an export lose none of them."""

import sqlalchemy as sa
from alembic import op

from app.schema import Whole

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; no other changes."""
    op.create_table(
        "foreign_fields",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("family", "owner")),
        sa.Column("owner_id", Whole, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.CheckConstraint("owner IN ('project', 'category', 'image', 'instance')", name="owner"),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Take the table away, and everything in it."""
    op.drop_table("foreign_fields")
