"""Every table there is: what migrations are compared with. Each part of the journal adds its own."""

from worker.journal import batch_tables, console_tables, upload_tables
from worker.journal.tables import metadata

__all__ = ["batch_tables", "console_tables", "metadata", "upload_tables"]
