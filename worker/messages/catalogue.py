"""Which commands there are, for which platforms, and whether a message is one of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from worker.messages import commands as of
from worker.messages.envelope import Envelope
from worker.messages.errors import Code, Problem
from worker.messages.parsing import shown
from worker.messages.rest import models as rest
from worker.messages.rest.document import table
from worker.messages.ringme import portable as ringme_portable
from worker.messages.sippulse import models as sippulse
from worker.messages.sippulse import portable as sippulse_portable
from worker.messages.sippulse.operations import KIND as SIPPULSE
from worker.messages.sippulse.operations import OPERATIONS
from worker.messages.voipmundo import portable as voipmundo_portable

MOST_COMPARED = 100  # characters of an unknown type

Model = type[BaseModel]
CommandModel = type[of.Command]
AnyModel = TypeVar("AnyModel", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command. `effect` is the main step's, in the words of domain.effect."""

    type: str
    summary: str
    effect: str
    kinds: Mapping[str, CommandModel] = field(default_factory=dict)  # platform kind -> model of the data
    at_intake: Model | None = None  # answered at intake: the model, for there is no platform
    secret_output: bool = False  # its output goes only to reply_to
    paged: bool = False  # its rows go to reply_to as pages
    reads_first: bool = False  # its first step is a read: `effect` is that of a later one

    def models(self) -> dict[str, Model]:
        """Every model of this command by platform kind; the kind of one answered at intake is ""."""
        return {"": self.at_intake} if self.at_intake else dict(self.kinds)


@dataclass(frozen=True, slots=True)
class Checked:
    """A command whose data is as its model wants it.

    `partition_key` names the object whose commands run in order. `unsupported` is set for a command that this
    kind of platform does not offer: it is admitted, then rejected before anything is sent.
    """

    envelope: Envelope
    spec: CommandSpec
    platform: str | None  # None: answered at intake
    kind: str | None
    model: BaseModel | None = field(repr=False)
    partition_key: str | None
    unsupported: Problem | None = None


# Platform kind -> its models of the portable commands: a kind that has none for a command does not offer it.
# What else a kind offers under names of its own is found by `natives`.
KINDS: dict[str, Mapping[str, CommandModel]] = {
    "sippulse": sippulse_portable.MODELS,
    "voipmundo": voipmundo_portable.MODELS,
    "ringme": ringme_portable.MODELS,
}

# Platform kind -> portable command that it does not offer -> why, where there is more to say than that.
WHY_NOT: dict[str, Mapping[str, str]] = {
    "voipmundo": voipmundo_portable.NOT_OFFERED,
    "ringme": ringme_portable.NOT_OFFERED,
}

# The same on every platform: type, what it does, effect.
_PORTABLE = (
    ("subscriber.create.v1", "make a subscriber", "create"),
    ("subscriber.update.v1", "change a subscriber", "set"),
    ("subscriber.get.v1", "read a subscriber", "read"),
    ("subscriber.remove.v1", "remove a subscriber", "delete"),
    ("subscriber.block.v1", "block a subscriber", "set"),
    ("subscriber.activate.v1", "activate a blocked subscriber", "set"),
    ("calls.block.v1", "block kinds of calls", "set"),
    ("calls.unblock.v1", "let kinds of calls through again", "set"),
    ("credit.add.v1", "add credit", "increment"),
    ("credit.get.v1", "read the balance", "read"),
    ("password.change.v1", "change a subscriber's password", "change_secret"),
    ("number.assign.v1", "give a subscriber a number", "create"),
    ("number.release.v1", "take a number away from a subscriber", "delete"),
    ("number.list.v1", "read a subscriber's numbers", "read"),
    ("forwarding.set.v1", "set where a subscriber's calls are forwarded to", "set"),
    ("call_records.list.v1", "read a subscriber's calls, as pages to reply_to", "read"),
)
PAGED = frozenset({"call_records.list.v1"})
READS_FIRST = frozenset({"number.release.v1"})  # by the number that the platform gave the entry
_AT_INTAKE = (
    CommandSpec("command.cancel.v1", "cancel a command that waits", "read", at_intake=of.CommandCancel),
    CommandSpec("command.get.v1", "ask what became of a command", "read", at_intake=of.CommandGet),
)


class _Offered(Mapping[str, CommandModel]):
    """Platform kind -> model of one portable command, of the kinds that offer it."""

    def __init__(self, command_type: str) -> None:
        self._type = command_type

    def __getitem__(self, kind: str) -> CommandModel:
        return KINDS[kind][self._type]

    def __iter__(self) -> Iterator[str]:
        return (kind for kind, models in KINDS.items() if self._type in models)

    def __len__(self) -> int:
        return sum(1 for _ in self)


PORTABLE: dict[str, CommandSpec] = {
    each[0]: CommandSpec(
        *each, kinds=_Offered(each[0]), paged=each[0] in PAGED, reads_first=each[0] in READS_FIRST
    )
    for each in _PORTABLE
} | {spec.type: spec for spec in _AT_INTAKE}


