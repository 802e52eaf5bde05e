"""The AsyncAPI 3.0 document: where messages go, and which."""

from __future__ import annotations

from typing import Any

from worker.messages import schemas
from worker.messages.catalogue import COMMANDS
from worker.messages.envelope import STRUCTURED

Part = dict[str, Any]
BINDING = "0.3.0"
SCHEMA = "application/schema+json;version=draft-2020-12"

DESCRIPTION = """\
Commands go in as CloudEvents 1.0, in structured mode (content type application/cloudevents+json) or in binary
mode (attributes in headers `ce-x`, `cloudEvents:x` or `cloudEvents_x`, the data as body). Events come out in
structured mode. A command is done once however often its message is delivered; commands about one object are
done in the order they came. Set the AMQP property reply_to to get the final result in a queue of your own too.
"""


def document() -> Part:
    """The whole document; the schemas stand in files beside it."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Provisioning worker",
            "version": "1.0.0",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": STRUCTURED,
        "servers": {
            "rabbitmq": {
                "host": "127.0.0.1:5672",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "RabbitMQ 3.10 or later; the setting broker.url",
            }
        },
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": _messages()},
    }


def _channels() -> Part:
    commands = {name: _message(name) for name in _command_names()}
    results = {name: _message(name) for name in _result_names()}
    return {
        "commands": _queue("provisioning.commands", "Interactive commands.", commands),
        "bulk": _queue("provisioning.commands.bulk", "Batches: admitted with priority low.", commands),
        "results": _exchange(
            "provisioning.results",
            "{platform}.{command}.{ending}",
            "Results. Refused with unknown platform or type: unknown.unknown.refused.",
            {
                "platform": {"description": "name of a configured platform, or unknown"},
                "command": {"description": "the command without .v1, e.g. subscriber.create"},
                "ending": {"description": "what the event says", "enum": list(schemas.RESULTS)},
            },
            results,
        ),
        "audit": _exchange(
            "provisioning.audit",
            "{platform}.{what}",
            "Audit records, chained.",
            {
                "platform": {"description": "name of a configured platform, or unknown"},
                "what": {"description": "what happened, e.g. admitted, ended"},
            },
            {"audit": _message("audit")},
        ),
        "replies": {
            "address": None,
            "description": "The queue that the AMQP property reply_to of a command names.",
            "messages": {**results, "page": _message("page")},
            "bindings": {
                "amqp": {"is": "queue", "queue": {"name": "", "durable": True}, "bindingVersion": BINDING}
            },
        },
    }


def _queue(name: str, description: str, messages: Part) -> Part:
    """A command queue is bound to the exchange of its name with #: any routing key reaches it."""
    return {
        "address": name,
        "description": f"{description} Topic exchange {name}, bound with # to the quorum queue of the same name.",
        "messages": messages,
        "bindings": {"amqp": {"is": "routingKey", "exchange": _topic(name), "bindingVersion": BINDING}},
    }


def _exchange(name: str, address: str, description: str, parameters: Part, messages: Part) -> Part:
    return {
        "address": address,
        "description": f"{description} Topic exchange {name}: bind a queue of your own.",
        "parameters": parameters,
        "messages": messages,
        "bindings": {"amqp": {"is": "routingKey", "exchange": _topic(name), "bindingVersion": BINDING}},
    }


def _topic(name: str) -> Part:
    return {"name": name, "type": "topic", "durable": True, "autoDelete": False, "vhost": "/"}


def _operations() -> Part:
    """As the worker does them: it receives commands, and sends events."""
    replies = {
        "address": {
            "location": "$message.header#/reply_to",
            "description": "AMQP's reply_to; the result goes to provisioning.results in any case",
        },
        "channel": _channel("replies"),
    }
    take = {"amqp": {"ack": True, "bindingVersion": BINDING}}
    send = {"amqp": {"deliveryMode": 2, "mandatory": True, "timestamp": True, "bindingVersion": BINDING}}
    return {
        "receiveCommand": {
            "action": "receive",
            "channel": _channel("commands"),
            "summary": "Do a command.",
            "bindings": take,
            "reply": replies,
        },
        "receiveBulkCommand": {
            "action": "receive",
            "channel": _channel("bulk"),
            "summary": "Do a command of a batch.",
            "bindings": take,
            "reply": replies,
        },
        "sendResult": {
            "action": "send",
            "channel": _channel("results"),
            "summary": "Say what became of a command.",
            "bindings": send,
        },
        "sendAudit": {
            "action": "send",
            "channel": _channel("audit"),
            "summary": "Leave an audit record.",
            "bindings": send,
        },
    }


def _messages() -> Part:
    return {**_command_messages(), **_event_messages()}


def _command_messages() -> Part:
    found = {}
    for spec in COMMANDS.values():
        for kind in spec.models():
            file = schemas.command_file(spec.type, kind)
            found[schemas.named(spec.type, kind)] = {
                "name": spec.type,
                "title": schemas.titled(spec.type, kind),
                "summary": spec.summary,
                **_payload(f"commands/{file}"),
                "bindings": {"amqp": {"messageType": spec.type, "bindingVersion": BINDING}},
            }
    return found


def _event_messages() -> Part:
    told = {what: f"provisioning.command.{what}.v1" for what in (*schemas.RESULTS, schemas.PAGE)}
    found = {
        what: {
            "name": event_type,
            "title": event_type,
            "summary": schemas.RESULTS.get(what, "Rows of a long answer: only to reply_to, not stored."),
            **_payload(f"events/{schemas.event_file(event_type)}"),
            "correlationId": {"location": "$message.payload#/correlationid"},
            "bindings": {"amqp": {"messageType": event_type, "bindingVersion": BINDING}},
        }
        for what, event_type in told.items()
    }
    found["audit"] = {
        "name": "provisioning.audit.v1",
        "title": "provisioning.audit.<what>.v1",
        "summary": "One change of a command, or one act of a person.",
        **_payload(f"events/{schemas.event_file('provisioning.audit.v1')}"),
    }
    return found


def _payload(file: str) -> Part:
    return {"contentType": STRUCTURED, "payload": {"schemaFormat": SCHEMA, "schema": {"$ref": f"./{file}"}}}


def _command_names() -> list[str]:
    return [schemas.named(spec.type, kind) for spec in COMMANDS.values() for kind in spec.models()]


def _result_names() -> list[str]:
    return list(schemas.RESULTS)


def _message(name: str) -> Part:
    return {"$ref": f"#/components/messages/{name}"}


def _channel(name: str) -> Part:
    return {"$ref": f"#/channels/{name}"}
