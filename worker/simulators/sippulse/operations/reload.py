"""ReloadModulesWS: no change that a read could show; they are counted, and logged by their arguments."""

from worker.simulators.sippulse.platform import Platform
from worker.simulators.sippulse.soap import Call

from .needs import subscriber_of, text
from .registry import changes

# ReloadModulesWS: no change that a read could show; they are counted, and logged by their arguments ----


@changes
def reloadSubscriber(platform: Platform, call: Call) -> str:
    subscriber_of(platform, call).reloads += 1
    return ""


@changes
def reloadProfile(platform: Platform, call: Call) -> str:
    text(call, "profile")
    return ""


@changes
def reloadDid(platform: Platform, call: Call) -> str:
    text(call, "didId")
    return ""


@changes
def reloadAddress(platform: Platform, call: Call) -> str:
    return ""


@changes
def reloadHuntGroup(platform: Platform, call: Call) -> str:
    text(call, "huntGroupId")
    return ""
