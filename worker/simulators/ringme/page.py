"""The admin page. No secrets, all escaped."""

from worker.simulators.common import page

from .simulator import Simulator


def render(simulator: Simulator) -> str:
    parts = (_operations(simulator), page.faults(simulator), _clients(simulator), _extensions(simulator))
    return page.frame("RingMe simulator", _summary(simulator), parts)


def _operations(simulator: Simulator) -> str:
    return page.operations(simulator)


def _summary(simulator: Simulator) -> str:
    platform, hour = simulator.platform, simulator.limits()
    return (
        f"{len(platform.clients)} clients, {len(platform.extensions)} internal numbers "
        f"({platform.ledger.doubles} doubles), {platform.ledger.tokens} tokens given, "
        f"{hour['X-RateLimit-Remaining']} of {hour['X-RateLimit-Limit']} calls left for "
        f"{hour['X-RateLimit-Reset']} s, {simulator.freezer.waiting()} requests frozen, "
        f"{simulator.pending()} pending, {platform.ledger.malformed} malformed"
    )


def _clients(simulator: Simulator) -> str:
    rows = (
        (
            each.record["id"],
            each.record["name"],
            "blocked" if each.blocked else "active",
            each.record["dial_rule_id"],
            each.record["timezone"],
        )
        for each in simulator.platform.clients.values()
    )
    return page.table("Clients", ("id", "name", "state", "dial rule", "time zone"), rows)


def _extensions(simulator: Simulator) -> str:
    heads = ("id", "client_id", "name", "type", "status", "label", "dial_rule_id")
    rows = (tuple(each.record[name] for name in heads) for each in simulator.platform.extensions.values())
    return page.table("Internal numbers", heads, rows)
