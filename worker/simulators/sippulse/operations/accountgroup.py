"""AccountGroupWS: accounts that one account manages. A row is one account of a group."""

from worker.simulators.sippulse.objects import Row
from worker.simulators.sippulse.platform import Declared, Platform
from worker.simulators.sippulse.soap import Call, Values, child

from .needs import add, drop, text, texts
from .registry import changes, reads


@changes
def addAccountGroup(platform: Platform, call: Call) -> str:
    """All or none; accounts join those that are in the group."""
    manager, profile = text(call, "accountManager"), text(call, "managerProfile")
    accounts = texts(call, "account")
    known = {each["account"] for each in _group(platform, manager)}
    if platform.switches.duplicates == "refuse" and known & set(accounts):
        raise Declared("duplicate_object", what="groups")
    for account in accounts:
        add(platform, "groups", {"accountManager": manager, "managerProfile": profile, "account": account})
    return ""


@changes
def removeAccountGroup(platform: Platform, call: Call) -> str:
    manager = text(call, "accountManager")
    for account in texts(call, "account"):
        drop(platform, "groups", {"accountManager": manager, "account": account})
    return ""


@reads
def retrieveAccountGroup(platform: Platform, call: Call) -> str:
    manager = text(call, "accountManager")
    group = _group(platform, manager)
    if not group and platform.switches.absent == "empty":
        return ""
    if not group:
        raise Declared("unknown_object", what="groups")
    accounts = "".join(child("account", each["account"]) for each in group)
    profile = child("managerProfile", group[0]["managerProfile"])
    return f"<accountGroup>{accounts}{child('accountManager', manager)}{profile}</accountGroup>"


def _group(platform: Platform, manager: str) -> list[Row]:
    same: Values = {"accountManager": manager}
    return platform.objects["groups"].find(same)
