"""RingMe from message to message: lost answers, a block that outlives its record, call records, secrets."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
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
from worker.simulators.ringme import Simulator, SimulatorConfig, serve
from worker.simulators.ringme.operations.calls import new_call

pytestmark = MODULE
NAME = "ringme-ru"
APP_SECRET, PASSWORD = "app-s3cret-Zü&<1", "sip-s3cret-Zü&<2"
CLIENT = {"client_id": 12}
QUICK: dict[str, Any] = {
    "timeout": 2.0,
    "lease_margin": 5.0,
    "settle": 1.5,
    "retry_first": 0.1,
    "retry_most": 1.0,
}
HOLDS: dict[str, Any] = {"hold_probe_first": 0.3, "hold_probe_most": 1.0}


@dataclass(slots=True)
class Ring:
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
async def ring(rabbit: PrivateRabbit, tmp_path_factory: Any) -> AsyncIterator[Ring]:
    folder: Path = tmp_path_factory.mktemp("ringme")
    name = f"ringme_{secrets.token_hex(4)}"
    broker = rabbit.add_vhost(name)
    sim = await serve(0, config=SimulatorConfig.from_values({"app_secret": APP_SECRET}))
    table = {"kind": "ringme", "url": sim.url, "app_id": "app", "app_secret": APP_SECRET,
             "undocumented": True, "block_rule_id": 7, "history_page": 10, **QUICK, **HOLDS}  # fmt: skip
    collector = Collector()
    settings = {"tracing": {"endpoint": collector.url}, "logs": {"level": "debug"}}
    workers = Workers(folder, broker, {}, settings={"journal": {"retention": "1s"}, **settings})
    workers.settings["platforms"] = {NAME: table}
    try:
        async with (
            Listener(broker) as results,
            Listener(broker, "provisioning.audit") as audit,
            Listener(broker, None) as answers,
            workers,
        ):
            yield Ring(sim, broker, workers, await workers.start(), results, answers, audit, collector)
    finally:
        collector.close()
        await sim.close()
        rabbit.remove_vhost(name)


async def test_a_number_is_made_once_though_the_answer_is_lost(ring: Ring) -> None:
    ring.sim.fail("extension.create", "drop_after", count=1)
    ring.sim.fail("phone.update", "html500", count=1)
    order = {"subscriber": CLIENT, "number": "101", "label": "Reception", "password": PASSWORD}
    made = await ring.ask("subscriber.create", **order)
    assert (made.data["status"], made.data["effect"]) == ("succeeded", "applied"), made.data
    [extension] = ring.sim.platform.extensions.values()
    assert made.data["output"]["platform_id"] == str(extension.record["id"])
    assert (extension.record["status"], extension.phone["password"]) == ("active", PASSWORD)
    again = await ring.ask("subscriber.create", **order)
    assert again.data["error"]["code"] == "already_exists"


async def test_a_block_is_undone_after_its_record_was_purged_and_the_worker_restarted(ring: Ring) -> None:
    record = ring.sim.platform.clients[12].record
    assert (await ring.ask("calls.block", subscriber=CLIENT)).data["output"] == {"kinds": ["outgoing"]}
    assert record["dial_rule_id"] == 7

    async def purged() -> bool:
        await ring.workers.worker("journal", "purge")
        done = await ring.workers.worker("commands", "list", "--json")
        return not any(row["type"] == "calls.block.v1" for row in done.json)

    await eventually(purged, 60)
    ring.worker.kill()
    ring.worker = await ring.workers.start()
    freed = await ring.ask("calls.unblock", subscriber=CLIENT)
    assert (freed.data["status"], record["dial_rule_id"]) == ("succeeded", 19)


async def test_call_records_come_as_pages_to_who_asked(ring: Ring) -> None:
    ring.sim.platform.calls += [new_call(12, None, number) for number in range(25)]
    span = {"since": "2026-05-01T00:00:00Z", "until": "2026-05-02T00:00:00Z", "kind": "completed"}
    ended = await ring.ask("call_records.list", subscriber=CLIENT, **span)
    assert ended.data["output"]["rows"] == 25
    assert ended.data["output"]["seconds"] == 25 * 30
    pages = [one for one in ring.answers.heard if one.type.endswith(".page.v1")]
    assert sum(len(one.data["rows"]) for one in pages) == 25
    assert pages[-1].data["last"] is True


async def test_what_is_not_offered_is_said_with_the_reason(ring: Ring) -> None:
    ended = await ring.ask("credit.add", subscriber=CLIENT, amount="5.00")
    assert (ended.data["status"], ended.data["error"]["code"]) == ("rejected", "unsupported")
    assert "balance" in ended.data["error"]["message"]


async def test_a_rotated_secret_rejects_nothing_and_shows_nowhere(ring: Ring) -> None:
    ring.sim.platform.app_secret = "another"
    ring.sim.platform.tokens.clear()
    one = command(
        "subscriber.update.v1", {"platform": NAME, "subscriber": CLIENT, "changes": {"timezone": "UTC"}}
    )
    async with Sender(ring.broker) as sender:
        await sender.send(one)

    async def held() -> bool:
        done = await ring.workers.worker("platforms", "list", "--json")
        return "credentials_refused" in str(done.json[0]["why"])

    await eventually(held, 60)
    doctor = await ring.workers.worker("doctor")
    ring.sim.platform.app_secret = APP_SECRET
    assert (await ring.ended(one["id"])).data["status"] == "succeeded"
    assert "held, credentials_refused" in doctor.out
    check = await ring.workers.worker("platforms", "check")
    assert check.code == 0, check.out
    said = f"{doctor.out}{doctor.err}{check.out}{check.err}{(await ring.worker.get('/metrics'))[1]}"
    assert ring.sim.platform.tokens
    assert leaks(secrets_of(ring), {"said": said.encode(), **left_by(ring)}) == []


def left_by(ring: Ring) -> dict[str, bytes]:
    """Logs, the journal's files, events."""
    places = {f"log {n}": one.log().encode() for n, one in enumerate(ring.workers.processes)}
    places |= {file.name: file.read_bytes() for file in ring.workers.folder.glob("worker.db*")}
    return places | {"events": b"".join(each.body for each in (*ring.results.heard, *ring.audit.heard))}


