"""What the console reads and keeps, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conformance.support import (
    ALICE,
    BOB,
    CRM,
    Place,
    admit,
    change,
    claim,
    claim_one,
    done,
    lost,
    order,
    parked,
    records,
    refused,
    settle,
)
from worker.journal.console import bulk, people
from worker.journal.console import tables as console_tables
from worker.journal.console.access import ConsoleJournal
from worker.journal.console.lists import Wanted
from worker.journal.journal import StoredJournal
from worker.messages.errors import Code, Problem

KEPT = [table.name for table in console_tables.metadata.sorted_tables if table.name.startswith("console_")]


@pytest.fixture
async def console(place: Place, journal: StoredJournal) -> AsyncIterator[ConsoleJournal]:
    it = ConsoleJournal(journal, place.url)
    for name in KEPT:
        await change(journal, f"DELETE FROM {name}")
    yield it
    await it.close()


async def ids(console: ConsoleJournal, **wanted: Any) -> list[str]:
    return [row["message_id"] for row in (await console.page(Wanted(**wanted))).rows]


async def five(journal: StoredJournal) -> None:
    """m-1 succeeded, m-2 was rejected, m-3 is parked, m-4 is in doubt, m-5 waits behind it."""
    people = [f"sip-br:subscriber:{name}@example.org" for name in ("ana", "bea", "caio", "davi", "davi")]
    for number, key in enumerate(people, 1):
        type = "credit.add.v1" if number == 2 else "calls.block.v1"
        await admit(journal, order(f"m-{number}", key, type=type, batch_id="b-1" if number < 3 else None))
    one, two, three, four = sorted(await claim(journal), key=lambda claim: claim.message_id)
    wrong = Problem(Code.PLATFORM_REFUSED, "account 'bea@example.org' has 12 lines, 10 allowed")
    await settle(journal, done(one), refused(two, problem=wrong), parked(three), lost(four, due_in=60.0))


async def test_a_list_is_filtered_by_what_an_operator_names(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    await five(journal)
    assert await ids(console) == ["m-5", "m-4", "m-3", "m-2", "m-1"]
    assert await ids(console, state="succeeded") == ["m-1"]
    assert await ids(console, state="rejected") == ["m-2"]
    assert await ids(console, state="parked") == ["m-3"]
    assert await ids(console, state="in_doubt") == ["m-4"]
    assert await ids(console, state="waiting") == ["m-5"]
    assert await ids(console, type="credit.add.v1") == ["m-2"]
    assert await ids(console, platform="sip-br", type="calls.block.v1") == ["m-5", "m-4", "m-3", "m-1"]
    assert await ids(console, platform="another") == []
    assert await ids(console, batch="b-1") == ["m-2", "m-1"]
    assert await ids(console, source=CRM, state="parked") == ["m-3"]
    assert await ids(console, about="sip-br:subscriber:davi@example.org") == ["m-5", "m-4"]
    now = await journal.now()
    assert len(await ids(console, since=now - 60, until=now + 60)) == 5
    assert await ids(console, until=now - 3600) == []


async def test_pages_follow_each_other_without_gap_or_repeat(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    for number in range(7):
        await admit(journal, order(f"m-{number}", f"sip-br:subscriber:p{number}@example.org"))
    for filters in ({}, {"platform": "sip-br"}, {"state": "waiting"}):
        seen: list[str] = []
        before = None
        while True:
            page = await console.page(Wanted(limit=3, before=before, **filters))
            seen += [row["message_id"] for row in page.rows]
            if page.more is None:
                break
            before = page.more
        assert seen == [f"m-{number}" for number in reversed(range(7))]


async def test_search_finds_ids_keys_people_and_words_of_the_error(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    await five(journal)
    await admit(journal, order("m-6", BOB, idempotency_key="invoice-77"))
    number = (await console.page(Wanted(text="m-3"))).rows[0]["id"]
    assert await ids(console, text=str(number)) == ["m-3"]
    assert await ids(console, text="invoice-77") == ["m-6"]
    assert await ids(console, text="davi@example.org") == ["m-5", "m-4"]
    assert await ids(console, text="dav") == ["m-5", "m-4"]
    assert await ids(console, text="sip-br:subscriber:ana") == ["m-1"]
    assert await ids(console, text="da_i") == []
    await console.fold()
    assert await ids(console, text="LINES") == ["m-2"]
    assert await ids(console, text="x" * 10_000) == []
    assert await ids(console, text="'; DROP TABLE commands; --") == []


async def test_failures_alike_but_for_numbers_and_names_are_one_group(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    for number, name in enumerate(("ana", "bea"), 1):
        await admit(journal, order(f"m-{number}", f"sip-br:subscriber:{name}@example.org"))
        claimed = await claim_one(journal)
        text = f"subscriber {name}@example.org has {number * 7} lines"
        await settle(journal, refused(claimed, problem=Problem(Code.PLATFORM_REFUSED, text)))
    await console.fold()
    await console.fold()
    [group] = await console.groups()
    assert (group["count"], group["code"], group["platform"]) == (2, "platform_refused", "sip-br")
    assert group["pattern"] == "subscriber ‹…› has # lines"
    assert sum(group["trend"]) == 2
    assert await ids(console, group=group["id"]) == ["m-2", "m-1"]
    assert await ids(console, code="platform_refused") == ["m-2", "m-1"]
    assert await ids(console, code="over_limit") == []

    assert await console.note(group["id"], "they know", "ana")
    assert await console.archive_group(group["id"], True, "ana", "known")
    assert await console.groups() == []
    assert [one["note"] for one in await console.groups(archived=True)] == ["they know"]
    assert {"group_noted", "group_archived"} <= {one["what"] for one in await records(journal)}

    await admit(journal, order("m-3", BOB))
    claimed = await claim_one(journal)
    text = "subscriber bob@example.org has 3 lines"
    await settle(journal, refused(claimed, problem=Problem(Code.PLATFORM_REFUSED, text)))
    await console.fold()
    [back] = await console.groups()
    assert (back["id"], back["count"]) == (group["id"], 3), (
        "what fails again after it was archived comes back"
    )


async def test_a_parked_command_stands_in_its_group_until_somebody_decided(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    await admit(journal, order("m-1", ALICE))
    await settle(journal, parked(await claim_one(journal)))
    await console.fold()
    [group] = await console.groups()
    assert (group["count"], group["parked"], group["code"]) == (1, 1, "gave_up")
    [row] = (await console.page(Wanted(text="m-1"))).rows
    await journal.retry(str(row["id"]), "ana", "once more")
    await console.fold()
    [group] = await console.groups()
    assert (group["count"], group["parked"]) == (1, 0)


async def test_figures_a_minute_count_each_end_once(console: ConsoleJournal, journal: StoredJournal) -> None:
    await five(journal)
    await change(journal, "UPDATE commands SET finished_at = finished_at - 60 WHERE finished_at IS NOT NULL")
    await console.fold()
    await console.fold()
    figures = (await console.minutes(60))["sip-br"]
    assert len(figures) == 60
    assert sum(one["succeeded"] for one in figures) == 1
    assert sum(one["failed"] for one in figures) == 1
    assert [one["p50"] for one in figures if one["succeeded"]]
    open_ = (await console.overview())["open"]["sip-br"]
    assert (open_["waiting"], open_["in_doubt"], open_["parked"]) == (1, 1, 1)


async def test_one_command_is_shown_with_all_that_is_known(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    await five(journal)
    found = await console.command("m-4")
    assert [one["message_id"] for one in found["line"]] == ["m-4", "m-5"]
    assert found["window"]["window_command"] == found["id"]
    assert found["attempts_made"] == [] or found["attempts_made"][0]["outcome"] == "unclear"


async def test_a_preview_leaves_out_what_is_unknown_and_counts_what_was_overtaken(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    await five(journal)
    await admit(journal, order("m-6", "sip-br:subscriber:bea@example.org"))
    seen = await console.preview("retry", Wanted())
    assert seen.unknown == 1
    assert seen.superseded == 1
    assert len(seen.numbers) == 1
    assert seen.platforms == {"sip-br": 1}
    with_old = await console.preview("retry", Wanted(), superseded=True)
    assert len(with_old.numbers) == 2
    number = await console.begin(seen, Wanted(), "ana", "after the outage")
    act = await console.bulk_act(number)
    assert act is not None
    assert (act["state"], act["total"], act["acted"]) == ("going", 1, 0)
    assert await journal.run(lambda tx: bulk.next_items(tx, number, 5)) == list(seen.numbers)
    assert await console.end_bulk(number, "ana", "enough")
    assert not await console.end_bulk(number, "ana", "enough")
    assert [one["what"] for one in await records(journal)][-2:] == ["bulk_begun", "bulk_stopped"]


async def test_a_portion_tells_what_failed_again(console: ConsoleJournal, journal: StoredJournal) -> None:
    await five(journal)
    rows = (await console.page(Wanted())).rows
    portion = await journal.run(lambda tx: bulk.fare(tx, [row["id"] for row in rows]))
    assert (portion.count, portion.failed, portion.open) == (5, 3, 1)


async def test_five_wrong_passwords_close_the_door_for_a_while(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    await journal.run(lambda tx: people.put_user(tx, "ana", "operator", "hash", "link", "why"))
    for _ in range(4):
        await journal.run(lambda tx: people.wrong_password(tx, "ana", "127.0.0.1"))
    user = await journal.run(lambda tx: people.user(tx, "ana"))
    assert user is not None
    assert user.locked is None
    await journal.run(lambda tx: people.wrong_password(tx, "ana", "127.0.0.1"))
    user = await journal.run(lambda tx: people.user(tx, "ana"))
    assert user is not None
    assert user.locked is not None
    assert 0 < user.locked <= 60
    secret = await journal.run(lambda tx: people.sign_in(tx, "ana", "127.0.0.1"))
    user = await journal.run(lambda tx: people.user(tx, "ana"))
    assert user is not None
    assert user.locked is None
    found = await journal.run(lambda tx: people.session(tx, secret))
    assert found == (people.Person("ana", "operator"), False)


async def test_a_session_ends_with_its_time_its_user_and_its_owner_s_wish(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    async def open_(secret: str) -> bool:
        return await journal.run(lambda tx: people.session(tx, secret)) is not None

    await journal.run(lambda tx: people.put_user(tx, "ana", "viewer", "hash", "link", "why"))
    first = await journal.run(lambda tx: people.sign_in(tx, "ana", "here"))
    second = await journal.run(lambda tx: people.sign_in(tx, "ana", "here"))
    assert await open_(first)
    await journal.run(lambda tx: people.sign_out(tx, first))
    assert not await open_(first)
    assert await open_(second)
    await journal.run(lambda tx: people.put_user(tx, "ana", "operator", None, "boss", "why"))
    assert not await open_(second)
    third = await journal.run(lambda tx: people.sign_in(tx, "ana", "here"))
    await change(journal, "UPDATE console_sessions SET seen_at = seen_at - 30000")
    assert not await open_(third)
    fourth = await journal.run(lambda tx: people.sign_in(tx, "ana", "here"))
    await journal.run(lambda tx: people.disable_user(tx, "ana", "boss", "why"))
    assert not await open_(fourth)


async def test_a_token_holds_to_its_day_and_stands_nowhere(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    secret = await journal.run(lambda tx: people.make_token(tx, "crm", "viewer", 30, "ana", "why"))
    person = await journal.run(lambda tx: people.token(tx, secret))
    assert person == people.Person("token crm", "viewer", token=True)
    [line] = await journal.run(people.tokens)
    assert secret not in str(line) + str(await records(journal))
    assert await journal.run(lambda tx: people.revoke_token(tx, line["id"], "ana", "why"))
    assert await journal.run(lambda tx: people.token(tx, secret)) is None
    other = await journal.run(lambda tx: people.make_token(tx, "crm", "viewer", 30, "ana", "why"))
    await change(journal, "UPDATE console_tokens SET expires_at = expires_at - 31 * 86400")
    assert await journal.run(lambda tx: people.token(tx, other)) is None


async def test_no_two_live_tokens_have_one_name(console: ConsoleJournal, journal: StoredJournal) -> None:
    async def make(name: str) -> str:
        return await journal.run(lambda tx: people.make_token(tx, name, "viewer", 30, "ana", "why"))

    await make("crm")
    await make("erp")
    with pytest.raises(people.NameTaken):
        await make("crm")
    [line, _] = await journal.run(people.tokens)
    await journal.run(lambda tx: people.revoke_token(tx, line["id"], "ana", "why"))
    await make("crm")
    await change(journal, "UPDATE console_tokens SET expires_at = expires_at - 31 * 86400")
    await make("crm")


async def test_the_link_for_the_first_admin_works_once(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    assert not await journal.run(people.any_admin)
    old = await journal.run(lambda tx: people.make_link(tx, "worker", "why"))
    link = await journal.run(lambda tx: people.make_link(tx, "worker", "why"))
    assert not await journal.run(lambda tx: people.use_link(tx, old, "eve", "hash"))
    assert await journal.run(lambda tx: people.use_link(tx, link, "ana", "hash"))
    assert not await journal.run(lambda tx: people.use_link(tx, link, "eve", "hash"))
    assert [one["name"] for one in await journal.run(people.users)] == ["ana"]
    assert await journal.run(people.any_admin)


async def test_audit_records_are_found_by_what_and_who(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    await journal.run(lambda tx: people.put_user(tx, "ana", "viewer", "hash", "boss", "why"))
    await console.denied(people.Person("ana", "viewer"), "retry", "a viewer may not", {"command": 7})
    [denied], _ = await console.records(what="denied")
    assert (denied["actor"], denied["details"]["act"], denied["details"]["command"]) == ("ana", "retry", 7)
    by_boss, _ = await console.records(actor="boss")
    assert [one["what"] for one in by_boss] == ["user_made"]


async def test_a_reader_changes_nothing_and_another_journal_s_commits_are_seen_at_once(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    assert await ids(console) == []
    await admit(journal, order("m-1", ALICE))
    assert await ids(console) == ["m-1"]
