"""`worker quarantine`: messages that were refused, or that the broker gave up on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli import show
from worker.cli.context import (
    UNREACHABLE,
    VERB_EXIT_CODES,
    Json,
    Reason,
    actor,
    fail,
    journal_of,
    run,
    settings_of,
    with_journal,
)
from worker.cli.fields import FIELDS_HELP

if TYPE_CHECKING:
    from worker.journal.journal import StoredJournal
    from worker.journal.quarantine.mending import Sheet
    from worker.journal.quarantine.resending import Rules
    from worker.settings import Settings

Uid = Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it; its beginning is enough.")]
STATES = ("kept", "sent", "dropped")


def mount(app: typer.Typer) -> None:
    group = typer.Typer(help="Look at refused messages; send them again, or drop them.", no_args_is_help=True)
    group.command("list", epilog=VERB_EXIT_CODES)(list_)
    group.command("show", epilog=VERB_EXIT_CODES)(show_)
    group.command(epilog=VERB_EXIT_CODES)(drop)
    group.command(epilog=f"{FIELDS_HELP}\n{VERB_EXIT_CODES}")(send)
    app.add_typer(group, name="quarantine")


def list_(
    context: typer.Context,
    state: Annotated[str, typer.Option(help="kept, sent or dropped.")] = "kept",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """List refused messages, newest first."""
    if state not in STATES:
        raise typer.BadParameter(f"--state is one of {', '.join(STATES)}")
    rows = run(with_journal(settings_of(context), lambda journal: journal.quarantined(state, limit)))
    if as_json:
        show.emit([show.moments(row, "at") for row in rows])
        return
    columns = ("id", "when", "queue", "source", "sender's id", "type", "code", "why")
    names = ("queue", "source", "message_id", "type", "code", "message")
    show.table(
        columns,
        ([row["uid"][:13], show.moment(row["at"]), *(row[name] for name in names)] for row in rows),
        "nothing in quarantine",
    )


def show_(
    context: typer.Context,
    uid: Uid,
    reason: Reason,
    raw: Annotated[
        bool, typer.Option("--raw", help="The body as it came, secrets too; else they are ***.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show one message. Looking at it is recorded."""
    found = run(
        with_journal(settings_of(context), lambda journal: journal.quarantine_show(uid, actor(), reason))
    )
    record, body, headers = found if found else _nothing(uid)
    text = None if body is None else _text(body, raw)
    if as_json:
        show.emit(show.moments(record, "at") | {"headers": _shown(headers, raw), "body": text})
        return
    show.facts(show.moments(record, "at") | {"headers": _shown(headers, raw)})
    show.say(f"\n{text}" if text is not None else "\nits body was not kept")


def _shown(headers: Mapping[str, str], raw: bool) -> dict[str, str]:
    from worker.domain.redaction import without_secrets

    return dict(headers) if raw else dict(without_secrets(headers))


def _text(body: bytes, raw: bool) -> str:
    from worker.domain.redaction import mask_fields

    text = body.decode("utf-8", "backslashreplace")
    return text if raw else mask_fields(text)


def drop(context: typer.Context, uid: Uid, reason: Reason, as_json: Json = False) -> None:
    """Drop a message: its body is deleted, its record stays."""
    from worker.journal.quarantine.resending import drop as dropped

    settings = settings_of(context)
    done = run(with_journal(settings, lambda journal: dropped(journal, uid, actor(), reason)))
    if as_json:
        show.emit(done)
    else:
        show.say(f"{done['uid']} is dropped")


def send(
    context: typer.Context,
    uid: Uid,
    reason: Reason,
    fields: Annotated[
        list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="Data that change; null removes.")
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option("--attribute", metavar="NAME=VALUE", help="An attribute that changes; null removes."),
    ] = None,
    reply_to: Annotated[str | None, typer.Option(help="A queue that gets the answer too.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what intake would say to it.")] = False,
    as_json: Json = False,
) -> None:
    """Publish a message to its queue again, as it came or mended, under the same id and key."""
    settings = settings_of(context)
    wanted = Wanted(fields or [], attribute or [], reply_to)
    if dry_run:
        done = run(_checked(settings, uid, wanted, reason))
    else:
        done = run(_sent(settings, uid, wanted, reason))
    if as_json:
        show.emit(done)
    elif dry_run:
        show.say(f"{done['uid']}: {done['wrong'] or 'it would be taken'}")
    else:
        mended = f", {', '.join(done['mended'])} mended" if done["mended"] else ""
        show.say(f"{done['uid']} is in {done['queue']} again{mended}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says is to change."""

    fields: list[str]
    attributes: list[str]
    reply_to: str | None


async def _sent(settings: Settings, uid: str, wanted: Wanted, reason: str) -> dict[str, Any]:
    from worker.bootstrap import broker_address
    from worker.broker.posting import CommandPost
    from worker.journal.quarantine.resending import Unsent
    from worker.journal.quarantine.resending import send as again

    post = CommandPost(broker_address(settings))
    async with journal_of(settings) as journal:
        sheet = await _sheet(journal, settings, uid, wanted)
        try:
            return await again(journal, post, uid, sheet, actor(), reason, _rules(settings))
        except Unsent as error:
            fail(str(error), UNREACHABLE)


async def _checked(settings: Settings, uid: str, wanted: Wanted, reason: str) -> dict[str, Any]:
    from worker.journal.commands.acts import ActRefused
    from worker.journal.quarantine.resending import check, refusal

    async with journal_of(settings) as journal:
        sheet = await _sheet(journal, settings, uid, wanted)
        try:
            record, ready = await check(journal, uid, sheet, _rules(settings))
        except ActRefused as error:
            if not str(error).startswith("it would be refused"):
                raise
            return {"uid": uid, "wrong": str(error)}
        wrong = await refusal(journal, ready, _rules(settings))
        text = None if wrong is None else f"it would be refused again ({wrong.code.value}): {wrong.message}"
        return {"uid": record["uid"], "wrong": text}


def _rules(settings: Settings) -> Rules:
    from worker.journal.quarantine.resending import Rules

    return Rules(settings.kinds, settings.intake.max_bytes)


async def _sheet(journal: StoredJournal, settings: Settings, uid: str, wanted: Wanted) -> Sheet:
    """What is to go out: the message's own parts with the changes in them, or as it came."""
    from worker.cli.fields import data_of, list_fields, merged
    from worker.journal.commands.acts import merged as without_removed
    from worker.journal.quarantine.mending import Sheet
    from worker.journal.quarantine.resending import parts_of
    from worker.messages.catalogue import find

    if not (wanted.fields or wanted.attributes):
        return Sheet(reply_to=wanted.reply_to)
    parts = await parts_of(journal, uid)
    given = data_of(wanted.attributes, frozenset())
    attributes = without_removed(parts.attributes, given)
    data = parts.data if isinstance(parts.data, Mapping) else {}
    spec = find(str(attributes.get("type")))
    kind = settings.kinds.get(str(data.get("platform")), "")
    changes = data_of(wanted.fields, list_fields(spec.kinds.get(kind) if spec else None))
    return Sheet(attributes, merged(data, changes) if wanted.fields else None, None, wanted.reply_to)


def _nothing(uid: str) -> Any:
    fail(f"no message, or more than one, in quarantine begins with {uid!r}: see `worker quarantine list`")
