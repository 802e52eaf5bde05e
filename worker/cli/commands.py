"""`worker commands`: what stands in the journal, and what people do to it (rules 8)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli import bulk, show
from worker.cli.context import VERB_EXIT_CODES, Json, Reason, actor, known, run, settings_of, with_journal
from worker.cli.fields import FIELDS_HELP, data_of, list_fields, merged
from worker.cli.options import spread
from worker.cli.stopped import of_command

if TYPE_CHECKING:
    from worker.journal.journal import StoredJournal
    from worker.settings import Settings

Name = Annotated[str, typer.Argument(metavar="ID", help="The number that `list` shows, or the sender's id.")]
Along = Annotated[
    bool,
    typer.Option(
        "--with-dependents", help="Those too that ended because this one did, each with its own data."
    ),
]
BELOW = {"attempts_made", "readings", "events", "records", "line", "steps", "steps_left", "problem", "window"}
TIMES = ("received_at", "started_at", "finished_at", "due_at")
FLAGS = ("archived", "window_closed")
TIMED = ("attempts_made", "readings", "events")
BELOW_TIMES = ("at", "published_at")
WINDOW_TIMES = ("window_opened", "window_first")


def mount(app: typer.Typer) -> None:
    group = typer.Typer(help="Look at commands and decide about them.", no_args_is_help=True)
    for verb in (retry, resolve, cancel, archive):
        group.command(epilog=VERB_EXIT_CODES)(verb)
    group.command("list", epilog=VERB_EXIT_CODES)(list_)
    group.command("show", epilog=VERB_EXIT_CODES)(show_)
    group.command(epilog=f"{FIELDS_HELP}\n{VERB_EXIT_CODES}")(edit)
    app.add_typer(group, name="commands")


def list_(
    context: typer.Context,
    state: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(bulk.STATES)}."),
    ] = None,
    platform: Annotated[str | None, typer.Option(help="Of one platform.")] = None,
    type: Annotated[str | None, typer.Option(help="Of one type, e.g. credit.add.v1.")] = None,
    source: Annotated[str | None, typer.Option(help="Of one sender.")] = None,
    partition: Annotated[str | None, typer.Option(help="About one object (its partitionkey).")] = None,
    batch: Annotated[str | None, typer.Option(help="Of one batch (batchid).")] = None,
    archived: Annotated[bool, typer.Option("--archived", help="Archived ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """List commands, newest first."""
    settings = settings_of(context)
    if state is not None and state not in bulk.STATES:
        raise typer.BadParameter(f"--state is one of {', '.join(bulk.STATES)}")
    if platform is not None:
        known(settings, platform)
    wanted = {
        "state": state,
        "platform": platform,
        "type": type,
        "source": source,
        "partition_key": partition,
        "batch_id": batch,
        "archived": archived,
    }
    rows = run(with_journal(settings, lambda journal: journal.commands(wanted, limit)))
    if as_json:
        show.emit([_with_flags(show.moments(row, *TIMES)) for row in rows])
        return
    columns = ("id", "sender's id", "type", "about", "state", "effect", "tries", "received", "why")
    show.table(columns, (_line(row) for row in rows), "no command")


def _line(row: Mapping[str, Any]) -> tuple[Any, ...]:
    problem = row["problem"] or {}
    return (
        row["id"],
        row["message_id"],
        row["type"].removesuffix(".v1"),
        row["partition_key"],
        row["state"],
        row["effect"],
        row["attempts"],
        show.moment(row["received_at"]),
        problem.get("code"),
    )


def show_(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Show one command: attempts, readings, events, its line, and what to do."""
    found, stopped = run(with_journal(settings_of(context), lambda journal: _found(journal, name)))
    if as_json:
        show.emit(_timed(found))
        return
    problem = found["problem"] or {}
    head = {name: value for name, value in show.moments(found, *TIMES).items() if name not in BELOW}
    show.facts(head | {name: "yes" if head[name] else None for name in FLAGS})
    show.facts({"window": _window(found["window"], found["id"])})
    if problem:
        show.say("\nwhy")
        show.facts(problem, "  ")
    for title, rows, line in (
        ("steps", found["steps"], _step),
        ("steps left", found["steps_left"] or (), str),
        ("attempts", found["attempts_made"], _attempt),
        ("readings", found["readings"], _reading),
        ("events", found["events"], _event),
        ("records", found["records"], _record),
        ("line", found["line"], _standing),
    ):
        if rows:
            show.say(f"\n{title}")
            for row in rows:
                show.say(f"  {line(row)}")
    if advice := _next(found) or stopped:
        show.say(f"\nnext: {advice}")


