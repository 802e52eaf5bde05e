"""What is wrong, part by part: for /readyz, and in the words that an operator needs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from worker.journal.port import Health, JournalDown, Pause, PlatformState

PATIENCE = 3.0  # seconds that the journal may take before it counts as away
SILENT = 15.0  # seconds without a heartbeat after which the engine counts as stuck; it beats every second
UNMOVED = 60.0  # seconds that messages may be ready, and none delivered
MORE = "`worker doctor` and the console say more"  # what people wrote, and what a platform said, is not for anybody
UNPUBLISHED = 60.0  # seconds after which an event that waits is worth a word


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong. An `error` makes the process not ready, a `warning` does not."""

    part: str
    level: Literal["error", "warning"]
    text: str
    public: str | None = None  # for /readyz, which anybody may read; None: the text holds nobody's words

    def shown(self) -> dict[str, str]:
        return {"part": self.part, "level": self.level, "text": self.text}

    def for_anybody(self) -> dict[str, str]:
        text = self.text if self.public is None else self.public
        return {"part": self.part, "level": self.level, "text": text}


Complaints = Callable[[], Iterable[Complaint]]


class Looks(Protocol):
    """What health asks of the journal."""

    async def health(self) -> Health: ...
    async def platforms(self) -> list[PlatformState]: ...
    async def pauses(self) -> list[Pause]: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """What the journal said, or why it did not. `at`: monotonic seconds."""

    at: float
    health: Health | None = None
    platforms: tuple[PlatformState, ...] = ()
    pauses: tuple[Pause, ...] = ()  # besides those of single platforms
    error: str | None = None


class JournalWatch:
    """Asks the journal at most once for all who want to know at the same time."""

    def __init__(self, journal: Looks) -> None:
        self._journal = journal
        self._seen: Seen | None = None
        self._asking = asyncio.Lock()

    async def seen(self, max_age: float) -> Seen:
        """What was seen at most `max_age` seconds ago; asks the journal where that is too old. Never raises."""
        async with self._asking:
            if self._seen is None or time.monotonic() - self._seen.at > max_age:
                self._seen = await self._ask()
            return self._seen

    def forget(self) -> None:
        """Somebody has just changed it: the next page is to show that."""
        self._seen = None

    async def _ask(self) -> Seen:
        try:
            async with asyncio.timeout(PATIENCE):
                health = await self._journal.health()
                platforms = await self._journal.platforms()
                pauses = await self._journal.pauses()
        except TimeoutError:
            return Seen(time.monotonic(), error=f"it did not answer within {PATIENCE:.0f} s")
        except JournalDown as error:
            return Seen(time.monotonic(), error=str(error) or "it does not answer")
        except Exception as error:  # whatever it is, health must be able to say so
            return Seen(time.monotonic(), error=f"it cannot be read ({type(error).__name__})")
        return Seen(time.monotonic(), health, tuple(platforms), tuple(pauses))


class Readiness:
    """Collects the complaints of all parts of this process."""

    def __init__(self, watch: JournalWatch, roles: Iterable[str], platforms: Iterable[str]) -> None:
        self.parts: list[Complaints] = []
        self.watch = watch
        self._roles = sorted(roles)
        self._platforms = frozenset(platforms)

    async def report(self, public: bool = False) -> tuple[bool, dict[str, Any]]:
        """Whether the process is ready, and what is wrong. `public`: as /readyz says it, without people's words."""
        seen = await self.watch.seen(max_age=1.0)
        found = [*of_journal(seen), *of_platforms(seen.platforms, self._platforms), *of_pauses(seen.pauses)]
        for part in self.parts:
            found += part()
        ready = not any(one.level == "error" for one in found)
        wrong = [one.for_anybody() if public else one.shown() for one in found]
        return ready, {"ready": ready, "roles": self._roles, "wrong": wrong}


# ---------------------------------------------------------------- parts


def of_journal(seen: Seen) -> Iterator[Complaint]:
    if seen.error is not None or seen.health is None:
        yield Complaint("journal", "error", seen.error or "it was not asked yet")
        return
    health = seen.health
    for exchange, count in sorted(health.nobody_listens.items()):
        were = "event was" if count == 1 else "events were"
        text = (
            f"nobody listens to {exchange}: {count} {were} taken by nobody;"
            ' bind a queue, then run `worker events republish --reason "…"`'
        )
        yield Complaint("relay", "warning", text)
    if health.oldest_unpublished is not None and health.oldest_unpublished > UNPUBLISHED:
        age = f"{health.oldest_unpublished:.0f} s"
        yield Complaint(
            "relay", "warning", f"{health.unpublished} events wait to be published, the oldest for {age}"
        )
    if health.parked:
        text = (
            f"{health.parked} commands are parked: a person decides (`worker commands list --state parked`)"
        )
        yield Complaint("commands", "warning", text)


