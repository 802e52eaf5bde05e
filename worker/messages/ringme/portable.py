"""The portable commands for RingMe: the data of each, and why the others are not offered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationInfo, field_validator

from worker.messages.commands import CALL_KINDS, CallKind, CallRecordsList, Command, Part
from worker.messages.fields import Email, Secret, Text, Whole, wrong

Id = Annotated[int, Whole(1)]
Number = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")]
GeoList = Annotated[str, StringConstraints(pattern=r"^(\*|[A-Z]{2}( [A-Z]{2}){0,299})$")]


class RingmeClient(Part):
    client_id: Id = Field(
        description="id of a client of the PBX; `@me` is not taken, it would be a second name"
    )


class RingmeSubscriber(RingmeClient):
    extension_id: Id | None = Field(
        default=None, description="id of one of its internal numbers (not the number); left out: the client"
    )


class RingmeExtension(RingmeClient):
    extension_id: Id = Field(description="id of one of its internal numbers (not the number itself)")


def line_of(subscriber: RingmeClient) -> str:
    """The ordering key: the same for all commands about a client, or about an internal number."""
    extension = getattr(subscriber, "extension_id", None)
    return f"client:{subscriber.client_id}" if extension is None else f"extension:{extension}"


class RingmeCommand(Command):
    """The data of a command about a client, or about one of its internal numbers."""

    subscriber: RingmeSubscriber = Field(description="whom it is about")

    def object_name(self) -> str:
        return line_of(self.subscriber)


class RingmeExtensionCommand(Command):
    """The data of a command that there is for internal numbers alone."""

    subscriber: RingmeExtension = Field(description="whom it is about")

    def object_name(self) -> str:
        return line_of(self.subscriber)


class ExtensionFields(Part):
    """Fields of an internal number under RingMe's own names."""

    status: Literal["active", "blocked"] | None = Field(
        default=None, description="a new one is made `active`"
    )
    extension_group_id: Id | None = Field(default=None, description="id of its group")
    caller_id_name: Text | None = Field(default=None, description="name shown to those who are called")
    message_did: Text | None = Field(default=None, description="as the platform has it")
    dial_rule_id: Id | None = Field(default=None, description="its own list of outgoing-call rules")
    ani_rfc3325: bool | None = Field(default=None, description="as the platform has it")
    did_as_transfer_caller_id: Text | None = Field(default=None, description="as the platform has it")
    extra_params: Text | None = Field(default=None, description="as the platform has it")


