"""`worker platforms`: how each is, and who may stop it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli import show
from worker.cli.context import FAILED, VERB_EXIT_CODES, Json, known, run, settings_of, with_journal
from worker.cli.learn import learn
from worker.cli.stopped import resume_words_of
from worker.cli.stops import pause, rate, resume

if TYPE_CHECKING:
    from worker.journal.journal import StoredJournal
    from worker.journal.port import Pause, PlatformState
    from worker.settings import PlatformSettings, Settings

BUNDLED = "bundled"


def mount(app: typer.Typer) -> None:
    group = typer.Typer(
        help="See how platforms are and behave; pause them, or what goes to them; slow them.",
        no_args_is_help=True,
    )
    group.command("list", epilog=VERB_EXIT_CODES)(list_)
    for verb in (check, learn, pause, resume, rate):
        group.command(epilog=VERB_EXIT_CODES)(verb)
    app.add_typer(group, name="platforms")


def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the platforms of the settings: whether they are held, paused, broken or slowed, and what else is paused."""
    settings = settings_of(context)
    found, pauses = run(with_journal(settings, _states))
    states = {state.name: state for state in found}
    everything = next((one for one in pauses if one.scope == "everything"), None)
    rows = [_row(name, one, states.get(name), everything) for name, one in settings.platforms.items()]
    if as_json:
        told = [{**asdict(one), "since": show.moment(one.since)} for one in pauses]
        show.emit([{**row, "pauses": told} for row in rows])
        return
    columns = ("name", "kind", "url", "state", "rate", "since", "why")
    show.table(columns, ([row[name] for name in columns] for row in rows), "no platform is configured")
    for one in pauses:
        show.say(
            f"{one.words()} (since {show.moment(one.since)}); {resume_words_of(one.scope, one.name)} ends that"
        )


async def _states(journal: StoredJournal) -> tuple[list[PlatformState], list[Pause]]:
    return await journal.platforms(), await journal.pauses()


def _row(
    name: str, settings: PlatformSettings, state: PlatformState | None, everything: Pause | None
) -> dict[str, Any]:
    row = {
        "name": name,
        "kind": settings.kind,
        "url": settings.url,
        "state": "not stopped",
        "since": "",
        "why": "",
        "rate": f"{settings.rate:g}/s",
    }
    if state is not None and state.lowered_rate is not None:
        row["rate"] = f"{min(state.lowered_rate, settings.rate):g}/s, lowered by {state.lowered_by}"
        row |= {"since": show.moment(state.lowered_since), "why": state.lowered_reason or ""}
    return row | _stop(state, everything)


def _stop(state: PlatformState | None, everything: Pause | None) -> dict[str, Any]:
    """What keeps it from taking anything, the acts of people first."""
    if state is not None and state.paused_by:
        why = f"{state.paused_by}: {state.paused_reason or ''}"
        return {"state": "paused", "since": show.moment(state.paused_since), "why": why}
    if everything is not None:
        why = f"everything, {everything.by}: {everything.reason}"
        return {"state": "paused", "since": show.moment(everything.since), "why": why}
    if state is not None and state.held:
        why = f"{state.held}: {state.held_text or ''}"
        return {"state": "held", "since": show.moment(state.held_since), "why": why}
    if state is not None and state.broken_since:
        why = "it does not answer; it is probed"
        return {"state": "broken", "since": show.moment(state.broken_since), "why": why}
    return {}


def check(
    context: typer.Context,
    platform: Annotated[
        str | None, typer.Argument(metavar="[PLATFORM]", help="One of them; all without it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Sign in and read: is each platform reachable, what does its own description offer, lack, spell otherwise, and
    can its database of call records be read?"""
    settings = settings_of(context)
    names = [platform] if platform else list(settings.platforms)
    for name in names:
        known(settings, name)
    if not names and not as_json:
        show.say("no platform is configured: add [platforms.NAME] to worker.toml")
    reports = run(_check(settings, names))
    if as_json:
        show.emit(reports)
    for report in () if as_json else reports:
        show.say(f"{report['name']}: {report['said']}")
        # Of a server that was not reached nothing is known but what came along with the worker.
        for service, facts in report["facts"].items() if report["well"] else ():
            show.say(f"  {service}: {_offered(facts)}")
        for one in report["beside"]:
            show.say(
                f"  {one['part']}, {one['level']}: {one['text']}{'; ' if one['next'] else ''}{one['next']}"
            )
    besides = [one for report in reports for one in report["beside"]]
    if not all(report["well"] for report in reports) or any(one["level"] == "broken" for one in besides):
        raise typer.Exit(FAILED)


async def _check(settings: Settings, names: list[str]) -> list[dict[str, Any]]:
    from worker.cli.probe import probe

    reports = []
    for name in names:
        # What this server has is asked of the server, also where the worker goes by the WSDLs that came along.
        said = await probe(name, _as_served(settings.platforms[name]))
        facts = dict(said.facts)
        text = f"{said.text}{_hint(settings.platforms[name], facts)}"
        beside = [asdict(one) for one in said.beside]
        reports.append({"name": name, "well": said.well, "said": text, "facts": facts, "beside": beside})
    return reports


def _as_served(settings: PlatformSettings) -> PlatformSettings:
    from worker.settings import SippulseSettings

    return (
        settings.model_copy(update={"wsdl": "live"}) if isinstance(settings, SippulseSettings) else settings
    )


def _hint(settings: PlatformSettings, facts: Mapping[str, Any]) -> str:
    """Where the server says otherwise than the WSDLs that the worker goes by."""
    from worker.messages.sippulse.operations import OPERATIONS, Known
    from worker.settings import SippulseSettings

    left_out = {each.name for each in OPERATIONS.values() if each.known is Known.ABSENT}
    live = [each for each in facts.values() if isinstance(each, Mapping) and each.get("wsdl") != BUNDLED]
    differ = any(set(each.get("lacks", ())) - left_out or each.get("besides") for each in live)
    if isinstance(settings, SippulseSettings) and settings.wsdl == BUNDLED and differ:
        return '; it differs from the bundled WSDLs, which the worker goes by: consider wsdl = "live"'
    return ""


def _offered(facts: Any) -> str:
    """One line: where it is from, how much there is, and what is otherwise than documented."""
    if not isinstance(facts, Mapping):
        return str(facts)
    parts = [str(facts.get("wsdl", "")), f"{len(facts.get('operations', ()))} operations"]
    for name in ("lacks", "besides"):
        if facts.get(name):
            parts.append(f"{name} {', '.join(facts[name])}")
    if facts.get("spelled"):
        parts.append(", ".join(f"{name} is {spelled}" for name, spelled in facts["spelled"].items()))
    return "; ".join(part for part in parts if part)
