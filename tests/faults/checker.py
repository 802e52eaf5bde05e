"""Holds a history against the promises, from outside: nothing here knows how the worker works.

    report = check(history)
    print(report.render())
    assert report.passed

What is no fault: a duplicate that was answered with its first's result (`duplicate_of`); a `set` that the platform
was asked for twice; the same event twice; a command that is parked, and those that wait behind it. What the
promises leave open is told apart (`excused`): a command flagged `sent_after_lease`, and a credit verdict while
others moved money that made the figures coincide.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.faults import chain
from tests.faults.calls import FLAGS, same
from tests.faults.effects import Stories, excuse_flagged, weigh
from tests.faults.history import Heard, History
from tests.faults.report import Report, recoveries
from tests.faults.story import (
    FINAL,
    Story,
    code_of,
    content,
    first_of_each,
    tell,
    word,
)
from tests.support.leaks import dresses

CLOCKS = 1.0  # seconds by which the sender's clock and the journal's may differ
PIECE = 8 * 1024 * 1024  # bytes of a log
PORTION = 500  # events


def check(history: History) -> Report:
    stories = tell(history)
    report = Report()
    for heading, look in LOOKS:
        report.bad[heading] += look(history, stories)
    weigh(report, history, stories)
    excuse_flagged(report, stories)
    _count(report, history, stories)
    waiting = {story.id for story in stories.values() if story.unfinished and not story.finals}
    results = first_of_each(one for one in history.heard if one.exchange == "results")
    report.recovery = recoveries(history.faults, history.sent, results, waiting)
    return report


def _count(report: Report, history: History, stories: Stories) -> None:
    sent = [story for story in stories.values() if story.sent is not None]
    endings = Counter(str(story.status) for story in stories.values() if story.final is not None)
    report.counts = {
        "sent": len(sent),
        "published": sum(one.times for one in history.sent),
        "confirmed": sum(story.confirmed for story in sent),
        "finished": sum(story.final is not None for story in sent),
        **{ending: endings[ending] for ending in FINAL},
        "refused": sum(bool(story.refused) and story.final is None for story in sent),
        "answered as duplicates": sum(story.duplicate_of is not None for story in stories.values()),
        "parked at the end": sum(story.unfinished == "parked" for story in stories.values()),
        "parked once": sum(bool(story.parked) for story in stories.values()),
        "effects applied": len(history.applied),
        "result events": sum(one.exchange == "results" for one in history.heard),
        "audit events": sum(one.exchange == "audit" for one in history.heard),
        "flagged sent_after_lease": sum(story.flagged for story in stories.values()),
        "faults": len(history.faults),
        "acts": len(history.acts),
    }


# ---------------------------------------------------------------- answers


def lost(history: History, stories: Stories) -> Iterator[str]:
    """P1: RabbitMQ had it, and nobody ever heard of it again."""
    for story in stories.values():
        if story.confirmed and _silent(story) and not story.traces:
            yield f"{story}: confirmed, and no trace of it anywhere"


def _silent(story: Story) -> bool:
    return not story.events and story.unfinished is None


def results(history: History, stories: Stories) -> Iterator[str]:
    """P3: one final result, however often it comes."""
    yield from _said_otherwise(history.heard)
    made = {one.command for one in history.applied}
    for story in stories.values():
        yield from _answers(story, story.id in made)


def _said_otherwise(heard: Iterable[Heard]) -> Iterator[str]:
    bodies: dict[str, bytes] = {}
    for event in heard:
        if event.exchange == "results" and bodies.setdefault(event.event_id, event.body) != event.body:
            yield f"event {event.event_id} about {event.command} came again with other content"


LATER_GOOD = ("unknown_dependency", "idempotency_conflict")  # what may be admitted when it is sent again


def _answers(story: Story, made: bool) -> Iterator[str]:
    if len(story.finals) > 1:
        said = ", ".join(f"{word(one)} ({one.event_id})" for one in story.finals)
        yield f"{story} has {len(story.finals)} final results: {said}"
    begun = bool(story.traces or story.parked or story.delayed) or made
    if begun and not story.finals and not story.refused and story.unfinished is None:
        yield f"{story} was begun ({', '.join(story.traces) or 'its effect is there'}), without a final result"
    if story.unfinished == "parked" and not story.parked:
        yield f"{story} is parked, and nobody was told"
    if story.finals and not story.conflicting:
        for one in story.refused:
            if code_of(one) not in LATER_GOOD:
                yield f"{story} was {story.status} and refused as well ({code_of(one)})"
    if story.final is not None and story.sent is None and story.retry_of is None:
        yield f"{story} {story.status}: nobody sent it"


def stuck(history: History, stories: Stories) -> Iterator[str]:
    """Neither done nor in a person's hands, nor behind such a one."""
    parked = {story.subscriber for story in stories.values() if story.unfinished == "parked"}
    unfinished = {story.name for story in stories.values() if story.unfinished is not None}
    end = max((one.at for one in history.heard), default=0.0)
    for story in stories.values():
        if story.unfinished in (None, "parked") or story.finals:
            continue
        sent = story.sent
        waits = sent is not None and (
            (sent.not_before or 0.0) > end or (sent.source, sent.depends_on) in unfinished
        )
        if not waits and not (story.subscriber and story.subscriber in parked):
            yield f"{story} is {story.unfinished}, and nothing explains it"


