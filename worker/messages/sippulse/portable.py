"""The data of the portable commands as SIPPulse takes them. Names and meanings are public."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    create_model,
    field_validator,
)

from worker.messages.commands import (
    CALL_KINDS,
    CallKind,
    CallRecordsList,
    Command,
    Forwarding,
    Part,
    PostalAddress,
)
from worker.messages.fields import (
    PRINTABLE,
    Address,
    Digits,
    Domain,
    Email,
    Money,
    Note,
    Secret,
    Text,
    Username,
    Whole,
    wrong,
)


class SippulseSubscriber(Part):
    username: Username = Field(description="the subscriber's user name, as the platform spells it")
    domain: Domain = Field(description="the subscriber's domain; upper and lower case are the same")


class SippulseCommand(Command):
    """The data of a command about one subscriber of SIPPulse."""

    subscriber: SippulseSubscriber = Field(description="whom it is about")

    def object_name(self) -> str:
        return f"subscriber:{self.subscriber.username}@{self.subscriber.domain.lower()}"


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
PORTABLE_NAMES = {
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
    def _once(cls, value: Part | None, info: ValidationInfo) -> Part | None:
        return says_nothing_twice(value, info)


def says_nothing_twice(value: Part | None, info: ValidationInfo) -> Part | None:
    """platform_fields beside the portable fields that came before them."""
    for name in value.model_fields_set if value else ():
        if name == "id":
            raise wrong("id is given by the platform: leave it out")
        portable = PORTABLE_NAMES.get(name)
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


# "" is a value: it clears. What the platform demands, and what it keeps as a number, cannot be cleared.
Clearable = Annotated[str, StringConstraints(max_length=255, pattern=PRINTABLE)]
ClearableAddress = Annotated[
    str, StringConstraints(max_length=255, pattern=r"^[^\s\u0000-\u001f\u007f-\u009f]*$")
]


class PostalAddressChanges(Part):
    street: Clearable | None = Field(default=None, description="street")
    number: Clearable | None = Field(default=None, description="house number")
    complement: Clearable | None = Field(default=None, description="flat, floor, block")
    district: Clearable | None = Field(default=None, description="quarter of the city")
    city: Clearable | None = Field(default=None, description="city")
    state: Clearable | None = Field(default=None, description="state")
    postal_code: Clearable | None = Field(default=None, description="postal code")


ALWAYS = 'every call goes there, e.g. sip:1000@domain; "" ends it'
BUSY = 'calls go there while the line is busy; "" ends it'
NO_ANSWER = 'calls go there when nobody answers; "" ends it'


class ForwardingChanges(Part):
    always: ClearableAddress | None = Field(default=None, description=ALWAYS)
    busy: ClearableAddress | None = Field(default=None, description=BUSY)
    no_answer: ClearableAddress | None = Field(default=None, description=NO_ANSWER)


class SubscriberChangesSippulse(Part):
    """What changes: the names of subscriber.create. What is not named, or null, stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "minProperties": 1,
            "dependentRequired": {"cps": ["keep_alive"], "keep_alive": ["cps"]},
        }
    )

    password: Secret | None = Field(default=None, description="SIP password")
    portal_password: Secret | None = Field(default=None, description="password of the customers' portal")
    profile: Text | None = Field(default=None, description="name of a profile of the platform")
    rate_plan_id: Annotated[int, Whole()] | None = Field(
        default=None, description="id of a rate plan of the platform"
    )
    email: Email | None = Field(default=None, description="e-mail address")
    country_code: Annotated[int, Whole(1, 999)] | None = Field(
        default=None, description="country code, e.g. 55"
    )
    area_code: Annotated[int, Whole(0, 99999)] | None = Field(default=None, description="area code, e.g. 11")
    call_limit: Annotated[int, Whole()] | None = Field(default=None, description="calls at once")
    first_name: Clearable | None = Field(default=None, description="first name")
    last_name: Clearable | None = Field(default=None, description="last name")
    document: Clearable | None = Field(
        default=None, description="the person's or company's number (CPF, CNPJ)"
    )
    contract_number: Clearable | None = Field(default=None, description="number of the contract")
    address: PostalAddressChanges | None = Field(default=None, description="postal address")
    phone: Annotated[str, Digits()] | None = Field(default=None, description="telephone, digits")
    mobile: Annotated[str, Digits()] | None = Field(default=None, description="mobile telephone, digits")
    voicemail: bool | None = Field(default=None, description="whether there is a voice mailbox")
    voicemail_password: Annotated[SecretStr, Digits()] | None = Field(
        default=None, description="password of the voice mailbox, digits"
    )
    reseller_id: Annotated[int, Whole()] | None = Field(default=None, description="reseller; 0: none")
    caller_id: Clearable | None = Field(default=None, description="number shown to those who are called")
    forwarding: ForwardingChanges | None = Field(default=None, description="where calls go instead")
    incoming_calls: bool | None = Field(default=None, description="whether calls may come in")
    outgoing_calls: bool | None = Field(default=None, description="whether calls may go out")
    low_credit_limit: Annotated[Decimal, Money()] | None = Field(
        default=None, description="below this balance the subscriber is notified; prepaid plans only"
    )
    cps: Annotated[int, Whole()] | None = Field(
        default=None, description="calls a second; together with keep_alive, as no read shows them"
    )
    keep_alive: Annotated[int, Whole()] | None = Field(
        default=None, validate_default=True, description="keep-alive; together with cps"
    )
    platform_fields: SippulseFields | None = Field(  # type: ignore[valid-type]  # made from the table above
        default=None, description="fields without a portable name, as the platform's schema spells them"
    )

    @field_validator("keep_alive")
    @classmethod
    def _both(cls, value: int | None, info: ValidationInfo) -> int | None:
        if "cps" in info.data and (value is None) != (info.data["cps"] is None):
            raise wrong("cps and keep_alive are written together and never read: order both, or neither")
        return value

    @field_validator("platform_fields")
    @classmethod
    def _once(cls, value: Part | None, info: ValidationInfo) -> Part | None:
        if value is not None and "accountCode" in value.model_fields_set:
            raise wrong("accountCode is made of the subscriber's name by the platform: leave it out")
        return says_nothing_twice(value, info)


