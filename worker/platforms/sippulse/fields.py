"""subscriberDTO: our names and the platform's, types, defaults. The one table that both directions use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any

from worker.domain.redaction import MASK

Scalar = str | int | bool | Decimal


@dataclass(frozen=True, slots=True)
class Field:
    """`ours` is a dotted path in a command's data, `type` the XML Schema type without its prefix."""

    ours: str
    wire: str
    type: str
    secret: bool = False


SUBSCRIBER = (
    Field("account_code", "accountCode", "string"),
    Field("incoming_calls", "activeIncomingCalls", "boolean"),
    Field("outgoing_calls", "activeOutgoingCalls", "boolean"),
    Field("add_service_header", "addServiceHeader", "boolean"),
    Field("address.street", "address", "string"),
    Field("area_code", "areaCode", "int"),
    Field("block_anonymous_calls", "blockAnonymousCalls", "boolean"),
    Field("block_collect_calls", "blockCollectCalls", "boolean"),
    Field("block_entry_0303", "blockEntry0303", "boolean"),
    Field("forwarding.always", "callFwd", "string"),
    Field("call_limit", "callLimit", "int"),
    Field("calls_only_by_ip", "callsOnlyByIp", "boolean"),
    Field("address.city", "city", "string"),
    Field("city_code", "cityCode", "string"),
    Field("address.complement", "complement", "string"),
    Field("contract_number", "contractNumber", "string"),
    Field("copy_passerted_rpid", "copyPassertedRpid", "boolean"),
    Field("country_code", "countryCode", "int"),
    Field("document", "document", "string"),
    Field("domain", "domain", "string"),
    Field("email", "emailAddress", "string"),
    Field("first_name", "firstName", "string"),
    Field("forwarding.busy", "fwdBusy", "string"),
    Field("id", "id", "int"),
    Field("last_name", "lastName", "string"),
    Field("local_area", "localArea", "string"),
    Field("low_credit_limit", "lowCreditLimit", "double"),
    Field("low_credit_notification", "lowCreditNotification", "boolean"),
    Field("mobile", "mobile", "long"),
    Field("forwarding.no_answer", "noAnswer", "string"),
    Field("address.number", "number", "string"),
    Field("password", "password", "string", secret=True),
    Field("portal_password", "passwordPortal", "string", secret=True),
    Field("phone", "phone", "long"),
    Field("profile", "profile", "string"),
    Field("address.district", "quarter", "string"),
    Field("rate_plan_id", "ratePlanId", "int"),
    Field("reseller_billing_type", "resellerBillingType", "int"),
    Field("reseller_id", "resellerId", "int"),
    Field("reseller_markup", "resellerMarkup", "double"),
    Field("reseller_rate_plan_id", "resellerRatePlanId", "int"),
    Field("rings", "rings", "int"),
    Field("caller_id", "rpid", "string"),
    Field("softphone_allowed", "softphoneAllowed", "boolean"),
    Field("address.state", "state", "string"),
    Field("username", "username", "string"),
    Field("validate_source_0303", "validateSource0303", "boolean"),
    Field("voicemail_password", "voiceMailPassword", "long", secret=True),
    Field("voicemail", "voicemail", "boolean"),
    Field("address.postal_code", "zip", "string"),
)
BY_WIRE: Mapping[str, Field] = MappingProxyType({field.wire: field for field in SUBSCRIBER})
SECRETS = frozenset(field.wire for field in SUBSCRIBER if field.secret)
IDENTITY = frozenset({"username", "domain", "id"})

# Fields that `subscriber.create` takes under our names; the others only as platform_fields.
OURS: Mapping[str, Field] = MappingProxyType(
    {
        field.ours: field
        for field in SUBSCRIBER
        if field.wire
        in {
            "activeIncomingCalls", "activeOutgoingCalls", "address", "areaCode", "callFwd", "callLimit", "city",
            "complement", "contractNumber", "countryCode", "document", "emailAddress", "firstName", "fwdBusy",
            "lastName", "lowCreditLimit", "mobile", "noAnswer", "number", "password", "passwordPortal", "phone",
            "profile", "quarter", "ratePlanId", "resellerId", "rpid", "state", "voiceMailPassword", "voicemail",
            "zip",
        }
    }
)  # fmt: skip
MANDATORY = ("password", "portal_password", "profile", "rate_plan_id", "email", "country_code", "area_code",
             "call_limit")  # fmt: skip

# What goes out where nothing was ordered: the 14 fields that the schema demands, and resellerId ("0 when the
# subscriber has no reseller"). Documented defaults where there are any, else what a Java client that leaves
# a primitive out would send. `assume` in the settings can give another value under the platform's name.
DEFAULTS: Mapping[str, Scalar] = MappingProxyType(
    {
        "activeIncomingCalls": True,
        "activeOutgoingCalls": True,
        "addServiceHeader": False,
        "blockAnonymousCalls": False,
        "blockEntry0303": False,
        "callsOnlyByIp": False,
        "copyPassertedRpid": False,
        "lowCreditLimit": Decimal(0),
        "lowCreditNotification": False,
        "resellerBillingType": 0,
        "resellerId": 0,
        "resellerMarkup": Decimal(0),
        "softphoneAllowed": False,
        "validateSource0303": False,
        "voicemail": False,
    }
)

