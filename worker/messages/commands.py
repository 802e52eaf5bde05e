"""What the data of commands is made of, and the commands that are answered at intake.

The portable commands of each kind of platform are in its own package: sippulse/portable.py, and so on.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from worker.messages.fields import Address, Instant, PlatformName, Text, Whole, lacking, wrong


class Part(BaseModel):
    """A JSON object whose fields are all known: another one is refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, regex_engine="rust-regex"
    )


class Command(Part):
    """The data of a command for one platform."""

    platform: PlatformName = Field(description="name of a configured platform")

    def object_name(self) -> str | None:
        """The object whose commands run in order (rule 4.1), without the platform's name.

        None: nothing in the data names it (yet); then the message's idempotency key does.
        """
        raise NotImplementedError


class PostalAddress(Part):
    street: Text | None = Field(default=None, description="street")
    number: Text | None = Field(default=None, description="house number")
    complement: Text | None = Field(default=None, description="flat, floor, block")
    district: Text | None = Field(default=None, description="quarter of the city")
    city: Text | None = Field(default=None, description="city")
    state: Text | None = Field(default=None, description="state")
    postal_code: Text | None = Field(default=None, description="postal code")


class Forwarding(Part):
    always: Address | None = Field(default=None, description="every call goes there, e.g. sip:1000@domain")
    busy: Address | None = Field(default=None, description="calls go there while the line is busy")
    no_answer: Address | None = Field(default=None, description="calls go there when nobody answers")


CallKind = Literal["outgoing", "incoming", "collect", "anonymous", "private", "call_center"]
CALL_KINDS: tuple[str, ...] = get_args(CallKind)


CallRecordKind = Literal["completed", "failed"]


class CallRecordsList(Command):
    """What `call_records.list` is asked on every platform; each kind adds whose calls they are."""

    since: Annotated[datetime, Instant()] = Field(description="calls that began then or later")
    until: Annotated[datetime, Instant()] = Field(description="calls that began before then")
    kind: CallRecordKind = Field(description="`completed`: calls that were put through; `failed`: the others")
    service: Text | None = Field(
        default=None, description="only calls of this service, as the platform names it"
    )
    limit: Annotated[int, Whole(1, 10_000_000)] | None = Field(
        default=None, description="at most so many calls, the oldest"
    )

    @field_validator("until")
    @classmethod
    def _later(cls, value: datetime, info: ValidationInfo) -> datetime:
        if (since := info.data.get("since")) is not None and value <= since:
            raise wrong("it has to be later than since")
        return value


NAMED = "the command is named by id (of your own source), or by source and idempotencykey"


class CommandNamed(Part):
    """The data of `command.*`: which command is meant."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["id"]}, {"required": ["source", "idempotencykey"]}]}
    )

    id: Text | None = Field(default=None, description="id of a command of the sender's own source")
    source: Text | None = Field(
        default=None, description="source of the command, together with idempotencykey"
    )
    idempotencykey: Text | None = Field(
        default=None, validate_default=True, description="the command's key, together with source"
    )

    @field_validator("idempotencykey")
    @classmethod
    def _one_name(cls, value: str | None, info: ValidationInfo) -> str | None:
        by_id, source = info.data.get("id"), info.data.get("source")
        if by_id is not None and (source is not None or value is not None):
            raise wrong(f"{NAMED}, not by both")
        if by_id is None and (source is None or value is None):
            raise lacking(NAMED)
        return value


class CommandCancel(CommandNamed):
    pass


class CommandGet(CommandNamed):
    pass