class SubscriberUpdateSippulse(SippulseCommand):
    changes: SubscriberChangesSippulse = Field(description="what is to be otherwise than it is")

    @field_validator("changes")
    @classmethod
    def _something(cls, value: Part) -> Part:
        named = value.model_dump(exclude_none=True).values()
        if all(each == {} for each in named):  # an object that names nothing is nothing
            raise wrong("it names nothing: name at least one field that is to change")
        return value


class PasswordChangeSippulse(SippulseCommand):
    new_password: Secret = Field(description="SIP password that is to be")
    current_password: Secret | None = Field(
        default=None, description="the one there is; left out: it is read from the platform"
    )


class ForwardingSetSippulse(SippulseCommand):
    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [name]} for name in ("always", "busy", "no_answer")]}
    )

    always: ClearableAddress | None = Field(default=None, description=ALWAYS)
    busy: ClearableAddress | None = Field(default=None, description=BUSY)
    no_answer: ClearableAddress | None = Field(default=None, validate_default=True, description=NO_ANSWER)

    @field_validator("no_answer")
    @classmethod
    def _something(cls, value: str | None, info: ValidationInfo) -> str | None:
        named = {"always", "busy"} <= info.data.keys()  # else one of them is wrong, and said so
        if value is None and named and info.data["always"] is None and info.data["busy"] is None:
            raise wrong("name at least one of always, busy and no_answer")
        return value


class NumberSippulse(SippulseCommand):
    number: Username = Field(description="the public number, as the platform spells it, e.g. 551130001000")


class NumberAssignSippulse(NumberSippulse):
    monthly_fee: Annotated[Decimal, Money()] | None = Field(
        default=None, description="what the number costs a month, in the platform's currency unit"
    )
    toll_free: bool | None = Field(default=None, description="who is called pays: 0800 numbers only")


class NumberReleaseSippulse(NumberSippulse):
    pass


class NumberListSippulse(SippulseCommand):
    pass


class CallRecordsListSippulse(CallRecordsList, SippulseCommand):
    """Calls that the subscriber made: those of its `accountcode`."""


# Portable command -> the model of its data.
MODELS: Mapping[str, type[Command]] = {
    "subscriber.create.v1": SubscriberCreateSippulse,
    "subscriber.update.v1": SubscriberUpdateSippulse,
    "subscriber.get.v1": SubscriberGetSippulse,
    "subscriber.remove.v1": SubscriberRemoveSippulse,
    "subscriber.block.v1": SubscriberBlockSippulse,
    "subscriber.activate.v1": SubscriberActivateSippulse,
    "calls.block.v1": CallsBlockSippulse,
    "calls.unblock.v1": CallsUnblockSippulse,
    "credit.add.v1": CreditAddSippulse,
    "credit.get.v1": CreditGetSippulse,
    "password.change.v1": PasswordChangeSippulse,
    "number.assign.v1": NumberAssignSippulse,
    "number.release.v1": NumberReleaseSippulse,
    "number.list.v1": NumberListSippulse,
    "forwarding.set.v1": ForwardingSetSippulse,
    "call_records.list.v1": CallRecordsListSippulse,
}
