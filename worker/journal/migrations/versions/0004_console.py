"""The console: people, failure groups, figures a minute, acts on many; and ways into the commands."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "console_act_items",
        sa.Column("act_id", BIG, autoincrement=False, nullable=False),
        sa.Column("command_id", BIG, autoincrement=False, nullable=False),
        sa.Column("portion", sa.Integer(), nullable=True),
        sa.Column("became", BIG, nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("act_id", "command_id"),
    )
    op.create_table(
        "console_acts",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("began_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("beat_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "console_answers",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("console_answers_at", "console_answers", ["at"], unique=False)
    op.create_table(
        "console_failures",
        sa.Column("command_id", BIG, autoincrement=False, nullable=False),
        sa.Column("group_id", BIG, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("parked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("command_id"),
    )
    op.create_index("console_failures_group", "console_failures", ["group_id", "command_id"], unique=False)
    op.create_index(
        "console_failures_parked",
        "console_failures",
        ["command_id"],
        unique=False,
        postgresql_where=sa.text("parked"),
        sqlite_where=sa.text("parked"),
    )
    op.create_table(
        "console_group_hours",
        sa.Column("group_id", BIG, autoincrement=False, nullable=False),
        sa.Column("hour", BIG, autoincrement=False, nullable=False),
        sa.Column("count", BIG, nullable=False),
        sa.PrimaryKeyConstraint("group_id", "hour"),
    )
    op.create_table(
        "console_groups",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("pattern", sa.Text(), nullable=False),
        sa.Column("count", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.Column("note", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("noted_by", sa.Text(), nullable=True),
        sa.Column("archived", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("console_groups_last", "console_groups", ["last_at"], unique=False)
    op.create_index(
        "console_groups_same", "console_groups", ["platform", "type", "code", "pattern"], unique=True
    )
    op.create_table(
        "console_links",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_table(
        "console_minutes",
        sa.Column("minute", BIG, autoincrement=False, nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("succeeded", BIG, nullable=False),
        sa.Column("failed", BIG, nullable=False),
        sa.Column("spread", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("minute", "platform"),
    )
    op.create_table(
        "console_sessions",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_index("console_sessions_user", "console_sessions", ["user_name"], unique=False)
    op.create_table(
        "console_tokens",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
    )
    op.create_table(
        "console_users",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("disabled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("locked_until", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.drop_index("commands_open", table_name="commands", sqlite_where=sa.text("finished_at IS NULL"))
    op.create_index(
        "commands_open",
        "commands",
        ["state", "id"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NULL"),
        sqlite_where=sa.text("finished_at IS NULL"),
    )
    op.create_index(
        "commands_batch",
        "commands",
        ["batch_id", "id"],
        unique=False,
        postgresql_where=sa.text("batch_id IS NOT NULL"),
        sqlite_where=sa.text("batch_id IS NOT NULL"),
    )
    op.create_index(
        "commands_failed",
        "commands",
        ["state", "id"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NOT NULL AND state <> 'succeeded'"),
        sqlite_where=sa.text("finished_at IS NOT NULL AND state <> 'succeeded'"),
    )
    op.create_index(
        "commands_idem",
        "commands",
        ["idem_key", "id"],
        unique=False,
        postgresql_where=sa.text("idem_key <> message_id"),
        sqlite_where=sa.text("idem_key <> message_id"),
    )
    op.create_index("commands_kind", "commands", ["platform", "type", "id"], unique=False)
    op.create_index("commands_message", "commands", ["message_id", "id"], unique=False)
    op.create_index(
        "lanes_prefix", "lanes", ["key"], unique=False, postgresql_ops={"key": "text_pattern_ops"}
    )


def downgrade() -> None:
    for name in ("commands_batch", "commands_failed", "commands_idem", "commands_kind", "commands_message"):
        op.drop_index(name, table_name="commands")
    op.drop_index("lanes_prefix", table_name="lanes")
    op.drop_index("commands_open", table_name="commands")
    op.create_index(
        "commands_open",
        "commands",
        ["state"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NULL"),
        sqlite_where=sa.text("finished_at IS NULL"),
    )
    op.drop_table("console_act_items")
    op.drop_table("console_acts")
    op.drop_table("console_answers")
    op.drop_table("console_failures")
    op.drop_table("console_group_hours")
    op.drop_table("console_groups")
    op.drop_table("console_links")
    op.drop_table("console_minutes")
    op.drop_table("console_sessions")
    op.drop_table("console_tokens")
    op.drop_table("console_users")
