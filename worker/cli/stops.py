"""`worker platforms pause | resume | rate`: what a person stops, slows, and lets go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli import show
from worker.cli.context import USAGE, Json, Reason, actor, fail, known, run, settings_of, with_journal
from worker.cli.options import spread
from worker.cli.stopped import resume_words, resume_words_of

if TYPE_CHECKING:
    from worker.journal.journal import StoredJournal
    from worker.journal.port import Pause, Scope
    from worker.settings import Settings

Platform = Annotated[str, typer.Argument(metavar="PLATFORM", help="Its name in the settings.")]
Maybe = Annotated[str | None, typer.Argument(metavar="[PLATFORM]", help="Its name in the settings.")]
All = Annotated[bool, typer.Option("--all", help="Everything, on every platform.")]
Command = Annotated[str | None, typer.Option("--command", help="All commands of this type, as credit.add.")]
Source = Annotated[str | None, typer.Option("--source", help="All commands of this sender.")]
Batch = Annotated[str | None, typer.Option("--batch", help="A batch: its sending, and what was sent of it.")]


@dataclass(frozen=True, slots=True)
class What:
    """What is stopped, or goes on: one of these."""

    platform: Maybe = None
    everything: All = False
    command: Command = None
    source: Source = None
    batch: Batch = None


NAMED = "name one thing: a PLATFORM, --all, --command, --source or --batch"


@spread
def pause(
    context: typer.Context,
    what: What,
    reason: Reason,
    as_json: Json = False,
) -> None:
    """Begin nothing of a platform, a command, a sender, a batch, or at all; what comes in waits."""
    settings = settings_of(context)
    scope, name = _wanted(settings, what)
    if scope == "platform":
        _pause_platform(settings, name, reason, as_json)
        return
    before = run(with_journal(settings, lambda journal: journal.stop(scope, name, actor(), reason)))
    if as_json:
        words = before and _before(before)
        show.emit({"scope": scope, "name": name, "state": "paused", "paused_before": words})
        return
    if before:
        show.say(f"it was paused already, {_before(before)}; the reason is now yours")
    show.say(f"{_shown(scope, name)} is paused: {resume_words_of(scope, name)} lets it go on")


def _wanted(settings: Settings, what: What) -> tuple[Any, str]:
    """(scope, name); the scope of a platform is `platform`."""
    given = {"platform": what.platform, "command": what.command, "source": what.source, "batch": what.batch}
    named = [(scope, name.strip()) for scope, name in given.items() if name is not None]
    if what.everything:
        named.append(("everything", ""))
    if len(named) != 1:
        raise typer.BadParameter(NAMED)
    [(scope, name)] = named
    if scope == "platform":
        known(settings, name)
    elif scope == "command":
        name = _type(name)
    elif scope != "everything" and not name:
        raise typer.BadParameter(NAMED)
    return scope, name


def _type(text: str) -> str:
    from worker.messages.naming import as_type

    try:
        return as_type(text)
    except ValueError as error:
        fail(str(error), USAGE)


def _shown(scope: Scope, name: str) -> str:
    return {"everything": "everything", "command": name.removesuffix(".v1"), "batch": f"batch {name}"}.get(
        scope, f"what {name} sends"
    )


def _before(pause: Pause) -> str:
    return f"by {pause.by} since {show.moment(pause.since)}: {pause.reason}"


def _pause_platform(settings: Settings, platform: str, reason: str, as_json: bool) -> None:
    before = run(with_journal(settings, lambda journal: _paused(journal, platform, reason)))
    if as_json:
        show.emit({"platform": platform, "state": "paused", "paused_before": before})
        return
    if before:
        show.say(f"it was paused already, {before}; the reason is now yours")
    show.say(f"{platform} is paused: {resume_words(platform)} lets it go on")


async def _paused(journal: StoredJournal, platform: str, reason: str) -> str | None:
    """By whom, since when and why it was paused before; None when it was not."""
    before = {state.name: state for state in await journal.platforms()}.get(platform)
    await journal.pause(platform, actor(), reason)
    if before is None or not before.paused_by:
        return None
    return f"by {before.paused_by} since {show.moment(before.paused_since)}: {before.paused_reason or ''}"


@spread
def resume(
    context: typer.Context,
    what: What,
    reason: Reason,
    as_json: Json = False,
) -> None:
    """End a pause; of a platform also a hold, after the login was put right."""
    settings = settings_of(context)
    scope, name = _wanted(settings, what)
    if scope == "platform":
        stopped = run(with_journal(settings, lambda journal: journal.resume(name, actor(), reason)))
        if as_json:
            show.emit({"platform": name, "resumed": stopped})
            return
        show.say(f"{name} goes on" if stopped else f"{name} was neither paused nor held")
        return
    stopped = run(with_journal(settings, lambda journal: journal.go_on(scope, name, actor(), reason)))
    if as_json:
        show.emit({"scope": scope, "name": name, "resumed": stopped})
        return
    show.say(f"{_shown(scope, name)} {'goes on' if stopped else 'was not paused'}")


def rate(
    context: typer.Context,
    platform: Platform,
    reason: Reason,
    per_second: Annotated[
        float | None, typer.Argument(metavar="[PER_SECOND]", help="Calls a second, all processes together.")
    ] = None,
    restore: Annotated[bool, typer.Option("--restore", help="As the settings say.")] = False,
    as_json: Json = False,
) -> None:
    """Lower a platform's rate of calls until it is restored; it is never above that of the settings."""
    settings = settings_of(context)
    known(settings, platform)
    if (per_second is None) is not restore:
        raise typer.BadParameter("say calls a second, or --restore")
    configured = settings.platforms[platform].rate
    if per_second is None:
        was = run(with_journal(settings, lambda journal: journal.restore(platform, actor(), reason)))
        if as_json:
            show.emit({"platform": platform, "rate": configured, "restored": was})
            return
        show.say(f"{platform} is called {configured:g} times a second" + ("" if was else ", as before"))
        return
    from worker.journal.pauses import checked_rate

    try:
        wanted = checked_rate(per_second, configured)
    except ValueError as error:
        fail(str(error), USAGE)
    run(with_journal(settings, lambda journal: journal.lower(platform, wanted, actor(), reason)))
    if as_json:
        show.emit({"platform": platform, "rate": wanted, "configured": configured})
        return
    again = f'`worker platforms rate {platform} --restore --reason "…"`'
    show.say(f"{platform} is called at most {wanted:g} times a second; {again} ends that")
