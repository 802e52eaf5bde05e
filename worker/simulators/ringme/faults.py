"""The faults of every simulator, and a refusal in this platform's words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from aiohttp import web

from worker.simulators.common import exchange as common
from worker.simulators.common.exchange import Behaviour, Dice, Exchange
from worker.simulators.common.faults import KINDS, BaseRule, Fault

from .calls import Call
from .wire import refused


@dataclass(frozen=True, slots=True)
class Rule(BaseRule):
    """client, extension: only requests about this client, or this internal number, by id.

    code, status: of a `refuse`.
    """

    KINDS: ClassVar[Mapping[str, str]] = {
        **KINDS,
        "refuse": "answers `code` with `status` and `text` in the body",
    }

    client: int | None = None
    extension: int | None = None
    code: int = 400
    status: str = ""

    def about(self, call: Call) -> bool:
        wanted = (("client_id", self.client), ("extension_id", self.extension))
        return all(value is None or call.path.get(name) == str(value) for name, value in wanted)

    def changes(self, call: Call) -> bool | None:
        return None if call.operation == "oauth.token" else call.changes


async def _refuse(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    await exchange.apply_if(fault)
    rule: Any = fault.rule
    headers = exchange.stand.limits()  # type: ignore[attr-defined]  # our own simulator's
    return exchange.refuse(refused(rule.code, rule.status, exchange.wording(rule.text)), headers)


BEHAVIOURS: Mapping[str, Behaviour] = {**common.BEHAVIOURS, "refuse": _refuse}
