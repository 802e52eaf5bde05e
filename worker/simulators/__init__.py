"""Stateful stand-ins for the platforms, with faults on request. They import nothing else of the worker."""
