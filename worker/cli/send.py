"""`worker send`: one command, checked here as intake would check it, and its answer."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli import show
from worker.cli.context import (
    FAILED,
    STILL_RUNNING,
    USAGE,
    Fault,
    Json,
    journal_of,
    known,
    run,
    settings_of,
)
from worker.cli.dry_run import dry_run as shown
from worker.cli.fields import FIELDS_HELP, data_of, list_fields, merged
from worker.cli.stopped import of_command

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractQueue
    from aio_pika.message import Message

    from worker.messages.catalogue import Checked, CommandSpec
    from worker.settings import Settings

SOURCE = "/worker/send"
WAIT = 60.0  # seconds, for a --wait that says none
ENOUGH = (
    "succeeded",
    "rejected",
    "cancelled",
    "expired",
    "refused",
    "parked",
)  # then nothing comes by itself
PARKED = "parked"


DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Check it; show its steps, their requests, and what is read if an answer is lost. Sends nothing.",
    ),
]
Against = Annotated[
    bool,
    typer.Option(
        "--against-platform",
        help="With --dry-run: also read whether the subscriber, domain, profile and rate plan are there.",
    ),
]


@dataclass(frozen=True, slots=True)
class Wish:
    """What to send. `wait`: seconds for the answer, None: not at all."""

    event: Mapping[str, Any]
    queue: str
    wait: float | None
    reply_to: str | None


def with_wait(words: Sequence[str]) -> list[str]:
    """A bare `--wait` gets its seconds: the option's value may be left out."""
    whole = list(words)
    for place, word in enumerate(whole):
        if word == "--wait" and not _is_number(whole[place + 1 : place + 2]):
            whole[place] = f"--wait={WAIT:g}"
    return whole


def _is_number(words: Sequence[str]) -> bool:
    return bool(words) and words[0].replace(".", "", 1).isdigit()


def mount(app: typer.Typer) -> None:
    app.command(epilog=FIELDS_HELP)(send)


