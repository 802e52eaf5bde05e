"""Batches, their rows, and the commands of each row."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("paused_by", sa.Text(), nullable=True),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("rate", sa.Double(), nullable=True),
        sa.Column("undo_of", sa.Text(), nullable=True),
        sa.Column("undoable", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("total", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("sent_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "batch_rows",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("batch_id", BIG, nullable=False),
        sa.Column("row_hash", sa.Text(), nullable=False),
        sa.Column("content_mac", sa.Text(), nullable=False),
        sa.Column("number", BIG, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("changed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("generation", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("keys_sealed", sa.Text(), nullable=False),
        sa.Column("made_sealed", sa.Text(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("batch_rows_row", "batch_rows", ["batch_id", "row_hash"], unique=True)
    op.create_index("batch_rows_state", "batch_rows", ["batch_id", "state", "id"], unique=False)
    op.create_index("batch_rows_number", "batch_rows", ["batch_id", "number", "id"], unique=False)
    op.create_index("batch_rows_hash", "batch_rows", ["row_hash"], unique=False)
    op.create_table(
        "batch_commands",
        sa.Column("row_id", BIG, autoincrement=False, nullable=False),
        sa.Column("part", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("message_hash", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("row_id", "part"),
    )


def downgrade() -> None:
    for table in ("batch_commands", "batch_rows", "batches"):
        op.drop_table(table)
