"""VoIPMundo from message to message: lost answers, calls as pages, credit, a rotated pair, secrets."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.acceptance.test_tracing import Collector
from tests.support.amqp import Heard, Listener, Sender, command, eventually
from tests.support.leaks import leaks
from tests.support.seen import echoes, pages_of
from tests.support.stage import FINAL, MODULE
from tests.support.worker import WorkerProcess, Workers
from worker.sandbox.rabbitmq import PrivateRabbit
from worker.simulators.voipmundo import Simulator, SimulatorConfig, serve

pytestmark = MODULE
NAME = "voipmundo-br"
# As the platform's own are, and behind it signs that every dress changes.
TOKEN = "c0ffee00-aaaa-4bbb-8ccc-0123456789ab-7001&<ü>%41+'"
KEY = "deadbeef-dddd-4eee-8fff-ba9876543210-7002&<é>%42+'"
PASSWORD = "line-s3cret-Zü&<2"
ANA = {"subscriber": {"id": 1}}
TABLE: dict[str, Any] = {
    "kind": "voipmundo",
    "api_token": TOKEN,
    "api_key": KEY,
    "undocumented": True,
    "more_fields": ["senha"],
    "assume": {"balance": "balance", "time_zone": "UTC"},
    "credit": {"customer": "customer", "amount": "amount", "note": "note", "lag": 0.2},
    "recovery": 0.5,
    "rate": 2000.0,
    "timeout": 2.0,
    "lease_margin": 5.0,
    "settle": 1.5,
    "retry_first": 0.1,
    "retry_most": 1.0,
    "hold_probe_first": 0.3,
    "hold_probe_most": 1.0,
}


@dataclass(slots=True)
class Mundo:
    sim: Simulator
    broker: str
    workers: Workers
    worker: WorkerProcess
    results: Listener
    answers: Listener
    audit: Listener
    collector: Collector

    async def ask(self, type_: str, **data: Any) -> Heard:
        """The final result of a command."""
        one = command(f"{type_}.v1", {"platform": NAME, **data})
        async with Sender(self.broker) as sender:
            await sender.send(one, reply_to=self.answers.queue)
        return await self.ended(one["id"])

    async def ended(self, id_: str) -> Heard:
        def final() -> Heard | None:
            return next((e for e in self.results.of(id_) if e.data["status"] in FINAL), None)

        found = await eventually(final, 60, what=f"the end of {id_}\n{self.worker.tail()}")
        assert isinstance(found, Heard)
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mundo(rabbit: PrivateRabbit, tmp_path_factory: Any) -> AsyncIterator[Mundo]:
    folder: Path = tmp_path_factory.mktemp("voipmundo")
    name = f"voipmundo_{secrets.token_hex(4)}"
    broker = rabbit.add_vhost(name)
    clients = [{"nome_fantasia": "Ana", "balance": "1000"}]
    sim = await serve(0, config=SimulatorConfig.from_values({"token": TOKEN, "key": KEY, "clients": clients}))
    collector = Collector()
    settings = {"tracing": {"endpoint": collector.url}, "logs": {"level": "debug"}}
    workers = Workers(folder, broker, {}, settings=settings)
    workers.settings["platforms"] = {NAME: {**TABLE, "url": sim.url}}
    try:
        async with (
            Listener(broker) as results,
            Listener(broker, "provisioning.audit") as audit,
            Listener(broker, None) as answers,
            workers,
        ):
            yield Mundo(sim, broker, workers, await workers.start(), results, answers, audit, collector)
    finally:
        collector.close()
        await sim.close()
        rabbit.remove_vhost(name)


async def test_a_client_is_made_once_though_the_answer_to_the_put_is_lost(mundo: Mundo) -> None:
    mundo.sim.fail("manageCustomers.create", "drop_after", count=1)
    fields = {"razao_social": "Bia Ltda", "more": {"senha": PASSWORD}}
    made = await mundo.ask("subscriber.create", first_name="Bia", document="123", platform_fields=fields)
    assert (made.data["status"], made.data["effect"]) == ("succeeded", "applied"), made.data
    assert made.data["output"]["platform_id"] == "2"
    assert made.data["command"]["partitionkey"] == f"{NAME}:subscriber:new:123"
    assert mundo.sim.state.clients[2].fields["senha"] == PASSWORD
    again = await mundo.ask(
        "subscriber.create", first_name="Bia", platform_fields={"razao_social": "Bia Ltda"}
    )
    assert again.data["error"]["code"] == "already_exists"
    assert len(mundo.sim.state.clients) == 2


async def test_a_deactivation_that_lands_late_is_settled_by_the_record(mundo: Mundo) -> None:
    mundo.sim.fail("statusCustomer.set", "late", count=1, seconds=0.5, connection="drop")
    done = await mundo.ask("subscriber.block", **ANA)
    assert (done.data["status"], mundo.sim.state.clients[1].status) == ("succeeded", 0)
    await mundo.ask("subscriber.activate", **ANA)
    assert mundo.sim.state.clients[1].status == 1


async def test_credit_is_added_once_though_its_answer_is_lost(mundo: Mundo) -> None:
    mundo.sim.fail("manageCredit.add", "drop_after", count=1)
    done = await mundo.ask("credit.add", **ANA, amount="25.00")
    assert done.data["status"] == "succeeded", done.data
    assert mundo.sim.state.clients[1].balance == Decimal(1025)
    assert mundo.sim.credit(done.data["command"]["id"]) == (1, Decimal("25.00"))
    shown = await mundo.ask("credit.get", **ANA)
    assert Decimal(shown.data["output"]["balance"]) == 1025


async def test_call_records_come_as_pages_to_who_asked(mundo: Mundo) -> None:
    for _ in range(5):
        mundo.sim.state.charge(mundo.sim.state.clients[1], Decimal("0.50"))
    now = datetime.now(UTC)
    span = {"since": (now - timedelta(days=1)).isoformat(), "until": (now + timedelta(hours=1)).isoformat()}
    ended = await mundo.ask("call_records.list", **ANA, kind="completed", **span)
    assert ended.data["status"] == "succeeded", ended.data
    assert (ended.data["output"]["rows"], Decimal(ended.data["output"]["price"])) == (5, Decimal("2.5"))
    pages = [one for one in mundo.answers.heard if one.type.endswith(".page.v1")]
    assert sum(len(one.data["rows"]) for one in pages) == 5
    assert pages[-1].data["last"] is True


async def test_a_platform_that_takes_one_request_at_a_time_gets_them_one_by_one(mundo: Mundo) -> None:
    state = mundo.sim.state
    many = [state.seed({"nome_fantasia": f"many {number}"}).id for number in range(24)]
    state.switches, state.time = state.switches.changed({"simultaneous": "one"}), 0.02
    orders = [command("subscriber.block.v1", {"platform": NAME, "subscriber": {"id": each}}) for each in many]
    async with Sender(mundo.broker) as sender:
        for each in orders:
            await sender.send(each)
    ends = [await mundo.ended(each["id"]) for each in orders]
    state.switches, state.time = state.switches.changed({"simultaneous": "any"}), 0.0
    assert {each.data["status"] for each in ends} == {"succeeded"}
    assert {state.clients[each].status for each in many} == {0}
    assert mundo.sim.counts.faults["simultaneous"]


async def test_what_is_not_offered_is_said_with_the_reason(mundo: Mundo) -> None:
    ended = await mundo.ask("number.list", **ANA)
    assert (ended.data["status"], ended.data["error"]["code"]) == ("rejected", "unsupported")
    assert "no document shows" in ended.data["error"]["message"]


async def test_a_rotated_pair_rejects_nothing_and_no_secret_shows_anywhere(mundo: Mundo) -> None:
    got = await mundo.ask("subscriber.get", **ANA)
    assert got.data["output"]["subscriber"]["users"]["api_key"] == "***"
    line = {"customer_id": 1, "username": "1000", "password": PASSWORD}
    assert (await mundo.ask("voipmundo.manageDevices.create", **line)).data["status"] == "succeeded"
    mundo.sim.state.token = "another"
    one = command("subscriber.block.v1", {"platform": NAME, **ANA})
    async with Sender(mundo.broker) as sender:
        await sender.send(one)

    async def held() -> bool:
        done = await mundo.workers.worker("platforms", "list", "--json")
        return "credentials_refused" in str(done.json[0]["why"])

    await eventually(held, 60)
    doctor = await mundo.workers.worker("doctor")
    mundo.sim.state.token = TOKEN
    assert (await mundo.ended(one["id"])).data["status"] == "succeeded"
    assert "held, credentials_refused" in doctor.out
    check = await mundo.workers.worker("platforms", "check")
    assert check.code == 0, check.out
    shown = [
        await mundo.workers.worker("commands", "show", each)
        for each in (one["id"], got.data["command"]["id"])
    ]
    words = [doctor, check, *shown]
    said = "".join(each.out + each.err for each in words) + str((await mundo.worker.get("/metrics"))[1])
    assert leaks(secrets_of(mundo), {"said": said.encode(), **left_by(mundo)}) == []


def left_by(mundo: Mundo) -> dict[str, bytes]:
    """Logs, the journal's files, events."""
    places = {f"log {n}": each.log().encode() for n, each in enumerate(mundo.workers.processes)}
    places |= {file.name: file.read_bytes() for file in mundo.workers.folder.glob("worker.db*")}
    return places | {"events": b"".join(each.body for each in (*mundo.results.heard, *mundo.audit.heard))}


