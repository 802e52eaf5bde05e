"""The platform's operations, one function each: take the state and the call, give the answer's inner XML."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from . import soap
from .ledger import Key
from .platform import Declared, Platform, Subscriber, key_of
from .soap import SECRETS, Answer, Call, Scalar, Values, child

Function = Callable[[Platform, Call], str]


@dataclass(frozen=True, slots=True)
class Operation:
    """`changes` tells whether a success goes into the log."""

    function: Function
    changes: bool


OPERATIONS: dict[str, Operation] = {}

_MASK = "***"
_FREE_FIELDS = ("id", "accountCode", "username", "domain")  # never written by updateSubscriber


def reads(function: Function) -> Function:
    OPERATIONS[function.__name__] = Operation(function, changes=False)
    return function


def changes(function: Function) -> Function:
    OPERATIONS[function.__name__] = Operation(function, changes=True)
    return function


def apply(platform: Platform, call: Call, via: str = "") -> Answer:
    """Run a call against the state at once, log what it changed, and build its answer."""
    traces = platform.ledger.operations[call.operation]
    try:
        inner = _run(platform, call, via)
    except Declared as refusal:
        traces.refused += 1
        text = platform.texts[refusal.text]
        return soap.declared_fault(platform.wording(call, text, refusal.facts))
    traces.applied += 1
    return soap.success(call.operation, inner)


def _run(platform: Platform, call: Call, via: str) -> str:
    platform.authenticate(call)
    operation = OPERATIONS.get(call.operation)
    if operation is None:
        raise Declared("not_simulated")
    key = key_of(*call.subject)
    if operation.changes and _silently_absent(platform, call, key):
        return ""
    inner = operation.function(platform, call)
    if operation.changes:
        platform.ledger.record(key, call.operation, _salient(call), via)
    return inner


def _silently_absent(platform: Platform, call: Call, key: Key) -> bool:
    """A write to nobody that this platform lets pass: no change, so nothing for the log."""
    about_one = bool(key[0]) and call.operation != "insertSubscriber" and call.service == "SubscriberWS"
    return about_one and platform.switches.absent_writes == "silent" and not platform.records(key)


def _salient(call: Call) -> dict[str, Any]:
    """What was asked for, without the subscriber's name (the log has it), secrets as ***."""
    flat: dict[str, Any] = {}
    for name, value in call.arguments.items():
        if name != "principal":
            flat.update(value if isinstance(value, dict) else {name: value})
    shown = {name: value for name, value in flat.items() if name not in ("username", "domain")}
    return {name: _shown(name, value) for name, value in shown.items() if value is not None}


def _shown(name: str, value: Scalar) -> Scalar:
    if name in SECRETS:
        return _MASK
    return soap.plain(value) if isinstance(value, Decimal) else value


# What operations need of a request ---------------------------------------------------------------


def subscriber_of(platform: Platform, call: Call) -> Subscriber:
    found = platform.get(*call.subject)
    if found is None:
        raise Declared("unknown_subscriber")
    return found


def _read(platform: Platform, call: Call) -> Subscriber | None:
    """The subscriber a read is about; None where this platform answers an empty reply for nobody."""
    if platform.switches.absent == "empty" and platform.get(*call.subject) is None:
        return None
    return subscriber_of(platform, call)


def _values(call: Call, name: str) -> Values:
    given = call.arguments.get(name)
    if not isinstance(given, dict):
        raise Declared("missing", field=name)
    return given


def _text(call: Call, name: str) -> str:
    given = call.arguments.get(name)
    if given is None or isinstance(given, dict) or given == "":
        raise Declared("missing", field=name)
    return soap.plain(given)


def _amount(call: Call, name: str) -> Decimal:
    given = call.arguments.get(name)
    if not isinstance(given, Decimal):
        raise Declared("missing", field=name)
    if not given.is_finite():
        raise Declared("invalid_value", field=name)
    return given


def _set(platform: Platform, call: Call, name: str, value: Scalar) -> str:
    subscriber_of(platform, call).dto[name] = value
    return ""


def _secret(platform: Platform, name: str, value: Scalar) -> Scalar:
    """A secret as this platform reads it back; a masked number cannot be written, so it is left out."""
    if platform.switches.passwords == "returned" or value is None:
        return value
    masked = platform.switches.passwords == "masked" and platform.fields[name].type == "xs:string"
    return _MASK if masked else None


# DomainWS ----------------------------------------------------------------------------------------


@reads
def listDomains(platform: Platform, call: Call) -> str:
    return "".join(
        f"<domain>{child('domain', name)}{child('name', name)}</domain>" for name in platform.domains
    )


# SubscriberWS: the record ------------------------------------------------------------------------