_BITS = {"int": 31, "long": 63}
# What XML 1.0 cannot carry: control characters, lone surrogates, the two non-characters at the end.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def wire_value(kind: str, value: Any) -> Scalar:
    """A value as the wire type wants it. Raises ValueError with a sentence that does not quote the value."""
    match kind:
        case "boolean":
            if not isinstance(value, bool):
                raise ValueError("it has to be true or false")
            return value
        case "int" | "long":
            return _whole(kind, value)
        case "double":
            return _decimal(value)
        case _:
            return text(value)


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("it has to be a text")
    if found := _NOT_XML.search(value):
        raise ValueError(f"it holds the character U+{ord(found[0]):04X}, which XML cannot carry")
    return value


def sayable(value: str) -> str:
    """With ? for what XML cannot carry."""
    return _NOT_XML.sub("?", value)


def _whole(kind: str, value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("it has to be a whole number (digits only)")
    if not -(2 ** _BITS[kind]) <= value < 2 ** _BITS[kind]:
        raise ValueError(f"it has to fit into {_BITS[kind] + 1} bits")
    return value


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise ValueError("it has to be a decimal number")
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError("it has to be a decimal number, e.g. 12.34") from None
    if not number.is_finite():
        raise ValueError("it has to be a finite decimal number")
    # xs:double keeps 15 digits for certain: more would not arrive as they were sent.
    if len(number.normalize().as_tuple().digits) > 15 or abs(number) >= Decimal("1e15"):
        raise ValueError("it has more than the 15 digits that the platform can keep")
    return number


def money(value: float | Decimal) -> Decimal:
    """An amount as the platform's xs:double meant it: rounded where binary fractions begin to show.

    Raises ValueError for what is no finite number.
    """
    number = Decimal(repr(value)) if isinstance(value, float) else value
    if not number.is_finite():
        raise ValueError("it is no finite number")
    return Decimal(shown(number.quantize(Decimal("0.000001"))))


def shown(amount: Decimal) -> str:
    """Money as events write it: at least two places, no needless zeros behind them, no exponent."""
    whole, _, places = f"{amount:f}".partition(".")
    written = f"{whole}.{places.rstrip('0').ljust(2, '0')}"
    return "0.00" if written == "-0.00" else written


def same(kind: str, ordered: Any, found: Any) -> bool:
    """Whether the platform's value is the ordered one, by the wire type; nothing and "" are the same."""
    if kind == "string":
        return str(ordered or "").strip() == str(found or "").strip()
    if found is None:
        return False
    if kind == "double":
        return money(Decimal(ordered)) == money(found)
    return bool(ordered == found)


def differing(ordered: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[str, ...]:
    """Our names of the ordered fields that the record has otherwise. Secrets cannot be compared."""
    return tuple(
        BY_WIRE[name].ours
        for name, value in ordered.items()
        if name not in SECRETS | IDENTITY and not same(BY_WIRE[name].type, value, record.get(name))
    )


def filled_in(
    sent: Mapping[str, Any], ordered: Mapping[str, Any], record: Mapping[str, Any]
) -> tuple[str, ...]:
    """Our names of the fields that nobody ordered and that the record has otherwise than they were sent."""
    left_out = IDENTITY | SECRETS | {"accountCode"}  # the last is made of the name
    return tuple(
        field.ours
        for field in SUBSCRIBER
        if field.wire not in ordered
        and field.wire not in left_out
        and record.get(field.wire) not in (None, "")
        and not _as_sent(field, sent.get(field.wire), record[field.wire])
    )


def _as_sent(field: Field, sent: Any, found: Any) -> bool:
    return sent is not None and same(field.type, sent, found)


def ours(record: Mapping[str, Any], *, secrets: bool) -> dict[str, Any]:
    """A record under our names, nested like a command's data; what is empty is left out.

    `secrets`: show that there is one, as ***; otherwise leave it out.
    """
    found: dict[str, Any] = {}
    for field in SUBSCRIBER:
        value = record.get(field.wire)
        if value in (None, "") or (field.secret and not secrets):
            continue
        place = found
        *groups, name = field.ours.split(".")
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = MASK if field.secret else _written(value)
    return found


def _written(value: Any) -> Any:
    return shown(money(value)) if isinstance(value, (float, Decimal)) else value


def flat(
    data: Mapping[str, Any], groups: tuple[str, ...] = ("address", "forwarding")
) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of a command's data; what was sent as null counts as not sent."""
    for name, value in data.items():
        if value is None:
            continue
        if name in groups and isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", each) for inner, each in value.items() if each is not None)
        else:
            yield name, value