def send(
    context: typer.Context,
    type: Annotated[str, typer.Argument(metavar="TYPE", help="E.g. subscriber.create or credit.add.v1.")],
    fields: Annotated[
        list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="The command's data.")
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option(help="Name of a platform; not needed where there is one.", show_default=False),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="JSON file with the data, - for standard input.", show_default=False)
    ] = None,
    id: Annotated[
        str | None, typer.Option(help="The message's id; a new one without it.", show_default=False)
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="Idempotency key: the same key takes effect once. credit.add needs one.", show_default=False
        ),
    ] = None,
    source: Annotated[str, typer.Option(help="Who sends; ids and keys are its own.")] = SOURCE,
    wait: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            metavar="[SECONDS]",
            help=f"Wait for the answer and print it; {WAIT:.0f} seconds if none are given.",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
    against_platform: Against = False,
    bulk: Annotated[bool, typer.Option("--bulk", help="By the bulk queue.")] = False,
    reply_to: Annotated[
        str | None, typer.Option(help="A queue that gets the answer too.", show_default=False)
    ] = None,
    priority: Annotated[str | None, typer.Option(help="high, normal or low.", show_default=False)] = None,
    depends_on: Annotated[
        str | None, typer.Option(help="Id of a command that must succeed first.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Send a command. A secret need not stand on the command line: FIELD=@FILE, FIELD=env:NAME."""
    if against_platform and not dry_run:
        raise Fault("--against-platform goes with --dry-run: it reads and sends nothing", USAGE)
    settings = settings_of(context)
    spec = _spec(type)
    content = _content(settings, spec, platform, fields or [], data)
    more = {"idempotencykey": key, "priority": priority, "dependson": depends_on}
    event = event_of(spec.type, content, id, source, more)
    checked = _checked(settings, event, reply_to or ("answer" if wait or dry_run else None))
    if spec.effect == "increment" and key is None:
        raise Fault(
            f"{spec.type} needs --key: if you have to send it again, the same key takes effect only once",
            USAGE,
        )
    if dry_run:
        if not run(shown(settings, event, checked, against=against_platform, as_json=as_json)):
            raise Fault("the platform is not as this command needs it, see above")
        return
    wish = Wish(event, _queue(bulk), wait, reply_to)
    answer = run(_send(settings, wish))
    _tell(settings, wish, answer, as_json)


def _spec(type: str) -> CommandSpec:
    from worker.messages.catalogue import check, find
    from worker.messages.envelope import Envelope

    whole = f"{type.removesuffix('.v1')}.v1"
    spec = find(whole)
    if spec is None:
        problem = check(Envelope("-", "-", whole, {}), {})
        raise Fault(getattr(problem, "message", f"unknown command {whole}"), USAGE)
    return spec


def _content(
    settings: Settings, spec: CommandSpec, platform: str | None, words: list[str], file: str | None
) -> dict[str, Any]:
    if spec.at_intake:
        return merged(_from_file(file), data_of(words))
    if platform is None and len(settings.platforms) == 1:
        platform = next(iter(settings.platforms))
    given = _from_file(file)
    platform = known(settings, platform or given.get("platform"))
    model = spec.kinds.get(settings.kinds[platform])
    return {"platform": platform, **merged(given, data_of(words, list_fields(model)))}


def _from_file(file: str | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        value = json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(f"--data: {file} cannot be read ({type(error).__name__})", USAGE) from None
    except ValueError:
        raise Fault(f"--data: {file} is not JSON", USAGE) from None
    if not isinstance(value, dict):
        raise Fault("--data: it has to be a JSON object", USAGE)
    return value


def event_of(
    type: str, data: Mapping[str, Any], id: str | None, source: str, more: Mapping[str, str | None]
) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": id or str(uuid.uuid4()),
        "source": source,
        "type": type,
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        **{name: value for name, value in more.items() if value is not None},
        "data": dict(data),
    }


def _checked(settings: Settings, event: Mapping[str, Any], reply_to: str | None) -> Checked:
    """The same reading and checking as intake's. Raises Fault with its sentence."""
    from worker.messages.catalogue import check
    from worker.messages.envelope import STRUCTURED, Delivery, Unreadable, read
    from worker.messages.errors import Problem

    body = json.dumps(event).encode()
    delivery = Delivery(body, "", content_type=STRUCTURED, reply_to=reply_to)
    envelope = read(delivery, settings.intake.max_bytes)
    if isinstance(envelope, Unreadable):
        raise Fault(f"{envelope.problem.code.value}: {envelope.problem.message}", USAGE)
    checked = check(envelope, settings.kinds)
    if isinstance(checked, Problem):
        raise Fault(f"{checked.code.value}: {checked.message}", USAGE)
    if checked.unsupported:
        raise Fault(f"{checked.unsupported.code.value}: {checked.unsupported.message}", USAGE)
    return checked


def _queue(bulk: bool) -> str:
    from worker.broker.topology import BULK, COMMANDS

    return BULK if bulk else COMMANDS


# ---------------------------------------------------------------- sending


async def _send(settings: Settings, wish: Wish) -> dict[str, Any] | None:
    """The answer: a final event's data, or what is known when the wait ran out. None: nobody waited."""
    from worker.cli.rabbit import connection_of, publish

    async with connection_of(settings) as connection:
        channel = await connection.channel(on_return_raises=True)
        if wish.wait is None:
            await publish(channel, wish.queue, _key(wish), _message(wish, wish.reply_to))
            return None
        async with _answers(channel, wish) as (queue, heard):
            await publish(channel, wish.queue, _key(wish), _message(wish, wish.reply_to or queue.name))
            try:
                async with asyncio.timeout(wish.wait):
                    return await heard.get()
            except TimeoutError:
                return await _so_far(settings, wish)


def _key(wish: Wish) -> str:
    return str(wish.event["data"].get("platform", "command"))


def _message(wish: Wish, reply_to: str | None) -> Message:
    import aio_pika

    from worker.messages.envelope import STRUCTURED

    return aio_pika.Message(
        json.dumps(wish.event, ensure_ascii=False).encode(),
        content_type=STRUCTURED,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=wish.event["id"],
        type=wish.event["type"],
        reply_to=reply_to,
    )


@asynccontextmanager
async def _answers(
    channel: AbstractChannel, wish: Wish
) -> AsyncIterator[tuple[AbstractQueue, asyncio.Queue[dict[str, Any]]]]:
    """A queue of our own: named as reply_to, and bound to the results in case that is given to somebody else.

    Rows of a long answer are printed as they come, one JSON object a line.
    """
    from aio_pika.exceptions import ChannelClosed

    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    pages: set[str] = set()
    queue = await channel.declare_queue(exclusive=True, auto_delete=True)
    command = wish.event["type"].removesuffix(".v1")
    try:
        await queue.bind("provisioning.results", f"{wish.event['data'].get('platform', '*')}.{command}.*")
    except ChannelClosed:
        raise Fault(
            "RabbitMQ has no exchange provisioning.results: start `worker run`, which declares it"
        ) from None

    async def hear(message: Any) -> None:
        event = json.loads(message.body)
        told = event.get("data") or {}
        about = told.get("command") or {}
        ours = (about.get("id"), about.get("source")) == (wish.event["id"], wish.event["source"])
        if ours and told.get("status") in ENOUGH:
            heard.put_nowait(told)
        elif ours and event["id"] not in pages:  # a page that comes again is no other one
            pages.add(event["id"])
            for row in told.get("rows") or ():
                show.say(json.dumps(row, ensure_ascii=False))

    await queue.consume(hear, no_ack=True)
    yield queue, heard


async def _so_far(settings: Settings, wish: Wish) -> dict[str, Any]:
    """What the journal knows, where it can be reached from here."""
    found: list[dict[str, Any]] = []
    try:
        async with journal_of(settings) as journal:
            found = await journal.commands(
                {"message_id": wish.event["id"], "source": wish.event["source"]}, 1
            )
            stopped = await of_command(journal, found[0]) if found else None
    except Exception:
        return {"state": "unknown", "why": "the journal cannot be read from here"}
    if not found:
        return {"state": "not admitted yet"}
    known = {"state": found[0]["state"], "effect": found[0]["effect"]}
    return known | {"why": stopped} if stopped and known["state"] != PARKED else known


def _tell(settings: Settings, wish: Wish, answer: dict[str, Any] | None, as_json: bool) -> None:
    event = wish.event
    named = {"id": event["id"], "source": event["source"], "key": event.get("idempotencykey", event["id"])}
    if answer is None:
        show.emit(named) if as_json else show.say(f"sent: id {named['id']}")
        return
    if answer.get("status") == PARKED:
        _parked(named, answer, as_json)
        raise typer.Exit(STILL_RUNNING)
    if "state" in answer:
        _ran_out(wish, named, answer, as_json)
        raise typer.Exit(STILL_RUNNING)
    if as_json:
        show.emit(answer)
    else:
        _print(answer)
    if answer["status"] != "succeeded":
        raise typer.Exit(FAILED)


def _ran_out(wish: Wish, named: Mapping[str, str], answer: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        show.emit({**named, **answer, "waited": wish.wait})
        return
    show.say(f"no answer in {wish.wait:g} s: id {named['id']} is {answer['state']}; {_outlook(answer)}")
    show.say(f"`worker commands show {named['id']}` says how it is")
    _say_what_is_safe(wish, named)


def _outlook(answer: Mapping[str, Any]) -> str:
    """What will come of it if nobody does anything."""
    if answer["state"] == PARKED:
        return "it waits for a person"
    return str(answer.get("why") or "it goes on by itself")


def _parked(named: Mapping[str, str], answer: Mapping[str, Any], as_json: bool) -> None:
    """A person decides: to wait on would be in vain."""
    problem = answer.get("error") or {}
    if as_json:
        show.emit({**named, "state": PARKED, "effect": answer.get("effect"), "error": answer.get("error")})
        return
    why = ": ".join(str(problem[name]) for name in ("code", "message") if problem.get(name))
    show.say(f"id {named['id']} is parked, it waits for a person{f': {why}' if why else ''}")
    show.say(f"`worker commands show {named['id']}` says what can be done")


def _say_what_is_safe(wish: Wish, named: Mapping[str, str]) -> None:
    if wish.event.get("idempotencykey"):
        show.say(f"the same key is safe: sent again with --key {named['key']} it takes effect only once")
    else:
        show.say(f"the same id is safe: sent again with --id {named['id']} it takes effect only once")


def _print(answer: Mapping[str, Any]) -> None:
    show.facts(
        {
            "status": answer["status"],
            "id": answer["command"]["id"],
            "effect": answer.get("effect"),
            "attempts": answer.get("attempts"),
            "duplicate_of": answer.get("duplicate_of"),
            **{f"output.{name}": value for name, value in (answer.get("output") or {}).items()},
            **{f"error.{name}": value for name, value in (answer.get("error") or {}).items()},
        }
    )
