"""`worker quarantine`: messages that were refused, or that the broker gave up on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from worker.cli import show
from worker.cli.context import Json, Reason, actor, fail, journal_of, run, settings_of, with_journal

if TYPE_CHECKING:
    from aio_pika.message import Message

    from worker.journal.journal import StoredJournal
    from worker.settings import Settings

Uid = Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it; its beginning is enough.")]
STATES = ("kept", "sent", "dropped")


def mount(app: typer.Typer) -> None:
    group = typer.Typer(help="Look at refused messages; send them again, or drop them.", no_args_is_help=True)
    group.command("list")(list_)
    group.command("show")(show_)
    group.command()(drop)
    group.command()(send)
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
    settings = settings_of(context)
    whole = run(_dropped(settings, uid, reason))
    if as_json:
        show.emit({"uid": whole, "state": "dropped"})
    else:
        show.say(f"{whole} is dropped")


async def _dropped(settings: Settings, uid: str, reason: str) -> str:
    async with journal_of(settings) as journal:
        whole = await _named(journal, uid)
        if not await journal.quarantine_mark(whole, "dropped", actor(), reason):
            _nothing(uid)
        return whole


async def _named(journal: StoredJournal, uid: str) -> str:
    """The whole id of a kept message."""
    rows = await journal.quarantined("kept", 100_000)
    found = [str(row["uid"]) for row in rows if str(row["uid"]).startswith(uid)]
    if not found:
        await _gone(journal, uid)
    if len(found) > 1:
        fail(f"{len(found)} messages in quarantine begin with {uid!r}: give more of the id")
    return found[0]


async def _gone(journal: StoredJournal, uid: str) -> NoReturn:
    """Nothing is kept under that name: because somebody was here before, or because there never was."""
    for state in ("dropped", "sent"):
        for row in await journal.quarantined(state, 100_000):
            if str(row["uid"]).startswith(uid):
                fail(f"{row['uid']} was {state} already")
    fail(f"no message in quarantine begins with {uid!r}: see `worker quarantine list`")


def send(context: typer.Context, uid: Uid, reason: Reason, as_json: Json = False) -> None:
    """Publish a message to its queue again, as it came."""
    settings = settings_of(context)
    whole, queue = run(_sent(settings, uid, reason))
    if as_json:
        show.emit({"uid": whole, "state": "sent", "queue": queue})
    else:
        show.say(f"{whole} is in {queue} again")


async def _sent(settings: Settings, uid: str, reason: str) -> tuple[str, str]:
    from worker.broker.topology import COMMAND_QUEUES, COMMANDS
    from worker.cli.rabbit import connection_of, publish

    async with journal_of(settings) as journal:
        whole = await _named(journal, uid)
        record, body, headers = await journal.quarantine_show(whole, actor(), reason) or _nothing(uid)
        if body is None:
            fail(f"the body of {whole} was not kept: there is nothing to send")
        queue = record["queue"] if record["queue"] in COMMAND_QUEUES else COMMANDS
        async with connection_of(settings) as connection:
            channel = await connection.channel(on_return_raises=True)
            await publish(channel, "", queue, message_of(body, headers))
        await journal.quarantine_mark(whole, "sent", actor(), reason)
        return whole, queue


def message_of(body: bytes, headers: Mapping[str, str]) -> Message:
    """Without the broker's own notes of its first life."""
    import aio_pika

    from worker.messages.envelope import PREFIXES, STRUCTURED

    kept = {name: value for name, value in headers.items() if not name.lower().startswith("x-")}
    binary = any(name.lower().startswith(PREFIXES) for name in kept)
    return aio_pika.Message(
        body,
        headers=dict(kept),
        content_type="application/json" if binary else STRUCTURED,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


def _nothing(uid: str) -> Any:
    fail(f"no message, or more than one, in quarantine begins with {uid!r}: see `worker quarantine list`")
