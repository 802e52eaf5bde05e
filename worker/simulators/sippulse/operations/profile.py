"""ProfileWS: the same profiles in every domain."""

from worker.simulators.sippulse.platform import Platform
from worker.simulators.sippulse.soap import Call

from .needs import elements, text
from .registry import reads


@reads
def listProfilesByDomain(platform: Platform, call: Call) -> str:
    domain = text(call, "domain").lower()
    rows = [{**each, "domain": domain} for each in platform.objects["profiles"]]
    return elements(platform, "ProfileWS", "profile", "profile", rows)
