"""`call_records.list`: a message in, pages to reply_to, a result behind them. Worker processes, RabbitMQ, MariaDB."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import jsonschema
import psutil
import pytest
from aio_pika.abc import AbstractIncomingMessage

from tests.support.amqp import Heard, Listener, Sender, command, eventually
from tests.support.calls import PASSWORD, Calls, calls
from tests.support.worker import Workers
from worker.messages.schemas import event_files
from worker.messages.sippulse.call_records import VI_CDRS, row_schema
from worker.sandbox.ports import free_port

__all__ = ["calls"]

ANA = {"platform": "sippulse-br", "subscriber": {"username": "ana", "domain": "pbx.example"}}
MAY = {"since": "2026-05-01T00:00:00Z", "until": "2026-06-01T00:00:00Z", "kind": "completed"}
PAGE = "provisioning.command.page.v1"


class Inbox:
    """A queue for answers that keeps what has to be compared, and of the rows only their ids."""

    def __init__(self, url: str) -> None:
        self.name = f"answers.{uuid.uuid4().hex}"
        self.pages: list[tuple[str, int, bool]] = []  # event id, number, last
        self.rows: dict[int, list[int]] = {}  # page -> ids of its rows
        self.first: dict[str, Any] = {}
        self.result: dict[str, Any] = {}
        self.delete_at_page = 0
        self._url = url

    async def open(self) -> None:
        self._connection = await aio_pika.connect(self._url)
        self._channel = await self._connection.channel()
        await self._channel.set_qos(prefetch_count=1)
        self._queue = await self._channel.declare_queue(self.name, durable=True)
        await self._queue.consume(self._hear)

    async def close(self) -> None:
        await self._connection.close()

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        event = json.loads(message.body)
        if event["type"] != PAGE:
            self.result = event
        else:
            page = event["data"]
            self.first = self.first or event
            self.pages.append((event["id"], page["page"], page["last"]))
            self.rows[page["page"]] = [row["id"] for row in page["rows"]]
            if page["page"] == self.delete_at_page:
                await self._queue.delete(if_unused=False, if_empty=False)
                return
        await message.ack()

    @property
    def ids(self) -> list[int]:
        """Of all rows, in the order of their pages."""
        return [row for page in sorted(self.rows) for row in self.rows[page]]


@asynccontextmanager
async def inbox(url: str) -> AsyncIterator[Inbox]:
    opened = Inbox(url)
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


@asynccontextmanager
async def working(folder: Path, rabbit: str, calls: Calls, **given: Any) -> AsyncIterator[Workers]:
    """Its SOAP services are not there: call records do not need them."""
    url = f"http://127.0.0.1:{free_port()}/SipPulse"
    platform = {"url": url, "call_records": {"url": calls.reader, "lag": 0.2, **given}}
    async with Workers(folder, rabbit, {"sippulse-br": platform}) as workers:
        yield workers


async def ask(rabbit: str, reply_to: str | None, **data: Any) -> str:
    message = command("call_records.list.v1", {**ANA, **MAY, **data}, id=f"list-{uuid.uuid4().hex[:8]}")
    async with Sender(rabbit) as sender:
        await sender.send(message, **({"reply_to": reply_to} if reply_to else {}))
    return str(message["id"])


async def ended(results: Listener, name: str) -> Heard:
    found: list[Heard] = []

    def final() -> bool:
        found[:] = [one for one in results.of(name) if one.data["status"] not in ("delayed", "parked")]
        return bool(found)

    await eventually(final, 120, what=f"the result of {name}")
    return found[0]


@pytest.mark.timeout(600)
async def test_100_000_calls_come_as_pages_before_their_result_and_the_worker_stays_small(
    rabbit_url: str, calls: Calls, tmp_path: Path
) -> None:
    calls.many(100_000)
    async with working(tmp_path, rabbit_url, calls) as workers, inbox(rabbit_url) as box:
        worker = await workers.start()
        process = psutil.Process(worker.pid)
        before = most = process.memory_info().rss
        await ask(rabbit_url, box.name)

        def over() -> bool:
            nonlocal most
            most = max(most, process.memory_info().rss)
            return bool(box.result)

        await eventually(over, 300, 0.02, "the result")
        assert PASSWORD not in worker.log()
    data = box.result["data"]
    assert (data["status"], data["effect"], data["attempts"]) == ("succeeded", "none", 1)
    assert data["output"] == {
        "rows": 100_000,
        "pages": len(box.pages),
        "seconds": 4_950_000,
        "price": "49500.00",
        "truncated": False,
    }
    assert [number for _, number, _ in box.pages] == list(range(1, len(box.pages) + 1))
    assert [last for _, _, last in box.pages] == [False] * (len(box.pages) - 1) + [True]
    assert box.ids == sorted(set(box.ids))
    assert len(box.ids) == 100_000
    assert most - before < 64 * 2**20, f"{(most - before) / 2**20:.0f} MiB; the pages together are 130"
    jsonschema.Draft202012Validator(event_files()[f"{PAGE}.schema.json"]).validate(box.first)
    jsonschema.Draft202012Validator(row_schema(VI_CDRS)).validate(box.first["data"]["rows"][0])


async def test_a_reply_queue_deleted_half_way_ends_the_reading_with_a_clear_result(
    rabbit_url: str, calls: Calls, tmp_path: Path
) -> None:
    calls.many(20_000)
    async with (
        working(tmp_path, rabbit_url, calls) as workers,
        inbox(rabbit_url) as box,
        Listener(rabbit_url) as results,
    ):
        await workers.start()
        box.delete_at_page = 2
        result = await ended(results, await ask(rabbit_url, box.name))
    error = result.data["error"]
    assert (result.data["status"], result.data["effect"]) == ("rejected", "none")
    assert (error["code"], error["field"]) == ("not_found", "reply_to")
    assert "the queue in reply_to is gone after" in error["message"]


async def test_a_worker_killed_half_way_sends_the_same_pages_again_from_the_first(
    rabbit_url: str, calls: Calls, tmp_path: Path
) -> None:
    calls.many(20_000)
    async with working(tmp_path, rabbit_url, calls) as workers, inbox(rabbit_url) as box:
        worker = await workers.start()
        await ask(rabbit_url, box.name)
        await eventually(lambda: box.pages, what="a first page", every=0.001)
        worker.kill()
        sent = list(box.pages)
        assert not box.result
        await workers.start()
        await eventually(lambda: box.result, 120, what="the result")
    data = box.result["data"]
    assert (data["status"], data["output"]["rows"]) == ("succeeded", 20_000)
    assert len(box.ids) == len(set(box.ids)) == 20_000
    assert len(box.pages) >= data["output"]["pages"] + len(sent), "they came again"
    assert len({event for event, _, _ in box.pages}) == data["output"]["pages"], "under the same ids"


async def test_a_reading_that_takes_longer_than_a_lease_keeps_its_command(
    rabbit_url: str, calls: Calls, tmp_path: Path
) -> None:
    calls.many(3_000)
    calls.run("CREATE OR REPLACE VIEW vi_cdrs AS SELECT cdrs.* FROM cdrs WHERE SLEEP(0.003) = 0")
    async with working(tmp_path, rabbit_url, calls) as workers, inbox(rabbit_url) as box:
        workers.settings["platforms"]["sippulse-br"] |= {"timeout": 1.0, "lease_margin": 3.0}
        workers.write()
        await workers.start()
        await ask(rabbit_url, box.name)
        await eventually(lambda: box.result, 120, what="the result")
    data = box.result["data"]
    assert (data["status"], data["attempts"], data["output"]["rows"]) == ("succeeded", 1, 3_000)
    assert len(box.pages) == data["output"]["pages"]


async def test_on_the_command_line_the_rows_come_one_a_line_before_the_result(
    rabbit_url: str, calls: Calls, tmp_path: Path
) -> None:
    calls.many(1_200)
    asked = ["subscriber.username=ana", "subscriber.domain=pbx.example"]
    asked += [f"{name}={value}" for name, value in MAY.items()]
    async with working(tmp_path, rabbit_url, calls) as workers:
        await workers.start()
        sent = await workers.worker("send", "call_records.list", *asked, "--wait", "--json")
    assert sent.code == 0, sent.err
    lines = sent.out.splitlines()
    rows = [json.loads(line) for line in lines[:1_200]]
    assert [row["id"] for row in rows] == sorted({row["id"] for row in rows})
    result = json.loads("\n".join(lines[1_200:]))
    assert (result["status"], result["output"]["rows"]) == ("succeeded", 1_200)


async def test_without_reply_to_it_is_refused_and_without_a_database_rejected(
    rabbit_url: str, calls: Calls, tmp_path: Path
) -> None:
    async with working(tmp_path, rabbit_url, calls) as workers, Listener(rabbit_url) as results:
        workers.settings["platforms"]["sippulse-br"]["call_records"].pop("url")
        workers.write()
        await workers.start()
        refused = await ended(results, await ask(rabbit_url, None))
        rejected = await ended(results, await ask(rabbit_url, results.queue))
    assert (refused.data["status"], refused.data["error"]["code"]) == ("refused", "invalid_message")
    assert refused.data["error"]["field"] == "reply_to"
    assert (rejected.data["status"], rejected.data["error"]["code"]) == ("rejected", "unsupported")
    assert "set call_records.url" in rejected.data["error"]["message"]


async def test_a_database_with_a_wrong_password_delays_the_list_and_says_why(
    rabbit_url: str, calls: Calls, tmp_path: Path
) -> None:
    wrong = calls.server.url(calls.name, calls.reader_name, "wr0ng-one")
    async with working(tmp_path, rabbit_url, calls, url=wrong) as workers, Listener(rabbit_url) as results:
        workers.settings["events"] = {"notify_after": 0.5}
        workers.write()
        worker = await workers.start()
        name = await ask(rabbit_url, results.queue)
        await eventually(lambda: [one for one in results.of(name) if one.data["status"] == "delayed"], 60)
        [delayed, *_] = results.of(name)
        await eventually(lambda: worker.events("attempt.settled"), 60)
        shown = await workers.worker("commands", "show", name, "--json")
        assert "refuses the login in call_records.url" in shown.out
        for text in (shown.out, worker.log(), json.dumps(delayed.event)):
            assert "wr0ng-one" not in text