def of_platforms(states: Sequence[PlatformState], ours: frozenset[str]) -> Iterator[Complaint]:
    """A platform that is stopped delays its own commands only: a warning."""
    for state in states:
        if state.name not in ours:
            continue
        part = f"platform {state.name}"
        if state.held:
            text = f"held, {state.held}: {state.held_text or 'no text'}"
            yield Complaint(part, "warning", text, f"held, {state.held}; {MORE}")
        if state.paused_by:
            reason = state.paused_reason or "no reason given"
            resume = f'`worker platforms resume {state.name} --reason "…"`'
            text = f"paused by {state.paused_by}: {reason}; {resume} lets it go on"
            yield Complaint(part, "warning", text, f"paused; {MORE}")
        if state.broken_since:
            yield Complaint(part, "warning", "it does not answer: its circuit is open, and it is probed")
        if state.lowered_rate is not None:
            who = f"by {state.lowered_by}: {state.lowered_reason}"
            restore = f'`worker platforms rate {state.name} --restore --reason "…"`'
            text = f"slowed to {state.lowered_rate:g} calls a second {who}; {restore} lets it go on"
            yield Complaint(part, "warning", text, f"slowed by an operator; {MORE}")


def of_pauses(pauses: Iterable[Pause]) -> Iterator[Complaint]:
    for one in pauses:
        what = "--all" if one.scope == "everything" else f"--{one.scope} {one.name.removesuffix('.v1')}"
        resume = f'`worker platforms resume {what} --reason "…"`'
        text = f"{one.words()}; {resume} lets it go on"
        yield Complaint("pauses", "warning", text, f"there is a pause ({one.scope}); {MORE}")


class ConsumerLike(Protocol):
    """What a consumer of a queue says of itself."""

    @property
    def queue(self) -> str: ...
    @property
    def last_delivery_age(self) -> float | None: ...
    @property
    def ready(self) -> int | None: ...
    @property
    def held(self) -> int: ...
    @property
    def paused(self) -> str | None: ...
    @property
    def ill(self) -> str | None: ...


def of_consumer(part: str, health: ConsumerLike) -> Iterator[Complaint]:
    """Connected, consuming, and deliveries moving: not a ping."""
    name = f"{part} {health.queue}"
    if health.ill is not None:
        yield Complaint(name, "error", health.ill)
        return
    if health.paused is not None:
        yield Complaint(name, "warning", f"it rests: {health.paused}")
        return
    age = health.last_delivery_age
    if health.ready and not health.held and age is not None and age > UNMOVED:
        yield Complaint(
            name, "error", f"{health.ready} messages are ready, and none was delivered for {age:.0f} s"
        )


def of_engine(last_beat: float | None, now: float) -> Iterator[Complaint]:
    """`last_beat` and `now` in seconds of the event loop's clock."""
    if last_beat is None:
        yield Complaint("engine", "error", "it has not reached the journal yet")
    elif now - last_beat > SILENT:
        yield Complaint("engine", "error", f"its last heartbeat was {now - last_beat:.0f} s ago")


def of_relay(ill: str | None, blocked: bool) -> Iterator[Complaint]:
    if ill is not None:
        yield Complaint("relay", "warning" if blocked else "error", ill)


def of_dead_letters(health: ConsumerLike, said: str | None) -> Iterator[Complaint]:
    yield from of_consumer("dead letters", health)
    if said is not None:
        yield Complaint("dead letters", "warning", said)


def figures(health: Health) -> Mapping[str, float]:
    """The journal's figures by the names of their metrics."""
    return {
        "waiting": health.waiting,
        "running": health.running,
        "in_doubt": health.in_doubt,
        "parked": health.parked,
        "unpublished": health.unpublished,
        "unsealed": health.unsealed,
        "quarantined": health.quarantined,
        "oldest_due_seconds": health.oldest_due or 0.0,
        "oldest_unpublished_seconds": health.oldest_unpublished or 0.0,
    }
