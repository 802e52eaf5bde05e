"""Batches: a file of rows becomes commands on the bulk queue, and a report of what happened to each row."""