async def _found(journal: StoredJournal, name: str) -> tuple[dict[str, Any], str | None]:
    """The command, and what keeps its platform from taking it while it is open."""
    found = await journal.command(name)
    is_open = found["state"] in ("waiting", "running", "in_doubt")
    return found, await of_command(journal, found) if is_open else None


def _timed(found: Mapping[str, Any]) -> dict[str, Any]:
    """For programs: every time as RFC 3339, also below."""
    below = {name: [show.moments(row, *BELOW_TIMES) for row in found[name]] for name in TIMED}
    return (
        _with_flags(show.moments(found, *TIMES))
        | below
        | {"window": show.moments(found["window"], *WINDOW_TIMES)}
    )


def _with_flags(row: Mapping[str, Any]) -> dict[str, Any]:
    """SQLite knows no booleans."""
    return dict(row) | {name: bool(row[name]) for name in FLAGS}


def _window(window: Mapping[str, Any], number: int) -> str | None:
    """Since when a lost answer holds the key, and whose."""
    if window["window_opened"] is None:
        return None
    whose = "" if window["window_command"] == number else f" by command {window['window_command']}"
    return (
        f"the key is held{whose} since {show.moment(window['window_opened'])}: a call may yet have an effect"
    )


def _step(row: Mapping[str, Any]) -> str:
    return f"{row['name']}: {row['status']}"


def _attempt(row: Mapping[str, Any]) -> str:
    status = f", HTTP {row['status']}" if row["status"] else ""
    took = f", {row['ms']:.0f} ms" if row["ms"] is not None else ""
    return f"{row['number']}. {show.moment(row['at'])} {row['endpoint']}: {row['outcome']}{status}{took}"


def _reading(row: Mapping[str, Any]) -> str:
    return f"{show.moment(row['at'])} {row['kind']} attempt {row['attempt']}, {row['step']}: {show.plain(row['reading'])}"


def _event(row: Mapping[str, Any]) -> str:
    published = show.moment(row["published_at"]) or "not published yet"
    return f"{row['type']} {row['event_id']} to {row['exchange'] or 'reply_to'}: {published}"


def _record(row: Mapping[str, Any]) -> str:
    why = f": {row['reason']}" if row.get("reason") else ""
    return f"{row['at']} {row['what']} by {row['actor']}{why}"


def _standing(row: Mapping[str, Any]) -> str:
    return f"{row['id']} {row['message_id']}: {row['state']}"


def _rest(found: Mapping[str, Any]) -> str:
    """What still runs of a command whose step is resolved as applied."""
    left = found["steps_left"]
    if left is None:
        return "; if it is applied, the worker looks whether steps of it are left, and runs them"
    return f"; if it is applied, its other steps still run: {', '.join(left)}" if left else ""


def _next(found: Mapping[str, Any]) -> str | None:
    """What a person can do now."""
    number = found["id"]
    if found["state"] not in ("parked", "in_doubt"):
        return None
    if found["effect"] == "unknown":
        return (
            f"look at the readings and at the platform, then"
            f" `worker commands resolve {number} --applied` or `--not-applied`, with --reason{_rest(found)}"
        )
    return (
        f"`worker commands retry {number}`, `edit {number} FIELD=VALUE` or `cancel {number}`, with --reason"
    )


@spread
def retry(
    context: typer.Context,
    filters: bulk.Filters,
    how: bulk.How,
    name: bulk.Name = None,
    superseded: bulk.Superseded = False,
    dependents: Along = False,
) -> None:
    """Let a parked command go on, or run an ended one again as a new command; or many, by filters."""
    if dependents and name is None:
        raise typer.BadParameter("--with-dependents goes with one command")
    one = bulk.one_of(name, filters, how, superseded=superseded)
    if one is None:
        bulk.many(context, "retry", filters, how, superseded=superseded)
        return
    why = how.why
    _act(context, lambda journal: journal.retry(one, actor(), why, dependents), how.as_json)


