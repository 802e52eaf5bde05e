"""What can go wrong with an answer, faults that only a SOAP platform has among it."""

from collections.abc import Mapping

from aiohttp import web

from worker.simulators.common import exchange as common
from worker.simulators.common.exchange import Behaviour, Dice, Exchange
from worker.simulators.common.faults import Fault

from .soap import declared_fault, undeclared_fault


async def _declared(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    await exchange.apply_if(fault)
    return exchange.refuse(declared_fault(exchange.wording(fault.rule.text)))


async def _undeclared(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    await exchange.apply_if(fault)
    return exchange.refuse(undeclared_fault(exchange.wording(fault.rule.text)))


BEHAVIOURS: Mapping[str, Behaviour] = {
    **common.BEHAVIOURS,
    "declared": _declared,
    "undeclared": _undeclared,
}
