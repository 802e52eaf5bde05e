"""The verbs of the command line beside a running worker."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.amqp import Listener, Sender, command, eventually
from tests.support.worker import Finished, Workers
from worker.bootstrap import open_stored_journal
from worker.settings import load
from worker.simulators.sippulse import Simulator, SimulatorConfig, serve
from worker.simulators.sippulse.platform import Subscriber

DOMAIN = "sip.example"
PLATFORM = "sippulse-br"
ABOUT = ("subscriber.username=ana", f"subscriber.domain={DOMAIN}")
ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    people = ({"username": "ana", "domain": DOMAIN, "balance": "10.00"},)
    it = await serve(0, config=SimulatorConfig(subscribers=people))
    yield it
    await it.close()


@pytest.fixture
async def workers(rabbit_url: str, tmp_path: Path, simulator: Simulator) -> AsyncIterator[Workers]:
    """One worker runs; its settings retry a lost answer for a second only, then leave it to a person."""
    platform = {"url": simulator.url, "retry_for": 1.0}
    async with Workers(tmp_path, rabbit_url, {PLATFORM: platform}) as them:
        await them.start()
        yield them


async def ok(workers: Workers, *words: str) -> Finished:
    done = await workers.worker(*words)
    assert done.code == 0, f"{words}: {done.out}{done.err}"
    return done


def person(simulator: Simulator, name: str = "ana") -> Subscriber:
    found = simulator.subscriber(name, DOMAIN)
    assert found is not None
    return found


async def state_of(workers: Workers, name: str) -> str:
    return str((await ok(workers, "commands", "show", name, "--json")).json["state"])


# ---------------------------------------------------------------- send


async def test_send_waits_for_the_answer_and_the_same_key_takes_effect_once(
    workers: Workers, simulator: Simulator
) -> None:
    words = ("send", "credit.add", *ABOUT, "amount=25.00", "--key", "k1", "--wait", "60")
    first = await ok(workers, *words)
    assert "succeeded" in first.out
    second = (await ok(workers, *words, "--json")).json
    assert second["status"] == "succeeded"
    assert second["duplicate_of"]
    assert person(simulator).balance == 35
    refused = await workers.worker(*(word.replace("25.00", "26.00") for word in words))
    assert refused.code == 1
    assert "idempotency_conflict" in refused.out
    assert person(simulator).balance == 35


async def test_when_the_wait_runs_out_id_state_and_the_way_to_repeat_are_said(
    workers: Workers, simulator: Simulator
) -> None:
    await ok(workers, "platforms", "pause", PLATFORM, "--reason", "for the test")
    words = ("send", "credit.add", *ABOUT, "amount=1.00", "--key", "k2", "--id", "order-2", "--wait", "1")
    early = await workers.worker(*words)
    assert early.code == 4
    assert f"id order-2 is waiting; platform {PLATFORM} is paused by {ME}: for the test" in early.out
    assert "goes on by itself" not in early.out
    shown = await ok(workers, "commands", "show", "order-2")
    assert f"next: platform {PLATFORM} is paused by {ME}: for the test; `worker platforms resume" in shown.out
    twice = await ok(workers, "platforms", "pause", PLATFORM, "--reason", "another")
    assert f"it was paused already, by {ME} since" in twice.out
    assert "the same key is safe" in early.out
    await ok(workers, "platforms", "resume", PLATFORM, "--reason", "enough")
    again = [word.replace("order-2", "order-3") for word in words[:-1]]
    assert (await ok(workers, *again, "60", "--json")).json["duplicate_of"] == "order-2"
    assert person(simulator).balance == 11


async def test_a_wait_ends_when_the_command_is_parked_for_it_then_waits_for_a_person(
    workers: Workers, simulator: Simulator
) -> None:
    simulator.fail("addCredit", "drop_before", count=1)
    words = ("credit.add", *ABOUT, "amount=5.00", "--key", "p1", "--id", "p-1")
    waiting = asyncio.create_task(workers.worker("send", *words, "--wait", "90", "--json"))
    await eventually(lambda: simulator.platform.ledger.operations["addCredit"].received)
    simulator.platform.charge("ana", DOMAIN, Decimal(1))
    told = await waiting
    assert (told.code, told.json["state"], told.json["error"]["code"]) == (4, "parked", "effect_unknown")
    late = await workers.worker("send", *words, "--wait", "1")
    assert late.code == 4
    assert "id p-1 is parked; it waits for a person" in late.out
    shown = (await ok(workers, "commands", "show", "p-1", "--json")).json
    assert (shown["archived"], shown["attempts_made"][0]["at"][-1]) == (False, "Z")
    await ok(workers, "commands", "resolve", "p-1", "--not-applied", "--reason", "looked")
    assert (await ok(workers, "commands", "archive", "p-1", "--reason", "done")).out.endswith(": archived\n")


async def test_data_come_from_a_file_or_standard_input_and_secrets_from_elsewhere(
    workers: Workers, simulator: Simulator
) -> None:
    record = {
        "subscriber": {"username": "bia", "domain": DOMAIN},
        "profile": "residential",
        "rate_plan_id": 1,
        "email": "bia@sip.example",
        "country_code": 55,
        "area_code": 11,
        "call_limit": 2,
        "portal_password": "portal-hidden",
    }
    done = await workers.worker(
        "send", "subscriber.create", "--data", "-", "password=env:SIP", "--wait",
        stdin=json.dumps(record), SIP="sip-hidden",
    )  # fmt: skip
    assert done.code == 0, done.out + done.err
    assert person(simulator, "bia").dto["password"] == "sip-hidden"
    assert "hidden" not in done.out + done.err


async def test_send_reaches_the_bulk_queue_and_another_reply_queue(workers: Workers, rabbit_url: str) -> None:
    async with Listener(rabbit_url, exchange=None) as replies:
        done = await ok(
            workers, "send", "credit.get", *ABOUT, "--bulk", "--reply-to", replies.queue, "--wait", "--json"
        )
        assert done.json["output"] == {"balance": "10.00"}
        [heard] = await replies.until(lambda heard: heard)
        assert heard.data["command"]["id"] == done.json["command"]["id"]


# ---------------------------------------------------------------- commands


async def park(workers: Workers, rabbit_url: str, simulator: Simulator, name: str) -> None:
    """A credit order whose answer is lost while somebody else books: figures that explain nothing."""
    simulator.fail("addCredit", "drop_before", count=1)
    async with Sender(rabbit_url) as sender:
        await sender.send(
            command("credit.add.v1", {**about(), "amount": "5.00"}, id=name, idempotencykey=name)
        )
    await eventually(lambda: simulator.platform.ledger.operations["addCredit"].received)
    simulator.platform.charge("ana", DOMAIN, Decimal(1))

    async def parked() -> bool:
        return await state_of(workers, name) == "parked"

    await eventually(parked, what=f"{name} parked")


def about() -> dict[str, Any]:
    return {"platform": PLATFORM, "subscriber": {"username": "ana", "domain": DOMAIN}}


async def test_a_command_whose_effect_is_unknown_is_resolved_before_it_is_retried(
    workers: Workers, rabbit_url: str, simulator: Simulator
) -> None:
    await park(workers, rabbit_url, simulator, "lost-1")
    shown = await ok(workers, "commands", "show", "lost-1")
    assert "effect_unknown" in shown.out
    assert "next: look at the readings" in shown.out
    for act in ("retry", "cancel"):
        refused = await workers.worker("commands", act, "lost-1", "--reason", "hurry")
        assert (refused.code, refused.out) == (1, "")
        assert "resolve" in refused.err
    async with Listener(rabbit_url) as results:
        done = await ok(
            workers, "commands", "resolve", "lost-1", "--not-applied", "--reason", "looked", "--json"
        )
        assert done.json["state"] == "rejected"
        await results.until(lambda heard: heard)
        retried = await ok(workers, "commands", "retry", "lost-1", "--reason", "now it may", "--json")
        assert retried.json["retry_of"] == "lost-1"
        await results.until(lambda heard: len(heard) == 2)
    assert [one.data["status"] for one in results.heard] == ["rejected", "succeeded"]
    assert results.heard[1].data["original"]["id"] == "lost-1"
    records = (await ok(workers, "commands", "show", "lost-1", "--json")).json["records"]
    acts = [(one["what"], one["actor"], one["reason"]) for one in records if one["actor"] == ME]
    assert ("ended", ME, "looked") in acts
    assert ("retried", ME, "now it may") in acts


async def test_an_ended_command_is_edited_checked_and_archived(
    workers: Workers, rabbit_url: str, simulator: Simulator
) -> None:
    sent = await workers.worker(
        "send", "credit.add", "subscriber.username=zoe", ABOUT[1], "amount=5.00", "--key", "k", "--id", "e-1",
        "--wait",
    )  # fmt: skip
    assert sent.code == 1
    assert "not_found" in sent.out
    for words, why in (
        (("amount=-5",), "the edited command is not valid"),
        (("subscriber.username=ana",), "an edit keeps the object"),
        (("colour=red",), "unknown field"),
    ):
        refused = await workers.worker("commands", "edit", "e-1", *words, "--reason", "typo")
        assert refused.code == 1
        assert why in refused.err
    simulator.platform.seed({"username": "zoe", "domain": DOMAIN})
    async with Listener(rabbit_url) as results:
        await ok(workers, "commands", "edit", "e-1", "amount=6.00", "note=put right", "--reason", "typo")
        await results.until(lambda heard: heard)
    assert results.heard[0].data["output"]["amount"] == "6.00"
    assert person(simulator, "zoe").balance == 6
    await ok(workers, "commands", "archive", "e-1", "--reason", "done with")
    listed = {one["message_id"] for one in (await ok(workers, "commands", "list", "--json")).json}
    assert "e-1" not in listed
    assert len(listed) == 1


async def test_a_waiting_command_is_cancelled_and_lists_are_filtered(
    workers: Workers, simulator: Simulator
) -> None:
    await ok(workers, "platforms", "pause", PLATFORM, "--reason", "for the test")
    await workers.worker("send", "calls.block", *ABOUT, "--id", "c-1", "--wait", "0.2")

    async def admitted() -> bool:
        rows = (await ok(workers, "commands", "list", "--state", "waiting", "--json")).json
        return [one["message_id"] for one in rows] == ["c-1"]

    await eventually(admitted)
    await ok(workers, "commands", "cancel", "c-1", "--reason", "not any more")
    assert (await ok(workers, "commands", "list", "--state", "waiting")).out == "no command\n"
    assert "cancelled_by_operator" in (await ok(workers, "commands", "list", "--state", "cancelled")).out
    await ok(workers, "platforms", "resume", PLATFORM, "--reason", "enough")
    assert not simulator.platform.ledger.entries


# ---------------------------------------------------------------- quarantine


@asynccontextmanager
async def refused(workers: Workers, rabbit_url: str, body: bytes) -> AsyncIterator[str]:
    """A message in quarantine; its id."""
    async with Listener(rabbit_url) as results, Sender(rabbit_url) as sender:
        await sender.send(body)
        await results.until(lambda heard: heard)
        yield results.heard[0].data["refused_message"]


async def test_a_quarantined_message_is_looked_at_on_the_record_and_dropped(
    workers: Workers, rabbit_url: str
) -> None:
    async with refused(workers, rabbit_url, b'{"password": "tell-nobody", "id"') as uid:
        listed = await ok(workers, "quarantine", "list")
        assert uid[:13] in listed.out
        assert "invalid_message" in listed.out
        shown = await ok(workers, "quarantine", "show", uid[:8], "--reason", "who sent it?")
        assert "tell-nobody" not in shown.out
        assert '"password": "***"' in shown.out
        raw = await ok(workers, "quarantine", "show", uid, "--raw", "--json", "--reason", "really")
        assert raw.json["body"] == '{"password": "tell-nobody", "id"'
        await ok(workers, "quarantine", "drop", uid[:8], "--reason", "garbage")
        assert (await ok(workers, "quarantine", "list")).out == "nothing in quarantine\n"
        again = await workers.worker("quarantine", "drop", uid, "--reason", "garbage")
        assert (again.code, "was dropped already" in again.err) == (1, True)
        never = await workers.worker("quarantine", "send", "none-such", "--reason", "garbage")
        assert "no message in quarantine begins with 'none-such'" in never.err


async def test_a_quarantined_message_is_sent_again_once_the_reason_is_gone(
    workers: Workers, rabbit_url: str, simulator: Simulator
) -> None:
    data = {**about(), "platform": "sippulse-new"}
    body = json.dumps(command("calls.block.v1", data, id="q-1")).encode()
    async with refused(workers, rabbit_url, body) as uid:
        pass
    workers.processes[0].terminate()
    await workers.processes[0].ended()
    workers.settings["platforms"]["sippulse-new"] = workers.settings["platforms"][PLATFORM]
    workers.write()
    await workers.start()
    async with Listener(rabbit_url) as results:
        sent = await ok(workers, "quarantine", "send", uid, "--reason", "the platform is there now")
        assert "provisioning.commands" in sent.out
        await results.until(lambda heard: heard)
    assert results.heard[0].data["status"] == "succeeded"
    assert (await ok(workers, "quarantine", "list", "--state", "sent", "--json")).json[0]["uid"] == uid


# ---------------------------------------------------------------- the rest


async def test_events_that_nobody_took_are_republished_under_the_same_ids(
    workers: Workers, rabbit_url: str
) -> None:
    await ok(workers, "send", "calls.block", *ABOUT, "--id", "r-1")

    async def unheard() -> bool:
        return "nobody listens" in (await workers.processes[0].get("/readyz"))[1]

    await eventually(unheard)
    assert "nobody listens" in (await ok(workers, "doctor")).out
    async with Listener(rabbit_url) as results:
        done = await ok(workers, "events", "republish", "--reason", "a queue is bound now")
        assert "`worker doctor` says whether somebody took them" in done.out
        first = (await results.until(lambda heard: heard))[0]
        assert first.data["command"]["id"] == "r-1"
        await ok(workers, "events", "republish", "--all", "--since", "1h", "--reason", "all of it")
        await results.until(lambda heard: len(heard) == 2)
    assert results.heard[1].event["id"] == first.event["id"]


async def test_audit_verify_holds_the_chain_against_collected_events(
    workers: Workers, rabbit_url: str, tmp_path: Path
) -> None:
    async with Listener(rabbit_url, "provisioning.audit") as audit:
        await ok(workers, "send", "calls.block", *ABOUT, "--wait")
        await audit.until(lambda heard: len(heard) == 2)
    file = tmp_path / "collected.jsonl"
    file.write_text("".join(f"{one.body.decode()}\n" for one in audit.heard))
    whole = await ok(workers, "audit", "verify", "--collected", str(file))
    assert "2 collected events" in whole.out
    forged = json.loads(audit.heard[0].body)
    forged["data"]["actor"] = "nobody"
    file.write_text(json.dumps(forged) + "\n")
    wrong = await workers.worker("audit", "verify", "--collected", str(file), "--json")
    assert wrong.code == 1
    assert wrong.json["faults"]


async def test_doctor_finds_all_well_then_a_refused_login_and_a_missing_consumer(
    workers: Workers, simulator: Simulator
) -> None:
    well = await ok(workers, "doctor", "--json")
    assert not [one for one in well.json if one["level"] == "broken"]
    warned = await workers.worker("doctor", WORKER_STOP_GRACE="5s")
    assert "the container gives 5 s" in warned.out
    simulator.platform.password = "changed"
    workers.processes[0].terminate()
    await workers.processes[0].ended()
    ill = await workers.worker("doctor", "--json")
    assert ill.code == 1
    broken = {one["part"]: one for one in ill.json if one["level"] == "broken"}
    assert "refuses" in broken[f"platform {PLATFORM}"]["text"]
    assert "nobody consumes" in broken["queue provisioning.commands"]["text"]
    assert all(one["next"] for one in broken.values())
    assert "admin" not in ill.out.replace("login 'admin'", "")


async def test_doctor_says_which_services_cannot_be_reached(tmp_path: Path, simulator: Simulator) -> None:
    key = "A" * 43 + "="
    nowhere = {"url": "http://127.0.0.1:9/SipPulse"}
    settings = {"journal": {"url": "postgresql://w:hidden@127.0.0.1:9/w", "keys": [key]}}
    async with Workers(
        tmp_path, "amqp://u:hidden@127.0.0.1:9/", {PLATFORM: nowhere}, settings=settings
    ) as workers:
        done = await workers.worker("doctor", "--json")
        assert done.code == 1
        broken = [one["part"].split()[0] for one in done.json if one["level"] == "broken"]
        assert broken == ["broker", "journal", "platform"]
        assert "hidden" not in done.out + done.err


async def test_a_key_is_missed_only_once_the_database_holds_something(
    tmp_path: Path, simulator: Simulator, postgres_url: str
) -> None:
    nowhere = "amqp://u:hidden@127.0.0.1:9/"
    async with Workers(tmp_path, nowhere, {PLATFORM: simulator.url}, journal=postgres_url) as workers:
        first = (await workers.worker("doctor", "--json")).json
        [early] = [one for one in first if one["part"].startswith("journal")]
        assert (early["level"], early["text"][:26]) == ("warning", "reachable, but there is no")
        settings = load(workers.file, {})
        await (await open_stored_journal(settings, make=True)).close()
        (tmp_path / "worker.key").unlink()
        lost = await workers.worker("run")
        assert lost.code == 2
        assert "worker.key is missing: bring back your copy" in lost.err
        assert not (tmp_path / "worker.key").exists()


async def test_platforms_are_listed_and_checked(workers: Workers) -> None:
    listed = (await ok(workers, "platforms", "list", "--json")).json
    assert [(one["name"], one["state"]) for one in listed] == [(PLATFORM, "not stopped")]
    checked = await ok(workers, "platforms", "check")
    assert "reachable, signed in" in checked.out
    unknown = await workers.worker("platforms", "check", "sipulse")
    assert unknown.code == 2
    assert f"we know {PLATFORM}" in unknown.err


async def test_the_journal_is_kept_by_its_verbs(workers: Workers) -> None:
    await ok(workers, "send", "calls.block", *ABOUT, "--wait")
    assert (await ok(workers, "journal", "upgrade")).out == "up to date\n"
    assert (await ok(workers, "journal", "upgrade", "--json")).json["done"] == "up to date"
    assert (await ok(workers, "journal", "rekey", "--json")).json["commands"] == 1
    assert "nothing was old enough" in (await ok(workers, "journal", "purge")).out


async def test_the_simulator_is_served_until_it_is_stopped(tmp_path: Path) -> None:
    config = tmp_path / "simulator.json"
    config.write_text('{"switchs": {}}')
    async with Workers(tmp_path, "amqp://127.0.0.1:9/", {}) as workers:
        wrong = await workers.worker("simulate", "sippulse", "--port", "0", "--config", str(config))
        assert wrong.code == 2
        assert "unknown setting 'switchs'" in wrong.err
        running = asyncio.create_task(workers.worker("simulate", "sippulse", "--port", "0", within=3))
        with pytest.raises(TimeoutError):
            await running
