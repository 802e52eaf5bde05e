"""Calling a native command's operation: as it is, or after the read that makes it safe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from worker.domain.effect import Effect
from worker.domain.evidence import Reading
from worker.domain.outcome import Busy, Done, Exchange, Ill, NotSent, Refused, Unclear
from worker.domain.redaction import secrets_in, without_secrets
from worker.messages.errors import Code
from worker.messages.sippulse.checks import AsSent, ReadsBack
from worker.messages.sippulse.shapes import Field
from worker.platforms.port import Guard, Reply, Unread
from worker.platforms.reading import not_sent, within
from worker.platforms.sippulse.answers import Answered
from worker.platforms.sippulse.client import Client
from worker.platforms.sippulse.fields import money, shown
from worker.platforms.sippulse.looks import ELSEWHERE, SECRET_READS, Looks, Row, normalised, plain
from worker.platforms.sippulse.merge import Trust, Unsafe, record_with
from worker.platforms.sippulse.records import Absent, Record, Records, is_nameless, nobody
from worker.platforms.sippulse.steps import NativeStep
from worker.platforms.sippulse.unknowns import Unknowns

MOST_NAMED = 20  # profiles, where there is none of the name ordered


class NativeCalls:
    """`timeout`: seconds for a read that is the command; `brief`: for a read beside the call."""

    def __init__(
        self,
        client: Client,
        records: Records,
        looks: Looks,
        trust: Trust,
        unknowns: Unknowns,
        *,
        timeout: float,
        brief: float,
    ) -> None:
        self._client, self._records, self._looks, self._trust = client, records, looks, trust
        self._unknowns = unknowns
        self._timeout, self._brief = timeout, brief

    async def call(self, step: NativeStep, guard: Guard) -> Reply:
        if step.effect is Effect.READ:
            return await self._read(step)
        if step.unsaid:
            return await self._complete(step, guard)
        if isinstance(step.operation.check, AsSent):
            return await self._update(step, guard)
        if step.effect is Effect.DELETE and step.readable:
            return await self._remove(step, guard)
        return await self._do(step, step.params, guard)

    async def _do(self, step: NativeStep, what: Mapping[str, Any], guard: Guard, **output: Any) -> Reply:
        """The one call of a step that changes something."""
        if (missing := await self._unknowns.before(step)) is not None:
            return Reply(missing, Exchange(step.endpoint, 0.0))
        heard = await self._client.call(
            step.endpoint,
            what,
            guard=guard,
            fresh=step.effect.needs_fresh_connection,
            secrets=secrets_in(what),
        )
        if isinstance(heard.what, Answered):
            return Reply(Done({**output_of(step, heard.what.value), **output}), heard.exchange)
        if isinstance(heard.what, Refused) and await self._unknowns.reached(step, heard.what):
            return Reply(Done(output_of(step, None)), heard.exchange)
        if isinstance(heard.what, Refused) and step.effect in (Effect.SET, Effect.CHANGE_SECRET):
            explained = await within(self._brief, self._explained(step, heard.what))
            # The answer to the call stands, whatever became of the question behind it.
            return Reply(explained if isinstance(explained, Refused) else heard.what, heard.exchange)
        return Reply(heard.what, heard.exchange)

    async def _explained(self, step: NativeStep, what: Refused) -> Any:
        """A refusal whose text nobody knows: is it that there is no such subscriber?"""
        if what.certain or step.person is None or step.operation.service != "SubscriberWS":
            return what
        return await self._records.explained(step.person, what)

    async def _read(self, step: NativeStep) -> Reply:
        try:
            async with asyncio.timeout(self._timeout):
                heard = await self._client.call(step.endpoint, step.params, secrets=secrets_in(step.params))
                what = heard.what
                if isinstance(what, Refused):
                    what = await self._explained(step, what)
                elif isinstance(what, Answered) and await self._is_nobodys(step, what.value):
                    assert step.person is not None
                    what = nobody(step.person)
        except TimeoutError:
            return Reply(Unclear("timeout"), Exchange(step.endpoint, self._timeout * 1000))
        outcome = Done(answer_of(step, what.value)) if isinstance(what, Answered) else what
        return Reply(outcome, heard.exchange)

    async def _is_nobodys(self, step: NativeStep, value: Any) -> bool:
        """An empty answer: nothing to say of this subscriber, or no such subscriber?"""
        returns = step.operation.returns
        about_one = step.operation.service == "SubscriberWS" and step.person is not None
        if (
            not about_one
            or returns is None
            or not (value is None or (not returns.simple and is_nameless(value)))
        ):
            return False
        return step.person is not None and isinstance(await self._records.subscriber(step.person), Absent)

    async def _remove(self, step: NativeStep, guard: Guard) -> Reply:
        """It is looked for first: it is the command's output, and after the call it is gone."""
        began = time.monotonic()
        before = await within(self._brief, self._looks.look(step))
        aside = Exchange(step.endpoint, round((time.monotonic() - began) * 1000, 3))
        if not isinstance(before, Reading):
            return Reply(not_sent(before), aside)
        if not before.present:
            return Reply(Refused(Code.NOT_FOUND, not_there(step), certain=True), aside)
        reply = await self._do(step, step.params, guard, removed=before.record)
        return replace(reply, before=before)

    async def _update(self, step: NativeStep, guard: Guard) -> Reply:
        """Nobody knows whether a field left out keeps its value: read, merge, send all."""
        began = time.monotonic()
        whole = step.operation.object
        assert whole is not None
        try:
            async with asyncio.timeout(self._brief):
                current = await self._looks.current(step) if step.readable else step.ordered
                merged: dict[str, Any] | Unread | None = (
                    None if not isinstance(current, Mapping) else await self._merged(step, whole, current)
                )
        except TimeoutError:
            current = Unclear("timeout")
            merged = None
        except Unsafe as error:
            current = Refused(Code.CANNOT_UPDATE_SAFELY, str(error), certain=True)
            merged = None
        if isinstance(merged, dict):
            return await self._do(step, {whole.name: merged}, guard)
        aside = Exchange(step.endpoint, round((time.monotonic() - began) * 1000, 3))
        if current is None:
            return Reply(Refused(Code.NOT_FOUND, not_there(step), certain=True), aside)
        unread = merged if isinstance(current, Mapping) else current
        assert unread is not None
        assert not isinstance(unread, Mapping)
        return Reply(not_sent(unread), aside)

    async def _merged(self, step: NativeStep, whole: Field, current: Row) -> dict[str, Any] | Unread:
        """Raises Unsafe where a field would be overwritten unseen."""
        if whole.type == "subscriberDTO":
            if not step.readable:
                raise Unsafe(
                    "this server does not show the subscriber, so fields not named would be overwritten"
                )
            record = await self._with_secrets(step, current)
            return record_with(record, step.ordered, self._trust) if isinstance(record, Mapping) else record
        now = {each.name: current.get(ELSEWHERE.get(each.name, each.name)) for each in whole.fields}
        merged = {**now, **step.ordered}
        for each in whole.fields:
            if each.name in step.ordered or not await self._hidden(step, each, merged[each.name]):
                continue
            if not (each.secret and self._trust.may_leave_out):
                raise Unsafe(
                    f"the platform does not show {each.name}, and {step.name} would overwrite it: "
                    f"send sippulse.{step.endpoint} with {each.name} too"
                )
            merged[each.name] = None
        return {name: value for name, value in merged.items() if value is not None}

    async def _with_secrets(self, step: NativeStep, record: Row) -> Row | Unread:
        """The record with its passwords, read one by one where it does not show them."""
        found = dict(record)
        for name, read in SECRET_READS.items():
            shown = found[name] = self._trust.recorded(record.get(name))
            if name in step.ordered or shown is not None or not self._trust.asks(record.get(name)):
                continue
            secret = await self._secret(step, read)
            if isinstance(secret, Unclear | NotSent | Busy | Ill):
                return secret
            found[name] = secret if isinstance(secret, str) else None
        return found

    async def _secret(self, step: NativeStep, read: str) -> str | Unread | None:
        """A password of the subscriber's; None: it is not shown."""
        assert step.person is not None
        what = (await self._client.call(read, step.person.arguments)).what
        if not isinstance(what, Answered):
            return await self._records.explained(step.person, what)
        return self._trust.retrieved(what.value)

    async def _hidden(self, step: NativeStep, field: Field, value: Any) -> bool:
        if field.primitive or not step.readable:
            return value is None
        if not field.secret or self._trust.recorded(value) is not None:
            return False
        return value not in (None, "") or not await self._shows_secrets(step)

    async def _shows_secrets(self, step: NativeStep) -> bool:
        """An empty secret is none at all on a server that shows the password of the same subscriber."""
        found = None if step.person is None else await self._records.subscriber(step.person)
        password = found.fields.get("password") if isinstance(found, Record) else None
        return self._trust.recorded(password) is not None

    # What the order does not say, and the call needs ----------------------------------------------

    async def _complete(self, step: NativeStep, guard: Guard) -> Reply:
        """It is read just before the call."""
        began = time.monotonic()
        found = await within(self._brief, self._unsaid(step))
        aside = Exchange(step.endpoint, round((time.monotonic() - began) * 1000, 3))
        if isinstance(found, Mapping):
            return await self._do(step, {**step.params, **found}, guard)
        return Reply(found if isinstance(found, Done) else not_sent(found), aside)

    async def _unsaid(self, step: NativeStep) -> Mapping[str, Any] | Done | Unread:
        """Parameters; Done: it is as ordered already."""
        if step.unsaid == ("actualPassword",):
            return await self._actual_password(step)
        assert step.unsaid == ("newProfileId",), step.unsaid
        return await self._profile_number(step)

    async def _actual_password(self, step: NativeStep) -> Mapping[str, Any] | Done | Unread:
        check = step.operation.check
        assert isinstance(check, ReadsBack)
        old = await self._secret(step, check.read)
        if isinstance(old, str):
            return Done() if old == step.params["newPassword"] else {"actualPassword": old}
        if old is not None and not (isinstance(old, Refused) and old.code is Code.UNSUPPORTED_BY_SERVER):
            return old
        assert step.person is not None
        if isinstance(await self._records.subscriber(step.person), Absent):
            return nobody(step.person)
        why = (
            f"{step.name} has to be told the password that there is, and the platform does not show it: "
            "send password.change with current_password"
        )
        if step.name != "changePassword":
            why = why.replace("password.change with current_password", f"sippulse.{step.endpoint}")
        return Refused(Code.CANNOT_UPDATE_SAFELY, why, certain=True)

    async def _profile_number(self, step: NativeStep) -> Mapping[str, Any] | Unread:
        """The order names the profile, the operation wants its number."""
        wanted, domain = step.find("profile"), step.find("domain")
        rows = await self._looks.rows("ProfileWS.listProfilesByDomain", {"domain": domain})
        if not isinstance(rows, list):
            return rows
        number = next((row.get("id") for row in rows if row.get("profile") == wanted), None)
        if number is not None:
            return {"newProfileId": number}
        known = ", ".join(sorted(str(row.get("profile")) for row in rows)[:MOST_NAMED]) or "none"
        why = f"there is no profile {wanted!r} in {domain}, which has: {known}"
        return Refused(Code.NOT_FOUND, why, certain=True)


