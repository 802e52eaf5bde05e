"""What every simulator is made of: faults on request, a freezer, counts, the admin API, serving."""
