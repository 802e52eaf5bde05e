"""What is left of a command after the step that is under way: a person who says that this one took effect leaves
the rest to the worker."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("commands", sa.Column("steps_left", sa.Text(), nullable=True))


def downgrade() -> None:
    """Commands that a person resolved have to have ended first: an older worker would make their call again."""
    op.drop_column("commands", "steps_left")
