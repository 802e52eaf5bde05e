"""Limits of the quarantine without counting it, and dependents without searching for them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("quarantine_source", "quarantine", ["source", "at"], unique=False)
    op.create_index(
        "commands_dependents",
        "commands",
        ["depends_on"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NULL AND depends_on IS NOT NULL"),
        sqlite_where=sa.text("finished_at IS NULL AND depends_on IS NOT NULL"),
    )
    for name, figure in (("quarantine_rows", "count(*)"), ("quarantine_bytes", "COALESCE(sum(size), 0)")):
        op.execute(
            f"INSERT INTO counters (name, value) SELECT '{name}', {figure} FROM quarantine"  # noqa: S608 - two fixed names
            " WHERE body_sealed IS NOT NULL"
        )


def downgrade() -> None:
    """An older worker does not count what it keeps: restore a backup instead."""