@cache
def natives(kind: str) -> Mapping[str, CommandSpec]:
    """A kind's own operations: of SIPPulse's WSDLs, or of the OpenAPI file that is named after the kind.

    Their models are made when they are first asked for.
    """
    if kind == SIPPULSE:
        return {
            each.type: CommandSpec(
                each.type,
                f"SIPPulse's operation {each.endpoint}",
                each.effect,
                sippulse.Kinds(each.endpoint),
                secret_output=each.secret,
            )
            for each in OPERATIONS.values()
        }
    return {
        each.type: CommandSpec(
            each.type,
            each.summary or f"{kind}'s operation {each.endpoint}",
            each.effect,
            rest.Kinds(each.type),
            secret_output=each.secret,
        )
        for each in table(kind).values()
    }


def add_kind(kind: str, models: Mapping[str, CommandModel]) -> None:
    """A kind of platform that does not come with the worker; its operations are found by its OpenAPI file."""
    KINDS[kind] = models
    natives.cache_clear()


def remove_kind(kind: str) -> None:
    del KINDS[kind]
    natives.cache_clear()


class _Commands(Mapping[str, CommandSpec]):
    """All of them. A kind's description is read when a command of it is first asked for."""

    def __contains__(self, command_type: object) -> bool:
        return isinstance(command_type, str) and super().__contains__(command_type)

    def __getitem__(self, command_type: str) -> CommandSpec:
        if (found := PORTABLE.get(command_type)) is not None:
            return found
        kind = command_type.partition(".")[0]
        if kind not in KINDS:
            raise KeyError(command_type)
        return natives(kind)[command_type]

    def __iter__(self) -> Iterator[str]:
        yield from PORTABLE
        for kind in KINDS:
            yield from natives(kind)

    def __len__(self) -> int:
        return sum(1 for _ in self)


COMMANDS: Mapping[str, CommandSpec] = _Commands()


def find(command_type: str) -> CommandSpec | None:
    """The command of this type, e.g. subscriber.create.v1; None if there is none."""
    return COMMANDS.get(command_type)


def check(envelope: Envelope, kinds: Mapping[str, str]) -> Checked | Problem:
    """Whether the message is a command for one of the platforms. `kinds`: platform name -> kind."""
    spec = COMMANDS.get(envelope.type)
    if spec is None:
        return _unknown_command(envelope.type)
    if spec.secret_output and not envelope.reply_to:
        why = "its answer holds a secret and goes only to reply_to: set the AMQP property reply_to"
        return Problem(Code.INVALID_MESSAGE, why, "reply_to")
    if spec.paged and not envelope.reply_to:
        why = "its rows go only to reply_to: set the AMQP property reply_to (`worker send`: --wait)"
        return Problem(Code.INVALID_MESSAGE, why, "reply_to")
    if spec.at_intake:
        model = validated(spec.at_intake, envelope.data)
        return model if isinstance(model, Problem) else Checked(envelope, spec, None, None, model, None)
    platform = envelope.data.get("platform")
    if not isinstance(platform, str) or platform not in kinds:
        return _no_platform(platform, kinds)
    return _for_platform(envelope, spec, platform, kinds[platform])


def _for_platform(envelope: Envelope, spec: CommandSpec, platform: str, kind: str) -> Checked | Problem:
    wanted = spec.kinds.get(kind)
    if wanted is None:
        reason = WHY_NOT.get(kind, {}).get(spec.type) or f"it is by {_listed(spec.kinds)}"
        why = f"{spec.type} is not offered by platforms of kind {kind}: {reason}"
        problem = Problem(Code.UNSUPPORTED, why)
        # No model says which object it is about, and nothing will be sent: it has a line of its own.
        own_line = f"{platform}:command:{envelope.id}"
        return Checked(envelope, spec, platform, kind, None, own_line, problem)
    model = validated(wanted, envelope.data)
    if isinstance(model, Problem):
        return model
    object_name = model.object_name() or f"key:{envelope.source}:{envelope.idempotency_key}"
    return Checked(envelope, spec, platform, kind, model, f"{platform}:{object_name}")


def problems(model: Model, data: Mapping[str, Any]) -> list[Problem]:
    """Everything that is wrong with the data, as `validated` says the first of it."""
    try:
        model.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=True)
        return [_problem(model, one) for one in found]
    return []


