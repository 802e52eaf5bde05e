"""The table at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from rich import box
from rich.table import Table

from worker.cli import show
from worker.cli.demo.answers import Answers, Matched, doubts

STATUSES = ("succeeded", "rejected", "refused", "cancelled", "expired")


@dataclass(frozen=True, slots=True)
class Credit:
    """Per subscriber: ordered, and on the platform by the simulator's own count."""

    ordered: Mapping[str, Decimal]
    booked: Mapping[str, Decimal]
    most: int  # how often the order that was booked most often was booked

    @property
    def equal(self) -> bool:
        names = self.ordered.keys() | self.booked.keys()
        zero = Decimal(0)
        return self.most <= 1 and all(self.ordered.get(n, zero) == self.booked.get(n, zero) for n in names)


@dataclass(frozen=True, slots=True)
class Counted:
    """What intake and simulator counted themselves."""

    repeats: int  # messages that intake knew again, by their id or their key
    lost: Mapping[str, int]  # kind of fault -> how often


def report(matched: Sequence[Matched], answers: Answers, credit: Credit, counted: Counted) -> bool:
    """Print the table and what deviates. True: all is as expected."""
    wrong = [one for one in matched if one.wrong]
    table = Table("", "", box=box.ROUNDED, show_header=False)
    for name, value in rows(matched, answers, credit, counted):
        table.add_row(name, value)
    show.console().print(table)
    for one in wrong:
        show.say(f"not as expected: {one.order.named}: {one.wrong}")
    others = [*different(credit), *_unknown_repeats(matched, counted)]
    for line in others:
        show.say(f"not as expected: {line}")
    well = not wrong and not others
    show.say("all as expected" if well else "NOT as expected")
    return well


def _unknown_repeats(matched: Sequence[Matched], counted: Counted) -> list[str]:
    sent = sum(1 for one in matched if one.order.expect.get("duplicate"))
    return [] if counted.repeats >= sent else [f"{sent} duplicates were sent, {counted.repeats} were known"]


def rows(
    matched: Sequence[Matched], answers: Answers, credit: Credit, counted: Counted
) -> list[tuple[str, str]]:
    statuses = Counter(one.answer["status"] for one in matched if one.answer)
    ids = {one.order.id for one in matched}
    attempts = {id: told["attempts"] for id in ids if id for told in answers.by_id.get(id, ())[:1]}
    retried = sum(1 for count in attempts.values() if count > 1)
    settled = doubts(answers)
    how = ", ".join(f"{count} {what}" for what, count in sorted(settled.items()))
    return [
        ("sent", str(len(matched))),
        *((status, str(statuses[status])) for status in STATUSES),
        ("duplicates answered", str(counted.repeats)),
        (
            "answers lost by the platform",
            ", ".join(f"{n} {kind}" for kind, n in sorted(counted.lost.items())) or "0",
        ),
        ("retried", str(retried)),
        ("in doubt, and how settled", f"{settled.total()}: {how}" if settled else "0"),
        ("credit ordered", f"{sum(credit.ordered.values(), Decimal(0)):.2f}"),
        ("credit on the platform", f"{sum(credit.booked.values(), Decimal(0)):.2f}"),
    ]


def different(credit: Credit) -> list[str]:
    if credit.equal:
        return []
    zero = Decimal(0)
    lines = [
        f"{name}: ordered {credit.ordered.get(name, zero)}, on the platform {credit.booked.get(name, zero)}"
        for name in sorted(credit.ordered.keys() | credit.booked.keys())
        if credit.ordered.get(name, zero) != credit.booked.get(name, zero)
    ]
    return lines or [f"one order was booked {credit.most} times"]