def not_there(step: NativeStep) -> str:
    return f"{step.name}: what it is about is not there"


def output_of(step: NativeStep, value: Any) -> dict[str, Any]:
    """A step's part of the command's output; `value` is what stood in the answer."""
    if step.operation.effect == Effect.CREATE:
        return {"platform_id": number_of(step, value), "adopted": False, "differences": []}
    if step.amount is not None:
        return {"amount": shown(step.amount)}
    return {} if value is None else answer_of(step, value)


def number_of(step: NativeStep, value: Any) -> str | None:
    """What the platform calls the new object."""
    whole, returns = step.operation.object, step.operation.returns
    if isinstance(value, Mapping):
        value = value.get("id") if whole and returns and whole.type == returns.type else None
    return None if value is None else str(value)


def answer_of(step: NativeStep, value: Any) -> dict[str, Any]:
    """Under the name that the WSDL gives it; secrets are ***, unless the whole answer is one."""
    returns = step.operation.returns
    if returns is None:
        return {}
    if returns.simple and returns.type == "double" and value is not None:
        return {returns.name: shown(money(value))}
    if not returns.simple:
        values = value if isinstance(value, list) else [] if value is None else [value]
        rows = [without_secrets(plain(normalised(each, returns.fields))) for each in values]
        value = rows if returns.many else next(iter(rows), None)
    return {returns.name: value}