def secrets_of(ring: Ring) -> dict[str, str]:
    tokens = {f"token {n}": token for n, token in enumerate(ring.sim.platform.tokens)}
    return {"app": APP_SECRET, "sip": PASSWORD, **tokens}


async def test_token_and_secret_are_on_no_page_and_in_no_span_though_the_platform_tells_them(
    ring: Ring,
) -> None:
    """In refusals, lost answers and refused sign-ins: pages, their JSON, traces."""
    ring.sim.platform.tokens.clear()  # those of other processes too
    assert (await ring.ask("subscriber.get", subscriber=CLIENT)).data["status"] == "succeeded"
    [token] = ring.sim.platform.tokens
    texts = list(echoes(token, APP_SECRET))
    change = {"subscriber": CLIENT, "changes": {"timezone": "Europe/Moscow"}}
    for text in texts:
        ring.sim.fail("client.update", "refuse", code=400, count=1, text=text)
        told = await ring.ask("subscriber.update", **change)
        assert (told.data["status"], told.data["error"]["code"]) == ("rejected", "platform_refused"), text
        assert "***" in told.data["error"]["platform_message"], text
    for kind in ("html500", "drop_before", "busy"):
        ring.sim.fail("client.update", kind, count=1, text=texts[0])
        assert (await ring.ask("subscriber.update", **change)).data["status"] == "succeeded", kind
    ring.sim.platform.tokens.clear()
    ring.sim.fail("oauth.token", "refuse", code=401, status="invalid_client", count=1, text=texts[0])
    assert (await ring.ask("subscriber.update", **change)).data["status"] == "succeeded"
    pages = await pages_of(ring.worker)
    attempts = [body for body in pages.values() if b"PUT /client/12/client/" in body]
    assert len(attempts) >= 2 * (len(texts) + 4), "each command's page shows the calls that were made"
    assert b"***" in pages["/failures"]
    ring.worker.terminate()  # the last spans go out with the stop
    assert await ring.worker.ended() == 0
    spans = [each.SerializeToString() for each in ring.collector.spans]
    assert sum(b"attempt subscriber.update.v1" in each for each in spans) >= len(texts) + 4
    places = {**pages, "spans": b"\n".join(spans), **left_by(ring)}
    assert leaks({**secrets_of(ring), "the token before": token}, places) == []
