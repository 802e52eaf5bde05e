"""The operations of the platform, by the names of the OpenAPI file."""

from . import applications, calls, clients, extensions, lists
from .registry import OPERATIONS, Operation

__all__ = ["OPERATIONS", "Operation", "applications", "calls", "clients", "extensions", "lists"]
