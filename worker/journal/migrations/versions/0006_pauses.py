"""Pauses of everything, a command, a source or a batch; a platform's lowered rate."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

LOWERED = ("rate", "by", "reason", "since")
PAUSED = sa.text("paused_for IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "pauses",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("paused_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "name"),
    )
    for name in LOWERED:
        kind = sa.Double() if name in ("rate", "since") else sa.Text()
        op.add_column("platforms", sa.Column(f"lowered_{name}", kind, nullable=True))
    op.add_column("commands", sa.Column("paused_for", sa.Text(), nullable=True))
    op.add_column("commands", sa.Column("paused_at", sa.Double(), nullable=True))
    op.create_index(
        "commands_paused",
        "commands",
        ["paused_for", "id"],
        postgresql_where=PAUSED,
        sqlite_where=PAUSED,
    )


def downgrade() -> None:
    op.drop_index("commands_paused", "commands")
    for name in ("paused_at", "paused_for"):
        op.drop_column("commands", name)
    for name in LOWERED:
        op.drop_column("platforms", f"lowered_{name}")
    op.drop_table("pauses")
