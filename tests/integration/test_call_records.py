"""Call records out of a real MariaDB: every column typed, memory bounded, what cannot be read told clearly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import jsonschema
import psutil
import pymysql
import pytest

from tests.support.calls import PASSWORD, Calls, calls, calls_of
from worker.domain.effect import Effect
from worker.domain.evidence import Reading
from worker.domain.outcome import Busy, Done, NotSent, Outcome, Refused
from worker.messages.errors import Code
from worker.messages.sippulse.call_records import ACC, VI_CDRS, row_schema
from worker.platforms.port import Step
from worker.platforms.sippulse.call_records.access import CallRecords
from worker.platforms.sippulse.call_records.account import Account
from worker.platforms.sippulse.call_records.database import Database, Unreadable
from worker.sandbox.mariadb import PrivateMariaDb
from worker.settings import SippulseSettings
from worker.settings.platforms import CallRecordSettings

__all__ = ["calls"]

ANA = Account("ana", "pbx.example")
MAY = {"since": "2026-05-01T00:00:00Z", "until": "2026-06-01T00:00:00Z"}


class Kept:
    """Takes the rows, and says how many came at once."""

    def __init__(self, keep: bool = True) -> None:
        self.rows: list[Mapping[str, Any]] = []
        self.parts: list[int] = []
        self._keep = keep

    async def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.parts.append(len(rows))
        if self._keep:
            self.rows += rows


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


def step(kind: str = "completed", **asked: Any) -> Step:
    params = {"username": "ana", "domain": "pbx.example", "kind": kind, **MAY, **asked}
    return Step("list", f"call_records.{kind}", Effect.READ, params, paged=True)


async def listed(url: str, wanted: Step, **given: Any) -> tuple[Outcome, list[Mapping[str, Any]]]:
    kept = Kept()
    async with records(url, **given) as opened:
        reply = await opened.read_rows(wanted, kept)
    return reply.outcome, kept.rows


EVERY_COLUMN = {
    "id": "7",
    "call_start_time": "2026-05-01 12:00:00",
    "src_uri": "sip:ana@pbx.example",
    "duration": "73",
    "rate": "0.1",
    "price": "12.345678",
    "rateplan_prepaid": "0",
    "reseller_id": None,
    "gwid": "42",
    "src_ip": "192.0.2.1",
    "cost_price": "1e-7",
}


async def test_all_42_columns_of_a_rated_call_come_typed(calls: Calls) -> None:
    calls.call(**EVERY_COLUMN)
    outcome, [row] = await listed(calls.reader, step())
    assert outcome == Done({"seconds": 73, "price": "12.345678", "truncated": False})
    assert list(row) == [column.name for column in VI_CDRS.columns]
    assert len(row) == 42
    jsonschema.Draft202012Validator(row_schema(VI_CDRS)).validate(row)
    shown = {name: row[name] for name in EVERY_COLUMN}
    assert shown == {
        "id": 7,
        "call_start_time": "2026-05-01T12:00:00+00:00",
        "src_uri": "sip:ana@pbx.example",
        "duration": 73,
        "rate": "0.1",
        "price": "12.345678",
        "rateplan_prepaid": False,
        "reseller_id": None,
        "gwid": 42,
        "src_ip": "192.0.2.1",
        "cost_price": "0.0000001",
    }


async def test_all_23_columns_of_a_failed_call_come_typed(calls: Calls) -> None:
    calls.call(table="acc", sip_code="486", sip_reason="Busy Here", gwid=3, direction="outbound")
    outcome, [row] = await listed(calls.reader, step("failed"))
    assert outcome == Done({"truncated": False})
    assert [*row] == [column.name for column in ACC.columns]
    assert len(row) == 23
    jsonschema.Draft202012Validator(row_schema(ACC)).validate(row)
    assert (row["time"], row["sip_code"], row["gwid"], row["direction"]) == (
        "2026-05-01T12:00:00+00:00",
        "486",
        3,
        "outbound",
    )


async def test_the_period_is_meant_in_the_accounts_time_zone(calls: Calls) -> None:
    for hour in ("2026-04-30 23:59:59", "2026-05-01 00:00:00", "2026-05-01 23:59:59", "2026-05-02 00:00:00"):
        calls.call(call_start_time=hour)
    day = {"since": "2026-05-01T03:00:00Z", "until": "2026-05-02T00:00:00-03:00"}
    _, rows = await listed(calls.reader, step(**day), time_zone="America/Sao_Paulo")
    assert [row["call_start_time"] for row in rows] == [
        "2026-05-01T00:00:00-03:00",
        "2026-05-01T23:59:59-03:00",
    ]


async def test_only_the_account_is_listed_whatever_case_the_server_compares_in(calls: Calls) -> None:
    for account in (
        "ana@pbx.example",
        "ANA@pbx.example",
        "ana@PBX.example",
        "bob@pbx.example",
        "ana@pbx.other",
    ):
        calls.call(account)
    _, rows = await listed(calls.reader, step(domain="PBX.Example"))
    assert {row["accountcode"] for row in rows} <= {"ana@pbx.example", "ana@PBX.example"}
    assert rows


async def test_a_service_is_asked_for_as_an_argument_and_never_as_sql(calls: Calls) -> None:
    calls.call(service="local")
    calls.call(service="pstn")
    assert [row["service"] for row in (await listed(calls.reader, step(service="local")))[1]] == ["local"]
    outcome, rows = await listed(calls.reader, step(service="x' OR '1'='1"))
    assert (isinstance(outcome, Done), rows) == (True, [])


async def test_a_limit_takes_the_oldest_and_says_that_there_were_more(calls: Calls) -> None:
    calls.many(12)
    for limit, truncated in ((11, True), (12, False), (13, False)):
        outcome, rows = await listed(calls.reader, step(limit=limit))
        assert isinstance(outcome, Done)
        assert (len(rows), outcome.output["truncated"]) == (min(limit, 12), truncated)
    assert rows[0]["id"] < rows[-1]["id"]


async def test_many_rows_come_whole_and_in_order_and_never_sit_in_memory(calls: Calls) -> None:
    calls.many(30_000)
    process, before = psutil.Process(), 0
    most: list[int] = []

    class Watching(Kept):
        async def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
            await super().add(rows)
            most.append(process.memory_info().rss)

    kept = Watching(keep=False)
    async with records(calls.reader) as opened:
        before = process.memory_info().rss
        reply = await opened.read_rows(step(), kept)
    assert isinstance(reply.outcome, Done)
    assert reply.outcome.output["seconds"] == 1_485_000
    assert Decimal(reply.outcome.output["price"]) == Decimal("14850.00")
    assert sum(kept.parts) == 30_000
    assert max(kept.parts) <= 500
    grown = max(most) - before  # held together, these rows are more than 100 MiB
    assert grown < 32 * 2**20, f"{grown / 2**20:.1f} MiB"


# What cannot be read ----------------------------------------------------------------------------------


async def refused(url: str, **given: Any) -> str:
    outcome, rows = await listed(url, step(), **given)
    assert isinstance(outcome, (NotSent, Refused)), outcome
    assert rows == []
    text = outcome.why if isinstance(outcome, NotSent) else outcome.text
    assert PASSWORD not in text
    assert "wr0ng" not in text
    return f"{type(outcome).__name__}: {text}"


async def test_a_wrong_password_is_told_and_tried_again(calls: Calls) -> None:
    said = await refused(calls.server.url(calls.name, calls.reader_name, "wr0ng"))
    assert said.startswith("NotSent: the database of call records refuses the login in call_records.url")


async def test_an_account_without_the_right_is_told_what_to_grant(calls: Calls) -> None:
    calls.run(f"REVOKE SELECT ON {calls.name}.vi_cdrs FROM '{calls.reader_name}'@'%'")
    assert "grant it SELECT on vi_cdrs and acc" in await refused(calls.reader)


def test_the_account_of_the_docs_may_read_the_two_and_nothing_else(calls: Calls) -> None:
    calls.run("CREATE TABLE credits (id int)")
    reader = Calls(calls.server, calls.name, calls.reader_name)
    may = calls.run(f"SHOW GRANTS FOR '{calls.reader_name}'@'%'")
    assert sorted(line.split(" TO ")[0] for [line] in may if "USAGE" not in line) == [
        f"GRANT SELECT ON `{calls.name}`.`acc`",
        f"GRANT SELECT ON `{calls.name}`.`vi_cdrs`",
    ]
    for statement in (
        "SELECT * FROM cdrs",
        "SELECT * FROM credits",
        "DELETE FROM acc",
        "CREATE TABLE x (i int)",
    ):
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            reader.run_as_reader(statement)
    reader.run_as_reader("SELECT * FROM vi_cdrs")
    reader.run_as_reader("SELECT * FROM acc")


async def test_a_database_that_is_away_is_told_and_tried_again(dedicated_mariadb: PrivateMariaDb) -> None:
    with calls_of(dedicated_mariadb) as own:
        own.call()
        async with records(own.reader, statement_timeout=1) as opened:
            assert isinstance((await opened.read_rows(step(), Kept())).outcome, Done)
            own.server.freeze()
            outcome = (await opened.read_rows(step(), Kept())).outcome
            assert isinstance(outcome, NotSent)
            assert "did not answer within 3 s" in outcome.why
            own.server.thaw()
            assert isinstance((await opened.read_rows(step(), Kept())).outcome, Done)
            await asyncio.to_thread(own.server.kill)
            outcome = (await opened.read_rows(step(), Kept())).outcome
            assert isinstance(outcome, NotSent)
            await asyncio.to_thread(own.server.start)
            kept = Kept()
            assert isinstance((await opened.read_rows(step(), kept)).outcome, Done)
            assert len(kept.rows) == 1


async def test_a_query_that_never_ends_is_ended_by_the_database(calls: Calls) -> None:
    calls.run("CREATE OR REPLACE VIEW vi_cdrs AS SELECT cdrs.* FROM cdrs WHERE SLEEP(3600) = 0")
    calls.call()
    said = await refused(calls.reader, statement_timeout=0.5)
    assert "took longer than 0.5 s" in said
    assert calls.run("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%vi_cdrs%' AND info NOT LIKE"
                     " '%processlist%'") == ((0,),)  # fmt: skip


async def test_a_table_without_a_column_that_is_needed_refuses_the_list(calls: Calls) -> None:
    calls.run("CREATE OR REPLACE VIEW vi_cdrs AS SELECT id, call_start_time, price FROM cdrs")
    said = await refused(calls.reader)
    assert said == "Refused: vi_cdrs in the database lacks accountcode, service"
    outcome, _ = await listed(calls.reader, step())
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.certain) == (Code.UNSUPPORTED_BY_SERVER, True)


async def test_columns_that_this_version_lacks_are_null_and_named(calls: Calls) -> None:
    calls.run(*(f"ALTER TABLE acc DROP COLUMN {column.name}" for column in ACC.columns if not column.always))
    calls.call(table="acc")
    outcome, [row] = await listed(calls.reader, step("failed"))
    assert isinstance(outcome, Done)
    assert outcome.output["missing_columns"] == [column.name for column in ACC.columns if not column.always]
    assert (len(row), row["descritor"]) == (23, None)


async def test_a_table_that_is_not_there_refuses_the_list(calls: Calls) -> None:
    calls.run("DROP VIEW vi_cdrs", f"GRANT SELECT ON {calls.name}.* TO '{calls.reader_name}'@'%'")
    assert (await refused(calls.reader)).startswith(
        "Refused: the database in call_records.url has no such table"
    )


async def test_an_address_where_nobody_answers_is_told(calls: Calls) -> None:
    assert "does not answer" in await refused(f"mysql://reader:{PASSWORD}@127.0.0.1:1/sippulse")


async def test_the_session_only_reads_even_with_an_account_that_may_write(calls: Calls) -> None:
    database = Database(CallRecordSettings(url=calls.owner))
    with pytest.raises(Unreadable, match="1792"):
        await database.select("INSERT INTO acc (sip_code) VALUES ('200')", {})
    await database.close()
    assert "***" in repr(database)


async def test_lists_leave_connections_to_the_evidence_for_credit(calls: Calls) -> None:
    calls.many(600)
    held = asyncio.Event()

    class Slow(Kept):
        async def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
            await held.wait()

    async with records(calls.reader, connections=2) as opened:
        assert opened.evidence is not None
        first = asyncio.create_task(opened.read_rows(step(), Slow()))
        await asyncio.sleep(0)
        assert isinstance((await opened.read_rows(step(), Kept())).outcome, Busy)
        assert isinstance(await opened.evidence.before(ANA, credit()), Reading)
        held.set()
        assert isinstance((await first).outcome, Done)


# Evidence for credit ----------------------------------------------------------------------------------


def credit(obs: str = "order-1 by phone") -> Step:
    params = {"username": "ana", "domain": "pbx.example", "value": Decimal(10), "obs": obs}
    return Step("addCredit", "SubscriberWS.addCredit", Effect.INCREMENT, params, amount=Decimal(10))


async def looked(opened: CallRecords, before: Reading | None = None) -> Reading:
    assert opened.evidence is not None
    found = await (
        opened.evidence.after(ANA, credit(), before) if before else opened.evidence.before(ANA, credit())
    )
    assert isinstance(found, Reading), found
    return found


async def test_calls_after_the_highest_id_explain_the_balance_and_earlier_ones_do_not(calls: Calls) -> None:
    calls.call(price="1.00")
    calls.call("bob@pbx.example", price="2.00")
    async with records(calls.reader) as opened:
        before = await looked(opened)
        assert before.last_call == 1
        assert (await looked(opened, before)).calls == ()
        calls.call(price="0.35")
        calls.call("bob@pbx.example", price="2.00")
        calls.call(price="0.70")
        now = await looked(opened, before)
    assert (now.calls, now.last_call) == ((Decimal("0.35"), Decimal("0.7")), 5)


async def test_an_account_without_any_call_begins_at_none(calls: Calls) -> None:
    async with records(calls.reader) as opened:
        before = await looked(opened)
        calls.call(price="0.35")
        assert (before.last_call, (await looked(opened, before)).calls) == (0, (Decimal("0.35"),))


async def test_a_record_that_is_committed_behind_a_higher_id_is_seen_all_the_same(calls: Calls) -> None:
    calls.call(id=100)
    calls.call(id=102)
    async with records(calls.reader) as opened:
        before = await looked(opened)
        calls.call(id=101, price="10.00")
        assert (await looked(opened, before)).calls == (Decimal(10),)


async def test_a_call_without_a_price_yet_is_not_readable_now(calls: Calls) -> None:
    async with records(calls.reader) as opened:
        before = await looked(opened)
        calls.call(price=None)
        assert opened.evidence is not None
        found = await opened.evidence.after(ANA, credit(), before)
    assert found == NotSent("call 1 in vi_cdrs has no price yet")


async def test_an_unreadable_database_is_not_readable_now_and_never_a_guess(calls: Calls) -> None:
    async with records(calls.server.url(calls.name, calls.reader_name, "wr0ng")) as opened:
        assert opened.evidence is not None
        assert isinstance(await opened.evidence.before(ANA, credit()), NotSent)
        assert isinstance(await opened.evidence.after(ANA, credit(), Reading(last_call=3)), NotSent)


SELECT = (
    "SELECT id FROM credits WHERE login = :username AND account = :account AND value = :amount"
    " AND (obs = :obs OR obs LIKE CONCAT(:command, ' %')) AND kind <> ':obs'"
)


async def test_an_operators_select_gets_its_parameters_as_values(calls: Calls) -> None:
    calls.run(
        "CREATE TABLE credits (id int, login varchar(64), account varchar(128), value decimal(10,2), obs varchar(250),"
        " kind varchar(9))",
        f"GRANT SELECT ON {calls.name}.credits TO '{calls.reader_name}'@'%'",
    )
    entry = "INSERT INTO credits VALUES (1, 'ana', 'ana@pbx.example', 10, 'order-1 by phone', 'web')"
    async with records(calls.reader, select=SELECT) as opened:
        before = await looked(opened)
        assert before.entries == 0
        calls.run(entry)
        assert (await looked(opened, before)).entries == 1
        calls.run(entry, entry, entry)
        assert (await looked(opened, before)).entries == 3
        assert opened.evidence is not None
        other = replace(credit(), params={**credit().params, "obs": "order-1' OR '1'='1"})
        assert (await opened.evidence.before(ANA, other)).entries == 0  # type: ignore[union-attr] # a Reading
