"""`worker doctor`: what is well, what is not, and what to do next."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from worker.cli import show
from worker.cli.context import FAILED, Json, actor, journal_of, reason, run, settings_of
from worker.cli.stopped import resume_words, resume_words_of

if TYPE_CHECKING:
    from aiormq.abc import AbstractConnection

    from worker.journal.journal import StoredJournal
    from worker.journal.port import Health, PlatformState
    from worker.settings import LimitSettings, PlatformSettings, Settings

STOP_GRACE = "WORKER_STOP_GRACE"  # what the container's engine waits after SIGTERM: 30, 30s
BESIDE_THE_CALL = 10.0  # seconds that a stop needs beside one call's deadline
SKEW = 2.0  # seconds between our clock and the database's
OLD = 300.0  # seconds that a command may be due before it is worth a word


@dataclass(frozen=True, slots=True)
class Finding:
    part: str
    level: Literal["well", "advice", "warning", "broken"]
    text: str
    next: str = ""


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Look at broker, journal and platforms; say what to do next. Exit code 1 if something is broken."""
    settings = settings_of(context)
    findings = run(_all(settings))
    if as_json:
        show.emit([asdict(one) for one in findings])
    else:
        for one in findings:
            show.say(f"{one.level:<8} {one.part}: {one.text}")
            if one.next:
                show.say(f"{'':<8} next: {one.next}")
    if any(one.level == "broken" for one in findings):
        raise typer.Exit(FAILED)


async def _all(settings: Settings) -> list[Finding]:
    findings = [one async for one in _broker(settings)]
    states: dict[str, PlatformState] = {}
    try:
        async with journal_of(settings) as journal:
            findings += [one async for one in _journal(journal)]
            states = {state.name: state for state in await journal.platforms()}
            findings += [
                Finding("pauses", "warning", one.words(), resume_words_of(one.scope, one.name))
                for one in await journal.pauses()
            ]
    except Exception as error:
        findings.append(_no_journal(settings, error))
    for name, platform in settings.platforms.items():
        findings += [one async for one in _platform(name, platform, states.get(name))]
    if not settings.platforms:
        findings.append(
            Finding("platforms", "warning", "none is configured", "add [platforms.NAME] to worker.toml")
        )
    findings += _stop(settings, os.environ.get(STOP_GRACE, ""))
    return findings


# ---------------------------------------------------------------- broker


async def _broker(settings: Settings) -> AsyncIterator[Finding]:
    from worker.bootstrap import StartError, broker_address
    from worker.broker.link import close_in_time, connect

    part = f"broker {settings.broker.shown}"
    try:
        connection = await connect(broker_address(settings), "doctor")
    except StartError as error:
        yield Finding(part, "broken", str(error), "put broker.ca right")
        return
    except Exception as error:
        yield _no_broker(part, error)
        return
    try:
        yield Finding(part, "well", "reachable, signed in")
        async for finding in _topology(connection):
            yield finding
    finally:
        await close_in_time(connection.close(), "doctor")


def _no_broker(part: str, error: Exception) -> Finding:
    text = reason(error)
    if "ACCESS_REFUSED" in str(error) or "Authentication" in type(error).__name__:
        return Finding(
            part, "broken", f"it refuses the login ({text})", "put user and password in broker.url right"
        )
    if "NOT_ALLOWED" in str(error) or "vhost" in str(error):
        return Finding(
            part, "broken", f"it refuses the virtual host ({text})", "put the path of broker.url right"
        )
    return Finding(
        part, "broken", f"it cannot be reached ({text})", "start RabbitMQ, or put broker.url right"
    )


