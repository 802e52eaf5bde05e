"""The folder contracts/, made from the code, and the check that both say the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, FormatChecker

from worker.messages import asyncapi, examples, orders, schemas
from worker.messages.catalogue import COMMANDS, KINDS
from worker.messages.sippulse import wsdl

# What lies elsewhere in the folder (openapi.yaml, descriptions of other platforms) is kept by others.
MANAGED = ("commands", "events", "examples", "platforms/sippulse")


def files() -> dict[str, str]:
    """Path below contracts/ -> text of every file that is made from the code."""
    made = {"asyncapi.yaml": _yaml(asyncapi.document())}
    made |= {f"commands/{name}": _json(schema) for name, schema in schemas.command_files().items()}
    made |= {f"events/{name}": _json(schema) for name, schema in schemas.event_files().items()}
    made |= {f"examples/{name}.json": _json(message) for name, message in _examples().items()}
    made |= {f"platforms/sippulse/{name}": text for name, text in wsdl.files().items()}
    return made | {"examples/orders.jsonl": orders.jsonl()}


def write(folder: Path) -> list[str]:
    """Bring the folder up to the code, surplus files included; the paths that changed."""
    made, changed = files(), []
    for path in sorted(_present(folder) - set(made)):
        (folder / path).unlink()
        changed.append(path)
    for path, text in made.items():
        file = folder / path
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def check(folder: Path) -> list[str]:
    """One sentence for each way in which the folder and the code differ; empty: they say the same."""
    return [*_differences(folder), *_invalid_schemas(), *_invalid_examples(folder)]


def _differences(folder: Path) -> Iterator[str]:
    made = files()
    present = _present(folder)
    for path in sorted(set(made) - present):
        yield f"{path} is missing: run `worker contracts write`"
    for path in sorted(present - set(made)):
        yield f"{path} belongs to nothing in the code: remove it, or run `worker contracts write`"
    for path in sorted(present & set(made)):
        if (folder / path).read_text(encoding="utf-8") != made[path]:
            yield f"{path} differs from the code: run `worker contracts write`, or put the code right"


def _present(folder: Path) -> set[str]:
    """Files of the managed part of the folder, as paths below it."""
    found = {file.relative_to(folder).as_posix() for part in MANAGED for file in _files_in(folder / part)}
    return found | ({"asyncapi.yaml"} if (folder / "asyncapi.yaml").is_file() else set())


def _files_in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else iter(())


def _invalid_schemas() -> Iterator[str]:
    for name, schema in {**schemas.command_files(), **schemas.event_files()}.items():
        try:
            Draft202012Validator.check_schema(schema)
        except Exception as error:
            yield f"{name} is no JSON Schema: {error.args[0]}"


def _invalid_examples(folder: Path) -> Iterator[str]:
    """Every example in the folder against the schema that its own type names."""
    for path in sorted(_present(folder)):
        if not (path.startswith("examples/") and path.endswith(".json")):
            continue
        try:
            message = json.loads((folder / path).read_text(encoding="utf-8"))
        except ValueError:
            yield f"{path} is not JSON"
            continue
        yield from (f"{path}: {error}" for error in invalid(message))


def invalid(message: Mapping[str, Any], kind: str = "") -> list[str]:
    """What is wrong with a command or an event by its schema; `kind` is the platform's of a command.

    Without one it is what the example says: platforms there are called as their kind, sippulse-br apart.
    """
    data = message.get("data")
    named = str(data.get("platform")) if isinstance(data, Mapping) else ""
    kind = kind or (named if named in KINDS else "sippulse")
    schema = schema_of(str(message.get("type")), kind)
    if schema is None:
        return [f"there is no schema for the type {message.get('type')}"]
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(message)]


def schema_of(message_type: str, kind: str = "sippulse") -> schemas.Schema | None:
    """The schema of a command or an event by its type; None if there is none."""
    spec = COMMANDS.get(message_type)
    if spec is not None:
        kind = "" if spec.at_intake else kind
        return schemas.command_files().get(schemas.command_file(message_type, kind))
    if message_type.startswith("provisioning.audit."):
        message_type = "provisioning.audit.v1"
    return schemas.event_files().get(schemas.event_file(message_type))


def _examples() -> dict[str, Any]:
    return {**examples.commands(), **examples.commands_of_other_kinds(), **examples.results()}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


class _Plain(yaml.SafeDumper):
    """Writes every part out: an alias would have to be followed by whoever reads the file."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Texts of several lines as they are read."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _text)


def _yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=100)