def secrets_of(mundo: Mundo) -> dict[str, str]:
    client = mundo.sim.state.clients[1]
    theirs = {"its token": client.token, "its key": client.key}
    return {"token": TOKEN, "key": KEY, "password": PASSWORD, **theirs}


async def test_the_pair_is_on_no_page_and_in_no_span_though_the_platform_tells_it(mundo: Mundo) -> None:
    """In refusals and lost answers of calls with the pair in their address: pages, their JSON, traces."""
    texts = list(echoes(TOKEN, KEY))
    for text in texts:
        mundo.sim.fail("statusCustomer.set", "refuse", count=1, text=text)
        told = await mundo.ask("subscriber.block", **ANA)
        assert (told.data["status"], told.data["error"]["code"]) == ("rejected", "platform_refused"), text
        assert "***" in told.data["error"]["platform_message"], text
    for kind in ("html500", "drop_before", "busy"):
        mundo.sim.fail("statusCustomer.set", kind, count=1, text=texts[0])
        assert (await mundo.ask("subscriber.block", **ANA)).data["status"] == "succeeded", kind
    pages = await pages_of(mundo.worker)
    attempts = [body for path, body in pages.items() if b"/api/statusCustomer/***/***" in body]
    assert len(attempts) >= 2 * (len(texts) + 3), "each command's page shows the calls that were made"
    assert b"***" in pages["/failures"]
    mundo.worker.terminate()  # the last spans go out with the stop
    assert await mundo.worker.ended() == 0
    spans = [each.SerializeToString() for each in mundo.collector.spans]
    assert sum(b"attempt subscriber.block.v1" in each for each in spans) >= len(texts) + 3
    places = {**pages, "spans": b"\n".join(spans), **left_by(mundo)}
    assert leaks(secrets_of(mundo), places) == []