@changes
def insertSubscriber(platform: Platform, call: Call) -> str:
    dto = _values(call, "subscriber")
    for name in ("username", "domain", "profile", "password"):
        if not dto.get(name):
            raise Declared("missing", field=name)
    key = key_of(dto["username"], dto["domain"])
    if platform.records(key) and platform.switches.duplicates == "refuse":
        raise Declared("duplicate")
    platform.ledger.doubles += 1 if platform.records(key) else 0
    inserted = platform.add(_with_area(dto))
    return child("subscriberId", inserted.dto["id"])


def _with_area(dto: Values) -> Values:
    """The platform fills in city code and local area when the username is a number and none were sent."""
    name = str(dto["username"])
    if not name.isdigit() or len(name) < 10:
        return dto
    found = {"cityCode": name[-10:-8], "localArea": name[-10:-4]}
    return {**dto, **{field: value for field, value in found.items() if dto.get(field) is None}}


@changes
def updateSubscriber(platform: Platform, call: Call) -> str:
    subscriber = subscriber_of(platform, call)
    sent = _values(call, "subscriber")
    keep = platform.switches.omitted == "keep"
    for name, value in sent.items():
        if name not in _FREE_FIELDS and not (keep and value is None):
            subscriber.dto[name] = value
    return ""


@changes
def updateSubscriberServices(platform: Platform, call: Call) -> str:
    subscriber = subscriber_of(platform, call)
    sent = dict(_values(call, "subscriber"))
    subscriber.services = {name: sent.pop(name) for name in ("cps", "keepAlive")}
    sent["emailAddress"] = sent.pop("email")
    _merge(platform, subscriber, sent)
    return ""


@changes
def updateSubscriberBillingInfo(platform: Platform, call: Call) -> str:
    _merge(platform, subscriber_of(platform, call), _values(call, "subscriber"))
    return ""


@changes
def updateSubscriberClassV(platform: Platform, call: Call) -> str:
    subscriber = subscriber_of(platform, call)
    sent = _values(call, "subscriber")
    _merge(platform, subscriber, {name: sent[name] for name in ("callFwd", "fwdBusy", "noAnswer")})
    subscriber.class_v = {name: value for name, value in sent.items() if name not in subscriber.dto}
    return ""


def _merge(platform: Platform, subscriber: Subscriber, sent: Values) -> None:
    keep = platform.switches.omitted == "keep"
    for name, value in sent.items():
        if name not in _FREE_FIELDS and not (keep and value is None):
            subscriber.dto[name] = value


@changes
def removeSubscriber(platform: Platform, call: Call) -> str:
    platform.drop(subscriber_of(platform, call))
    return ""


@reads
def retrieveSubscriber(platform: Platform, call: Call) -> str:
    subscriber = _read(platform, call)
    if subscriber is None:
        return ""
    shown = {**subscriber.dto}
    for name in ("password", "passwordPortal", "voiceMailPassword"):
        shown[name] = _secret(platform, name, shown[name])
    return f"<return>{''.join(child(name, shown[name]) for name in platform.fields)}</return>"


@reads
def retrieveSubscriberClassV(platform: Platform, call: Call) -> str:
    subscriber = _read(platform, call)
    if subscriber is None:
        return ""
    known: Values = {**subscriber.dto, **subscriber.class_v}
    fields = platform.schemas["SubscriberWS"].types["subscriberClassVDTO"]
    return f"<return>{''.join(child(field.name, known.get(field.name)) for field in fields)}</return>"


@changes
def activateSubscriber(platform: Platform, call: Call) -> str:
    subscriber_of(platform, call).active = True
    return ""


@changes
def blockSubscriber(platform: Platform, call: Call) -> str:
    subscriber_of(platform, call).active = False
    return ""


# SubscriberWS: credit ----------------------------------------------------------------------------


@changes
def addCredit(platform: Platform, call: Call) -> str:
    subscriber, value = subscriber_of(platform, call), _amount(call, "value")
    obs = call.arguments.get("obs")
    subscriber.balance += value
    platform.ledger.credit(subscriber.key, obs if isinstance(obs, str) else "", value)
    return ""


@reads
def retrieveCredit(platform: Platform, call: Call) -> str:
    subscriber = _read(platform, call)
    return "" if subscriber is None else child("return", subscriber.balance)


@changes
def activateLowCreditNotification(platform: Platform, call: Call) -> str:
    limit = _amount(call, "lowCreditLimit")
    _set(platform, call, "lowCreditLimit", limit)
    return _set(platform, call, "lowCreditNotification", True)


@changes
def blockLowCreditNotification(platform: Platform, call: Call) -> str:
    return _set(platform, call, "lowCreditNotification", False)


# SubscriberWS: passwords -------------------------------------------------------------------------


@changes
def changePassword(platform: Platform, call: Call) -> str:
    return _change_password(platform, call, "password")


@changes
def changePasswordWEB(platform: Platform, call: Call) -> str:
    return _change_password(platform, call, "passwordPortal")


