"""What became of each command, put together from everything that was seen of it.

stories = tell(history)            # (source, id) -> Story
story.status                       # succeeded, rejected, cancelled, expired; None without a final result
story.extent                       # what of its calls the platform must have, may have, must not have made
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Any

from tests.faults.calls import Call, calls_of
from tests.faults.history import Heard, History, Sent

FINAL = ("succeeded", "rejected", "cancelled", "expired")
INQUIRIES = ("command.cancel.v1", "command.get.v1")  # answered at once, they stand in no line
Name = tuple[str, str]  # source, id


# ---------------------------------------------------------------- stories


class Extent(Enum):
    """How much of a command's calls the platform has made, by what the worker said of it."""

    ALL = "all"
    NONE = "none"
    SOME = "the steps that its result names"
    OPEN = "any part"  # in doubt, parked without knowing, without a result, or on an operator's word


@dataclass(slots=True)
class Story:
    """One command. Events stand in the order in which they were heard, each once.

    `place`: its place among the records sent; retries by an operator come last, as they were made.
    `conflicting`: messages that came under the same id with other content.
    """

    name: Name
    type: str
    subscriber: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    sent: Sent | None = None
    place: int = 0
    conflicting: list[Sent] = field(default_factory=list)
    finals: list[Heard] = field(default_factory=list)
    refused: list[Heard] = field(default_factory=list)
    parked: list[Heard] = field(default_factory=list)
    delayed: list[Heard] = field(default_factory=list)
    unfinished: str | None = None
    flagged: bool = False
    traces: list[str] = field(default_factory=list)  # audit records that name it

    @property
    def id(self) -> str:
        return self.name[1]

    @property
    def confirmed(self) -> bool:
        return self.sent is not None and self.sent.confirmed

    @property
    def final(self) -> Heard | None:
        return self.finals[0] if self.finals else None

    @property
    def status(self) -> str | None:
        return None if self.final is None else word(self.final)

    @property
    def effect(self) -> str | None:
        return None if self.final is None else self.final.data.get("effect")

    @property
    def code(self) -> str | None:
        return code_of(self.final)

    @property
    def duplicate_of(self) -> str | None:
        return None if self.final is None else self.final.data.get("duplicate_of")

    @property
    def retry_of(self) -> str | None:
        return next((e.data["retry_of"] for e in self.events if e.data.get("retry_of")), None)

    @property
    def events(self) -> list[Heard]:
        return [*self.finals, *self.parked, *self.delayed, *self.refused]

    @property
    def inquiry(self) -> bool:
        return self.type in INQUIRIES

    @property
    def amount(self) -> Decimal | None:
        given = self.data.get("amount", self.data.get("value"))
        return Decimal(given) if isinstance(given, str) else None

    @property
    def books(self) -> bool:
        """It moves money."""
        return any(call.operation == "addCredit" for call in self.calls)

    @property
    def doubted(self) -> bool:
        """An answer to one of its calls was lost, as far as the audit events tell."""
        return not self.traces or bool({"in_doubt", "rescued"} & set(self.traces))

    @property
    def by_hand(self) -> bool:
        """A person said what it did: the worker vouches for nothing."""
        return self.code == "resolved_by_operator" or "resolved" in self.traces

    @property
    def adopted(self) -> bool:
        output = (self.final.data.get("output") if self.final else None) or {}
        return bool(output.get("adopted"))

    @property
    def calls(self) -> tuple[Call, ...]:
        return calls_of(self.type, self.data, self.adopted)

    @property
    def extent(self) -> Extent:
        if self.by_hand:
            return Extent.OPEN
        if self.final is not None:
            return self._extent_of_final()
        if self.refused:
            return Extent.NONE
        if self.unfinished == "parked" and self.parked:
            return Extent.NONE if self.parked[-1].data.get("effect") == "none" else Extent.OPEN
        return Extent.OPEN

    def _extent_of_final(self) -> Extent:
        if self.duplicate_of:
            return Extent.NONE
        if self.status == "succeeded":
            return Extent.ALL
        return Extent.NONE if self.effect == "none" else Extent.SOME

    @property
    def steps_done(self) -> int:
        steps = (self.final.data.get("steps") if self.final else None) or []
        return sum(step.get("status") == "done" for step in steps)

    def __str__(self) -> str:
        return f"{self.type} {self.id}" + (f" of {self.subscriber}" if self.subscriber else "")


