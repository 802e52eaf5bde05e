"""ResellerWS."""

from decimal import Decimal

from worker.simulators.sippulse.platform import Declared, Platform
from worker.simulators.sippulse.soap import Call, child

from .needs import add, amount, drop, elements, needed, number, row, text, values
from .registry import changes, reads


@changes
def insertReseller(platform: Platform, call: Call) -> str:
    sent = needed(values(call, "reseller"), "domain", "name", "manager", "email", "username", "password")
    reseller = {**sent, "credit": sent.get("credit") or 0}
    return child("resellerId", add(platform, "resellers", reseller, "domain", "username")["id"])


@changes
def deleteReseller(platform: Platform, call: Call) -> str:
    drop(platform, "resellers", {"id": number(call, "resellerId")})
    return ""


@reads
def listByDomain(platform: Platform, call: Call) -> str:
    rows = platform.objects["resellers"].find({"domain": text(call, "domain")})
    return elements(
        platform, "ResellerWS", "reseller", "reseller", [{**each, "password": None} for each in rows]
    )


@changes
def addResellerCredit(platform: Platform, call: Call) -> str:
    same = {"name": text(call, "resellerName"), "domain": text(call, "domain")}
    found = platform.objects["resellers"].find(same)
    if not found:
        raise Declared("unknown_object", what="resellers")
    value = amount(call, "value")
    found[0]["credit"] = _credit(found[0]["credit"]) + value
    return ""


@reads
def retrieveResellerCredit(platform: Platform, call: Call) -> str:
    return child("return", _credit(row(platform, "resellers", number(call, "resellerId"))["credit"]))


def _credit(kept: object) -> Decimal:
    return Decimal(str(kept or 0))
