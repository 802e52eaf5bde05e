"""JSON Schemas (2020-12) of every message: the commands' from their models, the events' from here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from worker.messages.catalogue import COMMANDS, KINDS, CommandSpec, Model
from worker.messages.commands import CALL_KINDS
from worker.messages.envelope import LONGEST, PRIORITIES, TIMES
from worker.messages.errors import Code
from worker.messages.rest import outputs as rest
from worker.messages.sippulse import outputs as sippulse
from worker.messages.sippulse.call_records import TABLES, row_schema

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
STATES = ("waiting", "running", "in_doubt", "parked", "succeeded", "rejected", "cancelled", "expired")
RESULTS: dict[str, str] = {
    "succeeded": "The command took effect. Final.",
    "rejected": "The command will not take effect, or only the steps named did. Final.",
    "cancelled": "The command was cancelled before it did anything. Final.",
    "expired": "The command's expirytime passed before it did anything. Final.",
    "parked": "A person has to decide; a final result follows.",
    "delayed": "The command has not ended after events.notify_after. Once; a final result follows.",
    "refused": "The message was never admitted as a command. The only answer to it.",
}
FINAL = ("succeeded", "rejected", "cancelled", "expired", "refused")
PAGE = "page"

TIME: Schema = {"type": "string", "format": "date-time"}
TEXT: Schema = {"type": "string"}
MONEY: Schema = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}

MEANINGS = {
    "specversion": "the version of CloudEvents",
    "id": "names the message for ever, together with source",
    "source": "who sends, a URI reference",
    "type": "the command",
    "time": "when it was ordered, with zone; older than journal.dedup_window: refused",
    "subject": "kept, passed on",
    "idempotencykey": "the business's own key, spent by an effect; default: id",
    "dependson": "id of an earlier command of the same source that has to succeed first",
    "correlationid": "passed to every event",
    "causationid": "passed to every event",
    "traceparent": "W3C trace context: tracing joins the sender's trace",
    "tracestate": "W3C trace context",
    "batchid": "passed to every event",
    "notbefore": "joins its object's line then",
    "expirytime": "past it and nothing done: ends expired",
    "priority": "among commands that are due",
    "datacontenttype": "application/json",
}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def table(properties: Mapping[str, Schema], required: tuple[str, ...] | None = None, **more: Any) -> Schema:
    """An object; all of its properties are required unless said otherwise."""
    names = list(properties) if required is None else list(required)
    return {"type": "object", "required": names, "properties": dict(properties), **more}


# Commands --------------------------------------------------------------------------------------------


@cache
def command_files() -> dict[str, Schema]:
    """File name -> schema of a whole command in structured mode, one per command and platform kind."""
    return {
        command_file(spec.type, kind): command(spec, kind, model)
        for spec in COMMANDS.values()
        for kind, model in spec.models().items()
    }


def command_file(command_type: str, kind: str) -> str:
    return f"{named(command_type, kind)}.schema.json"


def named(command_type: str, kind: str) -> str:
    """A command of a platform kind; a native one says itself of which."""
    return f"{command_type}.{kind}" if kind and not command_type.startswith(f"{kind}.") else command_type


def command(spec: CommandSpec, kind: str, model: Model) -> Schema:
    data = model.model_json_schema(ref_template="#/$defs/{model}")
    definitions = {**data.pop("$defs", {}), "data": data}
    attributes = {name: _attribute(name) for name in MEANINGS}
    attributes["type"] = {"const": spec.type, "description": MEANINGS["type"]}
    return {
        "$schema": DIALECT,
        "title": titled(spec.type, kind),
        "description": f"{spec.summary[0].upper()}{spec.summary[1:]}. Structured mode; in binary mode `data` is the body.",
        "type": "object",
        "required": ["specversion", "id", "source", "type", "data"],
        "properties": {**attributes, "data": {"$ref": "#/$defs/data"}},
        # Extension attributes that we do not know are allowed, and ignored.
        "propertyNames": {"pattern": "^[a-z0-9]+$"},
        "$defs": definitions,
    }


def titled(command_type: str, kind: str) -> str:
    return command_type if named(command_type, kind) == command_type else f"{command_type} for {kind}"


def _attribute(name: str) -> Schema:
    schema: Schema = {"type": "string", "minLength": 1, "maxLength": LONGEST[name]}
    if name == "specversion":
        schema = {"const": "1.0"}
    if name == "priority":
        schema = {"enum": list(PRIORITIES), "default": "normal"}
    if name in TIMES:
        schema = dict(TIME)
    if name == "source":
        schema["format"] = "uri-reference"
    if name not in ("specversion", "id", "source", "type"):
        schema = nullable(schema)
    return {**schema, "description": MEANINGS[name]}


# Events ----------------------------------------------------------------------------------------------


@cache
def event_files() -> dict[str, Schema]:
    """File name -> schema of an event."""
    results = {event_file(f"provisioning.command.{what}.v1"): result(what) for what in RESULTS}
    page_file = event_file(f"provisioning.command.{PAGE}.v1")
    return results | {page_file: page(), event_file("provisioning.audit.v1"): audit()}


def event_file(event_type: str) -> str:
    return f"{event_type}.schema.json"


def result(what: str) -> Schema:
    """The event that a command ends with, or that is said of it on its way."""
    data = table(_result_data(what), _required(what), description="Unknown fields may be added: ignore them.")
    schema = _event(f"provisioning.command.{what}.v1", RESULTS[what], {"data": data})
    if what == "succeeded":
        schema["allOf"] = [_output_rule({"const": each}, output) for each, output in OUTPUTS.items()]
        native = [*sippulse.outputs(), *(each for kind in KINDS for each in rest.outputs(kind))]
        schema["allOf"] += [_output_rule({"enum": types}, output) for types, output in native]
    return schema


def _result_data(what: str) -> dict[str, Schema]:
    data: dict[str, Schema] = {
        "command": nullable(COMMAND) if what == "refused" else COMMAND,
        "status": {"const": what},
        "effect": {"enum": ["none", "applied"] if what in FINAL else ["none", "applied", "unknown"]},
        "sequence": {"type": "integer", "minimum": 1, "description": "grows with every event of the command"},
        "attempts": {"type": "integer", "minimum": 0},
        "received_at": nullable(TIME),
        "started_at": nullable(TIME),
        "finished_at": nullable(TIME) if what in FINAL else {"type": "null"},
        "output": nullable({"type": "object", "description": "secrets stand only in the copy to reply_to"}),
        "error": {"type": "null"} if what == "succeeded" else ERROR,
        "steps": {"type": "array", "items": table({"name": TEXT, "status": TEXT})},
        "duplicate_of": {**TEXT, "description": "id of the message that this one repeats under a new id"},
        "retry_of": {**TEXT, "description": "the command that this one tries again"},
        "original": table(
            {"id": TEXT, "idempotencykey": TEXT}, description="the sender's names of a command tried again"
        ),
        "flags": {
            "type": "array",
            "items": TEXT,
            "description": "what to know besides, e.g. sent_after_lease",
        },
    }
    if what in ("delayed", "parked"):
        data["error"] = nullable(ERROR)
    if what == "delayed":
        data |= {"state": {"enum": list(STATES[:4])}, "reason": TEXT}
    if what == "refused":
        data["refused_message"] = {**TEXT, "description": "its id in the quarantine, fresh for every refusal"}
    return data


def _required(what: str) -> tuple[str, ...]:
    always = (
        "command",
        "status",
        "effect",
        "sequence",
        "attempts",
        "received_at",
        "started_at",
        "finished_at",
        "output",
        "error",
        "steps",
    )
    return always + {"delayed": ("state", "reason"), "refused": ("refused_message",)}.get(what, ())


WHAT_A_PAGE_IS = (
    "Rows of a long answer: only to reply_to, not stored. Pages are numbered from 1, and come before the result, whose"
    " output counts rows and pages. A reading that is interrupted begins again with page 1: the same id is the same"
    " page, another id with the same number takes the place of the former one, and numbers above the result's `pages`"
    " do not count."
)
ROWS = "Call records of SIPPulse: see sippulse.completed and sippulse.failed in $defs."


def page() -> Schema:
    data = table(
        {
            "command": COMMAND,
            "page": {"type": "integer", "minimum": 1},
            "rows": {"type": "array", "items": {"type": "object"}, "description": ROWS},
            "last": {"type": "boolean", "description": "true on the last page"},
        }
    )
    event = _event(f"provisioning.command.{PAGE}.v1", WHAT_A_PAGE_IS, {"data": data})
    return event | {"$defs": {f"sippulse.{kind}": row_schema(one) for kind, one in TABLES.items()}}


def audit() -> Schema:
    data = table(
        {
            "what": {"type": "string", "pattern": "^[a-z_]+$"},
            "platform": TEXT,
            "actor": {**TEXT, "description": "worker, sender, broker, or the user who acted"},
            "reason": nullable(TEXT),
            "command": nullable(COMMAND),
            "details": {"type": "object"},
            "at": TIME,
            "number": {"type": "integer", "minimum": 1, "description": "its place in the chain"},
            "previous": {**TEXT, "description": "auditmac of the record before it"},
        }
    )
    mac = {**TEXT, "description": "HMAC over the exact bytes of data, canonical JSON; chains the records"}
    event = _event("", "One change of a command, or one act of a person.", {"auditmac": mac, "data": data})
    event["title"] = "provisioning.audit.<what>.v1"
    event["properties"]["type"] = {"type": "string", "pattern": r"^provisioning\.audit\.[a-z_]+\.v1$"}
    event["required"].append("auditmac")
    return event


def _event(event_type: str, description: str, more: Mapping[str, Schema]) -> Schema:
    passed_on = ("subject", "correlationid", "causationid", "traceparent", "tracestate", "batchid")
    return {
        "$schema": DIALECT,
        "title": event_type,
        "description": description,
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "datacontenttype", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {**TEXT, "description": "the same however often the event is published"},
            "source": {"type": "string", "format": "uri-reference", "description": "worker.source"},
            "type": {"const": event_type},
            "time": TIME,
            "datacontenttype": {"const": "application/json"},
            **{name: {**TEXT, "description": "of the command"} for name in passed_on},
            **more,
        },
    }


COMMAND: Schema = table(
    {
        "id": nullable(TEXT),
        "source": nullable(TEXT),
        "type": TEXT,
        "idempotencykey": nullable(TEXT),
        "platform": TEXT,
        "partitionkey": nullable(TEXT),
        "subject": nullable(TEXT),
        "correlationid": nullable(TEXT),
        "batchid": nullable(TEXT),
    }
)
ERROR: Schema = table(
    {
        "code": {"enum": [code.value for code in Code]},
        "message": TEXT,
        "field": {**TEXT, "description": "an attribute, or a path in the data: subscriber.username"},
        "platform_code": TEXT,
        "platform_message": TEXT,
        "advice": TEXT,
    },
    ("code", "message", "advice"),
)
_CALLS = table({"kinds": {"type": "array", "items": {"enum": list(CALL_KINDS)}}}, ())
_NAMED = table(
    {"id": TEXT, "status": {"enum": list(STATES)}, "effect": {"enum": ["none", "applied", "unknown"]}},
    ("status", "effect"),
)
_NUMBER = table(
    {
        "number": TEXT,
        "platform_id": nullable(TEXT),
        "monthly_fee": nullable(MONEY),
        "toll_free": {"type": "boolean"},
        "removed": {"type": "object", "description": "number.release: the entry as it was"},
    },
    (),
)
# What `output` holds when a command of the type succeeded; null where a person decided that it took effect.
OUTPUTS: dict[str, Schema] = {
    "subscriber.create.v1": table(
        {
            "platform_id": nullable(TEXT),
            "adopted": {"type": "boolean", "description": "it was there before"},
            "differences": {
                "type": "array",
                "items": TEXT,
                "description": "fields filled in by the platform",
            },
        },
        (),
    ),
    "subscriber.update.v1": table(
        {"changed": {"type": "array", "items": TEXT, "description": "fields that are now as ordered"}}, ()
    ),
    "subscriber.get.v1": table({"subscriber": {"type": "object", "description": "secrets are ***"}}, ()),
    "subscriber.remove.v1": table({"removed": {"type": "object", "description": "the record as it was"}}, ()),
    "calls.block.v1": _CALLS,
    "calls.unblock.v1": _CALLS,
    "credit.add.v1": table({"amount": MONEY, "balance_before": MONEY, "balance_after": MONEY}, ()),
    "credit.get.v1": table({"balance": MONEY}, ()),
    "number.assign.v1": _NUMBER,
    "number.release.v1": _NUMBER,
    "call_records.list.v1": table(
        {
            "rows": {"type": "integer", "minimum": 0},
            "pages": {"type": "integer", "minimum": 1},
            "truncated": {"type": "boolean", "description": "there were more than `limit`"},
            "seconds": {"type": "integer", "description": "completed calls: their durations together"},
            "price": {**MONEY, "description": "completed calls: their prices together"},
            "missing_columns": {
                "type": "array",
                "items": TEXT,
                "description": "which this server does not have",
            },
        },
        (),
    ),
    "number.list.v1": table({"numbers": {"type": "array", "items": _NUMBER}}, ()),
    "command.cancel.v1": _NAMED,
    "command.get.v1": _NAMED,
}


def _output_rule(types: Schema, output: Schema) -> Schema:
    """Of a result whose command is of these types, the output is so."""

    def within(name: str, schema: Schema) -> Schema:
        return {"properties": {"data": {"properties": {name: schema}}}}

    return {
        "if": within("command", {"properties": {"type": types}}),
        "then": within("output", nullable(output)),
    }
