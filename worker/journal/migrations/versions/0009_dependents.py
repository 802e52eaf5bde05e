"""Those that ended because the command they depend on failed, without searching for them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "commands_depending",
        "commands",
        ["depends_on", "id"],
        unique=False,
        postgresql_where=sa.text("depends_on IS NOT NULL"),
        sqlite_where=sa.text("depends_on IS NOT NULL"),
    )


def downgrade() -> None:
    """An older worker does without it."""
    op.drop_index("commands_depending", "commands")
