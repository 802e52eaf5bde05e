"""Rule 6.5 and P8: the chain of audit records shows what was done to it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.conformance.support import (
    BOB,
    Place,
    admit,
    change,
    claim_one,
    done,
    earlier,
    order,
    run_all,
    select,
    settle,
    take_all,
)
from worker.journal.journal import StoredJournal
from worker.journal.vault import Vault, new_key
from worker.messages.events import AuditDraft, audit_data, canonical


@pytest.fixture
async def chained(journal: StoredJournal) -> list[dict[str, Any]]:
    """Ten sealed records, and the events that somebody collected."""
    await journal.admit([order(f"m-{n}", f"key-{n}") for n in range(5)])
    await run_all(journal)
    return [seen.event for seen in await take_all(journal) if seen.out.table == "audit"]


async def test_p8_a_chain_that_nobody_touched_is_whole(
    journal: StoredJournal, chained: list[dict[str, Any]]
) -> None:
    report = await journal.verify(chained)
    assert report.faults == []
    assert (report.records, report.first, report.last, report.collected) == (10, 1, 10, 10)
    assert [event["data"]["number"] for event in chained] == list(range(1, 11))


async def test_p8_published_records_carry_their_chain(
    journal: StoredJournal, chained: list[dict[str, Any]]
) -> None:
    macs = [event["auditmac"] for event in chained]
    assert [event["data"]["previous"] for event in chained] == ["0" * 64, *macs[:-1]]
    vault = journal.core.vault
    for event in chained:
        assert vault.audit_mac(event["data"]["previous"], canonical(event["data"])) == event["auditmac"]
    assert chained[0]["type"] == "provisioning.audit.admitted.v1"


@pytest.mark.parametrize(
    "change_",
    [
        ("UPDATE audit SET record = replace(record, 'm-1', 'm-9') WHERE number = $1", "was changed"),
        ("UPDATE audit SET record = 'no json' WHERE number = $1", "was changed"),
        ("UPDATE audit SET mac = 'ff' WHERE number = $1", "was changed"),
        ("UPDATE audit SET what = 'other' WHERE number = $1", "was changed"),
        ("DELETE FROM audit WHERE number = $1", "missing"),
        ("UPDATE audit SET number = number + 100 WHERE number = $1", "missing"),
    ],
    ids=["changed", "garbage", "mac", "label", "removed", "moved"],
)
async def test_p8_a_changed_or_removed_record_is_found(
    journal: StoredJournal, chained: list[dict[str, Any]], change_: tuple[str, str]
) -> None:
    [row] = await select(journal, "SELECT number FROM audit WHERE record LIKE '%m-1\"%' ORDER BY id LIMIT 1")
    sql, said = change_
    assert await change(journal, sql, row["number"]) == 1
    assert any(said in fault for fault in (await journal.verify()).faults)


@pytest.mark.parametrize("number", [0, 11], ids=["before", "after"])
async def test_p8_an_inserted_record_is_found(
    journal: StoredJournal, chained: list[dict[str, Any]], number: int
) -> None:
    """Even one that carries a mac that was copied from a true record."""
    await change(
        journal,
        "INSERT INTO audit (what, platform, event_id, record, at, number, mac)"
        " SELECT what, platform, 'e', record, at, $1, mac FROM audit WHERE number = 10",
        number,
    )
    assert (await journal.verify()).faults


async def test_p8_two_records_that_changed_places_are_found(
    journal: StoredJournal, chained: list[dict[str, Any]]
) -> None:
    rows = await select(journal, "SELECT number, record FROM audit WHERE number IN (3, 4) ORDER BY number")
    for row, other in zip(rows, rows[::-1], strict=True):
        await change(
            journal, "UPDATE audit SET record = $2 WHERE number = $1", row["number"], other["record"]
        )
    assert len((await journal.verify()).faults) == 2


async def test_p8_a_cut_tail_is_found(journal: StoredJournal, chained: list[dict[str, Any]]) -> None:
    await change(journal, "DELETE FROM audit WHERE number > 7")
    assert any("missing at its end" in fault for fault in (await journal.verify()).faults)


async def test_p8_a_cut_tail_with_the_old_checkpoint_is_found_against_collected_events(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("m-1"))
    collected = [seen.event for seen in await take_all(journal)]
    [old] = await select(journal, "SELECT value FROM meta WHERE name = 'audit_head'")
    await settle(journal, done(await claim_one(journal)))
    collected += [seen.event for seen in await take_all(journal) if seen.out.table == "audit"]
    await change(journal, "DELETE FROM audit WHERE number > 1")
    await change(journal, "UPDATE meta SET value = $1 WHERE name = 'audit_head'", old["value"])
    assert (await journal.verify()).faults == []  # nothing inside the database can tell
    report = await journal.verify(collected)
    assert any("record 2 was published and is missing" in fault for fault in report.faults)


async def test_p8_a_chain_that_was_sealed_anew_after_a_cut_differs_from_what_was_collected(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("m-1"))
    collected = [seen.event for seen in await take_all(journal)]
    await change(journal, "DELETE FROM audit")
    await change(journal, "DELETE FROM meta WHERE name = 'audit_head'")
    await admit(journal, order("m-2", BOB))
    await take_all(journal)
    assert (await journal.verify()).faults == []
    assert any("differs" in fault for fault in (await journal.verify(collected)).faults)


async def test_p8_a_forged_checkpoint_is_found(journal: StoredJournal, chained: list[dict[str, Any]]) -> None:
    [row] = await select(journal, "SELECT mac FROM audit WHERE number = 8")
    forged = json.dumps({"number": 8, "mac": row["mac"], "signed": "00"})
    await change(journal, "DELETE FROM audit WHERE number > 8")
    await change(journal, "UPDATE meta SET value = $1 WHERE name = 'audit_head'", forged)
    assert any("checkpoint" in fault for fault in (await journal.verify()).faults)


async def test_p8_a_forged_collected_event_is_told_apart(
    journal: StoredJournal, chained: list[dict[str, Any]]
) -> None:
    chained[3]["data"]["actor"] = "somebody"
    report = await journal.verify(
        [*chained, {"data": 7}, {"type": "other", "data": {}}, {"data": {"number": "x"}}]
    )
    assert report.collected == 10
    assert report.faults == ["collected event 4 does not carry a true mac"]


async def test_p8_without_the_key_nobody_can_make_a_record(
    journal: StoredJournal, chained: list[dict[str, Any]]
) -> None:
    other = Vault([new_key()])
    [row] = await select(journal, "SELECT record, mac FROM audit WHERE number = 10")
    record = json.loads(row["record"])
    mac = other.audit_mac(row["mac"], canonical(audit_data(record, 11, row["mac"])))
    await change(
        journal,
        "INSERT INTO audit (what, platform, event_id, record, at, number, mac)"
        " SELECT what, platform, 'e', record, at, 11, $1 FROM audit WHERE number = 10",
        mac,
    )
    assert (await journal.verify()).faults


async def test_rule_6_5_purge_leaves_a_signed_checkpoint(place: Place) -> None:
    journal = await place.open(retention=100.0)
    await journal.admit([order(f"m-{n}", f"key-{n}") for n in range(5)])
    collected = [seen.event for seen in await take_all(journal)]
    await earlier(journal, "audit", 101, "at")
    await run_all(journal)
    collected += [seen.event for seen in await take_all(journal) if seen.out.table == "audit"]
    assert (await journal.purge())["audit"] == 5
    report = await journal.verify(collected)
    assert report.faults == []
    assert (report.first, report.last) == (6, 10)
    await change(journal, "DELETE FROM audit WHERE number = 6")
    assert any("missing" in fault for fault in (await journal.verify()).faults)


async def test_rule_6_5_a_chain_that_was_purged_whole_goes_on(place: Place) -> None:
    journal = await place.open(retention=100.0)
    await admit(journal, order("m-1"))
    collected = [seen.event for seen in await take_all(journal)]
    await earlier(journal, "audit", 101, "at")
    await journal.purge()
    assert (await journal.verify(collected)).faults == []
    await admit(journal, order("m-2", BOB))
    [event] = [seen.event for seen in await take_all(journal)]
    assert event["data"]["number"] == 2
    assert event["data"]["previous"] == collected[0]["auditmac"]
    assert (await journal.verify([*collected, event])).faults == []


async def test_rule_6_5_purge_never_takes_what_was_not_published(place: Place) -> None:
    journal = await place.open(retention=0.0)
    await admit(journal, order("m-1"))
    await journal.seal(10)
    assert (await journal.purge())["audit"] == 0


async def test_rule_6_5_records_are_published_only_after_they_were_sealed(journal: StoredJournal) -> None:
    await admit(journal, order("m-1"), order("m-2", BOB))
    assert await journal.unpublished(10) == []
    assert await journal.seal(1) == 1
    [first] = await journal.unpublished(10)
    assert json.loads(first.body)["data"]["number"] == 1
    assert first.routing_key == "sip-br.admitted"
    assert await journal.seal(10) == 1
    assert await journal.seal(10) == 0


async def test_rule_6_5_sealers_at_once_make_one_chain(place: Place) -> None:
    journals = [await place.open() for _ in range(3)]

    async def work(number: int) -> None:
        journal = journals[number]
        for n in range(10):
            await admit(journal, order(f"{number}-{n}", f"key-{number}-{n}"))
            await journal.seal(3)

    await asyncio.gather(*(work(number) for number in range(3)))
    await take_all(journals[0])
    report = await journals[0].verify()
    assert report.faults == []
    assert (report.records, report.last) == (30, 30)


async def test_rule_6_5_a_note_of_the_engine_is_chained_as_well(journal: StoredJournal) -> None:
    note = AuditDraft("sent_after_lease", "sip-br", "worker", details={"late_by_ms": 12})
    await journal.audit([note])
    [seen] = await take_all(journal)
    assert seen.event["data"]["details"] == {"late_by_ms": 12}
    assert (await journal.verify()).faults == []