def validated(model: type[AnyModel], data: Mapping[str, Any]) -> AnyModel | Problem:
    """The data as its model reads it, or the first thing wrong with it. Quotes nothing of the data."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=True)[0]
        return _problem(model, first)


@cache
def secret_fields(command_type: str, kind: str) -> frozenset[str]:
    """Dotted paths, below `data`, of the fields that hold secrets: password, platform_fields.password, ..."""
    spec = COMMANDS.get(command_type)
    model = spec.models().get(kind) if spec else None
    return frozenset(_secrets(model, "")) if model else frozenset()


def _secrets(model: Model, path: str) -> Iterator[str]:
    for name, info in model.model_fields.items():
        for kind in _inside(info.annotation):
            if kind is SecretStr:
                yield path + name
            elif issubclass(kind, BaseModel):
                yield from _secrets(kind, f"{path}{name}.")


def _inside(annotation: Any) -> Iterator[type]:
    """The classes that an annotation is made of, however deep: X | None, list[X], Annotated[X, ...]."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for part in get_args(annotation):
        yield from _inside(part)


def _unknown_command(command_type: str) -> Problem:
    near = _near(command_type[:MOST_COMPARED])
    known = (
        f"we know {_listed(PORTABLE)}, and {_listed(KINDS)}.<operation>.v1 for a platform's own operations"
    )
    hint = f"did you mean {' or '.join(near)}?" if near else known
    return Problem(Code.UNKNOWN_COMMAND, f"type: unknown command {shown(command_type)!r}: {hint}", "type")


@lru_cache(maxsize=256)  # a sender that is wrong is so often
def _near(command_type: str) -> list[str]:
    """Commands of a like name. Of native ones only the operation is compared: there are many, and it takes time."""
    kind, _, operation = command_type.removesuffix(".v1").partition(".")
    if kind not in KINDS:
        return difflib.get_close_matches(command_type, PORTABLE, 3, 0.5)
    if kind == SIPPULSE:
        named = {each.name: each.type for each in OPERATIONS.values()}
        operation = operation.rpartition(".")[2]
    else:
        named = {each.endpoint: each.type for each in table(kind).values()}
    return [named[name] for name in difflib.get_close_matches(operation, named, 3, 0.7)]


def _no_platform(platform: Any, kinds: Mapping[str, str]) -> Problem:
    known = f"we know {_listed(kinds)}" if kinds else "none is configured"
    if platform is None:
        return Problem(Code.MISSING_FIELD, f"platform is missing: {known}", "platform")
    if not isinstance(platform, str):
        why = f"platform: it has to be a platform's name in quotes: {known}"
        return Problem(Code.INVALID_FIELD, why, "platform")
    return Problem(Code.UNKNOWN_PLATFORM, f"unknown platform {shown(platform)!r}: {known}", "platform")


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(names)) or "none"


def _problem(model: Model, error: ErrorDetails) -> Problem:
    """A mistake that pydantic found, as a code, the field's path and a sentence of what is right."""
    path = _path(error["loc"])
    owner, meaning = _around(model, error["loc"])
    if error["type"] == "missing":
        return Problem(Code.MISSING_FIELD, f"{path} is missing: {meaning}", path)
    if error["type"] == "extra_forbidden":
        return Problem(Code.INVALID_FIELD, _unknown_field(path, str(error["loc"][-1]), owner), path)
    if error["type"] == "lacking":
        first = next(iter(owner.model_fields))
        return Problem(Code.MISSING_FIELD, f"{first} is missing: {error['msg']}", first)
    return Problem(Code.INVALID_FIELD, f"{path}: {_right(error)} ({meaning})", path)


def _unknown_field(path: str, name: str, owner: Model) -> str:
    known = sorted(owner.model_fields)
    near = difflib.get_close_matches(name[:80], known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{path} is an unknown field: {hint}we know {', '.join(known)}"


def _path(where: tuple[int | str, ...]) -> str:
    """Where in the data, as `error.field` says it: subscriber.username, kinds[0]."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{shown(part)}" for part in where)
    return path.removeprefix(".") or "data"


def _around(model: Model, where: tuple[int | str, ...]) -> tuple[Model, str]:
    """The model that the place belongs to, and what the field there means."""
    meaning = ""
    for part in where:
        info = model.model_fields.get(str(part))
        if info is None:
            break
        meaning = info.description or "as the platform's schema says"
        inner = (info.annotation, *get_args(info.annotation))
        model = next((one for one in inner if isinstance(one, type) and issubclass(one, BaseModel)), model)
    return model, meaning


def _right(error: ErrorDetails) -> str:
    """What would be right. pydantic's own sentence is kept where it says so without quoting the value."""
    context = error.get("ctx", {})
    match error["type"]:
        case "string_type":
            return "it has to be a text in quotes"
        case "bool_type":
            return "it has to be true or false"
        case "string_too_short":
            return "it is empty: leave it out or give it a value"
        case "string_too_long":
            return f"it is longer than {context['max_length']} characters"
        case "string_pattern_mismatch":
            return "it holds characters that are not allowed there, or is of another form"
        case "literal_error":
            return f"it has to be {context['expected']}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "it has to be a JSON object"
        case "list_type":
            return "it has to be a list"
        case "too_short":
            return "it is empty: leave it out or name at least one"
        case _:
            return error["msg"]
