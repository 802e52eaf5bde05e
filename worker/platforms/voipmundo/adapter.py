"""The platform port for VoIPMundo: what it does otherwise than every REST platform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from worker.domain.evidence import Reading
from worker.domain.outcome import Busy, Done, Exchange, NotSent, Outcome, Refused, Unclear
from worker.messages.errors import Code, Problem
from worker.messages.rest.operations import Table
from worker.platforms.planning import Wrong
from worker.platforms.port import Guard, Order, Reply, Rows, Step, Unread
from worker.platforms.preview import Existing, Preview
from worker.platforms.reading import within
from worker.platforms.rest import RestPlatform, RestStep, step_of
from worker.platforms.rest.looks import alike
from worker.platforms.voipmundo import contract as of
from worker.platforms.voipmundo.call_records import Reading as CallRecords
from worker.platforms.voipmundo.call_records import days
from worker.platforms.voipmundo.client import VoipmundoClient
from worker.platforms.voipmundo.existing import client_named, create_in, held_against, new_one
from worker.platforms.voipmundo.looks import VoipmundoLooks
from worker.platforms.voipmundo.plan import Plans, SomebodyElse, moment, noted
from worker.platforms.voipmundo.values import number
from worker.settings import VoipmundoSettings

CONTROL_READ = "cdr.listAll?limit=1"  # of today: that is what it does without dates
ENVELOPE = frozenset({"error", "reason"})
# Sets about one client: a refusal of theirs may be about a client that is not there.
ABOUT_ONE = frozenset({of.STATUS, of.UPDATE})
MAY_MEAN_ABSENT = frozenset({Code.PLATFORM_REFUSED, Code.NOT_FOUND, Code.UNSUPPORTED_BY_SERVER})


class VoipmundoPlatform(RestPlatform):
    """One configured VoIPMundo."""

    settings: VoipmundoSettings
    client: VoipmundoClient

    def __init__(self, name: str, settings: VoipmundoSettings, client: VoipmundoClient, table: Table) -> None:
        self._plans = Plans(name, settings, table)
        super().__init__(
            name,
            settings,
            client,
            table,
            portable=self._plans.all(),
            control=CONTROL_READ,
            money=number,
            envelope=ENVELOPE,
        )
        self.looks = VoipmundoLooks(client, self.table, self.control, number)
        client.control = self.control
        self._zone = ZoneInfo(settings.assume.time_zone)

    # The port -------------------------------------------------------------------------------------

    def plan(self, order: Order) -> tuple[Step, ...] | Problem:
        try:
            if order.type == of.CREDIT and self.settings.undocumented:
                self._plans.check_credit()
            steps = super().plan(order)
            if isinstance(steps, Problem):
                return steps
            return tuple(self._finished(order, step) for step in steps)
        except Wrong as wrong:
            return wrong.problem

    def _finished(self, order: Order, step: Step) -> Step:
        """With what the settings add, and without a check that has nothing to go by."""
        if not isinstance(step, RestStep):
            return step
        if step.operation.type == of.CREDIT:
            step = replace(step, params=self._credit(order, step.params))
        if step.operation.type == of.DEVICE and self.settings.level != "subscriber":
            self._has_an_owner(step)
        check = of.settled(step.params, self._offered(step))
        return replace(step, check=check, readable=check is not None)

    def _offered(self, step: RestStep) -> Any:
        """The check, unless it may not be read."""
        check = step.check
        allowed = check is None or self.settings.undocumented or not self.table[check.read].undocumented
        return check if allowed else None

    def _credit(self, order: Order, params: Mapping[str, Any]) -> dict[str, Any]:
        said = self.settings.credit
        amount = str(params["amount"])
        found = {**params, "amount": amount.replace(".", ",") if said.decimals == "comma" else amount}
        found.pop("note", None)
        if said.note:
            found["note"] = noted(order, params.get("note"))
        return {**found, **said.constants}

    def _has_an_owner(self, step: RestStep) -> None:
        if step.params.get("customer_id") is None:
            why = f"customer_id is needed: only a token of level Assinante, which {self.name} has not, goes without"
            raise Wrong(Code.MISSING_FIELD, why, "customer_id")

    async def look(self, step: Step, before: Reading | None) -> Reading | Unread:
        if not step.readable:
            return Reading()  # nothing shows it: nothing is asked
        return await super().look(step, before)

    async def call(self, step: Step, guard: Guard) -> Reply:
        assert isinstance(step, RestStep)
        try:
            reply = await super().call(step, guard)
        except SomebodyElse:
            why = "the pair of this platform's is of level Assinante, and shows another client than that"
            return Reply(Refused(Code.NOT_FOUND, why, certain=True), Exchange(step.endpoint, 0.0))
        except (LookupError, ValueError):
            return Reply(Unclear("garbage"), Exchange(step.endpoint, 0.0))
        if isinstance(reply.outcome, Busy) and reply.exchange.status is None and step.effect.needs_evidence:
            # No place was free: nothing went out, and so nothing has to be explained by the evidence.
            reply = replace(reply, outcome=NotSent("no place"))
        return await self._explained(step, _without_envelope(reply))

    async def unchanged(self, step: RestStep, value: Any) -> Outcome | None:
        """statusCustomer says what the status is now: where that is not the one ordered, the record decides."""
        if step.operation.type != of.STATUS or not isinstance(value, Mapping):
            return None
        now = value.get("new_status")
        if now is None or alike(now, step.params["status"]):
            return None
        found = await within(self._brief, self.looks.look(step, None))
        if not isinstance(found, Reading) or found.matches is None:
            return Unclear("not_shown")
        if found.matches:
            return None
        why = "VoIPMundo answered that it was done, and the status of the client stayed as it was"
        return Refused(Code.PLATFORM_REFUSED, why, certain=True)

    async def _explained(self, step: RestStep, reply: Reply) -> Reply:
        """A set that was refused for nobody: the record says whether the client is there."""
        refused, id_ = reply.outcome, step.params.get("id")
        if step.operation.type not in ABOUT_ONE or not isinstance(refused, Refused) or refused.certain:
            return reply
        if refused.code not in MAY_MEAN_ABSENT or self.settings.level == "subscriber":
            return reply
        heard = await within(self._brief, self.client.call(self.table[of.GET], {"id": id_}))
        found = getattr(heard, "what", None)
        absent = isinstance(found, Refused) and found.certain and found.code is Code.NOT_FOUND
        # The answer to the call stands, whatever became of the question behind it.
        return (
            replace(reply, outcome=replace(refused, code=Code.NOT_FOUND, certain=True)) if absent else reply
        )

    async def read_rows(self, step: Step, rows: Rows) -> Reply:
        assert step.paged
        own = self.settings.level == "subscriber"
        operation = self.table[of.CDR_ALL if own else of.CDR]
        return await CallRecords(self.client, operation, self._zone).run(step, rows)

    async def preview(self, step: Step) -> Preview:
        if not step.paged:
            return await super().preview(step)
        params = step.params
        query = next(days(moment(params["since"]), moment(params["until"]), self._zone), {})
        own = self.settings.level == "subscriber"
        operation = self.table[of.CDR_ALL if own else of.CDR]
        shown = await super().preview(step_of(operation, query if own else {**query, "id": params["id"]}))
        return replace(shown, notes=("one such request for each day, and for each page of it",))

    async def existing(self, order: Order, steps: Sequence[Step]) -> list[Existing]:
        """The client that the command names is there; one that it makes is not."""
        found = []
        if (client := client_named(order)) is not None:
            own = self.settings.level == "subscriber"
            operation, data = (self.table[of.GET_OWN], {}) if own else (self.table[of.GET], {"id": client})
            read = self.client.call(operation, data)
            found.append(held_against(client, await within(self.settings.timeout, read)))
        if (create := create_in(steps)) is not None:
            found.append(new_one(create, await self.look(create, None)))
        return found

    def facts(self) -> Mapping[str, Any]:
        """Of the settings: what this platform may be asked."""
        return {
            **super().facts(),
            "level": self.settings.account,
            "undocumented": "allowed" if self.settings.undocumented else "off",
            "credit": "configured" if of.is_on(self.settings) else "off",
        }


def _without_envelope(reply: Reply) -> Reply:
    """A record that was removed, as it was: `error` and `reason` are the answer's."""
    if not isinstance(reply.outcome, Done) or "removed" not in reply.outcome.output:
        return reply
    removed = {k: v for k, v in reply.outcome.output["removed"].items() if k not in ENVELOPE}
    return replace(reply, outcome=Done({**reply.outcome.output, "removed": removed}))
