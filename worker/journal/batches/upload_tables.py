"""Files that were uploaded on the console, until their batch has ended.

A file may hold passwords and names: it stands here in parts, each encrypted under the journal's key, never in
clear. Every process of the console finds it here, whichever machine it came in on, and after any restart.
"""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, Integer, Table, Text, text

from worker.journal.tables import BIG, metadata

uploads = Table(
    "uploads",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False),  # of the file, without its folder
    Column("size", BIG, nullable=False),  # bytes
    Column("sha256", Text, nullable=False),
    Column("uploaded_by", Text, nullable=False),
    # receiving: parts still come; ready: a person looks at it; checking, going: a process works on it;
    # checked: the dry run has ended; sent: every row was; stopped: `text` says why
    Column("state", Text, nullable=False),
    Column("text", Text, nullable=False, server_default=text("''")),
    Column("platform", Text, nullable=False, server_default=text("''")),
    Column("batch", Text, nullable=False, server_default=text("''")),  # its name, once it goes
    Column("looked_sealed", Text),  # how it is read, its columns, its first rows
    Column("plan_sealed", Text),  # command or mapping: constants in it may be secrets
    Column("found_sealed", Text),  # of the last dry run
    Column("wish", Text),  # JSON: what the person who let it go asked for
    Column("rows_read", Integer, nullable=False, server_default=text("0")),
    Column("created_at", Double, nullable=False),
    Column("touched_at", Double, nullable=False),
    Index("uploads_state", "state", "id"),
    Index("uploads_batch", "batch"),
)

upload_parts = Table(
    "upload_parts",
    metadata,
    Column("upload_id", BIG, primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),  # file, problems
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("sealed", Text, nullable=False),
)
