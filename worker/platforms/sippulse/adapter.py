"""The platform port for SIPPulse: plan, look, call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeVar

from worker.domain.effect import Effect
from worker.domain.evidence import Reading
from worker.domain.outcome import Done, Exchange, Outcome, Unclear
from worker.domain.redaction import secrets_in
from worker.messages.errors import Problem
from worker.messages.sippulse.operations import BY_TYPE
from worker.platforms.checkup import Examined
from worker.platforms.planning import read_of
from worker.platforms.port import Guard, Order, Reply, Rows, Step, Unread
from worker.platforms.preview import Existing, Preview
from worker.platforms.reading import not_sent, within
from worker.platforms.sippulse.answers import Answered
from worker.platforms.sippulse.call_records.access import CallRecords
from worker.platforms.sippulse.call_records.balance import Balances
from worker.platforms.sippulse.client import Client
from worker.platforms.sippulse.existing import Inspection
from worker.platforms.sippulse.fields import differing, filled_in, ours, shown
from worker.platforms.sippulse.looks import Looks
from worker.platforms.sippulse.merge import Trust
from worker.platforms.sippulse.native import NativePlanner
from worker.platforms.sippulse.native_calls import NativeCalls
from worker.platforms.sippulse.numbers import Numbers
from worker.platforms.sippulse.plan import Planner, arguments
from worker.platforms.sippulse.preview import preview
from worker.platforms.sippulse.records import READ, Absent, Name, Record, Records, nobody
from worker.platforms.sippulse.services import with_live
from worker.platforms.sippulse.steps import NativeStep, NumberStep
from worker.platforms.sippulse.unknowns import Unknowns
from worker.settings import SippulseSettings

T = TypeVar("T")

CONTROL_READ = "DomainWS.listDomains"
# Of `lease_margin`: for each of the reads that may stand before and behind the call itself.
MARGIN_FOR_A_READ = 1 / 3


class SippulsePlatform:
    """One configured SIPPulse."""

    kind = "sippulse"

    def __init__(self, name: str, settings: SippulseSettings, client: Client) -> None:
        self.name, self._settings, self._client = name, settings, client
        self._control_read, self._control_data = read_of(settings.control_read or CONTROL_READ)
        self._records = Records(
            client,
            self._control,
            settle=settings.settle,
            undeclared=settings.assume.absent_is_undeclared_fault,
        )
        assume = settings.assume
        trust = Trust(assume.passwords, assume.retrieve_password, assume.left_out, assume.customer_password)
        self._planner = Planner(name, settings, self._has, self._lacks, self._answers)
        self._native = NativePlanner(self._planner)
        self._call_records = CallRecords(settings)
        self._balances = Balances(self._records, self._call_records.evidence)
        self._looks = Looks(client, self._records, self._control, trust, self._balances)
        # Of both its reads together: those beside them need their part of the lease too.
        unknowns = Unknowns(self._records, self._looks, assume, self._brief / 2)
        self._native_calls = NativeCalls(
            client, self._records, self._looks, trust, unknowns, timeout=settings.timeout, brief=self._brief
        )
        self._numbers = Numbers(
            client,
            self._records,
            self._looks,
            pool=assume.numbers == "listed",
            timeout=settings.timeout,
            brief=self._brief,
        )
        self._wants_live = settings.wsdl == "live"

    def __repr__(self) -> str:
        return f"SippulsePlatform({self.name!r})"

    # The port -------------------------------------------------------------------------------------

    def plan(self, order: Order) -> tuple[Step, ...] | Problem:
        return self._native.plan(order) if order.type in BY_TYPE else self._planner.plan(order)

    async def look(self, step: Step, before: Reading | None) -> Reading | Unread:
        return await within(self._settings.timeout, self._look(step, before))

    async def call(self, step: Step, guard: Guard) -> Reply:
        if isinstance(step, NumberStep):
            return await self._numbers.call(step, guard)
        if isinstance(step, NativeStep):
            return await self._native_calls.call(step, guard)
        match step.name:
            case "retrieveSubscriber":
                return await self._get(step)
            case "retrieveCredit":
                return await self._credit(step)
            case "removeSubscriber":
                return await self._remove(step, guard)
            case _:
                return await self._do(step, arguments(step), guard)

    async def read_rows(self, step: Step, rows: Rows) -> Reply:
        return await self._call_records.read_rows(step, rows)

    async def control(self) -> Outcome:
        what = await self._control()
        if not isinstance(what, Answered):
            return what
        await self._come_alive()
        return Done()

    async def preview(self, step: Step) -> Preview:
        return await preview(step, self._client, self._settings)

    async def existing(self, order: Order, steps: Sequence[Step]) -> Sequence[Existing]:
        return await Inspection(self._records, self._looks).existing(steps)

    async def examine(self) -> Sequence[Examined]:
        return await self._call_records.examine()

    def facts(self) -> Mapping[str, Any]:
        return self._client.services.facts()

    async def close(self) -> None:
        await self._call_records.close()
        await self._client.close()

    # Calls ----------------------------------------------------------------------------------------

    async def _do(self, step: Step, what: Mapping[str, Any], guard: Guard, **output: Any) -> Reply:
        """The one call of a step that changes something."""
        heard = await self._client.call(
            step.endpoint,
            what,
            guard=guard,
            fresh=step.effect.needs_fresh_connection,
            secrets=secrets_in(what),
        )
        if isinstance(heard.what, Answered):
            return Reply(Done({**output_of(step, heard.what.value), **output}), heard.exchange)
        return Reply(heard.what, heard.exchange)

    async def _get(self, step: Step) -> Reply:
        found, exchange = await self._read(step, self._settings.timeout)
        match found:
            case Record(fields):
                return Reply(Done({"subscriber": ours(fields, secrets=True)}), exchange)
            case Absent(said):
                return Reply(nobody(name_in(step), said), exchange)
            case unread:
                return Reply(unread, exchange)

    async def _credit(self, step: Step) -> Reply:
        seconds = self._settings.timeout
        try:
            async with asyncio.timeout(seconds):
                balance, heard = await self._records.heard_balance(name_in(step))
        except TimeoutError:
            return Reply(Unclear("timeout"), Exchange(step.endpoint, seconds * 1000))
        outcome = Done({"balance": shown(balance)}) if isinstance(balance, Decimal) else balance
        return Reply(outcome, heard.exchange)

    async def _remove(self, step: Step, guard: Guard) -> Reply:
        """The record is read first: it is the command's output, and after the call it is gone."""
        found, exchange = await self._read(step, self._brief)
        match found:
            case Record(fields):
                removed = ours(fields, secrets=False)
                reply = await self._do(step, arguments(step), guard, removed=removed)
                return replace(reply, before=Reading(present=True, record=removed))
            case Absent(said):
                return Reply(nobody(name_in(step), said), exchange)
            case unread:
                return Reply(not_sent(unread), exchange)

    async def _read(self, step: Step, seconds: float) -> tuple[Record | Absent | Unread, Exchange]:
        """The step's subscriber; what "absent" means may take more reads than one, in `seconds` altogether."""
        try:
            async with asyncio.timeout(seconds):
                found, heard = await self._records.heard(name_in(step))
        except TimeoutError:
            return Unclear("timeout"), Exchange(READ, seconds * 1000)
        return found, heard.exchange

    @property
    def _brief(self) -> float:
        """Seconds for a read beside the call: the lease has to cover them too."""
        return min(self._settings.timeout, self._settings.lease_margin * MARGIN_FOR_A_READ)

    # Readings -------------------------------------------------------------------------------------

    async def _look(self, step: Step, before: Reading | None) -> Reading | Unread:
        if isinstance(step, NumberStep):
            return await self._numbers.look(step)
        if isinstance(step, NativeStep):
            return await self._looks.look(step, before)
        name = name_in(step)
        if step.effect is Effect.INCREMENT:
            return await self._balances.read(name, step, before)
        found = await self._records.subscriber(name)
        match found:
            case Record(fields):
                return reading_of(step, fields)
            case Absent():
                return Reading(present=False)
            case unread:
                return unread

    async def _control(self) -> Answered | Unread:
        return (await self._client.call(self._control_read, self._control_data)).what

    # The server's own WSDLs -----------------------------------------------------------------------

    def _has(self, endpoint: str) -> bool:
        return self._client.services.has(endpoint)

    def _lacks(self, endpoint: str, what: Mapping[str, Any]) -> list[str]:
        operation = self._client.services.find(endpoint)
        return [] if operation is None else operation.lacks(what)

    def _answers(self, endpoint: str, field: str) -> bool:
        """Whether the answer has the field; of a bundled WSDL that is not loaded yet it does."""
        operation = self._client.services.find(endpoint)
        return operation is None or operation.answers(field)

    async def _come_alive(self) -> None:
        """A server that was away at the start shows its WSDLs when it is well again."""
        services = self._client.services
        if self._wants_live and not services.all_live:
            self._client.services = await with_live(services, self._settings.url, self._client.fetch)


# What steps and answers say ---------------------------------------------------------------------------


def name_in(step: Step) -> Name:
    return Name(step.params["username"], step.params["domain"])


def output_of(step: Step, value: Any) -> dict[str, Any]:
    """A step's part of the command's output; `value` is what stood in the answer."""
    if step.effect is Effect.CREATE:
        platform_id = None if value is None else str(value)
        return {"platform_id": platform_id, "adopted": False, "differences": []}
    if step.amount is not None:
        return {"amount": shown(step.amount)}
    return {}


def reading_of(step: Step, fields: Mapping[str, Any]) -> Reading:
    """What a record that is there shows about a step."""
    platform_id = None if fields.get("id") is None else str(fields["id"])
    record = ours(fields, secrets=False)
    if step.effect is not Effect.CREATE:
        return Reading(present=True, platform_id=platform_id, record=record)
    ordered = step.params["ordered"]
    wrong = differing(ordered, fields)
    differences = wrong or filled_in(step.params["subscriber"], ordered, fields)
    return Reading(True, not wrong, differences, platform_id, record=record)
