"""DialplanWS: the same dial plans in every domain."""

from worker.simulators.sippulse.platform import Platform
from worker.simulators.sippulse.soap import Call

from .needs import elements, text
from .registry import reads


@reads
def listDialplansByDomain(platform: Platform, call: Call) -> str:
    domain = text(call, "domain").lower()
    rows = [{**each, "domain": domain} for each in platform.objects["dialplans"]]
    return elements(platform, "DialplanWS", "dialplan", "dialplan", rows)
