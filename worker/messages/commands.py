"""The data of every command: one model per command and platform kind. Names and meanings are public."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, create_model, field_validator

from worker.messages.fields import (
    Address,
    Digits,
    Domain,
    Email,
    Money,
    Note,
    PlatformName,
    Secret,
    Text,
    Username,
    Whole,
    lacking,
    wrong,
)


class Part(BaseModel):
    """A JSON object whose fields are all known: another one is refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, regex_engine="rust-regex"
    )


class Command(Part):
    """The data of a command for one platform."""

    platform: PlatformName = Field(description="name of a configured platform")

    def object_name(self) -> str:
        """The object whose commands run in order (rule 4.1), without the platform's name."""
        raise NotImplementedError


class SippulseSubscriber(Part):
    username: Username = Field(description="the subscriber's user name, as the platform spells it")
    domain: Domain = Field(description="the subscriber's domain; upper and lower case are the same")


class SippulseCommand(Command):
    """The data of a command about one subscriber of SIPPulse."""

    subscriber: SippulseSubscriber = Field(description="whom it is about")

    def object_name(self) -> str:
        return f"subscriber:{self.subscriber.username}@{self.subscriber.domain.lower()}"


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


# subscriberDTO of the platform's own schema, in its order; `voiceMailPassword` and the like are as it spells them.
DTO: dict[str, Any] = {
    "accountCode": Text,
    "activeIncomingCalls": bool,
    "activeOutgoingCalls": bool,
    "addServiceHeader": bool,
    "address": Text,
    "areaCode": Annotated[int, Whole()],
    "blockAnonymousCalls": bool,
    "blockCollectCalls": bool,
    "blockEntry0303": bool,
    "callFwd": Address,
    "callLimit": Annotated[int, Whole()],
    "callsOnlyByIp": bool,
    "city": Text,
    "cityCode": Text,
    "complement": Text,
    "contractNumber": Text,
    "copyPassertedRpid": bool,
    "countryCode": Annotated[int, Whole()],
    "document": Text,
    "domain": Domain,
    "emailAddress": Email,
    "firstName": Text,
    "fwdBusy": Address,
    "id": Annotated[int, Whole()],
    "lastName": Text,
    "localArea": Text,
    "lowCreditLimit": Annotated[float, Field(ge=0, le=1e12)],
    "lowCreditNotification": bool,
    "mobile": Annotated[str, Digits()],
    "noAnswer": Address,
    "number": Text,
    "password": Secret,
    "passwordPortal": Secret,
    "phone": Annotated[str, Digits()],
    "profile": Text,
    "quarter": Text,
    "ratePlanId": Annotated[int, Whole()],
    "resellerBillingType": Annotated[int, Whole(0, 1)],
    "resellerId": Annotated[int, Whole()],
    "resellerMarkup": Annotated[float, Field(ge=-1e12, le=1e12)],
    "resellerRatePlanId": Annotated[int, Whole()],
    "rings": Annotated[int, Whole(0, 3600)],
    "rpid": Text,
    "softphoneAllowed": bool,
    "state": Text,
    "username": Username,
    "validateSource0303": bool,
    "voiceMailPassword": Annotated[SecretStr, Digits()],
    "voicemail": bool,
    "zip": Text,
}
# The portable name of a field that has one. Both at once would leave open which of them is meant.
PORTABLE = {
    "username": "subscriber.username",
    "domain": "subscriber.domain",
    "activeIncomingCalls": "incoming_calls",
    "activeOutgoingCalls": "outgoing_calls",
    "address": "address.street",
    "areaCode": "area_code",
    "callFwd": "forwarding.always",
    "callLimit": "call_limit",
    "city": "address.city",
    "complement": "address.complement",
    "contractNumber": "contract_number",
    "countryCode": "country_code",
    "document": "document",
    "emailAddress": "email",
    "firstName": "first_name",
    "fwdBusy": "forwarding.busy",
    "lastName": "last_name",
    "lowCreditLimit": "low_credit_limit",
    "mobile": "mobile",
    "noAnswer": "forwarding.no_answer",
    "number": "address.number",
    "password": "password",
    "passwordPortal": "portal_password",
    "phone": "phone",
    "profile": "profile",
    "quarter": "address.district",
    "ratePlanId": "rate_plan_id",
    "resellerId": "reseller_id",
    "rpid": "caller_id",
    "state": "address.state",
    "voiceMailPassword": "voicemail_password",
    "voicemail": "voicemail",
    "zip": "address.postal_code",
}

