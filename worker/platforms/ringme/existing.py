"""Held against the platform before a command is sent: client, internal number and list of rules that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from worker.domain.outcome import Refused
from worker.messages.errors import Code
from worker.messages.rest.operations import Table
from worker.platforms.port import Step, Unread
from worker.platforms.preview import Existing
from worker.platforms.rest import Answered, Client, RestStep
from worker.platforms.ringme.looks import RingmeLooks
from worker.platforms.ringme.steps import operation
from worker.settings import RingmeSettings

# What a step names -> the read that shows whether it is there, and how people call it.
READS: Mapping[str, tuple[str, str]] = {
    "client_id": ("{record}.get", "client"),
    "extension_id": ("extension.get", "internal number with the id"),
    "dial_rule_id": ("dial_rule.get", "list of rules"),
}


class Inspection:
    """Reads only; what only other people's programs show is read where the settings allow it."""

    def __init__(self, settings: RingmeSettings, client: Client, table: Table, looks: RingmeLooks) -> None:
        self._settings, self._client, self._table, self._looks = settings, client, table, looks

    async def existing(self, steps: Sequence[Step]) -> list[Existing]:
        said: dict[str, Any] = {}
        for step in steps:
            said = {**step.params, **said}
        found = [
            each for name in READS if name in said and (each := await self._named(name, said)) is not None
        ]
        for create in creates(steps):
            found.append(await self._new(create, said))
        return found

    async def _named(self, name: str, said: Mapping[str, Any]) -> Existing | None:
        endpoint, called = READS[name]
        read = operation(self._table, endpoint.format(record=self._settings.record_path))
        if read.undocumented and not self._settings.undocumented:
            return None
        asked = {each.name: said[each.name] for each in read.asked if each.name in said}
        if {each.name for each in read.asked if each.required} > asked.keys():
            return None
        heard = await self._client.call(read, asked)
        what = f"{called} {said[name]}"
        if isinstance(heard.what, Answered):
            return Existing(what, there=True, wanted=True, said=f"{what} is there")
        if name == "dial_rule_id":
            return None  # whether the address is right nobody knows: that it answers nothing says nothing
        return missing(what, heard.what)

    async def _new(self, create: RestStep, said: Mapping[str, Any]) -> Existing:
        number, what = str(create.params["name"]), f"internal number {create.params['name']}"
        rows, _ = await self._looks.numbered(said["client_id"], number)
        if not isinstance(rows, list):
            return missing(what, rows)
        if not rows:
            return Existing(what, there=False, wanted=False, said=f"there is no {what} yet")
        wanted = create.if_exists != "reject"
        text = f"{what} is there already" + (
            "" if wanted else ": the command would be rejected already_exists"
        )
        return Existing(what, there=True, wanted=wanted, said=text)


def creates(steps: Sequence[Step]) -> Iterator[RestStep]:
    for step in steps:
        if isinstance(step, RestStep) and step.operation.endpoint == "extension.create":
            yield step


def missing(what: str, unread: Unread) -> Existing:
    if isinstance(unread, Refused) and unread.code is Code.NOT_FOUND:
        return Existing(what, there=False, wanted=True, said=f"there is no {what}: {unread.text}")
    why = getattr(unread, "text", None) or getattr(unread, "why", None) or "the platform is busy"
    return Existing(what, there=None, wanted=True, said=f"{what} could not be read: {why}")
