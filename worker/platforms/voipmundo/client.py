"""One call to a VoIPMundo, and what its refusals mean by comparison."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from worker.domain.effect import Effect
from worker.domain.outcome import Done, Outcome, Refused
from worker.messages.errors import Code
from worker.messages.rest.operations import Operation
from worker.platforms.port import Guard
from worker.platforms.reading import within
from worker.platforms.rest import Answered, Client, Declared, Heard
from worker.platforms.rest.wire import Data
from worker.platforms.transport import NO_GUARD
from worker.platforms.voipmundo.contract import GET, NOBODY

_FINE = (0, "0", False)


def declared(status: int, value: Any) -> Declared | None:
    """`error` is 1 in a refusal, whatever the HTTP status; `reason` says why."""
    if not isinstance(value, Mapping) or value.get("error") not in (1, "1", True):
        return None
    reason = value.get("reason")
    return Declared(reason if isinstance(reason, str) else "")


def sound(operation: Operation, value: Any) -> bool:
    """A success says `error` 0. Of reads that no document shows it is not known whether they do."""
    if not isinstance(value, Mapping):
        return False
    lenient = operation.undocumented and operation.effect == "read"
    return value.get("error", 0 if lenient else None) in _FINE


def _without_success(refused: Refused) -> Refused:
    """HTTP's 200 is no code of a refusal."""
    return replace(refused, platform_code=None) if refused.platform_code == "200" else refused


@dataclass(slots=True)
class VoipmundoClient(Client):
    """`brief`: seconds for the reads that explain a refusal. `control`: the platform's control read."""

    brief: float = 5.0
    control: Callable[[], Awaitable[Outcome]] | None = None
    _answered: set[str] = field(default_factory=set)  # reads that this server is known to have

    async def call(
        self,
        operation: Operation,
        data: Data,
        *,
        guard: Guard = NO_GUARD,
        effect: Effect | None = None,
        control: bool = False,
    ) -> Heard:
        heard = await Client.call(self, operation, data, guard=guard, effect=effect, control=control)
        if isinstance(heard.what, Answered):
            self._answered.add(operation.type)
            return heard
        if isinstance(heard.what, Refused):
            refused = _without_success(heard.what)
            explained = refused if refused.certain else await self._explained(operation, data, refused)
            return Heard(explained, heard.exchange)
        return heard

    async def _explained(self, operation: Operation, data: Data, refused: Refused) -> Refused:
        if refused.code is Code.NOT_FOUND and "{id}" not in operation.path:
            text = f"this server has no {operation.endpoint} (HTTP 404: no such option)"
            return Refused(Code.UNSUPPORTED_BY_SERVER, text, refused.platform_code, said=refused.said)
        about_one = operation.type == GET and data.get("id") != NOBODY
        if not about_one or refused.code not in (Code.PLATFORM_REFUSED, Code.NOT_FOUND):
            return refused
        same = await within(self.brief, self._same_for_nobody(operation, data, refused))
        if same is True:
            return replace(refused, code=Code.NOT_FOUND, certain=True)
        return refused

    async def _same_for_nobody(self, operation: Operation, data: Data, refused: Refused) -> bool:
        """What "absent" looks like is known by comparison with a client that cannot exist (rule 3.3).

        Only on a server that has shown a record before, and that is well now: it may refuse everything alike.
        """
        if operation.type not in self._answered or self.control is None:
            return False
        other = (await Client.call(self, operation, {**data, "id": NOBODY})).what
        if not isinstance(other, Refused) or other.code is not refused.code:
            return False
        alike = other.text.replace(str(NOBODY), "#") == refused.text.replace(str(data.get("id")), "#")
        return alike and isinstance(await self.control(), Done)