async def _topology(connection: AbstractConnection) -> AsyncIterator[Finding]:
    """Looks first: what is missing is said, not made."""
    from aiormq.exceptions import ChannelNotFoundEntity

    from worker.broker.topology import COMMAND_QUEUES, DEAD, TopologyError, declare_on, exchanges

    waiting: list[tuple[str, int, int]] = []
    try:
        channel = await connection.channel(publisher_confirms=False)
        for exchange in exchanges():
            await channel.exchange_declare(exchange.name, passive=True)
        for queue in (*COMMAND_QUEUES, DEAD):
            answer = await channel.queue_declare(queue, passive=True)
            waiting.append((queue, answer.message_count or 0, answer.consumer_count or 0))
        await channel.close()
        await declare_on(connection)
    except ChannelNotFoundEntity as error:
        text = f"a queue or exchange is missing ({' '.join(str(error).split())})"
        yield Finding("topology", "broken", text, "start `worker run`, which declares it")
        return
    except TopologyError as error:
        yield Finding("topology", "broken", str(error))
        return
    yield Finding("topology", "well", "exchanges and queues are as the worker declares them")
    for queue, ready, consumers in waiting:
        yield _consumed(queue, ready, consumers)


def _consumed(queue: str, ready: int, consumers: int) -> Finding:
    if not consumers:
        text = f"nobody consumes it, {_waiting(ready)}"
        return Finding(f"queue {queue}", "broken", text, "start `worker run` with the role intake")
    return Finding(
        f"queue {queue}",
        "well",
        f"{consumers} {'consumer' if consumers == 1 else 'consumers'}, {_waiting(ready)}",
    )


def _waiting(messages: int) -> str:
    return "1 message waits" if messages == 1 else f"{messages} messages wait"


# ---------------------------------------------------------------- journal


def _no_journal(settings: Settings, error: Exception) -> Finding:
    part = f"journal {settings.journal.shown}"
    known = type(error).__name__ in ("JournalDown", "JournalError", "StartError", "NoKeyYet", "KeyMissing")
    text = str(error) if known else reason(error)
    if type(error).__name__ == "NoKeyYet":
        return Finding(part, "warning", f"reachable, but {text}", "start `worker run`")
    file = settings.sqlite_path
    if file and not file.absolute().parent.is_dir():
        return Finding(part, "broken", text, f"make {file.absolute().parent}")
    if file and not file.exists():
        return _no_file_yet(part, text, {file.absolute().parent, settings.folder.absolute()})
    return Finding(part, "broken", text, "put journal.url and journal.keys right, or start the database")


def _no_file_yet(part: str, text: str, folders: Iterable[Path]) -> Finding:
    """The first start makes key and journal, where it may."""
    for folder in sorted(folders):
        if not os.access(folder, os.W_OK):
            return Finding(part, "broken", text, f"give {actor()} the right to write to the folder {folder}")
    return Finding(part, "warning", text, "start `worker run`")


async def _journal(journal: StoredJournal) -> AsyncIterator[Finding]:
    from worker.journal.backups import marks

    before = time.time()
    skew = await journal.now() - (before + time.time()) / 2
    mark = await journal.run(marks.read)
    if mark is None:
        yield Finding("journal", "well", "reachable, schema and key are right")
    else:
        yield Finding("journal", "broken", f"no worker starts on it: this journal {mark.words}", marks.ADVICE)
    if abs(skew) > SKEW:
        text = f"the database's clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} ours"
        yield Finding("clock", "warning", text, "run a time service on both machines")
    for finding in _figures(await journal.health()):
        yield finding


