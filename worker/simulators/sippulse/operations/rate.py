"""RateWS: prices by prefix, in groups that rate plans name."""

from worker.simulators.sippulse.platform import Declared, Platform
from worker.simulators.sippulse.soap import Call, Values, child

from .needs import add, drop, element, elements, needed, number, overwrite, row_of, text, values
from .registry import changes, reads


@reads
def listRatesByParams(platform: Platform, call: Call) -> str:
    """What is not sent filters nothing."""
    wanted: Values = {"domain": text(call, "domain")}
    for ours, sent in (("rateId", "rateId"), ("prefix", "prefix"), ("name", "descripion")):
        value = call.arguments.get(sent)
        if value not in (None, "") and not isinstance(value, (dict, list)):
            wanted[ours] = value
    return elements(platform, "RateWS", "rate", "rate", platform.objects["rates"].find(wanted))


@changes
def insertRates(platform: Platform, call: Call) -> str:
    """All or none."""
    given = call.arguments.get("rate")
    rates = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    if not rates:
        raise Declared("missing", field="rate")
    same = ("domain", "rateId", "prefix")
    for each in rates:
        needed(each, "name", "rateValue", *same)
        found = platform.objects["rates"].find({name: each[name] for name in same})
        if found and platform.switches.duplicates == "refuse":
            raise Declared("duplicate_object", what="rates")
    for each in rates:
        add(platform, "rates", each)
    return ""


@changes
def updateRate(platform: Platform, call: Call) -> str:
    sent = values(call, "rate")
    kept = row_of(platform, "rates", sent)
    overwrite(platform, kept, sent, "domain")
    return element(platform, "RateWS", "rate", "rate", kept)


@changes
def removeRate(platform: Platform, call: Call) -> str:
    drop(platform, "rates", {"id": number(call, "id")})
    return ""


@changes
def removeAllRatesByRateId(platform: Platform, call: Call) -> str:
    group: Values = {"domain": text(call, "domain"), "rateId": number(call, "rateId")}
    return child("ratesRemoved", drop(platform, "rates", group))
