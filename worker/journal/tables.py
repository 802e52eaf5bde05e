"""The schema, once. Migrations lead to it; a test compares their sum with this.

Times are seconds since the epoch by the database's clock. Columns named `*_sealed` are encrypted.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    false,
    text,
)

metadata = MetaData()

BIG = BigInteger().with_variant(Integer(), "sqlite")


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=false())


def _count(name: str) -> Column[int]:
    return Column(name, BIG, nullable=False, server_default=text("0"))


meta = Table("meta", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

# Outlives the commands (rule 4.7). role: `command` (holds its key), `duplicate`, `inquiry`.
identities = Table(
    "identities",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=False),  # from the one sequence: the newest holder wins
    Column("message_hash", Text, nullable=False, unique=True),
    Column("key_hash", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("idem_key", Text, nullable=False),
    Column("content_mac", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("command_id", BIG, nullable=False),
    Column("status", Text),  # null: not ended
    Column("effect", Text),
    Column("event_id", Text),
    Column("routing_key", Text),
    Column("reply_to", Text),
    Column("ending_sealed", Text),  # the final event, as everybody may read it
    Column("created_at", Double, nullable=False),
    Index("identities_key", "key_hash", "id"),
    Index(
        "identities_waiting",
        "command_id",
        postgresql_where=text("status IS NULL"),
        sqlite_where=text("status IS NULL"),
    ),
    Index("identities_age", "created_at"),
)

# One row per ordering key. due_at: when its head may be claimed; null while it may not.
lanes = Table(
    "lanes",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False, unique=True),
    Column("platform", Text, nullable=False),
    Column("head", BIG),
    Column("due_at", Double),
    Column("priority", SmallInteger, nullable=False, server_default=text("1")),
    Column("window_command", BIG),  # whose lost answer holds the key (rule 3.1)
    Column("window_opened", Double),
    Column("window_first", Double),  # first answered control read of the unbroken series
    Column("window_last", Double),
    Index(
        "lanes_due",
        "platform",
        "priority",
        "due_at",
        postgresql_where=text("due_at IS NOT NULL"),
        sqlite_where=text("due_at IS NOT NULL"),
    ),
    Index(
        "lanes_windows",
        "platform",
        postgresql_where=text("window_opened IS NOT NULL"),
        sqlite_where=text("window_opened IS NOT NULL"),
    ),
)

commands = Table(
    "commands",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=False),
    Column("lane_id", BIG, nullable=False),
    Column("source", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("idem_key", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("partition_key", Text, nullable=False),
    Column("subject", Text),
    Column("correlation_id", Text),
    Column("causation_id", Text),
    Column("traceparent", Text),
    Column("tracestate", Text),
    Column("batch_id", Text),
    Column("reply_to", Text),
    Column("priority", SmallInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("arrival", BIG),  # its place in the key's line; null: has not joined it yet (rule 4.8)
    Column("due_at", Double),
    Column("not_before", Double),
    Column("expires_at", Double),
    Column("depends_on", BIG),
    Column("data_sealed", Text, nullable=False),
    Column("risk", Text, nullable=False),  # of the next step
    Column("first_risk", Text, nullable=False),  # of the first one: a retry begins anew
    _flag("secret_output"),
    Column("steps_sealed", Text),
    Column("steps_left", Text),  # names of those not done, the one under way first; null: nobody has said
    _count("attempts"),
    _count("lapsed"),
    Column("owner", Text),
    _count("fence"),
    Column("lease_until", Double),
    Column("sent_at", Double),
    _flag("unverified"),
    _flag("window_closed"),
    Column("failing_since", Double),
    Column("stopped_before", Double, nullable=False, server_default=text("0")),
    _count("sequence"),
    Column("received_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("notify_at", Double),
    Column("effect", Text, nullable=False, server_default=text("'none'")),
    Column("output_sealed", Text),
    Column("problem", Text),
    Column("flags", Text, nullable=False, server_default=text("''")),
    Column("retry_of", Text),
    Column("original", Text),
    _flag("archived"),
    Column("quota_kind", Text),  # credit, remove: where limits are set (rule 7.4)
    Column("quota_at", Double),
    Column("quota_amount", BIG),  # millionths of the platform's currency unit
    Column("paused_for", Text),  # the pause that keeps it from its turn, as `scope:name`
    Column("paused_at", Double),  # since when, in seconds that the platform was not stopped
    Index(
        "commands_paused",
        "paused_for",
        "id",
        postgresql_where=text("paused_for IS NOT NULL"),
        sqlite_where=text("paused_for IS NOT NULL"),
    ),
    Index(
        "commands_quota",
        "platform",
        "quota_kind",
        "quota_at",
        postgresql_where=text("quota_at IS NOT NULL"),
        sqlite_where=text("quota_at IS NOT NULL"),
    ),
    Index(
        "commands_line",
        "lane_id",
        "arrival",
        postgresql_where=text("finished_at IS NULL AND arrival IS NOT NULL"),
        sqlite_where=text("finished_at IS NULL AND arrival IS NOT NULL"),
    ),
    Index(
        "commands_open",
        "state",
        "id",
        postgresql_where=text("finished_at IS NULL"),
        sqlite_where=text("finished_at IS NULL"),
    ),
    Index(
        "commands_deferred",
        "not_before",
        postgresql_where=text("finished_at IS NULL AND arrival IS NULL"),
        sqlite_where=text("finished_at IS NULL AND arrival IS NULL"),
    ),
    Index(  # not over lease_until: few are claimed at a time, and their leases change
        "commands_leases",
        "id",
        postgresql_where=text("owner IS NOT NULL"),
        sqlite_where=text("owner IS NOT NULL"),
    ),
    Index(
        "commands_expiry",
        "expires_at",
        postgresql_where=text("finished_at IS NULL AND expires_at IS NOT NULL"),
        sqlite_where=text("finished_at IS NULL AND expires_at IS NOT NULL"),
    ),
    Index(
        "commands_notify",
        "notify_at",
        postgresql_where=text("notify_at IS NOT NULL"),
        sqlite_where=text("notify_at IS NOT NULL"),
    ),
    Index(
        "commands_dependents",
        "depends_on",
        postgresql_where=text("finished_at IS NULL AND depends_on IS NOT NULL"),
        sqlite_where=text("finished_at IS NULL AND depends_on IS NOT NULL"),
    ),
    Index("commands_key", "partition_key", "id"),
    Index(
        "commands_finished",
        "finished_at",
        postgresql_where=text("finished_at IS NOT NULL"),
        sqlite_where=text("finished_at IS NOT NULL"),
    ),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("command_id", BIG, nullable=False),
    Column("number", Integer, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", Integer),
    Column("ms", Double, nullable=False),
    Column("request", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("at", Double, nullable=False),
    Index("attempts_command", "command_id"),
)

evidence = Table(
    "evidence",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("command_id", BIG, nullable=False),
    Column("step", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reading_sealed", Text, nullable=False),
    Column("at", Double, nullable=False),
    Index("evidence_command", "command_id"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("command_id", BIG),
    Column("event_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("exchange", Text, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("correlation_id", Text),
    Column("body_sealed", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("published_at", Double),
    Column("taken", Boolean),  # false: nobody was bound
    Index(
        "outbox_unpublished",
        "id",
        postgresql_where=text("published_at IS NULL"),
        sqlite_where=text("published_at IS NULL"),
    ),
    Index("outbox_published", "published_at"),
    Index("outbox_command", "command_id"),
)

# Written unchained with its change; numbered and chained by the sealer (rule 6.5).
audit = Table(
    "audit",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("what", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("command_id", BIG),
    Column("event_id", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("number", BIG, unique=True),
    Column("mac", Text),
    Column("published_at", Double),
    Column("taken", Boolean),
    Index(
        "audit_unsealed", "id", postgresql_where=text("number IS NULL"), sqlite_where=text("number IS NULL")
    ),
    Index(
        "audit_unpublished",
        "number",
        postgresql_where=text("published_at IS NULL AND number IS NOT NULL"),
        sqlite_where=text("published_at IS NULL AND number IS NOT NULL"),
    ),
    Index("audit_command", "command_id"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("uid", Text, nullable=False, unique=True),  # `refused_message` of the event
    Column("source", Text),
    Column("message_id", Text),
    Column("type", Text),
    Column("platform", Text),
    Column("queue", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("field", Text),
    Column("size", Integer, nullable=False),
    Column("body_sealed", Text),  # null: over the limits, only the record of it was kept
    Column("headers_sealed", Text),
    Column("at", Double, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'kept'")),  # kept, sent, dropped
    Index("quarantine_at", "at"),
    Index("quarantine_source", "source", "at"),
)

platforms = Table(
    "platforms",
    metadata,
    Column("name", Text, primary_key=True),
    Column("held", Text),
    Column("held_text", Text),
    Column("held_since", Double),
    Column("paused_by", Text),
    Column("paused_reason", Text),
    Column("paused_since", Double),
    Column("broken_since", Double),
    Column("stopped_since", Double),
    Column("stopped_total", Double, nullable=False, server_default=text("0")),
    Column("lowered_rate", Double),  # calls a second, by an operator; null: as the settings say
    Column("lowered_by", Text),
    Column("lowered_reason", Text),
    Column("lowered_since", Double),
)

# What people have stopped besides platforms. scope: everything (then without a name), command, source, batch.
pauses = Table(
    "pauses",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("paused_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", Double, nullable=False),
)

# Outside retention: what was there before we changed it, until it is put back (RingMe's dial rule).
memories = Table(
    "memories",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("object", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("at", Double, nullable=False),
)

processes = Table(
    "processes",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("beat_at", Double, nullable=False),
    Column("started_at", Double, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("role", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("until", Double, nullable=False),
)

listeners = Table("listeners", metadata, Column("exchange", Text, primary_key=True), _count("returned"))

# What the quarantine holds; and `arrivals` on SQLite, which has no sequences.
counters = Table(
    "counters", metadata, Column("name", Text, primary_key=True), Column("value", BIG, nullable=False)
)