class SubscriberCreateRingme(Command):
    subscriber: RingmeClient = Field(description="the client that gets an internal number")
    number: Number = Field(
        description="the internal number, as it is dialled; it cannot be changed afterwards"
    )
    type: Literal["phone", "ivr", "queue", "fax"] = Field(default="phone", description="what it is")
    label: Text | None = Field(default=None, description="a text for people")
    password: Secret | None = Field(
        default=None, description="SIP password, of a phone alone; left out: the platform chooses"
    )
    if_exists: Literal["reject", "adopt", "update"] = Field(
        default="reject", description="what to do when the number is there already"
    )
    platform_fields: ExtensionFields | None = Field(
        default=None, description="fields without a portable name, as the platform spells them"
    )

    def object_name(self) -> str:
        return f"number:{self.subscriber.client_id}:{self.number}"

    @field_validator("password")
    @classmethod
    def _of_a_phone(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and info.data.get("type", "phone") != "phone":
            raise wrong("only an internal number of type phone has a password")
        return value


OF_A_CLIENT = (
    "dial_rule_id",
    "disk_space_notify_email",
    "disk_space_notify_threshold",
    "geo_list",
    "hold_music",
    "sip_network_permission_id",
    "timezone",
)


class RingmeChanges(Part):
    """What may be changed: seven fields of a client, or those of an internal number."""

    dial_rule_id: Id | None = Field(default=None, description="id of the list of outgoing-call rules")
    disk_space_notify_email: Email | None = Field(
        default=None, description="told when the disk threshold is passed; of a client"
    )
    disk_space_notify_threshold: Annotated[int, Whole(0, 100)] | None = Field(
        default=None, description="that threshold, in per cent; of a client"
    )
    geo_list: GeoList | None = Field(
        default=None, description="countries from which SIP may be used, e.g. `RU BY`, `*`: all; of a client"
    )
    hold_music: Id | None = Field(default=None, description="id of the sound while on hold; of a client")
    sip_network_permission_id: Id | None = Field(
        default=None, description="id of the network that SIP calls may come from; of a client"
    )
    timezone: Text | None = Field(default=None, description="e.g. Europe/Moscow; of a client")
    type: Literal["phone", "ivr", "queue", "fax"] | None = Field(
        default=None, description="what it is; of an internal number"
    )
    label: Text | None = Field(default=None, description="a text for people; of an internal number")
    password: Secret | None = Field(default=None, description="SIP password; of an internal number")
    platform_fields: ExtensionFields | None = Field(
        default=None, description="fields of an internal number, as the platform spells them"
    )


class SubscriberUpdateRingme(RingmeCommand):
    changes: RingmeChanges = Field(description="what is to change; what is left out stays")

    @field_validator("changes")
    @classmethod
    def _of_the_subscriber(cls, value: RingmeChanges, info: ValidationInfo) -> RingmeChanges:
        given = [name for name in value.model_fields_set if getattr(value, name) is not None]
        if not given:
            raise wrong("name at least one field with its new value: none can be cleared here")
        if (subscriber := info.data.get("subscriber")) is None:
            return value
        of_client = subscriber.extension_id is None
        for name in sorted(given):
            if of_client and name not in OF_A_CLIENT:
                raise wrong(f"{name} is a field of an internal number: name it by subscriber.extension_id")
            if not of_client and name in OF_A_CLIENT[1:]:
                raise wrong(f"{name} is a field of the client: leave subscriber.extension_id out")
        fields = value.platform_fields
        if fields is not None and fields.dial_rule_id is not None and value.dial_rule_id is not None:
            raise wrong("dial_rule_id stands twice: leave one of them out")
        return value


class SubscriberGetRingme(RingmeCommand):
    pass


class SubscriberRemoveRingme(RingmeExtensionCommand):
    pass


class SubscriberBlockRingme(RingmeExtensionCommand):
    pass


class SubscriberActivateRingme(RingmeExtensionCommand):
    pass


class CallsRingme(RingmeCommand):
    kinds: list[CallKind] = Field(
        default=["outgoing"],
        min_length=1,
        max_length=len(CALL_KINDS),
        json_schema_extra={"uniqueItems": True},
        description="which calls; this platform can block outgoing ones",
    )


class CallsBlockRingme(CallsRingme):
    pass


class CallsUnblockRingme(CallsRingme):
    pass


class PasswordChangeRingme(RingmeExtensionCommand):
    new_password: Secret = Field(description="SIP password that is to be")


class NumberListRingme(RingmeCommand):
    pass


class CallRecordsListRingme(CallRecordsList, RingmeCommand):
    pass


# Portable command -> the model of its data.
MODELS: Mapping[str, type[Command]] = {
    "subscriber.create.v1": SubscriberCreateRingme,
    "subscriber.update.v1": SubscriberUpdateRingme,
    "subscriber.get.v1": SubscriberGetRingme,
    "subscriber.remove.v1": SubscriberRemoveRingme,
    "subscriber.block.v1": SubscriberBlockRingme,
    "subscriber.activate.v1": SubscriberActivateRingme,
    "calls.block.v1": CallsBlockRingme,
    "calls.unblock.v1": CallsUnblockRingme,
    "password.change.v1": PasswordChangeRingme,
    "number.list.v1": NumberListRingme,
    "call_records.list.v1": CallRecordsListRingme,
}
NO_MONEY = "no page and no program shows a balance, a payment or a credit of RingMe"
# Why the other portable commands are not offered.
NOT_OFFERED: Mapping[str, str] = {
    "credit.add.v1": NO_MONEY,
    "credit.get.v1": NO_MONEY,
    "number.assign.v1": "external numbers can be listed; nothing shows how one is given to a client",
    "number.release.v1": "external numbers can be listed; nothing shows how one is taken from a client",
    "forwarding.set.v1": "calls are forwarded by rules for incoming calls, and what those are made of is not known",
}
# An example of the data of each, without `platform`.
WHO: dict[str, Any] = {"subscriber": {"client_id": 12, "extension_id": 345}}
EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "subscriber.create.v1": {
        "subscriber": {"client_id": 12},
        "number": "101",
        "type": "phone",
        "label": "Reception",
        "password": "sip-password-of-101",
        "platform_fields": {"caller_id_name": "Reception"},
    },
    "subscriber.update.v1": {"subscriber": {"client_id": 12}, "changes": {"timezone": "Europe/Moscow"}},
    "subscriber.get.v1": {"subscriber": {"client_id": 12}},
    "subscriber.remove.v1": WHO,
    "subscriber.block.v1": WHO,
    "subscriber.activate.v1": WHO,
    "calls.block.v1": {"subscriber": {"client_id": 12}, "kinds": ["outgoing"]},
    "calls.unblock.v1": {"subscriber": {"client_id": 12}, "kinds": ["outgoing"]},
    "password.change.v1": WHO | {"new_password": "new-sip-password-of-101"},
    "number.list.v1": {"subscriber": {"client_id": 12}},
    "call_records.list.v1": {
        "subscriber": {"client_id": 12},
        "since": "2026-05-01T00:00:00Z",
        "until": "2026-05-02T00:00:00Z",
        "kind": "completed",
    },
}
