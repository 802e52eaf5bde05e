"""Reading the settings, and saying in one sentence what is wrong with them."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from worker.settings.model import Settings
from worker.settings.platforms import KINDS, PlatformSettings
from worker.settings.section import Section

PREFIX = "WORKER__"


class SettingsError(Exception):
    """The settings cannot be used. Its one sentence names the key, and what would be right."""


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the settings once: `path`, else WORKER_CONFIG, else ./worker.toml if there is one, else defaults.

    Raises SettingsError with one sentence for a person. Variables of `environ` win over the file.
    """
    file = path or (Path(environ["WORKER_CONFIG"]) if environ.get("WORKER_CONFIG") else None)
    if file is None and Path("worker.toml").is_file():
        file = Path("worker.toml")
    raw = _parsed(file) if file else {}
    if "folder" in raw:
        raise SettingsError(_unknown(("folder",)))
    for name in sorted(environ):
        if name.startswith(PREFIX):
            _put(raw, name, environ[name])
    folder = file.resolve().parent if file else Path.cwd()
    try:
        return Settings.model_validate(
            raw | {"folder": folder}, context={"environ": environ, "folder": folder}
        )
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None


def _parsed(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise SettingsError(f"the settings file {file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise SettingsError(f"the settings file {file} is not TOML: {_where(file)}") from None


def _where(file: Path) -> str:
    """The place of a TOML error without its text, which may quote a secret."""
    try:
        tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at (.*)\)$", str(error))
        return found[1] if found else "it cannot be parsed"
    except UnicodeDecodeError:
        return "it is not UTF-8"
    return "it changed while it was read"


def _put(raw: dict[str, Any], variable: str, value: str) -> None:
    """Set the key that an environment variable names, in the tables as they would stand in the file."""
    parts = [part.lower() for part in variable.removeprefix(PREFIX).split("__")]
    if parts[0] == "platforms" and len(parts) > 1:
        parts[1] = _platform_name(raw.get("platforms", {}), parts[1])
    table: Any = raw
    for part in parts[:-1]:
        table = table.setdefault(part, {}) if isinstance(table, dict) else None
    if not isinstance(table, dict) or not all(parts):
        raise SettingsError(f"{variable} names no key: it would be {'.'.join(parts)}")
    parts[-1] = _spelled(tuple(parts))
    table[parts[-1]] = _value(tuple(parts), variable, value)


def _platform_name(known: Any, written: str) -> str:
    """A platform's name from a variable, where `_` may stand for `-`."""
    return next((name for name in known if name.replace("-", "_") == written), written.replace("_", "-"))


def _value(path: tuple[str, ...], variable: str, value: str) -> Any:
    """Lists and tables are written as JSON in a variable; everything else is the text itself."""
    if not any(_is_json(field.annotation, value) for field in _fields(path)):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise SettingsError(f'{variable} is a list or table: write it as JSON, e.g. ["a", "b"]') from None


def _is_json(kind: Any, value: str) -> bool:
    whole_table = isinstance(kind, type) and issubclass(kind, Section) and value.lstrip().startswith("{")
    return whole_table or get_origin(kind) in (tuple, Mapping)


def _spelled(path: tuple[str, ...]) -> str:
    """The key at `path` in the letters it has: those of variables are capitals throughout."""
    known = (name for section in _sections(path) for name in section.model_fields)
    return next((name for name in known if name.lower() == path[-1]), path[-1])


def _fields(path: tuple[str, ...]) -> Iterator[FieldInfo]:
    """What the key at `path` may be."""
    return (each.model_fields[path[-1]] for each in _sections(path) if path[-1] in each.model_fields)


def _sections(path: tuple[str, ...]) -> Iterator[type[Section]]:
    """Where the key at `path` may stand: of a platform whose kind is not read yet, there may be several."""
    kinds = [()] if path[0] != "platforms" else [(kind,) for kind in KINDS]
    for kind in kinds:
        if section := _section((*path[:2], *kind, *path[2:-1]) if kind else path[:-1]):
            yield section


def _section(path: tuple[str, ...]) -> type[Section] | None:
    """The model of the table at `path`, None where there is none. A platform's kind may follow its name."""
    here: type[Section] = Settings
    parts = list(path)
    while parts:
        part = parts.pop(0)
        if here is Settings and part == "platforms":
            kind = parts[1] if len(parts) > 1 and parts[1] in KINDS else None
            here, parts = KINDS.get(kind or "", PlatformSettings), parts[2 if kind else 1 :]
            continue
        field = here.model_fields.get(part)
        if (
            field is None
            or not isinstance(field.annotation, type)
            or not issubclass(field.annotation, Section)
        ):
            return None
        here = field.annotation
    return here


def _sentence(error: ValidationError) -> str:
    """The first mistake as one sentence that names the key. Never quotes what was written."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = tuple(str(part) for part in first["loc"])
    key = ".".join(_written(where)) or "settings"
    if "[key]" in where:
        return f"{key}: a platform's name is 1 to 40 of a-z, 0-9 and -"
    if first["type"] == "extra_forbidden":
        return _unknown(where)
    if first["type"] == "missing":
        return f"{key} is missing: {_meaning(where)}"
    return f"{key}: {first['msg'].removeprefix('Value error, ')}"


def _written(where: tuple[str, ...]) -> list[str]:
    """The key as it stands in the file: pydantic puts a platform's kind behind its name."""
    is_platform = where[:1] == ("platforms",) and len(where) > 2 and where[2] in KINDS
    path = (*where[:2], *where[3:]) if is_platform else where
    return [part for part in path if part != "[key]"]


def _unknown(where: tuple[str, ...]) -> str:
    section = _section(where[:-1]) or Settings
    known = sorted(name for name in section.model_fields if name != "folder")
    near = difflib.get_close_matches(where[-1], known, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"unknown key {'.'.join(_written(where))}{hint}: we know {', '.join(known)}"


def _meaning(where: tuple[str, ...]) -> str:
    section = _section(where[:-1])
    field = section.model_fields.get(where[-1]) if section else None
    return (field.description if field else None) or "it has no default"
