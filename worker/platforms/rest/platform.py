"""The platform port for whatever an OpenAPI file describes. A kind of platform is this with its own parts."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from worker.domain.effect import Effect
from worker.domain.evidence import Reading, money
from worker.domain.outcome import Done, Exchange, Outcome, Refused
from worker.domain.redaction import Masker
from worker.messages.errors import Code, Problem
from worker.messages.rest.operations import Operation, Table, secret_names
from worker.platforms.planning import Wrong, read_of
from worker.platforms.port import Guard, Order, Reply, Step, Unread
from worker.platforms.preview import Preview
from worker.platforms.reading import not_sent, within
from worker.platforms.rest.answers import Answered, plain
from worker.platforms.rest.client import Client
from worker.platforms.rest.looks import Looks, balance_of, hidden
from worker.platforms.rest.steps import Plan, Planner, RestStep, is_undocumented_allowed, offered
from worker.platforms.rest.wire import arguments_of, build
from worker.platforms.transport import Transport
from worker.settings import PlatformSettings

MAX_ANSWER = 4 * 1024 * 1024  # bytes
# Control reads must not wait behind calls that hang: places beside those of `concurrency`.
BESIDE_THE_CALLS = 4
# Of `lease_margin`: for each of the reads that may stand before and behind the call itself.
MARGIN_FOR_A_READ = 1 / 3


class RestPlatform:
    """One configured platform.

    table     the operations of its OpenAPI file
    portable  portable command without its version -> its plan
    control   the control read: an operation, with data behind a `?`, e.g. cdr.list?limit=1. The setting
              `control_read` goes before it
    money     how the platform writes a balance
    envelope  fields of every answer that are no part of what was asked for, e.g. error, reason
    """

    def __init__(
        self,
        name: str,
        settings: PlatformSettings,
        client: Client,
        table: Table,
        *,
        portable: Mapping[str, Plan],
        control: str,
        money: Callable[[Any], Decimal] = balance_of,
        envelope: frozenset[str] = frozenset(),
    ) -> None:
        """Raises ValueError for a control read that is none."""
        self.name, self.kind = name, settings.kind
        self.settings, self.client = settings, client
        self.table = table = offered(table, undocumented=is_undocumented_allowed(settings))
        self.planner = Planner(name, settings, table, portable)
        self.looks = Looks(client, table, self.control, money)
        self._control_read = control_read(name, table, settings.control_read or control)
        self._envelope = envelope

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def plan(self, order: Order) -> tuple[Step, ...] | Problem:
        return self.planner.plan(order)

    async def look(self, step: Step, before: Reading | None) -> Reading | Unread:
        assert isinstance(step, RestStep)
        return await within(self.settings.timeout, self.looks.look(step, before))

    async def call(self, step: Step, guard: Guard) -> Reply:
        assert isinstance(step, RestStep)
        if step.effect is Effect.DELETE and step.check is not None:
            return await self._remove(step, guard)
        return await self._do(step, guard)

    async def control(self) -> Outcome:
        operation, data = self._control_read
        heard = await self.client.call(operation, data, control=True)
        return Done() if isinstance(heard.what, Answered) else heard.what

    async def preview(self, step: Step) -> Preview:
        """The request of a step as it would go out, without its secrets and without our login."""
        assert isinstance(step, RestStep)
        wire = build(self.client.url, step.operation, step.params, self.client.credentials)
        masker = Masker(secret for secret in (*wire.secrets, *self.client.login.secrets()) if secret)
        body = "" if wire.body is None else json.dumps(json.loads(wire.body), indent=2, ensure_ascii=False)
        reads = () if step.check is None else (self.table[step.check.read].endpoint,)
        url = self.client.url.rstrip("/") + wire.shown
        return Preview(wire.method, url, wire.headers, masker(body), reads=reads)

    def facts(self) -> Mapping[str, Any]:
        return {"operations": len(self.table), "control_read": self._control_read[0].endpoint}

    async def close(self) -> None:
        await self.client.close()

    # Calls ----------------------------------------------------------------------------------------

    async def _do(self, step: RestStep, guard: Guard, **output: Any) -> Reply:
        heard = await self.client.call(step.operation, step.params, guard=guard, effect=step.effect)
        if not isinstance(heard.what, Answered):
            return Reply(heard.what, heard.exchange)
        value = heard.what.value
        if (instead := await self.unchanged(step, value)) is not None:
            return Reply(instead, heard.exchange)
        own = step.output(value) if step.output else self.output_of(step, value)
        return Reply(Done({**own, **output}), heard.exchange)

    async def unchanged(self, step: RestStep, value: Any) -> Outcome | None:
        """What became of a step whose answer says "done" and shows that it was not; None: nothing speaks against it."""
        return None

    async def _remove(self, step: RestStep, guard: Guard) -> Reply:
        """It is looked for first: it is the command's output, and after the call it is gone."""
        began = time.monotonic()
        before = await within(self._brief, self.looks.look(step, None))
        aside = Exchange(step.endpoint, round((time.monotonic() - began) * 1000, 3))
        if not isinstance(before, Reading):
            return Reply(not_sent(before), aside)
        if not before.present:
            why = f"{step.endpoint}: what it is about is not there"
            return Reply(Refused(Code.NOT_FOUND, why, certain=True), aside)
        reply = await self._do(step, guard, removed=before.record)
        return replace(reply, before=before)

    @property
    def _brief(self) -> float:
        """Seconds for a read beside the call: the lease has to cover them too."""
        return min(self.settings.timeout, self.settings.lease_margin * MARGIN_FOR_A_READ)

    def output_of(self, step: RestStep, value: Any) -> dict[str, Any]:
        """What a native command says of the answer, by its effect. Secrets are ***, unless all of it is one."""
        operation = step.operation
        if step.effect is Effect.CREATE:
            identity = value.get(operation.id) if isinstance(value, Mapping) else None
            shown = None if identity is None else str(identity)
            return {"platform_id": shown, "adopted": False, "differences": []}
        if step.amount is not None:
            return {"amount": money(step.amount)}
        return self.shown(operation, value)

    def shown(self, operation: Operation, value: Any) -> dict[str, Any]:
        """An answer as a result has it: an object as it is, a list as `rows`."""
        if value is None:
            return {}
        found = plain(value) if operation.secret else hidden(plain(value), secret_names(operation.answer))
        if isinstance(found, list):
            return {"rows": found}
        if not isinstance(found, Mapping):
            return {"value": found}
        return {name: each for name, each in found.items() if name not in self._envelope}


