"""What a call changed, by comparing the state before it with the state after it.

The names are those of the record (`emailAddress`), of what stands beside it (`active`, `privacy`, `daily.dailyQuota`),
and of objects of the subscriber's (`dids/551130001000`: how many entries there are of that number).
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from .ledger import Key
from .platform import Platform, key_of
from .soap import SECRETS, Call, Scalar, plain

# Tables whose rows are a subscriber's, and what such a row is called by.
OWNED = {"dids": "aliasUsername", "locations": "contact", "whitelist": "prefix"}
State = dict[tuple[Key, str], Scalar]


def state(platform: Platform, call: Call, key: Key) -> State:
    """All that the call may change: of one subscriber, or the objects of all."""
    if call.service == "SubscriberWS":
        return _subscriber(platform, key)
    found: State = {}
    for table, name in OWNED.items():
        for row in platform.objects[table]:
            place = key_of(row.get("username"), row.get("domain")), f"{table}/{row.get(name)}"
            found[place] = int(found.get(place) or 0) + 1
    return found


def _subscriber(platform: Platform, key: Key) -> State:
    one = platform.get(*key)
    if one is None:
        return {}
    others = {"active": one.active, "privacy": one.privacy, "dailyStatistics": one.daily_statistics}
    parts = {"class_v": one.class_v, "daily": one.daily, "monthly": one.monthly}
    nested = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    return {(key, name): value for name, value in {**one.dto, **one.services, **others, **nested}.items()}


def difference(before: State, after: State, key: Key) -> tuple[Key, dict[str, Any]]:
    """Whose it is, where the call names nobody, and the fields that are otherwise now. None: there is none."""
    places = [place for place in {**before, **after} if before.get(place) != after.get(place)]
    owners = {owner for owner, _ in places}
    if not key[0] and len(owners) == 1:
        [key] = owners
    return key, {name: _shown(after.get((owner, name))) for owner, name in places if owner == key}


def masked(changed: Mapping[str, Any]) -> dict[str, Any]:
    return {name: "***" if name.rpartition(".")[2] in SECRETS else value for name, value in changed.items()}


def _shown(value: Scalar) -> Any:
    return plain(value) if isinstance(value, Decimal) else value
