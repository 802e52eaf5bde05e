"""Logs are events with keys, one line each; a value whose name says that it is secret is never written."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import Processor

from worker.settings import LogSettings

MASK = "***"
SECRET_NAMES = re.compile(
    r"passw|senha|secret|token|authoriz|credential|api_?key|cookie|private_?key|(^|_)(pin|pwd)($|_|code)",
    re.IGNORECASE,
)
# What the libraries below say at INFO and DEBUG holds whole addresses, arguments, and bodies with passwords.
TALKATIVE = (
    "httpx",
    "httpcore",
    "aiohttp",
    "aio_pika",
    "aiormq",
    "zeep",
    "zeep.transports",
    "faststream",
    "asyncio",
    "urllib3",
    "sqlalchemy",
    "alembic",
    "uvicorn",
    "uvicorn.access",
)
# What they say as warning or error is said by us too, in one line that an operator can use. zeep's quotes the answer.
DOUBLED = ("aiormq.connection", "asyncpg.pool", "zeep.xsd.types.simple")
DEPTH = 6  # how deep a value is looked into for secret names; below it nothing is shown


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send all logs, the libraries' too, as `settings` says to `stream` (standard error by default)."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        masked,
    ]
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(settings)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    _quieten()


def _rendering(settings: LogSettings) -> list[Processor]:
    """Tracebacks never hold local variables: those are where passwords stand."""
    if settings.format == "console":
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=plain)]
    transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
    return [
        structlog.processors.ExceptionRenderer(transformer),
        structlog.processors.JSONRenderer(serializer=_one_line, default=repr),
    ]


def _one_line(event: Any, default: Callable[[Any], Any]) -> str:
    try:
        return orjson.dumps(event, default=default).decode()
    except TypeError:  # half a character, a name that is no text, a number beyond 64 bits
        return json.dumps(event, default=default, skipkeys=True)


def _quieten() -> None:
    for name in TALKATIVE:
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.handlers = []
        logger.propagate = True
    for name in DOUBLED:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def masked(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The processor that puts `***` for every value whose name says that it is secret."""
    for name, value in event.items():
        if name != "event":
            event[name] = MASK if is_secret_name(name) and value not in (None, "") else without_secrets(value)
    return event


def is_secret(name: object) -> bool:
    """Whether a field of this name holds a secret."""
    return isinstance(name, str) and SECRET_NAMES.search(name) is not None


is_secret_name = lru_cache(maxsize=512)(is_secret)  # of the log's own keys, which are few


def without_secrets(value: Any, depth: int = DEPTH) -> Any:
    """A copy of nested tables and lists in which secret fields are `***`."""
    if isinstance(value, Mapping):
        if depth == 0:
            return MASK
        return {
            key: MASK if is_secret(key) and inner not in (None, "") else without_secrets(inner, depth - 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return MASK if depth == 0 else [without_secrets(inner, depth - 1) for inner in value]
    return value
