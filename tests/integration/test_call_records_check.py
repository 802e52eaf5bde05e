"""The database of call records is looked at before a command needs it; and whose a call is that differs in case."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.calls import PASSWORD, Calls, calls
from tests.support.worker import Workers
from worker.domain.effect import Effect
from worker.domain.evidence import Reading
from worker.platforms.checkup import Examined
from worker.platforms.port import Step
from worker.platforms.sippulse.call_records.access import CallRecords
from worker.platforms.sippulse.call_records.checkup import privileges
from worker.settings import SippulseSettings
from worker.simulators.sippulse import serve

__all__ = ["calls"]

MAY = {"since": "2026-05-01T00:00:00Z", "until": "2026-06-01T00:00:00Z"}
LIST = Step(
    "list",
    "call_records.completed",
    Effect.READ,
    {"username": "ana", "domain": "pbx.example", "kind": "completed", **MAY},
    paged=True,
)
CREDIT = Step(
    "addCredit",
    "SubscriberWS.addCredit",
    Effect.INCREMENT,
    {"username": "ana", "domain": "pbx.example", "obs": "order-1 by phone"},
    amount=Decimal(10),
)


@asynccontextmanager
async def records(url: str, *, select: str = "auto", **given: Any) -> AsyncIterator[CallRecords]:
    wanted: dict[str, Any] = {
        "kind": "sippulse",
        "url": "http://127.0.0.1:1/SipPulse",
        "login": "admin",
        "password": "admin",
        "credit_evidence": select,
        "call_records": {"url": url, **given},
    }
    opened = CallRecords(SippulseSettings(**wanted))
    try:
        yield opened
    finally:
        await opened.close()


# ---------------------------------------------------------------- the look beforehand


async def examined(url: str, **given: Any) -> Sequence[Examined]:
    async with records(url, **given) as opened:
        return await opened.examine()


async def wrong(url: str, **given: Any) -> Examined:
    """What is the matter, which is one thing."""
    [found] = [one for one in await examined(url, **given) if one.level != "well"]
    assert found.next, "what to do about it"
    assert PASSWORD not in found.text + found.next
    return found


async def test_the_account_of_the_docs_is_found_well(calls: Calls) -> None:
    found = await examined(calls.reader)
    assert [one.level for one in found] == ["well", "well", "well"]
    said = " ".join(one.text for one in found)
    assert "signed in" in said
    assert "vi_cdrs can be read, 42 columns" in said
    assert "acc can be read, 23 columns" in said


async def test_an_account_that_may_write_is_named_with_what_it_may(calls: Calls) -> None:
    calls.run(f"GRANT INSERT, UPDATE (price) ON {calls.name}.cdrs TO '{calls.reader_name}'@'%'")
    found = await wrong(calls.reader)
    assert (found.level, found.text) == ("advice", "the account may do more than read: INSERT, UPDATE")


def test_of_the_rights_no_hash_of_a_password_is_kept() -> None:
    granted = [
        "GRANT USAGE ON *.* TO `r`@`%` IDENTIFIED BY PASSWORD '*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19'",
        "GRANT SELECT (`id`, `price`), INSERT ON `s`.`vi_cdrs` TO `r`@`%`",
        "GRANT ALL PRIVILEGES ON `x`.* TO `r`@`%` WITH GRANT OPTION",
        "GRANT `readers` TO `r`@`%`",
    ]
    assert privileges(granted) == {"USAGE", "SELECT", "INSERT", "ALL PRIVILEGES"}


async def test_a_table_that_may_not_be_read_is_named_with_what_to_grant(calls: Calls) -> None:
    calls.run(f"REVOKE SELECT ON {calls.name}.acc FROM '{calls.reader_name}'@'%'")
    found = await wrong(calls.reader)
    assert found.level == "broken"
    assert found.text.startswith("acc: the account in call_records.url may not read it")
    assert "GRANT" in found.next


async def test_a_view_without_prices_cannot_settle_credit(calls: Calls) -> None:
    calls.run("CREATE OR REPLACE VIEW vi_cdrs AS SELECT id, call_start_time, accountcode, service FROM cdrs")
    found = await wrong(calls.reader)
    assert (found.level, found.text) == ("broken", "vi_cdrs lacks price, without which it cannot be used")


async def test_columns_that_this_version_lacks_are_no_fault(calls: Calls) -> None:
    calls.run("ALTER TABLE acc DROP COLUMN descritor")
    found = await examined(calls.reader)
    assert {one.level for one in found} == {"well"}
    assert any("without descritor" in one.text for one in found)


@pytest.mark.parametrize(
    ("spoil", "said", "todo"),
    [
        (lambda url: url.replace(PASSWORD, "wr0ng"), "refuses the login", "user and password"),
        (lambda url: f"{url}x", "may not read it", "GRANT"),
        (lambda url: "mysql://reader:secret@127.0.0.1:9/sippulse", "does not answer", "host and port"),
    ],
    ids=["password", "database", "nobody there"],
)
async def test_a_database_that_lets_nobody_in_is_told_with_what_to_do(
    calls: Calls, spoil: Any, said: str, todo: str
) -> None:
    found = await wrong(spoil(calls.reader))
    assert found.level == "broken"
    assert said in found.text
    assert todo in found.next


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ("SELECT id FROM credits WHERE obs = :obs", "credit_evidence: the account"),
        ("SELECT FROM WHERE :command", "does not understand the SELECT"),
        ("SELECT id FROM vi_cdrs WHERE :command <> ''", "rows of a command that there is not"),
    ],
)
async def test_a_select_of_the_operators_is_tried_before_money_depends_on_it(
    calls: Calls, select: str, said: str
) -> None:
    calls.call()
    found = await wrong(calls.reader, select=select)
    assert found.level == "broken"
    assert said in found.text


async def test_doctor_and_platforms_check_look_at_the_call_records_too(calls: Calls, tmp_path: Path) -> None:
    simulator = await serve(0)
    platform = {"url": simulator.url, "call_records": {"url": calls.reader}}
    try:
        async with Workers(tmp_path, "amqp://127.0.0.1:9/", {"sippulse-br": platform}) as workers:
            well = await workers.worker("platforms", "check")
            assert well.code == 0, well.out
            assert "call records, well: vi_cdrs can be read" in well.out
            calls.run(f"REVOKE SELECT ON {calls.name}.vi_cdrs FROM '{calls.reader_name}'@'%'")
            ill = await workers.worker("platforms", "check", "--json")
            assert ill.code == 1
            doctor = await workers.worker("doctor")
            assert "broken   platform sippulse-br, call records: vi_cdrs: the account" in doctor.out
            assert "next: run the GRANT statements of docs/credit.md" in doctor.out
            for text in (well.out, ill.out, doctor.out, doctor.err):
                assert PASSWORD not in text
    finally:
        await simulator.close()


# ---------------------------------------------------------------- names that differ in case


class Kept(list[Any]):
    async def add(self, rows: Sequence[Any]) -> None:
        self += rows


LISTED = {"unknown": {"ana"}, "exact": {"ana"}, "ignored": {"ana", "ANA", "Ana"}}
COUNTED = {"unknown": 3, "exact": 1, "ignored": 3}


@pytest.mark.parametrize("case", ["unknown", "exact", "ignored"])
async def test_whose_a_call_is_that_differs_in_case_is_as_the_settings_say(calls: Calls, case: str) -> None:
    async with records(calls.reader, account_case=case) as opened:
        evidence, rows = opened.evidence, Kept()
        assert evidence is not None
        account = evidence.account("ana", "pbx.example")
        before = await evidence.before(account, CREDIT)
        assert isinstance(before, Reading)
        for name in ("ana", "ANA", "Ana", "anna"):
            calls.call(f"{name}@pbx.example", price="10.00")
        now = await evidence.after(account, CREDIT, before)
        await opened.read_rows(LIST, rows)
    assert isinstance(now, Reading)
    assert len(now.calls) == COUNTED[case]
    assert {row["accountcode"].partition("@")[0] for row in rows} == LISTED[case]


async def test_a_column_that_tells_case_apart_is_asked_for_the_likely_spellings(calls: Calls) -> None:
    calls.run("ALTER TABLE cdrs MODIFY accountcode varchar(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    calls.run("CREATE OR REPLACE VIEW vi_cdrs AS SELECT * FROM cdrs")
    for name in ("ana", "ANA"):
        calls.call(f"{name}@pbx.example")
    for case, found in (("unknown", 1), ("ignored", 2)):
        rows = Kept()
        async with records(calls.reader, account_case=case) as opened:
            await opened.read_rows(LIST, rows)
        assert len(rows) == found
