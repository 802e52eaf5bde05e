"""WhiteListWS, in its own spelling: prefixes that a subscriber may call."""

from worker.simulators.sippulse.platform import Platform
from worker.simulators.sippulse.soap import Call, child

from .needs import add, drop, elements, needed, number, text, values
from .registry import changes, reads


@changes
def insertWhiteList(platform: Platform, call: Call) -> str:
    entry = needed(values(call, "userWhiteList"), "username", "domain", "prefix")
    return child("return", add(platform, "whitelist", entry, "username", "domain", "prefix")["id"])


@changes
def deletetWhiteList(platform: Platform, call: Call) -> str:
    drop(platform, "whitelist", {"id": number(call, "whiteListId")})
    return ""


@reads
def listWhiteList(platform: Platform, call: Call) -> str:
    same = {"username": text(call, "username"), "domain": text(call, "domain")}
    rows = platform.objects["whitelist"].find(same)
    return elements(platform, "WhiteListWS", "userWhiteList", "userWhiteList", rows)