def _change_password(platform: Platform, call: Call, field: str) -> str:
    subscriber, new = subscriber_of(platform, call), _text(call, "newPassword")
    if new != call.arguments.get("confirmNewPassword"):
        raise Declared("unconfirmed_password")
    if subscriber.dto[field] != call.arguments.get("actualPassword"):
        raise Declared("wrong_password")
    subscriber.dto[field] = new
    return ""


@reads
def retrievePassword(platform: Platform, call: Call) -> str:
    return _retrieve_password(platform, call, "password")


@reads
def retrievePasswordWEB(platform: Platform, call: Call) -> str:
    return _retrieve_password(platform, call, "passwordPortal")


def _retrieve_password(platform: Platform, call: Call, field: str) -> str:
    subscriber = _read(platform, call)
    return "" if subscriber is None else child("return", _secret(platform, field, subscriber.dto[field]))


@changes
def activateVoicemail(platform: Platform, call: Call) -> str:
    _set(platform, call, "voiceMailPassword", int(_text(call, "voicemailPassword")))
    return _set(platform, call, "voicemail", True)


@changes
def blockVoicemail(platform: Platform, call: Call) -> str:
    return _set(platform, call, "voicemail", False)


# SubscriberWS: calls -----------------------------------------------------------------------------


@changes
def activateOutgoingCalls(platform: Platform, call: Call) -> str:
    return _set(platform, call, "activeOutgoingCalls", True)


@changes
def blockOutgoingCalls(platform: Platform, call: Call) -> str:
    return _set(platform, call, "activeOutgoingCalls", False)


@changes
def activateIncommingCalls(platform: Platform, call: Call) -> str:
    return _set(platform, call, "activeIncomingCalls", True)


@changes
def blockIncommingCalls(platform: Platform, call: Call) -> str:
    return _set(platform, call, "activeIncomingCalls", False)


@changes
def activateCollectCalls(platform: Platform, call: Call) -> str:
    return _set(platform, call, "blockCollectCalls", False)


@changes
def blockCollectCalls(platform: Platform, call: Call) -> str:
    return _set(platform, call, "blockCollectCalls", True)


@changes
def activateAnonymousCalls(platform: Platform, call: Call) -> str:
    return _set(platform, call, "blockAnonymousCalls", False)


@changes
def blockAnonymousCalls(platform: Platform, call: Call) -> str:
    return _set(platform, call, "blockAnonymousCalls", True)


@changes
def activatePrivacyCalls(platform: Platform, call: Call) -> str:
    subscriber_of(platform, call).privacy = True
    return ""


@changes
def blockPrivacyCalls(platform: Platform, call: Call) -> str:
    subscriber_of(platform, call).privacy = False
    return ""


@changes
def activateDailyStatistics(platform: Platform, call: Call) -> str:
    subscriber_of(platform, call).daily_statistics = True
    return ""


@changes
def blockDailyStatistics(platform: Platform, call: Call) -> str:
    subscriber_of(platform, call).daily_statistics = False
    return ""


@changes
def activateEntry0303(platform: Platform, call: Call) -> str:
    return _set(platform, call, "blockEntry0303", False)


@changes
def blockEntry0303(platform: Platform, call: Call) -> str:
    return _set(platform, call, "blockEntry0303", True)


@changes
def activateValidateSource0303(platform: Platform, call: Call) -> str:
    return _set(platform, call, "validateSource0303", True)


@changes
def disableValidateSource0303(platform: Platform, call: Call) -> str:
    return _set(platform, call, "validateSource0303", False)


@changes
def activateCallsOnlyByIp(platform: Platform, call: Call) -> str:
    return _set(platform, call, "callsOnlyByIp", True)


@changes
def blockCallsOnlyByIp(platform: Platform, call: Call) -> str:
    return _set(platform, call, "callsOnlyByIp", False)


@changes
def activateSoftphone(platform: Platform, call: Call) -> str:
    return _set(platform, call, "softphoneAllowed", True)


@changes
def blockSoftphone(platform: Platform, call: Call) -> str:
    return _set(platform, call, "softphoneAllowed", False)


# ReloadModulesWS: no change that a read could show; they are counted, and logged by their arguments ----


@changes
def reloadSubscriber(platform: Platform, call: Call) -> str:
    subscriber_of(platform, call).reloads += 1
    return ""


@changes
def reloadProfile(platform: Platform, call: Call) -> str:
    _text(call, "profile")
    return ""


@changes
def reloadDid(platform: Platform, call: Call) -> str:
    _text(call, "didId")
    return ""


@changes
def reloadAddress(platform: Platform, call: Call) -> str:
    return ""


@changes
def reloadHuntGroup(platform: Platform, call: Call) -> str:
    _text(call, "huntGroupId")
    return ""
