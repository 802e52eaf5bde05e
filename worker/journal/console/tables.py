"""What the console keeps in the journal: people, failure groups, figures a minute, and bulk acts.

Nothing here stands in the way of a command: intake, engine and relay neither read nor write these tables.
Times are seconds since the epoch by the database's clock.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, Index, Integer, Table, Text, false, text

from worker.journal.tables import BIG, commands, lanes, metadata

__all__ = ["metadata"]  # what `tables` holds, and these


def _partial(name: str, *columns: str, where: str) -> Index:
    return Index(name, *columns, postgresql_where=text(where), sqlite_where=text(where))


# ---------------------------------------------------------------- ways into the commands

# What never changes of a command is written once on SQLite, and once a version of the row on PostgreSQL.
Index("commands_message", commands.c.message_id, commands.c.id)
Index("commands_kind", commands.c.platform, commands.c.type, commands.c.id)
Index(  # most senders give no key of their own: then it is the id
    "commands_idem",
    commands.c.idem_key,
    commands.c.id,
    postgresql_where=text("idem_key <> message_id"),
    sqlite_where=text("idem_key <> message_id"),
)
Index(
    "commands_batch",
    commands.c.batch_id,
    commands.c.id,
    postgresql_where=text("batch_id IS NOT NULL"),
    sqlite_where=text("batch_id IS NOT NULL"),
)
Index(
    "commands_failed",
    commands.c.state,
    commands.c.id,
    postgresql_where=text("finished_at IS NOT NULL AND state <> 'succeeded'"),
    sqlite_where=text("finished_at IS NOT NULL AND state <> 'succeeded'"),
)
Index(  # ended ones too: they come along when the command they depend on is run again
    "commands_depending",
    commands.c.depends_on,
    commands.c.id,
    postgresql_where=text("depends_on IS NOT NULL"),
    sqlite_where=text("depends_on IS NOT NULL"),
)
# By the beginning of a name, whatever the database's collation is.
Index("lanes_prefix", lanes.c.key, postgresql_ops={"key": "text_pattern_ops"})

# ---------------------------------------------------------------- people

console_users = Table(
    "console_users",
    metadata,
    Column("name", Text, primary_key=True),
    Column("password_hash", Text, nullable=False),  # argon2id
    Column("role", Text, nullable=False),  # viewer, operator, admin
    Column("created_at", Double, nullable=False),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    Column("failures", Integer, nullable=False, server_default=text("0")),  # in a row
    Column("locked_until", Double),
    # Of people whom an OpenID Connect provider lets in: who they are there. Their password_hash is empty.
    Column("issuer", Text),
    Column("subject", Text),
    Index("console_users_subject", "issuer", "subject", unique=True),
)

console_sessions = Table(
    "console_sessions",
    metadata,
    Column("hash", Text, primary_key=True),  # SHA-256 of what the cookie holds
    Column("user_name", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Index("console_sessions_user", "user_name"),
)

console_tokens = Table(
    "console_tokens",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("hash", Text, nullable=False, unique=True),  # SHA-256: a token is 32 random bytes
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("revoked_at", Double),
)

console_links = Table(
    "console_links",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
)

# ---------------------------------------------------------------- failures and figures

console_groups = Table(
    "console_groups",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("platform", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("pattern", Text, nullable=False),  # the message without numbers and names
    Column("count", BIG, nullable=False, server_default=text("0")),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
    Column("note", Text, nullable=False, server_default=text("''")),
    Column("noted_by", Text),
    Column("archived", Boolean, nullable=False, server_default=false()),
    Index("console_groups_same", "platform", "type", "code", "pattern", unique=True),
    Index("console_groups_last", "last_at"),
)

console_failures = Table(
    "console_failures",
    metadata,
    Column("command_id", BIG, primary_key=True, autoincrement=False),
    Column("group_id", BIG, nullable=False),
    Column("at", Double, nullable=False),
    Column("parked", Boolean, nullable=False, server_default=false()),  # a person has yet to decide
    Index("console_failures_group", "group_id", "command_id"),
    _partial("console_failures_parked", "command_id", where="parked"),
)

console_group_hours = Table(
    "console_group_hours",
    metadata,
    Column("group_id", BIG, primary_key=True, autoincrement=False),
    Column("hour", BIG, primary_key=True, autoincrement=False),  # hours since the epoch
    Column("count", BIG, nullable=False),
)

console_minutes = Table(
    "console_minutes",
    metadata,
    Column("minute", BIG, primary_key=True, autoincrement=False),  # minutes since the epoch
    Column("platform", Text, primary_key=True),
    Column("succeeded", BIG, nullable=False),
    Column("failed", BIG, nullable=False),  # rejected, expired; cancelled counts as neither
    Column("spread", Text, nullable=False),  # JSON: how many ended within each step of `console_fold.STEPS`
)

# ---------------------------------------------------------------- acts on many

console_acts = Table(
    "console_acts",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("what", Text, nullable=False),  # retry, cancel, archive
    Column("wanted", Text, nullable=False),  # JSON: the filter it was made from
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False),  # going, done, stopped
    Column("text", Text, nullable=False, server_default=text("''")),  # why it stopped
    Column("total", Integer, nullable=False),
    Column("began_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("beat_at", Double, nullable=False),  # by whoever works on it
)

console_act_items = Table(
    "console_act_items",
    metadata,
    Column("act_id", BIG, primary_key=True, autoincrement=False),
    Column("command_id", BIG, primary_key=True, autoincrement=False),
    Column("portion", Integer),  # null: not tried yet
    Column("became", BIG),  # the command to watch: itself, or the one made from it
    Column("result", Text),  # acted, refused
    Column("text", Text),
)

# An answer to an act of the API, kept so that a repeated request changes nothing.
console_answers = Table(
    "console_answers",
    metadata,
    Column("key", Text, primary_key=True),  # of actor and Idempotency-Key
    Column("request", Text, nullable=False),  # keyed hash of what was asked
    Column("status", Integer, nullable=False),
    Column(
        "body", Text, nullable=False
    ),  # encrypted: a mapping may hold a secret; empty while it is under way
    Column("at", Double, nullable=False),
    Index("console_answers_at", "at"),
)