def _figures(health: Health) -> Iterator[Finding]:
    text = f"{health.waiting} wait, {health.running} run, {health.in_doubt} in doubt, {health.parked} parked"
    yield Finding("commands", "well", text)
    if health.parked:
        text = f"{health.parked} {'is' if health.parked == 1 else 'are'} parked: a person decides"
        yield Finding("commands", "warning", text, "`worker commands list --state parked`, then `show` each")
    if health.oldest_due is not None and health.oldest_due > OLD:
        text = f"one has been due for {health.oldest_due:.0f} s"
        yield Finding(
            "commands", "warning", text, "see that a process runs the role engine, and the platforms"
        )
    for exchange, count in sorted(health.nobody_listens.items()):
        text = f"nobody listens: {count} {'event was' if count == 1 else 'events were'} taken by nobody"
        advice = 'bind a queue to it, then `worker events republish --reason "…"`'
        yield Finding(f"exchange {exchange}", "warning", text, advice)
    if health.oldest_unpublished is not None and health.oldest_unpublished > OLD:
        text = f"{health.unpublished} wait, the oldest for {health.oldest_unpublished:.0f} s"
        yield Finding("events", "broken", text, "start `worker run` with the role relay, or see its log")
    if health.quarantined:
        text = f"{health.quarantined} refused messages are kept"
        yield Finding("quarantine", "advice", text, "`worker quarantine list`")


# ---------------------------------------------------------------- platforms


async def _platform(
    name: str, settings: PlatformSettings, state: PlatformState | None
) -> AsyncIterator[Finding]:
    from worker.cli.probe import probe

    part = f"platform {name}"
    said = await probe(name, settings)
    yield Finding(part, "well" if said.well else "broken", said.text, said.next)
    for one in said.beside:
        yield Finding(f"{part}, {one.part}", one.level, one.text, one.next)
    if state is not None and (state.held or state.paused_by):
        who = (
            f"paused by {state.paused_by}: {state.paused_reason}"
            if state.paused_by
            else f"held, {state.held}"
        )
        yield Finding(part, "warning", f"{who}; its commands wait", resume_words(name))
    if state is not None and state.lowered_rate is not None:
        who = f"by {state.lowered_by}: {state.lowered_reason}"
        text = f"its rate is lowered to {state.lowered_rate:g} calls a second {who}"
        yield Finding(part, "warning", text, f'`worker platforms rate {name} --restore --reason "…"`')
    missing = [name for name in unset(settings.limits) if name in settings.limited]
    if missing:
        advice = f"set them in [platforms.{name}.limits]: a mistake of a sender then stops there"
        yield Finding(part, "advice", f"no limit for {', '.join(missing)}", advice)
    for text, key in settings.advice():
        yield Finding(
            part,
            "advice",
            text,
            f"set [platforms.{name}.{key}" if "]" in key else f"set [platforms.{name}] {key}",
        )


def unset(limits: LimitSettings) -> list[str]:
    names = ("credit_max", "credit_per_subscriber_day", "credit_per_hour", "removes_per_hour")
    return [name for name in names if getattr(limits, name) is None]


# ---------------------------------------------------------------- stop


def _stop(settings: Settings, given: str) -> Iterator[Finding]:
    """Whether the container's engine waits long enough after SIGTERM (P9)."""
    from worker.settings.values import seconds

    longest = max((one.timeout for one in settings.platforms.values()), default=0.0)
    needed = max(longest + BESIDE_THE_CALL, settings.worker.grace)
    wanted = (
        f"a stop needs more than {needed:g} s after SIGTERM (timeout + {BESIDE_THE_CALL:g} s, worker.grace)"
    )
    advice = f"set stop_grace_period above {needed:g} s, and {STOP_GRACE} to the same"
    try:
        grace = float(str(seconds(given))) if given else None
    except ValueError:
        yield Finding("stop", "warning", f"{STOP_GRACE} is no duration; {wanted}", advice)
        return
    if grace is None:
        if _contained():
            yield Finding("stop", "advice", f"this runs in a container, and {wanted}", advice)
    elif grace <= needed:
        yield Finding("stop", "warning", f"the container gives {grace:g} s; {wanted}", advice)
    else:
        yield Finding("stop", "well", f"the container gives {grace:g} s after SIGTERM")


def _contained() -> bool:
    """Docker and Podman leave these files, Kubernetes a variable."""
    marks = (Path("/.dockerenv"), Path("/run/.containerenv"))
    return "KUBERNETES_SERVICE_HOST" in os.environ or any(mark.exists() for mark in marks)
