"""The REST client, and what it means that a token is refused twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.domain.effect import Effect
from worker.domain.outcome import Busy, Refused
from worker.messages.rest.operations import Operation
from worker.platforms.planning import Wrong
from worker.platforms.port import Guard
from worker.platforms.rest import Answered, Client, FixedLogin, Heard
from worker.platforms.rest.wire import Data, build
from worker.platforms.transport import NO_GUARD

ANOTHER_TOKEN = 1.0  # seconds until it is tried with the next one


@dataclass(slots=True)
class RingmeClient(Client):
    """A 401 speaks of the token, not of the command (RU 44302395). One that comes again after a new token was had
    may still be the token's: others use the application too, and nobody says whether a new token ends an older
    one. Only where a control read with the very same token succeeds it is a refusal.

    `probe`: the control read, an operation and its data.
    """

    probe: tuple[Operation, dict[str, Any]] | None = field(default=None, repr=False)

    async def call(
        self,
        operation: Operation,
        data: Data,
        *,
        guard: Guard = NO_GUARD,
        effect: Effect | None = None,
        control: bool = False,
    ) -> Heard:
        try:
            wire = build(self.url, operation, data, self.credentials)
        except Wrong:
            return await Client.call(self, operation, data)  # which says what is wrong, and sends nothing
        fresh = (effect or Effect(operation.effect)).needs_fresh_connection
        heard, used = await self._once(operation, wire, fresh, guard, control)
        if heard.exchange.status == 401 and await self.login.renewed(used):
            heard, used = await self._once(operation, wire, fresh, guard, control)
        if isinstance(heard.what, Refused) and heard.exchange.status == 401 and not control:
            return heard if await self._is_good(used) else Heard(Busy(ANOTHER_TOKEN), heard.exchange)
        return heard

    async def _is_good(self, used: Mapping[str, str]) -> bool:
        """Whether the platform takes a token for another question."""
        if self.probe is None:
            return True
        other = Client(self.url, self.transport, self.answers, login=FixedLogin(used), pace=self.pace)
        operation, data = self.probe
        return isinstance((await other.call(operation, data, control=True)).what, Answered)
