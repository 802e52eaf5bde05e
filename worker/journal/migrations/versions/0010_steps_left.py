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
    """An older worker ends a command at the step that a person resolved, as it always did."""
    op.drop_column("commands", "steps_left")
