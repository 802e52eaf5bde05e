"""What the worker answered, and whether each order got what it should."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.cli.demo.orders import Order

FINAL = ("succeeded", "rejected", "cancelled", "expired", "refused")


@dataclass(slots=True)
class Answers:
    """All events heard so far. An event that comes twice under the same id is one answer, given twice."""

    by_id: defaultdict[str, list[Mapping[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    nameless: list[Mapping[str, Any]] = field(default_factory=list)
    parked: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    audit: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    def hear_result(self, event: Mapping[str, Any]) -> None:
        data = event["data"]
        status, command = data.get("status"), data.get("command")
        self.times[event["id"]] += 1
        if self.times[event["id"]] > 1:
            return
        if status == "parked" and command:
            self.parked[command["id"]] = data
        if status not in FINAL:
            return
        if command is None or command.get("id") is None:
            self.nameless.append(data)
        else:
            self.by_id[command["id"]].append({**data, "event": event["id"]})

    def hear_record(self, event: Mapping[str, Any]) -> None:
        self.audit[event["data"]["number"]] = event["data"]

    def records(self) -> Iterator[Mapping[str, Any]]:
        """In the order of the chain."""
        return (self.audit[number] for number in sorted(self.audit))


@dataclass(frozen=True, slots=True)
class Matched:
    """One order with its answer, None while there is none. `wrong`: how it deviates from what is expected."""

    order: Order
    answer: Mapping[str, Any] | None
    wrong: str | None


def match(orders: Sequence[Order], answers: Answers) -> list[Matched]:
    """Each answer goes to one order; a message that repeats another shares its answer."""
    nameless = list(answers.nameless)
    seen: set[str | None] = set()
    matched = []
    for order in orders:
        if order.id is None:
            answer = nameless.pop(0) if nameless else None
        else:
            answer = _own(order, answers.by_id.get(order.id, []))
        matched.append(Matched(order, answer, _wrong(order, answer, answers, again=order.id in seen)))
        seen.add(order.id)
    return matched


def _own(order: Order, heard: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Two messages may have one id: of its answers, that of the kind that this one waits for."""
    refused = order.expect["status"] == "refused"
    same = [answer for answer in heard if (answer["status"] == "refused") is refused]
    return same[0] if same else None


def _wrong(order: Order, answer: Mapping[str, Any] | None, answers: Answers, *, again: bool) -> str | None:
    """`again`: a message of this id went out before; both have one answer, and intake counts the repeats."""
    expect = order.expect
    if answer is None:
        parked = answers.parked.get(order.id or "")
        return f"parked: {_why(parked)}" if parked else "no answer"
    code = (answer.get("error") or {}).get("code")
    if answer["status"] != expect["status"]:
        return f"{answer['status']} ({_why(answer)}), not {expect['status']}"
    if expect.get("code") not in (None, code):
        return f"code {code}, not {expect['code']}"
    if expect.get("duplicate") and not again and not answer.get("duplicate_of"):
        return "it was answered as if it were new"
    output = answer.get("output") or {}
    different = [name for name, value in expect.get("output", {}).items() if output.get(name) != value]
    if different:
        return ", ".join(
            f"{name} is {output.get(name)!r}, not {expect['output'][name]!r}" for name in different
        )
    return None


def _why(answer: Mapping[str, Any]) -> str:
    error = answer.get("error") or {}
    return f"{error.get('code')}: {error.get('message')}" if error else "no reason given"


# ---------------------------------------------------------------- lost answers


def doubts(answers: Answers) -> Counter[str]:
    """How each lost answer was settled: what the next record of the same command shows."""
    settled: Counter[str] = Counter()
    lost: dict[str, Any] = {}  # command -> attempt whose answer was lost
    for record in answers.records():
        command = (record.get("command") or {}).get("id")
        details = record.get("details") or {}
        attempt = details.get("attempt", details.get("attempts"))
        if command in lost:
            settled[_settled(record["what"], lost.pop(command) == attempt)] += 1
        if record["what"] == "in_doubt" and command is not None:
            lost[command] = attempt
    settled["open"] += len(lost)
    return +settled


def _settled(what: str, same_attempt: bool) -> str:
    if what == "parked":
        return "left to a person"
    return "seen on the platform" if same_attempt and what != "in_doubt" else "called again"