def control_read(name: str, table: Table, said: str) -> tuple[Operation, dict[str, Any]]:
    """The operation and its data. Raises ValueError with a sentence."""
    asked, given = read_of(said)
    reads = {each.endpoint: each for each in table.values() if each.effect == "read"}
    by_type = {each.type.removesuffix(".v1"): each for each in reads.values()}
    operation = reads.get(asked) or by_type.get(asked.removesuffix(".v1"))
    if operation is None:
        known = ", ".join(sorted(reads)) or "none"
        raise ValueError(f"platforms.{name}: control_read = {said!r} is no read: we know {known}")
    try:
        return operation, arguments_of(operation, given)
    except Wrong as wrong:
        raise ValueError(
            f"platforms.{name}: control_read = {said!r}: {wrong}; write {asked}?name=value"
        ) from None


def open_transport(settings: PlatformSettings) -> Transport:
    """To the platform's address, by its settings. Closed with the client that has it."""
    return Transport(
        timeout=settings.timeout,
        keepalive=settings.keepalive,
        limit=settings.concurrency + BESIDE_THE_CALLS,
        max_answer=MAX_ANSWER,
        verify=tls(settings),
    )


def tls(settings: PlatformSettings) -> ssl.SSLContext | None:
    if not settings.url.startswith("https://"):
        return None
    context = ssl.create_default_context(cafile=settings.ca)
    if not settings.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