_DTO_FIELDS: dict[str, Any] = {name: (kind | None, None) for name, kind in DTO.items()}
SippulseFields: type[Part] = create_model(
    "SippulseFields",
    __base__=Part,
    __doc__="Fields of subscriberDTO under SIPPulse's own names.",
    **_DTO_FIELDS,
)


class SubscriberCreateSippulse(SippulseCommand):
    password: Secret = Field(description="SIP password")
    portal_password: Secret = Field(description="password of the customers' portal")
    profile: Text = Field(description="name of a profile of the platform")
    rate_plan_id: Annotated[int, Whole()] = Field(description="id of a rate plan of the platform")
    email: Email = Field(description="e-mail address")
    country_code: Annotated[int, Whole(1, 999)] = Field(description="country code, e.g. 55")
    area_code: Annotated[int, Whole(0, 99999)] = Field(description="area code, e.g. 11")
    call_limit: Annotated[int, Whole()] = Field(description="calls at once")
    first_name: Text | None = Field(default=None, description="first name")
    last_name: Text | None = Field(default=None, description="last name")
    document: Text | None = Field(default=None, description="the person's or company's number (CPF, CNPJ)")
    contract_number: Text | None = Field(default=None, description="number of the contract")
    address: PostalAddress | None = Field(default=None, description="postal address")
    phone: Annotated[str, Digits()] | None = Field(default=None, description="telephone, digits")
    mobile: Annotated[str, Digits()] | None = Field(default=None, description="mobile telephone, digits")
    voicemail: bool | None = Field(default=None, description="whether there is a voice mailbox")
    voicemail_password: Annotated[SecretStr, Digits()] | None = Field(
        default=None, description="password of the voice mailbox, digits"
    )
    reseller_id: Annotated[int, Whole()] | None = Field(default=None, description="reseller; 0: none")
    caller_id: Text | None = Field(default=None, description="number shown to those who are called")
    forwarding: Forwarding | None = Field(default=None, description="where calls go instead")
    incoming_calls: bool | None = Field(default=None, description="whether calls may come in")
    outgoing_calls: bool | None = Field(default=None, description="whether calls may go out")
    low_credit_limit: Annotated[Decimal, Money()] | None = Field(
        default=None, description="below this balance the subscriber is notified; prepaid plans only"
    )
    cps: Annotated[int, Whole()] | None = Field(default=None, description="calls a second")
    keep_alive: Annotated[int, Whole()] | None = Field(default=None, description="keep-alive")
    if_exists: Literal["reject", "adopt", "update"] = Field(
        default="reject", description="what to do when the subscriber is there already"
    )
    platform_fields: SippulseFields | None = Field(  # type: ignore[valid-type]  # made from the table above
        default=None, description="fields without a portable name, as the platform's schema spells them"
    )

    @field_validator("platform_fields")
    @classmethod
    def _says_nothing_twice(cls, value: Part | None, info: ValidationInfo) -> Part | None:
        for name in value.model_fields_set if value else ():
            if name == "id":
                raise wrong("id is given by the platform: leave it out")
            portable = PORTABLE.get(name)
            if portable and (name in ("username", "domain") or _sent(info.data, portable)):
                raise wrong(f"{name} stands twice: {portable} says the same, leave one of them out")
        return value


def _sent(data: dict[str, Any], path: str) -> bool:
    value: Any = data
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    return value is not None


class SubscriberGetSippulse(SippulseCommand):
    pass


class SubscriberRemoveSippulse(SippulseCommand):
    pass


class SubscriberBlockSippulse(SippulseCommand):
    pass


class SubscriberActivateSippulse(SippulseCommand):
    pass


CallKind = Literal["outgoing", "incoming", "collect", "anonymous", "private", "call_center"]
CALL_KINDS: tuple[str, ...] = get_args(CallKind)


class CallsSippulse(SippulseCommand):
    kinds: list[CallKind] = Field(
        default=["outgoing"],
        min_length=1,
        max_length=len(CALL_KINDS),
        json_schema_extra={"uniqueItems": True},
        description="which calls",
    )

    @field_validator("kinds")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        if len(set(value)) != len(value):
            raise wrong("a kind stands twice: name each once")
        return value


class CallsBlockSippulse(CallsSippulse):
    pass


class CallsUnblockSippulse(CallsSippulse):
    pass


class CreditAddSippulse(SippulseCommand):
    amount: Annotated[Decimal, Money()] = Field(
        description="what is added, in the platform's currency unit, as fine as `credit_step` at most"
    )
    note: Note | None = Field(default=None, description="kept by the platform with the entry")


class CreditGetSippulse(SippulseCommand):
    pass


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
