"""The platform port for RingMe: what is more than one operation of its OpenAPI file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from worker.domain.effect import Effect
from worker.domain.outcome import Busy, Done, Exchange, Ill, NotSent, Outcome, Refused, Unclear
from worker.messages.errors import Code
from worker.messages.rest.operations import Datum, Operation, Place, Table, types_of
from worker.platforms.port import Guard, Memory, Order, Reply, Rows, Step, Unread
from worker.platforms.preview import Existing, Preview
from worker.platforms.reading import not_sent, within
from worker.platforms.rest import Answered, RestPlatform, RestStep
from worker.platforms.rest.looks import alike
from worker.platforms.ringme.client import RingmeClient
from worker.platforms.ringme.existing import Inspection
from worker.platforms.ringme.history import History
from worker.platforms.ringme.looks import RingmeLooks, asked_of, blocking
from worker.platforms.ringme.plan import Plans
from worker.platforms.ringme.rules import Kept, rule_of
from worker.platforms.ringme.steps import NumberStep, RuleStep, operation
from worker.settings.ringme import RingmeSettings

CONTROL_READ = "user.me"
# What a PUT may clear by leaving it out, and the read that shows it: before the call, and what became of it.
MERGED: Mapping[str, str] = {
    "client.update": "client.get",
    "client_info.update": "client_info.get",
    "extension.update": "extension.get",
    "phone.update": "phone.get",
}
NO_WAY_BACK = (
    "there is no list of rules in place, and nothing says how one is taken away again: set unblocked_rule_id, the "
    "list that `calls.unblock` puts in place instead"
)
HIDDEN = (
    "the record does not show the {field}, and a PUT may clear what it leaves out: order the {field} too, or, where a "
    'PUT changes only what it names, set assume.put = "changes"'
)
NOT_KNOWN = (
    "the list of rules that lets no call out is in place, and this worker does not know what was there before: "
    "put the right one in place with ringme.client.update or ringme.extension.update (dial_rule_id)"
)


class RingmePlatform(RestPlatform):
    """One configured RingMe."""

    def __init__(
        self, name: str, settings: RingmeSettings, client: RingmeClient, table: Table, memory: Memory
    ) -> None:
        plans = Plans(name, settings, table)
        super().__init__(name, settings, client, table, portable=plans.portable(), control=CONTROL_READ)
        self._own, self._memory = settings, memory
        client.probe = self._control_read
        self.looks: RingmeLooks = RingmeLooks(client, self.table, self.control)
        self.looks.memory = memory
        self._history = History(client)

    async def call(self, step: Step, guard: Guard) -> Reply:
        reply = await self._call(step, guard)
        if isinstance(reply.outcome, Busy) and reply.exchange.status is None and step.effect.needs_evidence:
            # Nothing went out, so there is nothing to look for: the next try's first read hears how long to wait.
            return replace(reply, outcome=NotSent("hourly_limit"))
        return reply

    async def _call(self, step: Step, guard: Guard) -> Reply:
        match step:
            case RuleStep():
                return await self._swap(step, guard)
            case NumberStep():
                return await self._numbered(step, guard)
            case RestStep() if step.operation.endpoint in MERGED and self._own.assume.put == "replaces":
                return await self._merged(step, guard)
            case _:
                return await super().call(step, guard)

    async def read_rows(self, step: Step, rows: Rows) -> Reply:
        assert isinstance(step, RestStep)
        return await self._history.read(step, rows)

    async def control(self) -> Outcome:
        outcome = await super().control()
        if isinstance(outcome, Ill) and outcome.credentials:
            return Refused(Code.CREDENTIALS_REFUSED, outcome.text)
        return outcome

    async def preview(self, step: Step) -> Preview:
        found = await super().preview(step)
        notes: list[str] = []
        if isinstance(step, NumberStep) and step.extension_id is None:
            notes.append(f"{{extension_id}} is looked up: the internal number {step.number}")
        if isinstance(step, RuleStep) and not step.block:
            notes.append("dial_rule_id is what was in place before the block")
        if (
            isinstance(step, RestStep)
            and step.operation.endpoint in MERGED
            and self._own.assume.put == "replaces"
        ):
            notes.append("what the record shows besides is read before, and sent along")
        return replace(found, notes=(*found.notes, *notes))

    async def existing(self, order: Order, steps: Sequence[Step]) -> Sequence[Existing]:
        return await Inspection(self._own, self.client, self.table, self.looks).existing(steps)

    # PUT that keeps what it was not told ----------------------------------------------------------

    async def _merged(self, step: RestStep, guard: Guard) -> Reply:
        """Nobody knows whether a field left out keeps its value: read, merge, send all."""
        read = operation(self.table, MERGED[step.operation.endpoint])
        found, aside = await self._beside(step, read, step.params)
        if not isinstance(found, Mapping):
            return Reply(found, aside)
        if hidden := hidden_in(step.operation, found, step.params):
            why = HIDDEN.format(field=hidden)
            return Reply(Refused(Code.CANNOT_UPDATE_SAFELY, why, certain=True), aside)
        whole = {**as_it_is(step.operation, found), **step.params}
        return await super().call(
            replace(step, params=whole, ordered=frozenset(step.params), was=found), guard
        )

    async def unchanged(self, step: RestStep, value: Any) -> Outcome | None:
        """A 200 says less than the record that comes with it: not every field is open to every client. What the
        answer shows as it was is read once more, and where nothing of the order was done, it was refused.

        Where the record was not read before, nothing tells a text that stayed from one that RingMe writes in its
        own way; what has one way to be written is told all the same.
        """
        endpoint = MERGED.get(step.operation.endpoint)
        if endpoint is None or not stale(step, value):
            return None
        found, _ = await self._beside(step, operation(self.table, endpoint), step.params)
        if not isinstance(found, Mapping):
            return Unclear("not_shown")
        left = stale(step, found)
        if not left or set(left) != anew(step):
            return None  # the output names what is otherwise
        how = "is not as ordered" if step.was is None else "stayed as it was"
        why = f"RingMe answered that it was done, and {', '.join(left)} {how}: it is not open to our application"
        return Refused(Code.PLATFORM_REFUSED, why, certain=True)

    async def _beside(
        self, step: RestStep, read: Operation, params: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any] | Unread, Exchange]:
        """A record that has to be known before the call."""
        began = time.monotonic()
        asked = {each.name: params[each.name] for each in read.asked if each.name in params}
        heard = await within(self._brief, self.client.call(read, asked))
        aside = Exchange(step.endpoint, round((time.monotonic() - began) * 1000, 3))
        if isinstance(heard, Unclear):
            return not_sent(heard), aside
        if isinstance(heard.what, Answered):
            value = heard.what.value
            return (value if isinstance(value, Mapping) else NotSent("garbage")), aside
        return not_sent(heard.what), aside

    async def _numbered(self, step: NumberStep, guard: Guard) -> Reply:
        if step.extension_id is not None:
            return await self._of(step, step.extension_id, guard)
        began = time.monotonic()
        client_id = step.params["client_id"]
        found = await within(self._brief, self.looks.numbered(client_id, step.number))
        aside = Exchange(step.endpoint, round((time.monotonic() - began) * 1000, 3))
        rows = found if isinstance(found, Unclear) else found[0]
        if not isinstance(rows, list):
            return Reply(not_sent(rows), aside)
        if len(rows) != 1:
            why = (
                f"there are {len(rows)} internal numbers {step.number}"
                if rows
                else f"there is no {step.number}"
            )
            return Reply(Refused(Code.NOT_FOUND, why, certain=True), aside)
        return await self._of(step, rows[0]["id"], guard)

    async def _of(self, step: NumberStep, extension_id: Any, guard: Guard) -> Reply:
        known = {each.name for each in step.operation.asked}
        params = {name: value for name, value in step.params.items() if name in known}
        plain = {**params, "extension_id": extension_id}
        reply = await self._call(as_rest(step, plain), guard)
        return replace(reply, outcome=Done()) if isinstance(reply.outcome, Done) else reply

    # The swap of dial rules -----------------------------------------------------------------------

    async def _swap(self, step: RuleStep, guard: Guard) -> Reply:
        record, aside = await self._beside(step, step.read, asked_of(step))
        if not isinstance(record, Mapping):
            return Reply(record, aside)
        kept = await Kept.recalled(self._memory, step.of)
        wanted = await (self._blocked if step.block else self._unblocked)(step, rule_of(record), kept)
        if not isinstance(wanted, int):
            return Reply(wanted, aside)
        params = {**as_it_is(step.operation, record), **step.params, "dial_rule_id": wanted}
        if self._own.assume.put == "changes":
            params = {**step.params, "dial_rule_id": wanted}
        swap = replace(as_rest(step, params), ordered=frozenset({"dial_rule_id"}), was=record)
        reply = await super().call(swap, guard)
        if not isinstance(reply.outcome, Done):
            return reply
        if not step.block and kept is not None:
            await kept.forget(self._memory, step.of)
        return replace(reply, outcome=Done())

    async def _blocked(self, step: RuleStep, now: int | None, kept: Kept | None) -> int | Outcome:
        """What is to be put in place; or why nothing is sent."""
        assert step.rule is not None
        if now == step.rule:
            return Done()
        if kept is not None and now == kept.rule:  # blocked already, by a list that the settings named before
            now = kept.was
        if now is None and self._own.unblocked_rule_id is None:
            return Refused(Code.CANNOT_UPDATE_SAFELY, NO_WAY_BACK, certain=True)
        # Before the call: after it nobody could tell any more.
        await Kept(step.rule, now).remember(self._memory, step.of)
        return step.rule

    async def _unblocked(self, step: RuleStep, now: int | None, kept: Kept | None) -> int | Outcome:
        if now not in blocking(step, kept):
            if kept is not None:
                await kept.forget(self._memory, step.of)
            return Done()
        was = None if kept is None else kept.was
        before = was if was is not None else self._own.unblocked_rule_id
        return Refused(Code.CANNOT_UPDATE_SAFELY, NOT_KNOWN, certain=True) if before is None else before


def sent(step: RestStep) -> list[Datum]:
    """What was ordered, without what was read and sent along."""
    return [
        each
        for each in step.operation.asked
        if each.place is Place.BODY
        and each.name in step.params
        and (step.ordered is None or each.name in step.ordered)
    ]


def anew(step: RestStep) -> set[str]:
    """Names of what was ordered otherwise than it was; no record shows that of a secret."""
    was = step.was
    return {
        each.name
        for each in sent(step)
        if was is None or each.secret or not same(was.get(each.wire), step.params[each.name])
    }


def stale(step: RestStep, record: Any) -> list[str]:
    """Names of what a record shows as it was before the call, and not as it was ordered."""
    if not isinstance(record, Mapping):
        return []
    found = []
    for each in sent(step):
        now = record.get(each.wire, step.params[each.name])
        if each.secret or same(now, step.params[each.name]):
            continue
        if same(now, step.was.get(each.wire)) if step.was is not None else has_one_way(each):
            found.append(each.name)
    return found


def has_one_way(datum: Datum) -> bool:
    """Words of a list, numbers and flags are not written in another way, as texts may be."""
    return "enum" in datum.schema or not {"string", "array", "object", "any"} & set(types_of(datum.schema))


def same(one: Any, two: Any) -> bool:
    """Platforms trim texts, and write them in one case: that is no other value."""
    if isinstance(one, str) and isinstance(two, str):
        return " ".join(one.split()).casefold() == " ".join(two.split()).casefold()
    return alike(one, two)


def hidden_in(operation: Operation, record: Mapping[str, Any], params: Mapping[str, Any]) -> str | None:
    """A secret that the call would clear, for it is neither ordered nor shown."""
    for each in operation.asked:
        if each.secret and each.name not in params and not is_shown(record.get(each.wire)):
            return each.name
    return None


def is_shown(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip("*•"))


def as_it_is(operation: Operation, record: Mapping[str, Any]) -> dict[str, Any]:
    """What of a record a PUT takes back. A null is left out: nothing says that it is taken."""
    return {
        each.name: record[each.wire]
        for each in operation.asked
        if each.place is Place.BODY
        and record.get(each.wire) is not None
        and (not each.secret or is_shown(record[each.wire]))
    }


def as_rest(step: RuleStep | NumberStep, params: Mapping[str, Any]) -> RestStep:
    """The one operation that it comes down to."""
    return RestStep(
        name=step.name,
        endpoint=step.endpoint,
        effect=Effect.SET,
        params=params,
        operation=step.operation,
    )
