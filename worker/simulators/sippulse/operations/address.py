"""AddressWS, in its own spelling: addresses from which a subscriber may call without a password."""

from worker.simulators.sippulse.platform import Platform
from worker.simulators.sippulse.soap import Call

from .needs import add, drop, element, elements, needed, number, overwrite, row_of, text, values
from .registry import changes, reads

_SAME = ("username", "domain", "ipAddress", "mask", "method", "techPrefix", "port", "protocol")


@reads
def lisAddresses(platform: Platform, call: Call) -> str:
    same = {"username": text(call, "username"), "domain": text(call, "domain")}
    rows = platform.objects["addresses"].find(same)
    return elements(platform, "AddressWS", "address", "address", rows)


@changes
def insertAddress(platform: Platform, call: Call) -> str:
    names = ("account", "domain", "ipAddress", "mask", "method", "port", "protocol", "username")
    sent = needed(values(call, "address"), *names)
    filled = {**sent, "contextinfo": sent.get("contextinfo") or f"{sent['username']}@{sent['domain']}"}
    return element(platform, "AddressWS", "address", "address", add(platform, "addresses", filled, *_SAME))


@changes
def updateAddress(platform: Platform, call: Call) -> str:
    sent = values(call, "address")
    kept = row_of(platform, "addresses", sent)
    overwrite(platform, kept, sent)
    return element(platform, "AddressWS", "address", "address", kept)


@changes
def removeAddress(platform: Platform, call: Call) -> str:
    drop(platform, "addresses", {"id": number(call, "id"), "domain": text(call, "domain")})
    return ""
