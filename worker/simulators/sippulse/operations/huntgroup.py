"""HuntGroupWS: telephones that ring one after the other, or together."""

from worker.simulators.sippulse.platform import Platform
from worker.simulators.sippulse.soap import Call

from .needs import add, drop, element, elements, needed, number, overwrite, row_of, text, values
from .registry import changes, reads


@reads
def listHuntGroups(platform: Platform, call: Call) -> str:
    rows = platform.objects["huntgroups"].find({"domain": text(call, "domain")})
    return elements(platform, "HuntGroupWS", "huntGroup", "huntGroup", rows)


@changes
def insertHuntGroup(platform: Platform, call: Call) -> str:
    sent = needed(values(call, "huntGroup"), "domain", "description", "groupList", "method", "timeout")
    made = add(platform, "huntgroups", sent, "domain", "description", "groupList")
    made["uri"] = made.get("uri") or f"sip:hg{made['id']}@{made['domain']}"
    return element(platform, "HuntGroupWS", "huntGroup", "huntGroup", made)


@changes
def updateHuntGroup(platform: Platform, call: Call) -> str:
    sent = values(call, "huntGroup")
    kept = row_of(platform, "huntgroups", sent)
    overwrite(platform, kept, sent, "domain")
    return element(platform, "HuntGroupWS", "huntGroup", "huntGroup", kept)


@changes
def removeHuntGroup(platform: Platform, call: Call) -> str:
    drop(platform, "huntgroups", {"id": number(call, "id"), "domain": text(call, "domain")})
    return ""
