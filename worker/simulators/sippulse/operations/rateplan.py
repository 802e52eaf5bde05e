"""RatePlanWS: requests and answers hold the plan under the same name."""

from worker.simulators.sippulse.platform import Platform
from worker.simulators.sippulse.soap import Call

from .needs import add, drop, element, elements, needed, number, overwrite, row_of, text, values
from .registry import changes, reads


@reads
def listRatePlansByDomain(platform: Platform, call: Call) -> str:
    rows = platform.objects["rateplans"].find({"domain": text(call, "domain")})
    return elements(platform, "RatePlanWS", "ratePlan", "ratePlan", rows)


@changes
def insertRatePlan(platform: Platform, call: Call) -> str:
    sent = needed(values(call, "ratePlan"), "name", "domain", "rateId", "txConnection", "cadency")
    made = add(platform, "rateplans", sent, "domain", "name")
    return element(platform, "RatePlanWS", "ratePlan", "ratePlan", made)


@changes
def updateRatePlan(platform: Platform, call: Call) -> str:
    sent = values(call, "ratePlan")
    kept = row_of(platform, "rateplans", sent)
    overwrite(platform, kept, sent, "domain")
    return element(platform, "RatePlanWS", "ratePlan", "ratePlan", kept)


@changes
def removeRatePlan(platform: Platform, call: Call) -> str:
    drop(platform, "rateplans", {"id": number(call, "idRatePlan")})
    return ""
