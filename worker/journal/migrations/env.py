"""Alembic's entry: the connection is handed in, nothing is read from files or the environment."""

from alembic import context

from worker.journal.whole import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=metadata, render_as_batch=connection.dialect.name == "sqlite"
)
with context.begin_transaction():
    context.run_migrations()
