"""SubscriberWS: what may be called, and how it shows."""

from worker.simulators.sippulse.platform import Platform
from worker.simulators.sippulse.soap import Call

from .needs import put, subscriber_of
from .registry import changes


@changes
def activateOutgoingCalls(platform: Platform, call: Call) -> str:
    return put(platform, call, "activeOutgoingCalls", True)


@changes
def blockOutgoingCalls(platform: Platform, call: Call) -> str:
    return put(platform, call, "activeOutgoingCalls", False)


@changes
def activateIncommingCalls(platform: Platform, call: Call) -> str:
    return put(platform, call, "activeIncomingCalls", True)


@changes
def blockIncommingCalls(platform: Platform, call: Call) -> str:
    return put(platform, call, "activeIncomingCalls", False)


@changes
def activateCollectCalls(platform: Platform, call: Call) -> str:
    return put(platform, call, "blockCollectCalls", False)


@changes
def blockCollectCalls(platform: Platform, call: Call) -> str:
    return put(platform, call, "blockCollectCalls", True)


@changes
def activateAnonymousCalls(platform: Platform, call: Call) -> str:
    return put(platform, call, "blockAnonymousCalls", False)


@changes
def blockAnonymousCalls(platform: Platform, call: Call) -> str:
    return put(platform, call, "blockAnonymousCalls", True)


@changes
def activatePrivacyCalls(platform: Platform, call: Call) -> str:
    subscriber_of(platform, call).privacy = True
    return ""


@changes
def blockPrivacyCalls(platform: Platform, call: Call) -> str:
    subscriber_of(platform, call).privacy = False
    return ""


@changes
def activateDailyStatistics(platform: Platform, call: Call) -> str:
    subscriber_of(platform, call).daily_statistics = True
    return ""


@changes
def blockDailyStatistics(platform: Platform, call: Call) -> str:
    subscriber_of(platform, call).daily_statistics = False
    return ""


@changes
def activateEntry0303(platform: Platform, call: Call) -> str:
    return put(platform, call, "blockEntry0303", False)


@changes
def blockEntry0303(platform: Platform, call: Call) -> str:
    return put(platform, call, "blockEntry0303", True)


@changes
def activateValidateSource0303(platform: Platform, call: Call) -> str:
    return put(platform, call, "validateSource0303", True)


@changes
def disableValidateSource0303(platform: Platform, call: Call) -> str:
    return put(platform, call, "validateSource0303", False)


@changes
def activateCallsOnlyByIp(platform: Platform, call: Call) -> str:
    return put(platform, call, "callsOnlyByIp", True)


@changes
def blockCallsOnlyByIp(platform: Platform, call: Call) -> str:
    return put(platform, call, "callsOnlyByIp", False)


@changes
def activateSoftphone(platform: Platform, call: Call) -> str:
    return put(platform, call, "softphoneAllowed", True)


@changes
def blockSoftphone(platform: Platform, call: Call) -> str:
    return put(platform, call, "softphoneAllowed", False)


@changes
def activateTopologyHiding(platform: Platform, call: Call) -> str:
    subscriber_of(platform, call).topology_hiding = True
    return ""


@changes
def blockTopologyHiding(platform: Platform, call: Call) -> str:
    subscriber_of(platform, call).topology_hiding = False
    return ""
