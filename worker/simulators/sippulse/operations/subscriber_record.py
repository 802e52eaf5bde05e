"""SubscriberWS: the record, and the state that no read shows."""

from worker.simulators.sippulse.platform import Declared, Platform, Subscriber, key_of
from worker.simulators.sippulse.soap import Call, Values, child

from .needs import add, drop, element, found, needed, number, overwrite, secret, subscriber_of, values
from .registry import changes, reads

_FREE_FIELDS = ("id", "accountCode", "username", "domain")  # never written by updateSubscriber


@changes
def insertSubscriber(platform: Platform, call: Call) -> str:
    dto = values(call, "subscriber")
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
    _merge(platform, subscriber_of(platform, call), values(call, "subscriber"))
    return ""


@changes
def updateSubscriberServices(platform: Platform, call: Call) -> str:
    subscriber = subscriber_of(platform, call)
    sent = dict(values(call, "subscriber"))
    subscriber.services = {name: sent.pop(name) for name in ("cps", "keepAlive")}
    sent["emailAddress"] = sent.pop("email")
    _merge(platform, subscriber, sent)
    return ""


@changes
def updateSubscriberBillingInfo(platform: Platform, call: Call) -> str:
    _merge(platform, subscriber_of(platform, call), values(call, "subscriber"))
    return ""


@changes
def updateSubscriberClassV(platform: Platform, call: Call) -> str:
    subscriber = subscriber_of(platform, call)
    sent = values(call, "subscriber")
    _merge(platform, subscriber, {name: sent[name] for name in ("callFwd", "fwdBusy", "noAnswer")})
    others: Values = {name: value for name, value in sent.items() if name not in subscriber.dto}
    overwrite(platform, subscriber.class_v, others)
    return ""


def _merge(platform: Platform, subscriber: Subscriber, sent: Values) -> None:
    overwrite(platform, subscriber.dto, sent, *_FREE_FIELDS)


@changes
def removeSubscriber(platform: Platform, call: Call) -> str:
    gone = subscriber_of(platform, call)
    platform.drop(gone)
    if platform.switches.goes_along == "all":
        for name in ("dids", "aliases", "addresses", "whitelist", "locations"):
            rows = platform.objects[name].rows
            rows[:] = [row for row in rows if not _is_of(gone, row)]
    return ""


def _is_of(subscriber: Subscriber, row: Values) -> bool:
    named = key_of(row.get("username"), row.get("domain")) == subscriber.key
    return named or row.get("accountCode") == subscriber.dto["accountCode"]


def dto_of(platform: Platform, subscriber: Subscriber) -> str:
    """The record as reads give it."""
    shown = {**subscriber.dto}
    for name in ("password", "passwordPortal", "voiceMailPassword"):
        shown[name] = secret(platform, shown[name])
    return element(platform, "SubscriberWS", "subscriberDTO", "return", shown)


@reads
def retrieveSubscriber(platform: Platform, call: Call) -> str:
    subscriber = found(platform, call)
    if subscriber is None:
        return ""
    return dto_of(platform, subscriber)


@reads
def retrieveSubscriberClassV(platform: Platform, call: Call) -> str:
    subscriber = found(platform, call)
    if subscriber is None:
        return ""
    known: Values = {**subscriber.dto, **subscriber.class_v}
    known["pinCode"] = secret(platform, known.get("pinCode"))
    return element(platform, "SubscriberWS", "subscriberClassVDTO", "return", known)


@changes
def activateSubscriber(platform: Platform, call: Call) -> str:
    return _set_active(platform, subscriber_of(platform, call), active=True)


@changes
def blockSubscriber(platform: Platform, call: Call) -> str:
    return _set_active(platform, subscriber_of(platform, call), active=False)


def _set_active(platform: Platform, subscriber: Subscriber, *, active: bool) -> str:
    subscriber.active = active
    if platform.switches.blocking == "calls":
        subscriber.dto.update(activeIncomingCalls=active, activeOutgoingCalls=active)
    return ""


@changes
def changeProfile(platform: Platform, call: Call) -> str:
    subscriber = subscriber_of(platform, call)
    wanted = platform.objects["profiles"].find({"id": number(call, "newProfileId")})
    if not wanted:
        raise Declared("invalid_value", field="newProfileId")
    subscriber.dto["profile"] = wanted[0]["profile"]
    return ""


@changes
def insertDBAliases(platform: Platform, call: Call) -> str:
    """Documented to return the subscriber; no read lists the aliases."""
    alias = needed(values(call, "dbAliases"), "aliasUsername")
    add(platform, "aliases", alias, "aliasUsername", "aliasDomain")
    owner = platform.get(*call.subject)
    return "" if owner is None else dto_of(platform, owner)


@changes
def deleteDBAliases(platform: Platform, call: Call) -> str:
    drop(platform, "aliases", {"id": number(call, "dbAliases")})
    return ""
