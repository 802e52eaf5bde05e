"""`docs/settings.md`, made from the settings themselves."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from worker.settings.model import Settings
from worker.settings.platforms import KINDS, PlatformSettings
from worker.settings.section import Section
from worker.settings.values import duration, seconds

INTRODUCTION = """# Settings

One file, `worker.toml` (`--config`, or the variable `WORKER_CONFIG`, or the file of that name in the folder
the worker is started in). Without a file every key has its default, and there are no platforms.

- Every key can be set as a variable of the environment, which wins over the file: `broker.url` is
  `WORKER__BROKER__URL`. A platform's name may be written with `_` for `-`:
  `WORKER__PLATFORMS__SIPPULSE_BR__PASSWORD`. Lists and tables are JSON: `["subscriber.create"]`.
- A duration is a number of seconds or a text: `90d`, `24h`, `15m`, `30s`, `200ms`.
- A secret is a text, or `{ env = "NAME" }`, or `{ file = "/run/secrets/name" }`; relative files start at the
  folder of the settings file.
- An unknown key, a missing secret or a value out of range stops the start with a sentence that names the key.

This page is made from the code; a test holds the two equal.
"""


def page() -> str:
    """The whole page as Markdown."""
    return INTRODUCTION + "".join(_table(heading, rows) for heading, rows in _sections())


def _sections() -> Iterator[tuple[str, list[str]]]:
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield f"[{name}]", _rows(field.annotation)
            yield from _inner(field.annotation, (), name)
    yield "[platforms.NAME]", _rows(PlatformSettings, ("kind",))
    yield from _inner(PlatformSettings, (), "platforms.NAME")
    common = tuple(
        name for name in PlatformSettings.model_fields if name != "kind"
    )  # which each kind says itself
    for kind, section in KINDS.items():
        yield f'[platforms.NAME] kind = "{kind}"', _rows(section, common)
        yield from _inner(section, common, "platforms.NAME", f' kind = "{kind}"')


def _inner(
    section: type[Section], but: tuple[str, ...], path: str, of: str = ""
) -> Iterator[tuple[str, list[str]]]:
    for name, field in section.model_fields.items():
        if name not in but and isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield f"[{path}.{name}]{of}", _rows(field.annotation)


def _table(heading: str, rows: list[str]) -> str:
    head = "| key | value | default | meaning |\n|---|---|---|---|\n"
    return f"\n## `{heading}`\n\n{head}" + "".join(rows)


def _rows(section: type[Section], but: tuple[str, ...] = ()) -> list[str]:
    return [
        f"| `{name}` | {_kind(field)} | {_default(field)} | {field.description} |\n"
        for name, field in section.model_fields.items()
        if name not in but
        and not (isinstance(field.annotation, type) and issubclass(field.annotation, Section))
    ]


def _kind(field: FieldInfo) -> str:
    if _is_duration(field):
        return "duration"
    return _named(field.annotation)


def _named(annotation: Any) -> str:
    """A type in the words of somebody who writes the file."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _named(inner[0])
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_named(one) for one in inner if one is not type(None)))
    if origin is tuple:
        return f"list of {_named(inner[0])}s"
    if origin is Mapping:
        return "table"
    words = {
        "str": "text",
        "int": "whole number",
        "float": "number",
        "bool": "`true`, `false`",
        "Decimal": "amount",
        "Path": "file",
        "SecretStr": "secret",
    }
    return words[annotation.__name__]


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "**required**"
    if value is None or value == "" or value in ((), {}):
        return "none"
    if isinstance(value, SecretStr):
        return f"`{value.get_secret_value()}`"
    if isinstance(value, tuple):
        return f"`{json.dumps(value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if _is_duration(field):
        return f"`{duration(value)}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _is_duration(field: FieldInfo) -> bool:
    return any(getattr(one, "func", None) is seconds for one in field.metadata)
