"""Reading a platform's OpenAPI file. It is read when its operations are first asked for, and once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import worker
from worker.messages.rest.operations import Check, Datum, Operation, Place, Schema, Table

METHODS = ("get", "put", "post", "delete", "patch")
EFFECTS = ("read", "set", "create", "delete", "increment", "change_secret")
MOST_DEPTH = 20  # of references; deeper, they go in a circle
PLATFORM = "platform"  # in the data of every command

# The one in C is ten times as fast; some builds of the library lack it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


_FILES: dict[str, Path] = {}  # of kinds that do not come with the worker


class Unfit(ValueError):
    """The file cannot be used. The text says where and why."""


@cache
def table(kind: str) -> Table:
    """The operations of a kind of platform by their type. Raises Unfit; a kind without a file has none."""
    file = file_of(kind)
    if file is None:
        return {}
    return read(file.read_text(encoding="utf-8"), kind)


def file_of(kind: str) -> Path | None:
    """Where the file lies: inside the package (a wheel) or beside it (a checkout)."""
    if kind in _FILES:
        return _FILES[kind]
    package = Path(worker.__file__).parent
    names = [base / "contracts" / "platforms" / f"{kind}.openapi.yaml" for base in (package, package.parent)]
    return next((file for file in names if file.is_file()), None)


def add_file(kind: str, file: Path) -> None:
    """The file of a kind that does not come with the worker."""
    _FILES[kind] = file
    table.cache_clear()


def remove_file(kind: str) -> None:
    _FILES.pop(kind, None)
    table.cache_clear()


def read(text: str, kind: str) -> Table:
    """The operations in the text of a file. Raises Unfit."""
    try:
        document = yaml.load(text, Loader=_LOADER)  # noqa: S506 # it is the safe one, in C where there is one
    except yaml.YAMLError:
        raise Unfit(f"{kind}.openapi.yaml is no YAML") from None
    found: dict[str, Operation] = {}
    for path, method, said, shared in _operations(document):
        where = f"{kind}.openapi.yaml: {method.upper()} {path}"
        operation = _Reader(document, kind, where).operation(path, method, said, shared)
        if operation.type in found:
            raise Unfit(f"{where}: operationId {operation.type} stands twice")
        found[operation.type] = operation
    for operation in found.values():
        _check_check(operation, found)
    return found


def _operations(document: Any) -> Iterator[tuple[str, str, Mapping[str, Any], list[Any]]]:
    for path, item in (document.get("paths") or {}).items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method], item.get("parameters", [])


class _Reader:
    def __init__(self, document: Mapping[str, Any], kind: str, where: str) -> None:
        self._document, self._kind, self._where = document, kind, where

    def operation(self, path: str, method: str, said: Mapping[str, Any], shared: list[Any]) -> Operation:
        type_, effect = str(said.get("operationId", "")), str(said.get("x-effect", ""))
        if not type_.startswith(f"{self._kind}.") or not type_.endswith(".v1"):
            raise Unfit(f"{self._where}: operationId has to be {self._kind}.<name>.v1")
        if effect not in EFFECTS:
            raise Unfit(f"{self._where}: x-effect is one of {', '.join(EFFECTS)}")
        data = (*self._parameters([*shared, *said.get("parameters", [])]), *self._body(said))
        self._check_data(path, data)
        return Operation(
            type=type_,
            method=method.upper(),
            path=path,
            effect=effect,
            data=data,
            summary=" ".join(str(said.get("summary", "")).split()),
            check=self._settles(said.get("x-check"), data),
            object=_several(said.get("x-object")),
            source=str(said.get("x-source", "")),
            undocumented=bool(said.get("x-undocumented", False)),
            denied=str(said.get("x-denied", "")),
            removes=bool(said.get("x-removes", False)),
            secret=bool(said.get("x-secret-output", False)),
            amount=str(said.get("x-amount", "")),
            id=str(said.get("x-id", "id")),
            answer=self._answer(said.get("responses", {})),
            example=said.get("x-example", {}),
        )

    def _parameters(self, given: list[Any]) -> Iterator[Datum]:
        for each in map(self.resolved, given):
            schema = {"description": each.get("description", ""), **self.resolved(each.get("schema", {}))}
            if "example" in each:
                schema["example"] = each["example"]
            yield Datum(
                str(each.get("x-name", each["name"])),
                each["name"],
                Place(each["in"]),
                schema,
                required=bool(each.get("required", False)),
                credential=bool(each.get("x-credential", False)),
            )

    def _body(self, said: Mapping[str, Any]) -> Iterator[Datum]:
        body = self.resolved(said.get("requestBody", {}))
        if not body:
            return
        content = body.get("content", {}).get("application/json")
        if content is None:
            raise Unfit(f"{self._where}: only application/json is sent as a body")
        schema = content.get("schema", {})
        if schema.get("type") != "object":
            needed = bool(body.get("required", False))
            yield Datum(str(body.get("x-name", "body")), "", Place.WHOLE, schema, required=needed)
            return
        needs = schema.get("required", ())
        for name, inner in schema.get("properties", {}).items():
            yield Datum(str(inner.get("x-name", name)), name, Place.BODY, inner, required=name in needs)

    def _answer(self, responses: Mapping[str, Any]) -> Schema | None:
        by_code = {str(code): each for code, each in responses.items()}
        good: Any = next((by_code[code] for code in sorted(by_code) if code.startswith("2")), {})
        content = self.resolved(good).get("content", {})
        said = next((each for name, each in content.items() if "json" in name), None)
        return None if said is None else dict(said.get("schema", {}))

    def _check_data(self, path: str, data: tuple[Datum, ...]) -> None:
        names = [each.name for each in data]
        if twice := {name for name in names if names.count(name) > 1 or name == PLATFORM}:
            raise Unfit(f"{self._where}: {', '.join(sorted(twice))} is taken: give it an x-name")
        there = {part.partition("}")[0] for part in path.split("{")[1:]}
        said = {each.wire for each in data if each.place is Place.PATH}
        if there != said:
            raise Unfit(f"{self._where}: the path has {sorted(there)}, the parameters are {sorted(said)}")

    def _settles(self, said: Any, data: tuple[Datum, ...]) -> Check | None:
        if said is None:
            return None
        known = {"read", "with", "rows", "same", "shows", "id", "balance"}
        if not isinstance(said, Mapping) or "read" not in said or set(said) - known:
            raise Unfit(f"{self._where}: x-check has read, and of {sorted(known - {'read'})} what it needs")
        names = {each.name for each in data}
        used = [*said.get("with", {}).values(), *said.get("same", {}).values()]
        used += [each for each in (said.get("shows") or {}).values() if not isinstance(each, Mapping)]
        if unknown := set(used) - names:
            raise Unfit(f"{self._where}: x-check names {sorted(unknown)}, which are no data of it")
        given = {key: said[key] for key in ("rows", "same", "shows", "id", "balance") if key in said}
        return Check(said["read"], said.get("with", {}), **given)

    def resolved(self, part: Any, depth: int = 0) -> Any:
        """A copy without references. Raises Unfit where they lead nowhere, or in a circle."""
        if depth > MOST_DEPTH:
            raise Unfit(f"{self._where}: references go in a circle")
        if isinstance(part, Mapping):
            if "$ref" in part:
                beside = {name: each for name, each in part.items() if name != "$ref"}
                return {**self.resolved(self._followed(part["$ref"]), depth + 1), **beside}
            return {name: self.resolved(each, depth + 1) for name, each in part.items()}
        if isinstance(part, list):
            return [self.resolved(each, depth + 1) for each in part]
        return part

    def _followed(self, pointer: str) -> Any:
        found: Any = self._document
        for name in pointer.removeprefix("#/").split("/"):
            if not isinstance(found, Mapping) or name not in found:
                raise Unfit(f"{self._where}: {pointer} leads nowhere")
            found = found[name]
        return found


def _several(said: Any) -> tuple[str, ...]:
    return () if said is None else (said,) if isinstance(said, str) else tuple(said)


def _check_check(operation: Operation, table: Table) -> None:
    check = operation.check
    if check is None:
        return
    read = table.get(check.read)
    if read is None or read.effect != "read":
        raise Unfit(f"{operation.type}: x-check reads {check.read}, which is no read of this file")
    if operation.effect == "create" and (check.rows is None or not check.same):
        # "Not found" of one object may as well mean that this server has no such path: no proof of absence.
        raise Unfit(f"{operation.type}: the check of a create looks into a list: it needs rows and same")
    if (operation.effect == "increment") != bool(check.balance):
        raise Unfit(f"{operation.type}: an increment, and nothing else, is checked by a balance")
    if unknown := set(check.arguments) - {each.name for each in read.asked}:
        raise Unfit(f"{operation.type}: {check.read} has no {', '.join(sorted(unknown))}")
