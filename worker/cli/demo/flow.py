"""The demonstration from curtain to curtain."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from pathlib import Path
from shlex import quote
from typing import Any

import aio_pika

from worker.cli import show
from worker.cli.context import UNREACHABLE, Fault, reason
from worker.cli.demo.answers import Answers, Matched, match
from worker.cli.demo.orders import Order, credit_ordered, load, message_of
from worker.cli.demo.report import Counted, Credit, report
from worker.cli.demo.stage import BROKER, PLATFORM, Stage

ANSWERED = 120.0  # seconds for all orders together; a third of it even on a slow machine
QUIET = 10.0  # seconds for the last audit records and late changes

Say = Callable[[str], None]


async def play(stage: Stage, keep: bool) -> bool:
    """True: everything was as expected."""
    began = time.monotonic()
    orders = load()
    with progress() as say:
        say("starting RabbitMQ and the simulator")
        await asyncio.gather(asyncio.to_thread(stage.open_broker), asyncio.to_thread(stage.open_simulator))
        async with _listening(stage.broker) as (channel, answers):
            say(f"{len(orders)} orders go out while the worker starts")
            await asyncio.gather(_publish(channel, orders), asyncio.to_thread(stage.open_worker))
            matched = await _answered(orders, answers, say)
            say("looking at the platform")
            await _quiet(stage, answers)
        counts, credits = await _admin(stage, "counts"), await _admin(stage, "credits")
        counted = Counted(await _repeats(stage), counts["faults"])
        say("")
        well = report(matched, answers, _credit(orders, credits), counted)
        show.say(f"{time.monotonic() - began:.0f} s")
        if not well:
            show.say(f"the end of the worker's log:\n{_tail(stage)}")
        if keep:
            _invite(stage)
            stage.kept = well
            await asyncio.Event().wait()
    return well


# ---------------------------------------------------------------- messages


@asynccontextmanager
async def _listening(broker: str) -> AsyncIterator[tuple[Any, Answers]]:
    """Queues of our own, bound before anything is sent; they go with the connection."""
    from worker.broker.link import address
    from worker.broker.topology import AUDIT, RESULTS, declare

    answers = Answers()
    try:
        connection = await aio_pika.connect(broker)
    except Exception as error:
        raise Fault(f"RabbitMQ cannot be reached ({reason(error)})", UNREACHABLE) from None
    async with connection:
        await _must_be_unused(connection)
        await declare(address(broker))
        channel = await connection.channel(on_return_raises=True)
        for exchange, hear in ((RESULTS, answers.hear_result), (AUDIT, answers.hear_record)):
            queue = await channel.declare_queue(exclusive=True, auto_delete=True)
            await queue.bind(exchange, "#")
            await queue.consume(_ear(hear), no_ack=True)
        yield channel, answers


async def _must_be_unused(connection: Any) -> None:
    """On somebody else's broker: real orders must not reach our worker, nor ours a real one."""
    from aio_pika.exceptions import ChannelNotFoundEntity

    from worker.broker.topology import COMMAND_QUEUES

    for name in COMMAND_QUEUES:
        channel = await connection.channel()
        try:
            queue = await channel.declare_queue(name, passive=True)
        except ChannelNotFoundEntity:
            continue
        found = queue.declaration_result
        if found.consumer_count or found.message_count:
            raise Fault(
                f"{name} is in use on this RabbitMQ ({found.consumer_count} consumers, {found.message_count}"
                f" messages): give the demonstration a virtual host of its own in {BROKER}"
            )


def _ear(hear: Callable[[Mapping[str, Any]], None]) -> Callable[[Any], Any]:
    async def heard(message: Any) -> None:
        hear(json.loads(message.body))

    return heard


async def _publish(channel: Any, orders: Sequence[Order]) -> None:
    """In the order of the file; the confirms are awaited together."""
    exchange = await channel.get_exchange("provisioning.commands", ensure=False)
    await asyncio.gather(
        *(exchange.publish(message_of(order), PLATFORM, mandatory=True, timeout=30) for order in orders)
    )