@spread
def cancel(context: typer.Context, filters: bulk.Filters, how: bulk.How, name: bulk.Name = None) -> None:
    """Cancel a command that has certainly had no effect; or many, by filters."""
    one = bulk.one_of(name, filters, how)
    if one is None:
        bulk.many(context, "cancel", filters, how)
        return
    why = how.why
    _act(context, lambda journal: journal.cancel(one, actor(), why), how.as_json)


@spread
def archive(context: typer.Context, filters: bulk.Filters, how: bulk.How, name: bulk.Name = None) -> None:
    """Take an ended command out of the lists; or many, by filters."""
    one = bulk.one_of(name, filters, how)
    if one is None:
        bulk.many(context, "archive", filters, how)
        return
    why = how.why
    _act(context, lambda journal: journal.archive(one, actor(), why), how.as_json)


def resolve(
    context: typer.Context,
    name: Name,
    reason: Reason,
    applied: Annotated[
        bool | None,
        typer.Option("--applied/--not-applied", help="Whether it took effect.", show_default=False),
    ] = None,
    waive_window: Annotated[
        bool,
        typer.Option("--waive-window", help="Although its call might still take effect; it is recorded."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what took effect of a command whose effect is unknown."""
    if applied is None:
        raise typer.BadParameter("say which: --applied or --not-applied")
    _act(context, lambda journal: journal.resolve(name, applied, actor(), reason, waive_window), as_json)


def edit(
    context: typer.Context,
    name: Name,
    fields: Annotated[list[str], typer.Argument(metavar="FIELD=VALUE", help="What changes; null removes.")],
    reason: Reason,
    dependents: Along = False,
    as_json: Json = False,
) -> None:
    """Run an ended command again with other data, as a new command; a parked one is cancelled first."""
    settings = settings_of(context)
    done = run(
        with_journal(settings, lambda journal: _edit(settings, journal, name, fields, reason, dependents))
    )
    _told(done, as_json)


async def _edit(
    settings: Settings,
    journal: StoredJournal,
    name: str,
    fields: list[str],
    reason: str,
    dependents: bool,
) -> dict[str, Any]:
    from worker.journal.commands.acts import data_of as stored
    from worker.messages.catalogue import find

    before = await journal.command(name)
    _, old = await journal.run(lambda tx: stored(tx, journal.core, name))
    spec = find(before["type"])
    model = spec.kinds.get(settings.kinds.get(before["platform"], "")) if spec else None
    given = data_of(fields, list_fields(model))
    whole = merged(old, given)
    changes = {field: whole.get(field) for field in given}

    def check(type: str, data: Mapping[str, Any]) -> None:
        _check(settings, before, type, data)

    return await journal.edit(str(before["id"]), changes, check, actor(), reason, dependents)


def _check(settings: Settings, before: Mapping[str, Any], type: str, data: Mapping[str, Any]) -> None:
    """An edited command is as valid as one that comes in, and is about the same object (rule 4.1)."""
    from worker.journal.commands.acts import ActRefused
    from worker.messages.catalogue import check
    from worker.messages.envelope import Envelope
    from worker.messages.errors import Problem

    checked = check(Envelope("edited", before["source"], type, data, reply_to="kept"), settings.kinds)
    if isinstance(checked, Problem):
        raise ActRefused(f"the edited command is not valid: {checked.message}")
    if checked.partition_key != before["partition_key"]:
        raise ActRefused(
            f"an edit keeps the object, {before['partition_key']}: send a new command for another one"
        )


def _act(
    context: typer.Context,
    act: Callable[[StoredJournal], Awaitable[dict[str, Any]]],
    as_json: bool,
) -> None:
    _told(run(with_journal(settings_of(context), act)), as_json)


def _told(done: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        show.emit(done)
        return
    told = ((name, value) for name, value in done.items() if name not in ("id", "dependents", "steps_left"))
    what = ", ".join(name if value is True else f"{name} {value}" for name, value in told)
    show.say(f"command {done['id']}: {what}")
    if left := done.get("steps_left"):
        show.say(f"  it goes on: {', '.join(left)}")
    for one in done.get("dependents", ()):
        show.say(f"  {one['message_id']}: {one['why'] or 'comes along as command ' + str(one['became'])}")
