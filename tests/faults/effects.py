"""Effects: what the platform did, held against what each command was said to have done.

Money goes by the name that stands in `obs`; everything else by what explains the platform's own log (`line.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import combinations

from tests.faults.history import Applied, History
from tests.faults.line import TANGLED, disordered, lines_of
from tests.faults.report import Report
from tests.faults.story import Extent, Name, Story

Stories = Mapping[Name, Story]
EXCUSABLE = ("effects doubled", "effects missing", "wrong verdicts", "unnamed fields changed", "out of order")
MOST_FOREIGN = 12  # movements of others whose choices are tried


def weigh(report: Report, history: History, stories: Stories) -> None:
    """Money by the name that stands in `obs`; everything else by what explains the platform's own log."""
    complaints: set[str] = set()
    for subscriber, heading, sentence, excused in _money(history, stories):
        complaints.add(subscriber)
        (report.excused["coincidence"] if excused else report.bad[heading]).append(sentence)
    report.bad["effects doubled"] += _keys_spent_twice(stories)
    report.bad["effects doubled"] += _numbers_given_twice(history)
    marks: dict[str, list[Applied]] = defaultdict(list)
    for mark in sorted(history.applied, key=lambda one: one.number):
        marks[mark.subscriber.lower()].append(mark)
    lines = lines_of(stories)
    before = {name.lower(): record for name, record in history.subscribers_before.items()}
    for subscriber in sorted({*lines, *marks} - complaints):
        first = before.get(subscriber, {})
        if wrong := disordered(subscriber, lines.get(subscriber, []), marks[subscriber], first):
            (report.excused if wrong[0] == TANGLED else report.bad)[wrong[0]].append(wrong[1])


Complaint = tuple[str, str, str, bool]  # subscriber, heading, sentence, whether it is excused


def _money(history: History, stories: Stories) -> Iterator[Complaint]:
    booked: dict[str, list[Applied]] = defaultdict(list)
    foreign: dict[str, list[Decimal]] = defaultdict(list)
    names = {story.id for story in stories.values()}
    for one in history.applied:
        if one.command in names and one.operation == "addCredit":
            booked[str(one.command)].append(one)
        elif one.amount is not None:
            foreign[one.subscriber.lower()].append(one.amount)
    for story in stories.values():
        found = booked.get(story.id, [])
        if not story.books and not found:
            continue
        if (wrong := _wrong_money(story, found)) is not None:
            heading, sentence, hidden = wrong
            excused = hidden is not None and _coincides(foreign.get(story.subscriber, ()), hidden)
            yield story.subscriber, heading, f"{story}: {sentence}", excused


def _wrong_money(story: Story, found: Sequence[Applied]) -> tuple[str, str, Decimal | None] | None:
    """Heading, sentence, and what others must have moved to hide it from the worker."""
    amount, extent = story.amount or Decimal(0), story.extent
    if len(found) > 1:
        said = "as a duplicate " if story.duplicate_of else ""
        return "effects doubled", f"{said}booked {len(found)} times", -amount
    if story.duplicate_of and found:
        return "effects doubled", f"a duplicate of {story.duplicate_of}, and booked as well", None
    if extent is Extent.NONE and found:
        return "wrong verdicts", f"{_word(story)} with effect none, and booked", -amount
    if extent is Extent.ALL and not found:
        return "effects missing", "succeeded, and not booked", amount
    if extent is Extent.ALL and story.sent is not None and found[0].amount not in (None, amount):
        return "wrong verdicts", f"ordered {amount}, booked {found[0].amount}", None
    return None


def _word(story: Story) -> str:
    return story.status or ("refused" if story.refused else "parked")


def _coincides(moved: Sequence[Decimal], hidden: Decimal) -> bool:
    """Whether some of what others moved is exactly what hides it."""
    few = moved[:MOST_FOREIGN]
    sizes = range(1, len(few) + 1)
    return any(sum(choice, Decimal(0)) == hidden for size in sizes for choice in combinations(few, size))


def _keys_spent_twice(stories: Stories) -> Iterator[str]:
    """A key is spent by an effect: whoever used it again gets the first's answer (rule 4.6)."""
    spent: dict[tuple[str, str], list[Story]] = defaultdict(list)
    for story in stories.values():
        if story.sent is not None and story.effect == "applied" and not story.duplicate_of:
            spent[(story.sent.source, story.sent.idempotency_key)].append(story)
    for (_, key), those in spent.items():
        if len(those) > 1:
            yield f"the key {key} was spent by {' and by '.join(map(str, those))}"


def _numbers_given_twice(history: History) -> Iterator[str]:
    """A number is one subscriber's, and stands in its list once."""
    holders: dict[str, dict[str, int]] = defaultdict(dict)
    for mark in sorted(history.applied, key=lambda one: one.number):
        for name, count in (mark.changed or {}).items():
            if name.startswith("dids/"):
                held = holders[name]
                held[mark.subscriber] = count or 0
                if count and sum(held.values()) > 1:
                    given = ", ".join(f"{who} ({times})" for who, times in held.items() if times)
                    yield f"number {name.partition('/')[2]} was given to {given} (number {mark.number})"


def excuse_flagged(report: Report, stories: Stories) -> None:
    """P2: a process frozen between its last look at the clock and the first byte; or a window that was waived."""
    names = {story.id for story in stories.values() if story.flagged or _waived(story)}
    if not names:
        return
    for heading in EXCUSABLE:
        for sentence in list(report.bad[heading]):
            if any(name in sentence for name in names):
                report.bad[heading].remove(sentence)
                report.excused["sent_after_lease, or a waived window"].append(sentence)


def _waived(story: Story) -> bool:
    return any("window_waived" in (event.data.get("flags") or ()) for event in story.finals)
