"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE arrivals")
    op.create_table(
        "attempts",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("command_id", BIG, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("ms", sa.Double(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("attempts_command", "attempts", ["command_id"], unique=False)
    op.create_table(
        "audit",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("command_id", BIG, nullable=True),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("number", BIG, nullable=True),
        sa.Column("mac", sa.Text(), nullable=True),
        sa.Column("published_at", sa.Double(), nullable=True),
        sa.Column("taken", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("number"),
    )
    op.create_index("audit_command", "audit", ["command_id"], unique=False)
    op.create_index(
        "audit_unpublished",
        "audit",
        ["number"],
        unique=False,
        postgresql_where=sa.text("published_at IS NULL AND number IS NOT NULL"),
        sqlite_where=sa.text("published_at IS NULL AND number IS NOT NULL"),
    )
    op.create_index(
        "audit_unsealed",
        "audit",
        ["id"],
        unique=False,
        postgresql_where=sa.text("number IS NULL"),
        sqlite_where=sa.text("number IS NULL"),
    )
    op.create_table(
        "commands",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("lane_id", BIG, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("idem_key", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("partition_key", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("correlation_id", sa.Text(), nullable=True),
        sa.Column("causation_id", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("tracestate", sa.Text(), nullable=True),
        sa.Column("batch_id", sa.Text(), nullable=True),
        sa.Column("reply_to", sa.Text(), nullable=True),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("arrival", BIG, nullable=True),
        sa.Column("due_at", sa.Double(), nullable=True),
        sa.Column("not_before", sa.Double(), nullable=True),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("depends_on", BIG, nullable=True),
        sa.Column("data_sealed", sa.Text(), nullable=False),
        sa.Column("risk", sa.Text(), nullable=False),
        sa.Column("first_risk", sa.Text(), nullable=False),
        sa.Column("secret_output", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("steps_sealed", sa.Text(), nullable=True),
        sa.Column("attempts", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("lapsed", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("fence", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("sent_at", sa.Double(), nullable=True),
        sa.Column("unverified", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("window_closed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("failing_since", sa.Double(), nullable=True),
        sa.Column("stopped_before", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("sequence", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.Column("notify_at", sa.Double(), nullable=True),
        sa.Column("effect", sa.Text(), server_default=sa.text("'none'"), nullable=False),
        sa.Column("output_sealed", sa.Text(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("flags", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("retry_of", sa.Text(), nullable=True),
        sa.Column("original", sa.Text(), nullable=True),
        sa.Column("archived", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("quota_kind", sa.Text(), nullable=True),
        sa.Column("quota_at", sa.Double(), nullable=True),
        sa.Column("quota_amount", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "commands_deferred",
        "commands",
        ["not_before"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NULL AND arrival IS NULL"),
        sqlite_where=sa.text("finished_at IS NULL AND arrival IS NULL"),
    )
    op.create_index(
        "commands_expiry",
        "commands",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NULL AND expires_at IS NOT NULL"),
        sqlite_where=sa.text("finished_at IS NULL AND expires_at IS NOT NULL"),
    )
    op.create_index(
        "commands_finished",
        "commands",
        ["finished_at"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NOT NULL"),
        sqlite_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index("commands_key", "commands", ["partition_key", "id"], unique=False)
    op.create_index(
        "commands_leases",
        "commands",
        ["id"],
        unique=False,
        postgresql_where=sa.text("owner IS NOT NULL"),
        sqlite_where=sa.text("owner IS NOT NULL"),
    )
    op.create_index(
        "commands_line",
        "commands",
        ["lane_id", "arrival"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NULL AND arrival IS NOT NULL"),
        sqlite_where=sa.text("finished_at IS NULL AND arrival IS NOT NULL"),
    )
    op.create_index(
        "commands_quota",
        "commands",
        ["platform", "quota_kind", "quota_at"],
        unique=False,
        postgresql_where=sa.text("quota_at IS NOT NULL"),
        sqlite_where=sa.text("quota_at IS NOT NULL"),
    )
    op.create_index(
        "commands_notify",
        "commands",
        ["notify_at"],
        unique=False,
        postgresql_where=sa.text("notify_at IS NOT NULL"),
        sqlite_where=sa.text("notify_at IS NOT NULL"),
    )
    op.create_index(
        "commands_open",
        "commands",
        ["state"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NULL"),
        sqlite_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", BIG, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "evidence",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("command_id", BIG, nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reading_sealed", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("evidence_command", "evidence", ["command_id"], unique=False)
    op.create_table(
        "identities",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("message_hash", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("idem_key", sa.Text(), nullable=False),
        sa.Column("content_mac", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("command_id", BIG, nullable=False),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("effect", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("routing_key", sa.Text(), nullable=True),
        sa.Column("reply_to", sa.Text(), nullable=True),
        sa.Column("ending_sealed", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("message_hash"),
    )
    op.create_index("identities_age", "identities", ["created_at"], unique=False)
    op.create_index("identities_key", "identities", ["key_hash", "id"], unique=False)
    op.create_index(
        "identities_waiting",
        "identities",
        ["command_id"],
        unique=False,
        postgresql_where=sa.text("status IS NULL"),
        sqlite_where=sa.text("status IS NULL"),
    )
    op.create_table(
        "lanes",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("head", BIG, nullable=True),
        sa.Column("due_at", sa.Double(), nullable=True),
        sa.Column("priority", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("window_command", BIG, nullable=True),
        sa.Column("window_opened", sa.Double(), nullable=True),
        sa.Column("window_first", sa.Double(), nullable=True),
        sa.Column("window_last", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    op.create_index(
        "lanes_due",
        "lanes",
        ["platform", "priority", "due_at"],
        unique=False,
        postgresql_where=sa.text("due_at IS NOT NULL"),
        sqlite_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "lanes_windows",
        "lanes",
        ["platform"],
        unique=False,
        postgresql_where=sa.text("window_opened IS NOT NULL"),
        sqlite_where=sa.text("window_opened IS NOT NULL"),
    )
    op.create_table(
        "leases",
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("role"),
    )
    op.create_table(
        "listeners",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("returned", BIG, server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("exchange"),
    )
    op.create_table(
        "meta",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("command_id", BIG, nullable=True),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("routing_key", sa.Text(), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=True),
        sa.Column("body_sealed", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("published_at", sa.Double(), nullable=True),
        sa.Column("taken", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("outbox_command", "outbox", ["command_id"], unique=False)
    op.create_index("outbox_published", "outbox", ["published_at"], unique=False)
    op.create_index(
        "outbox_unpublished",
        "outbox",
        ["id"],
        unique=False,
        postgresql_where=sa.text("published_at IS NULL"),
        sqlite_where=sa.text("published_at IS NULL"),
    )
    op.create_table(
        "platforms",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("held", sa.Text(), nullable=True),
        sa.Column("held_text", sa.Text(), nullable=True),
        sa.Column("held_since", sa.Double(), nullable=True),
        sa.Column("paused_by", sa.Text(), nullable=True),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("paused_since", sa.Double(), nullable=True),
        sa.Column("broken_since", sa.Double(), nullable=True),
        sa.Column("stopped_since", sa.Double(), nullable=True),
        sa.Column("stopped_total", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "processes",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("beat_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("owner"),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("platform", sa.Text(), nullable=True),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=True),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("body_sealed", sa.Text(), nullable=True),
        sa.Column("headers_sealed", sa.Text(), nullable=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'kept'"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid"),
    )
    op.create_index("quarantine_at", "quarantine", ["at"], unique=False)


def downgrade() -> None:
    """There is nothing before the first schema: restore a backup instead."""