# ---------------------------------------------------------------- what was said, and why


def verdicts(history: History, stories: Stories) -> Iterator[str]:
    by_id = {story.id: story for story in stories.values()}
    cancelled = _cancels(history)
    orders: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in history.sent:
        orders[(one.source, one.idempotency_key)].add(content(one))
    for story in stories.values():
        if story.final is not None:
            yield from _said_of_itself(story)
            yield from _reasons(story, by_id, cancelled)
            # An act whose answer was lost is not in the history: only where nobody acted at all is it certain.
            if not history.acts and str(story.code).endswith("_by_operator"):
                yield f"{story} {story.code}, and no operator did anything"
        yield from _refusals(story, orders)
    yield from _inquiries(stories)


def _said_of_itself(story: Story) -> Iterator[str]:
    final = story.final
    assert final is not None
    if final.data.get("status") != story.status:
        yield f"{story}: type and status of its result differ ({story.status}, {final.data.get('status')})"
    if story.effect not in ("none", "applied"):
        yield f"{story} {story.status} with effect {story.effect}"
    changes = bool(story.calls) and not story.inquiry
    wrong = changes and story.effect == "none" and not story.adopted
    if (
        story.status == "succeeded"
        and not story.duplicate_of
        and (wrong or (not changes and _applied(story)))
    ):
        yield f"{story} succeeded with effect {story.effect}"
    for earlier in (*story.parked, *story.delayed):
        if (earlier.data.get("sequence") or 0) >= (final.data.get("sequence") or 0):
            yield f"{story}: {word(earlier)} does not stand before {story.status} by `sequence`"


def _applied(story: Story) -> bool:
    known = story.sent is not None
    return known and story.effect == "applied"


def _cancels(history: History) -> set[str]:
    """Ids that somebody asked to cancel."""
    asked = {str(one.data.get("id")) for one in history.sent if one.type == "command.cancel.v1"}
    keys = {one.data.get("idempotencykey") for one in history.sent if one.type == "command.cancel.v1"}
    asked |= {one.id for one in history.sent if one.idempotency_key in keys}
    return asked


def _reasons(story: Story, by_id: Mapping[str, Story], cancelled: set[str]) -> Iterator[str]:
    sent, final = story.sent, story.final
    if sent is None or final is None or story.duplicate_of:
        return
    finished = seconds(final.data.get("finished_at"))
    if story.status == "expired" and (
        sent.expires is None or (finished is not None and finished < sent.expires - CLOCKS)
    ):
        yield f"{story} expired before its time"
    parent = by_id.get(sent.depends_on or "")
    if story.status != "cancelled":
        return
    if story.code == "cancelled_by_sender" and story.id not in cancelled:
        yield f"{story} was cancelled by its sender, who did not ask for it"
    if story.code == "dependency_failed" and (parent is None or parent.status == "succeeded"):
        yield f"{story} was cancelled for what it depends on, which did not fail"


def _refusals(story: Story, orders: Mapping[tuple[str, str], set[str]]) -> Iterator[str]:
    """A refusal that a sender can be held to: there must be a message that it is in conflict with.

    `orders`: what was ordered under each key.
    """
    sent = story.sent
    if sent is None:
        return
    for code in {code_of(one) for one in story.refused}:
        if code == "id_conflict" and not story.conflicting:
            yield f"{story} was refused as another message of that id, and there is none"
        if code == "unknown_dependency" and sent.depends_on is None:
            yield f"{story} was refused for a dependency that it has not"
        if code == "idempotency_conflict" and len(orders[(sent.source, sent.idempotency_key)]) < 2:
            yield f"{story} was refused for its key, which no other order has"


def _inquiries(stories: Stories) -> Iterator[str]:
    for story in stories.values():
        if story.type != "command.cancel.v1" or story.status != "succeeded" or story.final is None:
            continue
        said = story.final.data.get("output") or {}
        target = stories.get((story.name[0], str(said.get("id"))))
        ended = None if target is None else target.status
        if said.get("status") == "cancelled" and ended not in (None, "cancelled"):
            yield f"{story} said that {target} is cancelled, and it {ended}"


def duplicates(history: History, stories: Stories) -> Iterator[str]:
    for story in stories.values():
        if story.duplicate_of is None:
            continue
        first = stories.get((story.name[0], story.duplicate_of))
        if first is None:
            yield f"{story} is called a duplicate of {story.duplicate_of}, which nobody sent"
        elif first.final is not None and first.status != story.status:
            yield f"{story}, a duplicate, {story.status}, and its first {first.id} {first.status}"
        elif story.sent and first.sent and not _same_order(story, first):
            yield f"{story} is called a duplicate of {first.id}, which is another order"


def _same_order(one: Story, other: Story) -> bool:
    assert one.sent is not None
    assert other.sent is not None
    same_key = one.sent.idempotency_key == other.sent.idempotency_key
    return same_key and content(one.sent) == content(other.sent)


