"""SubscriberWS: credit."""

from worker.simulators.sippulse.platform import Platform
from worker.simulators.sippulse.soap import Call, child

from .needs import amount, found, put, subscriber_of
from .registry import changes, reads


@changes
def addCredit(platform: Platform, call: Call) -> str:
    subscriber, value = subscriber_of(platform, call), amount(call, "value")
    obs = call.arguments.get("obs")
    subscriber.balance += platform.booked(value)
    platform.ledger.credit(subscriber.key, obs if isinstance(obs, str) else "", value)
    return ""


@reads
def retrieveCredit(platform: Platform, call: Call) -> str:
    subscriber = found(platform, call)
    return "" if subscriber is None else child("return", subscriber.balance)


@changes
def activateLowCreditNotification(platform: Platform, call: Call) -> str:
    limit = amount(call, "lowCreditLimit")
    put(platform, call, "lowCreditLimit", limit)
    return put(platform, call, "lowCreditNotification", True)


@changes
def blockLowCreditNotification(platform: Platform, call: Call) -> str:
    return put(platform, call, "lowCreditNotification", False)
