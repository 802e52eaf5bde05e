"""The data of the portable commands as SIPPulse takes them. Names and meanings are public."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, create_model, field_validator

from worker.messages.commands import CALL_KINDS, CallKind, Command, Forwarding, Part, PostalAddress
from worker.messages.fields import (
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
    def _says_nothing_twice(cls, value: Part | None, info: ValidationInfo) -> Part | None:
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


# Portable command -> the model of its data.
MODELS: Mapping[str, type[Command]] = {
    "subscriber.create.v1": SubscriberCreateSippulse,
    "subscriber.get.v1": SubscriberGetSippulse,
    "subscriber.remove.v1": SubscriberRemoveSippulse,
    "subscriber.block.v1": SubscriberBlockSippulse,
    "subscriber.activate.v1": SubscriberActivateSippulse,
    "calls.block.v1": CallsBlockSippulse,
    "calls.unblock.v1": CallsUnblockSippulse,
    "credit.add.v1": CreditAddSippulse,
    "credit.get.v1": CreditGetSippulse,
}
