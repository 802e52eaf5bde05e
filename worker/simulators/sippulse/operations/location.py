"""UserLocationWS: where a subscriber's telephone can be reached."""

from worker.simulators.sippulse.platform import Platform
from worker.simulators.sippulse.soap import Call, Values

from .needs import add, drop, elements, text
from .registry import changes, reads


@reads
def listUserLocations(platform: Platform, call: Call) -> str:
    rows = platform.objects["locations"].find(_person(call))
    return elements(platform, "UserLocationWS", "userLocationDTO", "userLocation", rows)


@changes
def addUserLocation(platform: Platform, call: Call) -> str:
    location = {**_person(call), "contact": text(call, "contact")}
    add(platform, "locations", location, "username", "domain", "contact")
    return ""


@changes
def removeUserLocation(platform: Platform, call: Call) -> str:
    drop(platform, "locations", {**_person(call), "contact": text(call, "contact")})
    return ""


def _person(call: Call) -> Values:
    return {"username": text(call, "username"), "domain": text(call, "domain")}
