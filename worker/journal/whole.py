"""Every table there is: what migrations are compared with. Each part of the journal adds its own."""

from worker.journal.batches import tables as batch_tables
from worker.journal.batches import upload_tables
from worker.journal.console import tables as console_tables
from worker.journal.tables import metadata

__all__ = ["batch_tables", "console_tables", "metadata", "upload_tables"]
