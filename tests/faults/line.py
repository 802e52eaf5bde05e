"""Order: can what the platform did to one subscriber be explained by its commands, one at a time, in their order?

A command's calls stand together, because it holds its key until it has ended. A `set` may stand there more than
once; it may be missing where the platform was as wanted already: its only call was lost (the audit says that it was
in doubt), and a reading showed that there was nothing left to do. Each call has to leave what it was to leave, and
everything else as it was. Nobody is blocked at first. What is not explained is explained with one promise broken, to
say which one it was.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.faults.calls import FLAGS, IGNORED, SWITCHES, Call, same
from tests.faults.history import Applied
from tests.faults.story import Extent, Name, Story

MOST_STATES = 200_000  # looked at for one subscriber; beyond it nothing is said
TANGLED, UNNAMED = "too tangled to judge", "unnamed fields changed"
State = Mapping[str, Any]
NOTHING: State = {}
Chains = Sequence[Sequence["Part"]]
Verdict = tuple[str, str]  # heading, sentence


@dataclass(frozen=True, slots=True)
class Part:
    """A command's place in a line. Of `calls` the first `least` must have been made, and `most` may have been."""

    story: Story
    calls: tuple[Call, ...]
    least: int
    most: int
    repeats: bool = False  # what must happen once may have happened more often
    sprawls: bool = False  # it may have changed what nobody named

    def eased(self, how: str) -> Part:
        """With one promise broken."""
        match how:
            case "effects doubled":
                return Part(self.story, self.calls, self.least, self.most, repeats=True)
            case "wrong verdicts" if self.most < len(self.calls):
                return Part(self.story, self.calls, self.least, len(self.calls))
            case "effects missing":
                return Part(self.story, self.calls, 0, self.most)
        return replace(self, sprawls=True) if how == UNNAMED else self


def part_of(story: Story) -> Part:
    calls = story.calls
    match story.extent:
        case Extent.ALL:
            return Part(story, calls, len(calls), len(calls))
        case Extent.NONE:
            return Part(story, calls, 0, 0)
        case Extent.SOME:
            done = min(story.steps_done, len(calls))
            # Whether a create adopted is not in the result of one that was refused later.
            least = 0 if story.data.get("if_exists") in ("adopt", "update") else done
            return Part(story, calls, least, done)
        case Extent.OPEN:
            return Part(story, calls, 0, len(calls))


def lines_of(stories: Mapping[Name, Story]) -> dict[str, list[list[Part]]]:
    """Subscriber -> chains. Within a chain order is promised: those of one queue that joined at once."""
    chains: dict[str, dict[str, list[Part]]] = defaultdict(dict)
    for story in sorted(stories.values(), key=lambda one: one.place):
        if story.subscriber and story.calls:
            chains[story.subscriber].setdefault(_chain(story), []).append(part_of(story))
    return {subscriber: list(named.values()) for subscriber, named in chains.items()}


def _chain(story: Story) -> str:
    sent = story.sent
    joined_later = sent is None or sent.not_before is not None or sent.depends_on is not None
    if joined_later or (
        story.refused and story.finals
    ):  # it was refused first, and came in with a later copy
        return f"alone {story.id}"
    assert sent is not None
    return f"queue {sent.queue}"


def disordered(
    subscriber: str, chains: Chains, marks: Sequence[Applied], first: State = NOTHING
) -> Verdict | None:
    """What is wrong with one subscriber's line; None: nothing. `first`: its record before all of it."""
    ours = {part.story.id for chain in chains for part in chain}
    marks = [mark for mark in marks if _counts(mark, ours)]
    states = known(marks, first)
    whole, reach = searched(chains, marks, states)
    match whole:
        case True:
            return None
        case None:
            return TANGLED, f"{subscriber}: {len(ours)} commands and {len(marks)} effects, in no one order"
    for heading, part, eased in _easings(chains):
        if searched(eased, marks, states)[0]:
            more = f" ({_sprawl(part, marks, states)})" if heading == UNNAMED else ""
            return heading, f"{part.story}, which {_said(part.story)}: {_SENTENCE[heading]}{more}"
    seen = Counter(mark.operation for mark in marks)
    for operation, times in seen.items():
        most = sum(_may_make(part, operation) for chain in chains for part in chain)
        if times > most and operation not in REPEATABLE:
            return "effects doubled", f"{operation} of {subscriber} was applied {times} times, ordered {most}"
    where = f"{subscriber}: {_unexplained(marks, reach)}"
    return "out of order", f"{where}; ordered were {_ordered(chains)}; the platform did {_done(marks)}"


REPEATABLE = frozenset(
    {
        *FLAGS,
        *(*SWITCHES, "blockSubscriber", "activateSubscriber", "blockSoftphone", "activateSoftphone"),
        *("updateSubscriber", "updateSubscriberServices", "updateSubscriberBillingInfo"),
        *("updateSubscriberClassV", "changeProfile", "activateLowCreditNotification"),
        *("changePassword", "changePasswordWEB"),
    }
)
_SENTENCE = {
    "effects doubled": "its effect is there more than once",
    "wrong verdicts": "the platform shows its effect all the same",
    "effects missing": "the platform shows no effect of it",
    UNNAMED: "it changed what it did not name",
}


def _easings(chains: Chains) -> Iterator[tuple[str, Part, Chains]]:
    for heading in _SENTENCE:
        for row, chain in enumerate(chains):
            for place, part in enumerate(chain):
                if (other := part.eased(heading)) != part:
                    changed = [*chain[:place], other, *chain[place + 1 :]]
                    yield heading, part, [*chains[:row], changed, *chains[row + 1 :]]


