"""SubscriberWS: how much may be called in a day, in a month."""

from worker.simulators.sippulse.platform import Platform
from worker.simulators.sippulse.soap import Call

from .needs import element, found, overwrite, subscriber_of, values
from .registry import changes, reads


@reads
def retrieveDailyQuota(platform: Platform, call: Call) -> str:
    return _shown(platform, call, "daily", "subscriberDailyQuotaDTO", "dailyQuotaDTO")


@changes
def updateDailyQuota(platform: Platform, call: Call) -> str:
    overwrite(platform, subscriber_of(platform, call).daily, values(call, "dailyQuotaDTO"))
    return ""


@reads
def retrieveMonthlyQuotaDTO(platform: Platform, call: Call) -> str:
    return _shown(platform, call, "monthly", "subscriberMonthlyQuotaDTO", "monthlyQuotaDTO")


@changes
def updateMonthlyQuota(platform: Platform, call: Call) -> str:
    overwrite(platform, subscriber_of(platform, call).monthly, values(call, "monthlyQuotaDTO"))
    return ""


def _shown(platform: Platform, call: Call, which: str, kind: str, name: str) -> str:
    """Nobody limited anything so far: no quota, nothing consumed."""
    subscriber = found(platform, call)
    if subscriber is None:
        return ""
    key = {"username": subscriber.dto["username"], "domain": subscriber.dto["domain"]}
    none = {f"{which}Quota": False, f"{which}QuotaLimit": 0, f"{which}QuotaConsumed": 0}
    kept = subscriber.daily if which == "daily" else subscriber.monthly
    return element(platform, "SubscriberWS", kind, name, {**none, **kept, **key})
