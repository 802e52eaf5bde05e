"""What the admin API under /admin/ shows and does of a SIPPulse; the rest is every simulator's."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from aiohttp import web

from worker.simulators.common import admin as common

from . import page
from .ledger import Charge, Entry, Sum
from .objects import Row
from .platform import Platform, Subscriber, key_of
from .simulator import Simulator
from .soap import SECRETS, plain
from .traces import masked
from .traffic import Traffic

Body = dict[str, Any]
Act = Callable[[Simulator, Body], Awaitable[Body]]


def mount(application: web.Application, simulator: Simulator) -> None:
    common.mount(application, simulator, page.render, VIEWS, ACTS)


# Views -------------------------------------------------------------------------------------------


def counts(simulator: Simulator, query: Mapping[str, str]) -> Body:
    platform = simulator.platform
    ledger = platform.ledger
    return {
        **common.traces(simulator),
        "subscribers": len(platform),
        "doubles": ledger.doubles,
        "credits": sum(each.times for each in ledger.credits_by_subscriber.values()),
        "charges": len(ledger.charges),
    }


def credits_(simulator: Simulator, query: Mapping[str, str]) -> Body:
    ledger = simulator.platform.ledger
    keys = {*ledger.credits_by_subscriber, *ledger.charged}
    return {
        "by_obs": {obs: _sum(each) for obs, each in ledger.credits_by_obs.items()},
        "by_subscriber": {"@".join(key): _account(simulator.platform, *key) for key in sorted(keys)},
    }


def _sum(each: Sum) -> Body:
    return {"times": each.times, "sum": plain(each.sum), "subscriber": each.subscriber}


def _account(platform: Platform, username: str, domain: str) -> Body:
    """Credit and calls of one name; opening and balance are None when there is no such subscriber now."""
    key = (username, domain)
    found = platform.get(*key)
    added = platform.ledger.credits_by_subscriber.get(key, Sum())
    charged = platform.ledger.charged.get(key, Sum())
    return {
        "times": added.times,
        "sum": plain(added.sum),
        "calls": charged.times,
        "charged": plain(charged.sum),
        "opening": plain(found.opening) if found else None,
        "balance": plain(found.balance) if found else None,
    }


def charges(simulator: Simulator, query: Mapping[str, str]) -> Body:
    wanted = query.get("accountcode")
    rows = [each for each in simulator.platform.ledger.charges if wanted in (None, each.accountcode)]
    return {"charges": [{**_charge(each), "rated": simulator.platform.rated(each)} for each in rows]}


def _charge(each: Charge) -> Body:
    return {**asdict(each), "price": plain(each.price)}


def log(simulator: Simulator, query: Mapping[str, str]) -> Body:
    """`?username=&domain=` for one; `changed`: what is otherwise since; `?secrets=1` shows passwords in it."""
    ledger = simulator.platform.ledger
    if "username" in query or "domain" in query:
        entries = ledger.by_subscriber.get(key_of(query.get("username"), query.get("domain")), [])
    else:
        entries = ledger.entries
    plainly = bool(query.get("secrets"))
    return {"log": [{**each.shown(), "changed": _changed(each, plainly)} for each in entries]}


def _changed(entry: Entry, secrets: bool) -> Body:
    return dict(entry.changed) if secrets else masked(entry.changed)


def state(simulator: Simulator, query: Mapping[str, str]) -> Body:
    """`?username=&domain=` for one; `?secrets=1` shows subscribers' passwords, the administrator's never."""
    platform = simulator.platform
    shown: Iterable[Subscriber] = platform
    if "username" in query:
        shown = (each for each in platform if each.key == key_of(query["username"], query.get("domain")))
    return {
        "login": platform.login,
        "domains": platform.domains,
        "switches": asdict(platform.switches),
        "texts": platform.texts,
        **common.troubles(simulator),
        "subscribers": [_subscriber(each, secrets=bool(query.get("secrets"))) for each in shown],
    }


def objects(simulator: Simulator, query: Mapping[str, str]) -> Body:
    """What there is beside subscribers, by table; secrets as ***."""
    return {name: [_row(each) for each in table] for name, table in simulator.platform.objects.items()}


def _row(row: Row) -> Body:
    shown = {name: "***" if name in SECRETS else value for name, value in row.items() if value is not None}
    return {name: plain(value) if isinstance(value, Decimal) else value for name, value in shown.items()}


def _subscriber(each: Subscriber, secrets: bool) -> Body:
    dto = {name: value for name, value in each.dto.items() if value is not None}
    for name in SECRETS & set(dto):
        dto[name] = dto[name] if secrets else "***"
    services = {**each.services, "privacy": each.privacy, "dailyStatistics": each.daily_statistics}
    services |= {"topologyHiding": each.topology_hiding}
    return {
        **{name: plain(value) if isinstance(value, Decimal) else value for name, value in dto.items()},
        **services,
        "active": each.active,
        "balance": plain(each.balance),
        "reloads": each.reloads,
    }


# Acts --------------------------------------------------------------------------------------------


async def principal(simulator: Simulator, body: Body) -> Body:
    """What the platform accepts from now on; what is left out stays."""
    platform = simulator.platform
    platform.login = str(body.get("login", platform.login))
    platform.password = str(body.get("password", platform.password))
    return {"login": platform.login}


async def subscribers(simulator: Simulator, body: Body) -> Body:
    """{"subscribers": [{username, domain, ...}]}, or {"count", "prefix", "domain", ...} for many alike."""
    if "subscribers" in body:
        values = list(body["subscribers"])
    elif "count" in body:
        common = dict(body)
        count, prefix = int(common.pop("count")), str(common.pop("prefix", ""))
        values = [{**common, "username": f"{prefix}{number}"} for number in range(count)]
    else:
        values = [body]
    for each in values:
        simulator.platform.seed(each)
    return {"seeded": len(values), "subscribers": len(simulator.platform)}


async def charge(simulator: Simulator, body: Body) -> Body:
    """{"username", "domain", "price", "call"?: columns of its record}."""
    price = Decimal(str(body["price"]))
    made = simulator.platform.charge(
        str(body["username"]), str(body["domain"]), price, **dict(body.get("call", {}))
    )
    return _charge(made)


async def traffic(simulator: Simulator, body: Body) -> Body:
    simulator.run_traffic(Traffic.from_values(body))
    return {}


async def switches(simulator: Simulator, body: Body) -> Body:
    """Switches by name, and `texts`: fault texts by name."""
    platform = simulator.platform
    given = dict(body)
    texts = given.pop("texts", {})
    if unknown := sorted(set(texts) - set(platform.texts)):
        raise ValueError(f"unknown text {unknown[0]!r}: we know {', '.join(sorted(platform.texts))}")
    platform.switches = platform.switches.changed(given)
    platform.texts.update(texts)
    return {"switches": asdict(platform.switches), "texts": platform.texts}


VIEWS: dict[str, Callable[[Simulator, Mapping[str, str]], Body]] = {
    "counts": counts,
    "credits": credits_,
    "charges": charges,
    "log": log,
    "state": state,
    "objects": objects,
}
ACTS: dict[str, Act] = {
    "principal": principal,
    "subscribers": subscribers,
    "charge": charge,
    "traffic": traffic,
    "switches": switches,
}
