"""`worker run` as an operator starts it: a process, a settings file, signals."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.amqp import Listener, Sender, command, depth, eventually
from tests.support.worker import Workers
from worker.journal.vault import new_key
from worker.simulators.sippulse import Simulator, SimulatorConfig, serve

DOMAIN = "sip.example"
PLATFORM = "sippulse-br"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    people = tuple({"username": f"u{n}", "domain": DOMAIN, "balance": "10.00"} for n in range(20))
    it = await serve(0, config=SimulatorConfig(subscribers=people))
    yield it
    await it.close()


def about(name: str = "u1", **more: object) -> dict[str, object]:
    return {"platform": PLATFORM, "subscriber": {"username": name, "domain": DOMAIN}, **more}


@pytest.fixture(params=["sqlite", "postgres"])
def journal(request: pytest.FixtureRequest) -> str | None:
    return request.getfixturevalue("postgres_url") if request.param == "postgres" else None


async def test_a_command_goes_in_and_its_result_comes_out(
    rabbit_url: str, tmp_path: Path, simulator: Simulator, journal: str | None
) -> None:
    async with Workers(tmp_path, rabbit_url, {PLATFORM: simulator.url}, journal=journal) as workers:
        one = await workers.start()
        async with Listener(rabbit_url) as results, Sender(rabbit_url) as sender:
            order = command("credit.add.v1", about(amount="25.00"), idempotencykey="top-up-1")
            await sender.send(order)
            await results.until(lambda heard: heard)
        [heard] = results.heard
        assert heard.routing_key == f"{PLATFORM}.credit.add.succeeded"
        assert heard.data["command"]["id"] == order["id"]
        account = simulator.subscriber("u1", DOMAIN)
        assert account is not None
        assert account.balance == 35
        one.terminate()
        assert await one.ended() == 0
        assert one.events("worker.stopped")


async def test_the_key_file_is_made_beside_the_settings_for_the_owner_alone_and_used_again(
    rabbit_url: str, tmp_path: Path, simulator: Simulator
) -> None:
    async with Workers(tmp_path, rabbit_url, {PLATFORM: simulator.url}) as workers:
        one = await workers.start()
        key = tmp_path / "worker.key"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        written = key.read_text()
        assert one.events("key.made")[0]["file"] == str(key)
        assert written.strip() not in one.log()
        one.terminate()
        await one.ended()
        two = await workers.start()
        assert key.read_text() == written
        assert not two.events("key.made")


async def test_another_key_stops_the_start_with_a_sentence(
    rabbit_url: str, tmp_path: Path, simulator: Simulator
) -> None:
    async with Workers(tmp_path, rabbit_url, {PLATFORM: simulator.url}) as workers:
        one = await workers.start()
        one.terminate()
        await one.ended()
        (tmp_path / "worker.key").write_text(new_key())
        two = await workers.start(ready=False)
        assert await two.ended() == 2
        assert "the journal was written under another key" in two.log()
        assert "Traceback" not in two.log()


async def test_a_sqlite_journal_serves_one_process(
    rabbit_url: str, tmp_path: Path, simulator: Simulator
) -> None:
    async with Workers(tmp_path, rabbit_url, {PLATFORM: simulator.url}) as workers:
        await workers.start()
        two = await workers.start(ready=False)
        assert await two.ended() == 2
        assert "another `worker run`" in two.log()


async def test_started_with_held_commands_come_in_and_wait_until_somebody_resumes(
    rabbit_url: str, tmp_path: Path, simulator: Simulator
) -> None:
    async with Workers(tmp_path, rabbit_url, {PLATFORM: simulator.url}) as workers:
        one = await workers.start(held=True)
        assert "paused" in json.dumps(await one.readiness())
        listed = await workers.worker("platforms", "list")
        assert "start --held" in listed.out, "why is not for everybody who can reach the port"
        async with Listener(rabbit_url) as results, Sender(rabbit_url) as sender:
            await sender.send(command("calls.block.v1", about()))
            await eventually(lambda: waiting(workers), what="the command in the journal")
            assert not results.heard
            assert not simulator.platform.ledger.entries
            done = await workers.worker("platforms", "resume", PLATFORM, "--reason", "checked")
            assert done.code == 0, done.err
            await results.until(lambda heard: heard)


async def waiting(workers: Workers) -> bool:
    done = await workers.worker("commands", "list", "--json")
    return [one["state"] for one in done.json] == ["waiting"]


async def test_p9_a_stop_lets_the_call_under_way_end_and_publishes_its_result(
    rabbit_url: str, tmp_path: Path, simulator: Simulator
) -> None:
    """P9: the answer of a call that was under way at SIGTERM is not lost, nor left for the next start."""
    simulator.fail("blockOutgoingCalls", "delay", seconds=1.0)
    async with Workers(tmp_path, rabbit_url, {PLATFORM: simulator.url}) as workers:
        one = await workers.start()
        async with Listener(rabbit_url) as results, Sender(rabbit_url) as sender:
            await sender.send(command("calls.block.v1", about()))
            await eventually(lambda: simulator.platform.ledger.operations["blockOutgoingCalls"].received)
            one.terminate()
            assert await one.ended() == 0
            await results.until(lambda heard: heard)
        assert results.heard[0].data["status"] == "succeeded"
        assert results.heard[0].data["attempts"] == 1


async def test_p9_what_comes_during_a_stop_stays_in_the_queue(
    rabbit_url: str, tmp_path: Path, simulator: Simulator
) -> None:
    simulator.fail("blockOutgoingCalls", "delay", seconds=1.5, count=1)
    async with Workers(tmp_path, rabbit_url, {PLATFORM: simulator.url}) as workers:
        one = await workers.start()
        async with Listener(rabbit_url) as results, Sender(rabbit_url) as sender:
            await sender.send(command("calls.block.v1", about()))
            await eventually(lambda: simulator.platform.ledger.operations["blockOutgoingCalls"].received)
            one.terminate()
            await eventually(lambda: one.events("consumer.stopped"))
            await sender.send(command("calls.unblock.v1", about()))
            assert await one.ended() == 0
            assert await depth(rabbit_url, "provisioning.commands") == 1
            await workers.start()
            await results.until(lambda heard: len(heard) == 2)
        assert [one.data["status"] for one in results.heard] == ["succeeded", "succeeded"]


async def test_two_processes_with_split_roles_meet_in_the_journal(
    rabbit_url: str, tmp_path: Path, simulator: Simulator, postgres_url: str
) -> None:
    async with Workers(tmp_path, rabbit_url, {PLATFORM: simulator.url}, journal=postgres_url) as workers:
        door, hands = await asyncio.gather(workers.start("intake,relay,console"), workers.start("engine"))
        async with Listener(rabbit_url) as results, Sender(rabbit_url) as sender:
            orders = [command("calls.block.v1", about(f"u{number}")) for number in range(20)]
            await sender.send_all([json.dumps(order).encode() for order in orders])
            await results.until(lambda heard: len(heard) == 20)
        assert len(hands.events("attempt.settled")) == 20
        assert not door.events("attempt.settled")
        for process in (hands, door):
            process.terminate()
        assert [await process.ended() for process in (hands, door)] == [0, 0]


async def test_a_second_signal_ends_it_at_once(rabbit_url: str, tmp_path: Path, simulator: Simulator) -> None:
    simulator.fail("blockOutgoingCalls", "late", seconds=60)
    platform = {"url": simulator.url, "timeout": 9.0}
    async with Workers(tmp_path, rabbit_url, {PLATFORM: platform}) as workers:
        one = await workers.start()
        async with Sender(rabbit_url) as sender:
            await sender.send(command("calls.block.v1", about()))
            await eventually(lambda: simulator.platform.ledger.operations["blockOutgoingCalls"].received)
        one.terminate()
        await eventually(lambda: one.events("worker.stopping"))
        one.terminate()
        assert await one.ended(within=5) != 0


async def test_a_taken_port_an_unknown_role_and_wrong_settings_end_with_a_sentence(
    rabbit_url: str, tmp_path: Path, simulator: Simulator
) -> None:
    async with Workers(tmp_path, rabbit_url, {PLATFORM: simulator.url}) as workers:
        port = int(simulator.origin.rpartition(":")[2])
        workers.settings["console"]["port"] = port
        workers.write()
        taken = await workers.start(ready=False)
        assert await taken.ended() == 2
        assert f"the console cannot listen on 127.0.0.1:{port}" in taken.log()
        unknown = await workers.worker("run", "--roles", "intake,cook")
        assert (unknown.code, unknown.out) == (2, "")
        assert "unknown role 'cook': we know intake, engine, relay, console" in unknown.err
        workers.settings["broker"]["ulr"] = "x"
        workers.write()
        wrong = await workers.worker("run")
        assert wrong.code == 2
        assert "did you mean url?" in wrong.err
        assert "Traceback" not in wrong.err + unknown.err + taken.log()