async def _answered(orders: Sequence[Order], answers: Answers, say: Say) -> list[Matched]:
    """Until every order has its final answer; bounded."""
    until = time.monotonic() + ANSWERED
    while True:
        matched = match(orders, answers)
        missing = [one for one in matched if one.answer is None]
        if not missing or time.monotonic() > until:
            return match(orders, answers)
        say(f"{len(matched) - len(missing)} of {len(matched)} orders answered")
        await asyncio.sleep(0.1)


async def _quiet(stage: Stage, answers: Answers) -> None:
    """Until nothing is under way on the platform any more, and repeats and records have come."""
    until = time.monotonic() + QUIET
    before = -1
    while time.monotonic() < until:
        heard = len(answers.audit) + answers.times.total()
        if heard == before and not (await _admin(stage, "counts"))["pending"]:
            return
        before = heard
        await asyncio.sleep(0.4)


# ---------------------------------------------------------------- the platform's own count


async def _admin(stage: Stage, page: str) -> Any:
    return json.loads(await _get(f"{stage.simulator.removesuffix('/SipPulse')}/admin/{page}"))


async def _repeats(stage: Stage) -> int:
    """Messages that intake knew again, from the worker's own metrics."""
    text = await _get(f"{stage.console}/metrics")
    known = re.findall(
        r'^worker_intake_messages_total\{.*result="(?:repeated|duplicate)".*\} (\S+)', text, re.M
    )
    return sum(int(float(count)) for count in known)


async def _get(url: str) -> str:
    def get() -> str:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=10) as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(get)


def _credit(orders: Sequence[Order], credits: Mapping[str, Any]) -> Credit:
    booked = {name: Decimal(one["sum"]) for name, one in credits["by_subscriber"].items() if one["times"]}
    most = max((one["times"] for one in credits["by_obs"].values()), default=0)
    return Credit(credit_ordered(orders), booked, most)


# ---------------------------------------------------------------- what people see


@contextmanager
def progress() -> Iterator[Say]:
    """One line that changes on a terminal, plain lines elsewhere; "" ends it."""
    if not sys.stdout.isatty():
        yield _plain()
        return
    from rich.status import Status

    with Status("", console=show.console()) as status:

        def say(text: str) -> None:
            status.update(text) if text else status.stop()

        yield say


def _plain() -> Say:
    said = ["", ""]  # the last text, and its words without figures
    last = [0.0]

    def say(text: str) -> None:
        """A figure that changes is said once a second."""
        words = "".join(sign for sign in text if not sign.isdigit())
        if not text or text == said[0] or (words == said[1] and time.monotonic() - last[0] < 1.0):
            return
        said[:], last[0] = [text, words], time.monotonic()
        print(text, flush=True)

    return say


def _invite(stage: Stage) -> None:
    order = "subscriber.username=551140000001 subscriber.domain=demo.example amount=5.00"
    shell = f"export WORKER_CONFIG={quote(str(stage.settings_file))} BROKER_URL={quote(stage.broker)}"
    show.say("\nIt goes on running; Ctrl-C stops it and removes everything.")
    show.facts(
        {
            "broker": stage.broker,
            "console": f"{stage.console} (the link in: `worker console link --reason demo`, in the shell below)",
            "simulator": f"{stage.simulator.removesuffix('/SipPulse')}/admin/",
            "settings": str(stage.settings_file),
            "worker's log": str(stage.folder / "worker.log"),
            "for a shell": shell,
            "send one": f"{_called()} --config {quote(str(stage.settings_file))}"
            f" send credit.add {order} --key K1 --wait",
        }
    )
    sys.stdout.flush()


def _called() -> str:
    """The command that started us, as it can be given in any folder."""
    file = Path(sys.argv[0])
    if file.name == "__main__.py":
        return f"{quote(sys.executable)} -m worker"
    return quote(str(file.absolute()))


def _tail(stage: Stage, lines: int = 15) -> str:
    return "\n".join(stage.log_of("worker").splitlines()[-lines:])