def word(heard: Heard) -> str:
    """succeeded, rejected, parked, refused … of a result's type."""
    parts = heard.type.split(".")
    return parts[2] if len(parts) > 2 else heard.type


def code_of(heard: Heard | None) -> str | None:
    error = heard.data.get("error") if heard is not None else None
    return error.get("code") if error else None


def content(sent: Sent) -> str:
    """What two messages must share to be the same order (rule 4.5)."""
    return json.dumps([sent.type, sent.data], sort_keys=True)


def first_of_each(heard: Iterable[Heard]) -> list[Heard]:
    """Each event once, however often it was published; in the order of their first arrival."""
    seen: dict[str, Heard] = {}
    for one in heard:
        seen.setdefault(one.event_id, one)
    return list(seen.values())


def tell(history: History) -> dict[Name, Story]:
    stories: dict[Name, Story] = {}
    for place, sent in enumerate(history.sent):
        _take_sent(stories, sent, place)
    for event in first_of_each(e for e in history.heard if e.exchange == "results"):
        _take_result(stories, event)
    for event in first_of_each(e for e in history.heard if e.exchange == "audit"):
        _take_audit(stories, event)
    by_id = {story.id: story for story in stories.values()}
    for command, state in history.unfinished.items():
        if command in by_id:
            by_id[command].unfinished = state
    _give_retries_their_orders(stories, by_id)
    return stories


def _take_sent(stories: dict[Name, Story], sent: Sent, place: int) -> None:
    name = (sent.source, sent.id)
    known = stories.get(name)
    if known is None or known.sent is None:
        stories[name] = Story(name, sent.type, sent.subscriber.lower(), sent.data, sent, place)
    elif content(known.sent) != content(sent):
        known.conflicting.append(sent)


def _take_result(stories: dict[Name, Story], event: Heard) -> None:
    command = event.data.get("command") or {}
    if event.command is None:
        return  # a message that could not be read so far as to know its id
    story = _story(stories, command, event.command)
    lists = {"refused": story.refused, "parked": story.parked, "delayed": story.delayed}
    kind = word(event)
    if kind in FINAL:
        story.finals.append(event)
    elif kind in lists:
        lists[kind].append(event)
    story.flagged = story.flagged or "sent_after_lease" in (event.data.get("flags") or ())


def _take_audit(stories: dict[Name, Story], event: Heard) -> None:
    command = event.data.get("command")
    if not command or not command.get("id"):
        return
    story = _story(stories, command, command["id"])
    what = str(event.data.get("what"))
    story.traces.append(what)
    story.flagged = story.flagged or what == "sent_after_lease"


def _story(stories: dict[Name, Story], command: Mapping[str, Any], id_: str) -> Story:
    name = (str(command.get("source")), id_)
    if name not in stories:
        key = str(command.get("partitionkey") or "")
        stories[name] = Story(name, str(command.get("type")), key, place=len(stories) + 1_000_000_000)
    return stories[name]


def _give_retries_their_orders(stories: Mapping[Name, Story], by_id: Mapping[str, Story]) -> None:
    """A retry by an operator has a new id, and the data of what it repeats (an edit's data is not known)."""
    for story in stories.values():
        origin, hops = story, 0
        while origin.sent is None and origin.retry_of in by_id and hops < 100:
            origin, hops = by_id[str(origin.retry_of)], hops + 1
        if story.sent is None and origin.sent is not None:
            story.subscriber, story.data = origin.subscriber, origin.data