def _counts(mark: Applied, known: set[str]) -> bool:
    """Others' money is no concern of the line."""
    others = mark.operation == "addCredit" and mark.command not in known
    return mark.operation not in IGNORED and not others


def _may_make(part: Part, operation: str) -> bool:
    return any(call.operation == operation for call in part.calls[: part.most])


def _said(story: Story) -> str:
    if story.final is not None:
        return f"{story.status} with effect {story.effect}" + (" as a duplicate" * bool(story.duplicate_of))
    return "was refused" if story.refused else f"has no final result ({story.unfinished or 'unknown'})"


def _ordered(chains: Chains) -> str:
    return " beside ".join(
        "[" + ", ".join(f"{part.story.type} {part.story.id} {_said(part.story)}" for part in chain) + "]"
        for chain in chains
    )


def _unexplained(marks: Sequence[Applied], reach: int) -> str:
    if reach < len(marks):
        return f"nothing ordered explains {_named(marks[reach])} (number {marks[reach].number}) at its place"
    return "all that was done was ordered, and something ordered is not there"


def _done(marks: Sequence[Applied]) -> str:
    return "[" + ", ".join(map(_named, marks)) + "]"


def _named(mark: Applied) -> str:
    return mark.operation + (f" for {mark.command}" if mark.command else "")


def _sprawl(part: Part, marks: Sequence[Applied], states: Sequence[State]) -> str:
    """Names only: what stood there may be a secret."""
    named = {call.operation: call for call in part.calls}
    found = [
        f"number {mark.number}: {', '.join(sorted(extra))}"
        for index, mark in enumerate(marks)
        if mark.operation in named and (extra := _extra(mark, named[mark.operation], states[index]))
    ]
    return "; ".join(found[:5])


# ---------------------------------------------------------------- the search


def explained(chains: Chains, marks: Sequence[Applied], first: State = NOTHING) -> bool:
    return searched(chains, marks, known(marks, first))[0] is True


def searched(chains: Chains, marks: Sequence[Applied], states: Sequence[State]) -> tuple[bool | None, int]:
    """Whether the marks are some interleaving of the chains (None: it is too much to tell), and how many of them
    could be explained. `states`: what `known` says of them.
    """
    chains = [made for chain in chains if (made := [part for part in chain if part.most])]
    goal = (tuple(len(chain) for chain in chains), len(marks))
    start = (tuple(0 for _ in chains), 0)
    seen, waiting, reach = {start}, [start], 0
    while waiting:
        places, index = waiting.pop()
        reach = max(reach, index)
        if (places, index) == goal:
            return True, reach
        if len(seen) > MOST_STATES:
            return None, reach
        for row, chain in enumerate(chains):
            if places[row] == len(chain):
                continue
            on = (*places[:row], places[row] + 1, *places[row + 1 :])
            for end in _ends(chain[places[row]], marks, index, states):
                if (on, end) not in seen:
                    seen.add((on, end))
                    waiting.append((on, end))
    return False, reach


def known(marks: Sequence[Applied], first: State) -> list[State]:
    """What is known of the subscriber's fields before each mark, and after the last."""
    found: list[State] = [first]
    for mark in marks:
        after = dict(found[-1])
        if mark.changed is not None:
            after.update(mark.changed)
        elif mark.operation in FLAGS:
            name, value = FLAGS[mark.operation]
            after[name] = value
        elif mark.operation in ("insertSubscriber", "removeSubscriber", "updateSubscriber"):
            after.clear()  # it is another record, or rewritten
        found.append(after)
    return found


def _ends(part: Part, marks: Sequence[Applied], index: int, states: Sequence[State]) -> frozenset[int]:
    """Where a command that begins at `index` may end."""
    ends = {index} if part.least == 0 else set()
    now = {index}
    for made, call in enumerate(part.calls[: part.most], start=1):
        now = {end for begin in now for end in _call_ends(part, call, marks, begin, states)}
        if made >= part.least:
            ends |= now
    return frozenset(ends)


def _call_ends(
    part: Part, call: Call, marks: Sequence[Applied], index: int, states: Sequence[State]
) -> Iterator[int]:
    if (call.spared or (call.shown and part.story.doubted)) and _is_so(call, states[index]):
        yield index
    while index < len(marks) and _is(index, marks, call, part, states):
        index += 1
        yield index
        if call.once and not part.repeats:
            return


def _is_so(call: Call, state: State) -> bool:
    """The platform is as the call wants it; of what is not known, as it is at first."""
    return all(same(state.get(name, name.startswith("active")), value) for name, value in _wants(call))


def _wants(call: Call) -> list[tuple[str, Any]]:
    return list((call.wants or {}).items())


def _is(index: int, marks: Sequence[Applied], call: Call, part: Part, states: Sequence[State]) -> bool:
    """By its name where the platform's log tells whose it was (a retry's order still names the first), and by
    what it left behind where that is known.
    """
    mark, story = marks[index], part.story
    if mark.operation != call.operation:
        return False
    if call.operation == "addCredit":
        return mark.command == story.id
    if mark.command not in (None, story.id, story.data.get("contract_number")):
        return False
    if mark.changed is None or call.wants is None:
        return True
    after = states[index + 1]
    left = all(same(after[name], value) for name, value in _wants(call) if name in after)
    return left and (part.sprawls or not _extra(mark, call, states[index]))


def _extra(mark: Applied, call: Call, before: State) -> set[str]:
    """What it changed and nobody named. What is filled in with a default where nothing was is no change."""
    changed = (mark.changed or {}).items()
    return {
        name
        for name, value in changed
        if name not in (call.wants or {}) and not same(before.get(name), value)
    }
