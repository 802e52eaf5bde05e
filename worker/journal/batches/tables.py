"""What is known of batches: each one, its rows, and the commands that a row became.

Rows are written by the process that sends them, before it does; how their commands ended is looked up in
`identities`, which outlives the commands.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, Index, SmallInteger, Table, Text, false, text

from worker.journal.tables import BIG, metadata

batches = Table(
    "batches",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False, unique=True),  # `batchid` of its commands
    Column("platform", Text, nullable=False),
    Column("title", Text, nullable=False),  # its commands, for people
    Column("file", Text, nullable=False),  # the last file's name, without its folder
    Column("content", Text, nullable=False),  # SHA-256 of the last file
    Column("plan", Text, nullable=False),  # MAC of mapping and commands: another one is another batch
    Column("state", Text, nullable=False),  # sending, sent, cancelled
    Column("paused_by", Text),
    Column("paused_reason", Text),
    Column("rate", Double),  # rows a second; null: as fast as the platform ends them
    Column("undo_of", Text),  # name of the batch that it takes back
    Column("undoable", Boolean, nullable=False, server_default=false()),
    Column("total", BIG, nullable=False, server_default=text("0")),  # rows of the last file, bad ones too
    Column("created_by", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("sent_at", Double),
)

batch_rows = Table(
    "batch_rows",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("batch_id", BIG, nullable=False),
    Column("row_hash", Text, nullable=False),  # keyed MAC of the row's identity on its platform
    Column("content_mac", Text, nullable=False),  # of its commands, without what was generated
    Column("number", BIG, nullable=False),  # in the last file
    # sending: written down, perhaps not sent; sent: RabbitMQ has it; parked: a person must decide;
    # done, failed: all its commands have ended; bad: it was never sent
    Column("state", Text, nullable=False),
    Column("changed", Boolean, nullable=False, server_default=false()),  # the last file had other content
    Column("generation", SmallInteger, nullable=False, server_default=text("0")),  # tries after a failure
    Column("keys_sealed", Text, nullable=False),  # its key columns, for the report
    Column("made_sealed", Text),  # generated passwords, until the row is done
    Column("problem", Text),  # of a bad row
    Index("batch_rows_row", "batch_id", "row_hash", unique=True),
    Index("batch_rows_state", "batch_id", "state", "id"),
    Index("batch_rows_number", "batch_id", "number", "id"),
    Index("batch_rows_hash", "row_hash"),
)

batch_commands = Table(
    "batch_commands",
    metadata,
    Column("row_id", BIG, primary_key=True, autoincrement=False),
    Column("part", SmallInteger, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("message_hash", Text, nullable=False),  # as in `identities`
    Column("key_hash", Text, nullable=False),
)