def timing(history: History, stories: Stories) -> Iterator[str]:
    """`notbefore` and `dependson`: nothing of it began before it may."""
    for story in stories.values():
        sent, final = story.sent, story.final
        began = seconds(final.data.get("started_at")) if final is not None else None
        if sent is None or began is None or story.duplicate_of:
            continue
        if sent.not_before is not None and began < sent.not_before - CLOCKS:
            yield f"{story} began {sent.not_before - began:.1f} s before its notbefore"
        parent = stories.get((sent.source, sent.depends_on or ""))
        if parent is None or parent.final is None:
            continue
        ended = seconds(parent.final.data.get("finished_at"))
        if parent.status != "succeeded":
            yield f"{story} ran although {parent.id}, on which it depends, {parent.status}"
        elif ended is not None and began < ended - CLOCKS:
            yield f"{story} began before {parent.id}, on which it depends, had ended"


# ---------------------------------------------------------------- the rest


def secrets(history: History, stories: Stories) -> Iterator[str]:
    forms = {form: dress for secret in history.secrets for dress, form in dresses(secret)}
    longest = max(map(len, forms), default=0)

    def seen(text: bytes) -> str | None:
        return next((dress for form, dress in forms.items() if form in text), None)

    for log in history.logs:
        for place, piece in _pieces(log, longest):
            if (dress := seen(piece)) is not None:
                yield f"{log}, from byte {place}: a secret, {dress}"
                break
    for start in range(0, len(history.heard), PORTION):
        portion = history.heard[start : start + PORTION]
        if seen(b"\n".join(one.body for one in portion)) is not None:  # looked at one by one only then
            found = ((one, seen(one.body)) for one in portion)
            yield from (
                f"event {one.event_id} ({one.type}): a secret, {dress}" for one, dress in found if dress
            )


def _pieces(log: Path, overlap: int) -> Iterator[tuple[int, bytes]]:
    if not log.exists():
        return
    with log.open("rb") as file:
        tail, place = b"", 0
        while piece := file.read(PIECE):
            yield place - len(tail), tail + piece
            tail, place = piece[-overlap:], place + len(piece)


def contradictions(history: History, stories: Stories) -> Iterator[str]:
    """The history against itself: where the platform's log and its state differ, nothing else can be trusted."""
    recorded: dict[str, Decimal] = defaultdict(Decimal)
    changed = {one.subscriber.lower() for one in history.applied if one.operation in ANEW}
    for one in history.applied:
        recorded[one.subscriber.lower()] += one.amount or 0
    for subscriber, before in history.balances_before.items():
        after = history.balances_after.get(subscriber)
        moved = recorded[subscriber.lower()]
        # Calls need not be recorded: they only ever take.
        if after is not None and subscriber.lower() not in changed and after - before > moved:
            yield f"{subscriber}: the balance went from {before} to {after}, the log shows {moved}"
    yield from _states(history)


ANEW = ("insertSubscriber", "removeSubscriber")


def _states(history: History) -> Iterator[str]:
    """What the log says last, and what the platform shows at the end."""
    last: dict[str, dict[str, Any]] = defaultdict(dict)
    for mark in sorted(history.applied, key=lambda one: one.number):
        known = last[mark.subscriber.lower()]
        if mark.changed is not None:
            known.update(mark.changed)
        elif mark.operation in FLAGS:
            name, value = FLAGS[mark.operation]
            known[name] = value
        elif mark.operation in ("blockSubscriber", "activateSubscriber"):
            known["active"] = mark.operation == "activateSubscriber"
        elif mark.operation in (*ANEW, "updateSubscriber"):
            known.clear()
    shown = {name.lower(): record for name, record in history.subscribers_after.items()}
    for subscriber, fields in last.items():
        record = shown.get(subscriber) or {}
        for name, value in fields.items():
            if name in record and not same(record[name], value):
                yield f"{subscriber}: {name} is not at the end what the log's last word on it is"


def seconds(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()


def audit(history: History, stories: Stories) -> Iterator[str]:
    ended = any(story.final is not None for story in stories.values())
    if ended and not any(one.exchange == "audit" for one in history.heard):
        yield "commands ended, and not one audit event was heard"
        return
    yield from chain.broken(history, stories)


Look = Callable[[History, Stories], Iterable[str]]
LOOKS: tuple[tuple[str, Look], ...] = (
    ("lost", lost),
    ("missing or double final results", results),
    ("stuck", stuck),
    ("wrong verdicts", verdicts),
    ("wrong verdicts", duplicates),
    ("out of order", timing),
    ("broken audit chain", audit),
    ("secrets seen", secrets),
    ("history contradicts itself", contradictions),
)


def main() -> None:
    """`python -m tests.faults.checker history.jsonl [--json]`: check a history again that was saved."""
    import sys

    report = check(History.load(Path(sys.argv[1])))
    print(json.dumps(report.as_json(), indent=2) if "--json" in sys.argv else report.render())
    sys.exit(0 if report.passed else 1)


if __name__ == "__main__":
    main()
