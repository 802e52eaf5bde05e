"""Rules 6.3 and 8.4, P6: what could not be admitted is answered, kept within limits, and looked at as an act."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.support import (
    ALICE,
    BOB,
    Place,
    admit,
    bad,
    earlier,
    inquiry,
    order,
    records,
    results,
    run_all,
    select,
)
from worker.journal.driver import Unstorable
from worker.journal.journal import StoredJournal
from worker.journal.port import Arrival, Refusal
from worker.messages.errors import Code, Problem


async def test_p6_a_refused_message_is_answered_kept_and_recorded_in_one_commit(
    journal: StoredJournal,
) -> None:
    assert await admit(journal, bad("m-1", body=b'{"broken', reply_to="crm.answers")) == ["refused"]
    [answer] = await results(journal, "refused")
    assert answer.data["error"]["code"] == "invalid_message"
    assert answer.data["command"]["id"] == "m-1"
    assert answer.data["effect"] == "none"
    assert answer.out.routing_key == "unknown.unknown.refused"
    [private] = await results(journal, private=True)
    assert private.out.routing_key == "crm.answers"
    [kept] = await journal.quarantined()
    assert kept["uid"] == answer.data["refused_message"]
    assert (kept["message_id"], kept["source"], kept["code"], kept["kept"]) == (
        "m-1",
        "/crm",
        "invalid_message",
        True,
    )
    [record] = await records(journal)
    assert (record["what"], record["details"]["refused_message"]) == ("refused", kept["uid"])


async def test_p6_what_cannot_be_read_at_all_is_refused_without_a_command(journal: StoredJournal) -> None:
    await admit(journal, bad(None))
    [answer] = await results(journal)
    assert answer.data["command"] is None
    assert answer.out.routing_key == "unknown.unknown.refused"


async def test_p6_a_refusal_is_routed_by_platform_and_type_where_both_are_known(
    journal: StoredJournal,
) -> None:
    problem = Problem(Code.MISSING_FIELD, "credit.add needs amount", "amount")
    known = {"id": "m-1", "source": "/crm", "type": "credit.add.v1", "platform": "sip-br"}
    await admit(journal, Arrival(Refusal(problem, known, b"{}", "q"), b"{}", "q"))
    [answer] = await results(journal)
    assert answer.out.routing_key == "sip-br.credit.add.refused"
    assert answer.data["error"]["field"] == "amount"


async def test_p6_good_messages_around_a_bad_one_are_unharmed(journal: StoredJournal) -> None:
    batch = [
        order("a-1"),
        bad("x"),
        order("a-2"),
        bad(None),
        order("b-1", BOB),
        inquiry("get", "q", target_id="a-1"),
    ]
    assert await journal.admit(batch) == [
        "admitted",
        "refused",
        "admitted",
        "refused",
        "admitted",
        "answered",
    ]
    assert await run_all(journal) == ["a-1", "b-1", "a-2"]


async def test_rule_8_4_looking_at_a_body_is_an_act(journal: StoredJournal) -> None:
    await admit(journal, bad("m-1", body=b"what came"))
    [kept] = await journal.quarantined()
    found = await journal.quarantine_show(kept["uid"], "ann", "the CRM asks")
    assert found is not None
    record, body, headers = found
    assert (record["uid"], body, headers) == (kept["uid"], b"what came", {"x-origin": "test"})
    last = (await records(journal))[-1]
    assert (last["what"], last["actor"], last["reason"]) == ("quarantine_shown", "ann", "the CRM asks")
    assert last["details"]["refused_message"] == kept["uid"]


async def test_rule_8_4_one_that_does_not_exist_leaves_no_record(journal: StoredJournal) -> None:
    assert await journal.quarantine_show("nope", "ann", "x") is None
    assert await journal.quarantine_mark("nope", "dropped", "ann", "x") is False
    assert await records(journal) == []


async def test_rule_8_4_the_first_letters_of_a_name_are_enough_and_signs_are_no_pattern(
    journal: StoredJournal,
) -> None:
    await admit(journal, bad("m-1"))
    kept = await journal.quarantined()
    assert await journal.quarantine_show(kept[0]["uid"][:8], "ann", "x") is not None
    assert await journal.quarantine_show("%", "ann", "x") is None
    assert await journal.quarantine_show("", "ann", "x") is None


async def test_rule_8_4_a_dropped_body_is_gone_and_the_record_of_it_stays(journal: StoredJournal) -> None:
    await admit(journal, bad("m-1"))
    [kept] = await journal.quarantined()
    assert await journal.quarantine_mark(kept["uid"], "dropped", "ann", "junk")
    assert await journal.quarantined() == []
    [dropped] = await journal.quarantined("dropped")
    assert (dropped["uid"], dropped["kept"]) == (kept["uid"], False)
    [row] = await select(journal, "SELECT body_sealed, headers_sealed FROM quarantine")
    assert set(row.values()) == {None}
    assert (await records(journal))[-1]["what"] == "quarantine_dropped"


async def test_rule_8_4_one_that_was_sent_again_is_marked(journal: StoredJournal) -> None:
    await admit(journal, bad("m-1"))
    [kept] = await journal.quarantined()
    assert await journal.quarantine_mark(kept["uid"], "sent", "ann", "put right")
    assert [record["uid"] for record in await journal.quarantined("sent")] == [kept["uid"]]


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ({"quarantine_rows": 2}, [True, True, False, False]),
        ({"quarantine_bytes": 64 * 10 + 9}, [True, True, True, True]),
        ({"quarantine_source_hour": 3}, [True, True, True, False]),
    ],
    ids=["rows", "bytes", "source"],
)
@pytest.mark.parametrize("together", [True, False], ids=["one-batch", "one-by-one"])
async def test_rule_8_4_over_the_limits_only_the_record_is_kept(
    place: Place, limits: dict[str, int], kept: list[bool], together: bool
) -> None:
    journal = await place.open(**limits)
    batch = [bad(f"m-{n}", body=b"0123456789") for n in range(4)]
    for part in [batch] if together else [[one] for one in batch]:
        await journal.admit(part)
    assert [record["kept"] for record in (await journal.quarantined())[::-1]] == kept
    assert len(await results(journal, "refused")) == 4  # everybody is answered all the same
    assert await journal.admit([bad("m-9", source="/shop", body=b"x")]) == ["refused"]
    [other, *_] = await journal.quarantined()
    assert other["kept"] is (limits.get("quarantine_rows") is None)


async def test_rule_8_4_a_body_that_is_large_for_the_quarantine_is_not_kept(place: Place) -> None:
    journal = await place.open(quarantine_bytes=6400)
    await admit(journal, bad("m-1", body=b"x" * 101), bad("m-2", body=b"x" * 100))
    assert [record["kept"] for record in (await journal.quarantined())[::-1]] == [False, True]
    assert [record["size"] for record in (await journal.quarantined())[::-1]] == [101, 100]


async def test_rule_8_4_room_comes_back_with_what_is_dropped_or_purged(place: Place) -> None:
    journal = await place.open(quarantine_rows=2, quarantine_retention=100.0)
    await admit(journal, bad("m-1"), bad("m-2"), bad("m-3"))
    first = (await journal.quarantined())[-1]
    await journal.quarantine_mark(first["uid"], "dropped", "ann", "junk")
    await journal.quarantine_mark(first["uid"], "dropped", "ann", "twice")
    await admit(journal, bad("m-4"), bad("m-5"))
    newest = await journal.quarantined()
    assert [record["kept"] for record in newest] == [False, True, False, True]
    await earlier(journal, "quarantine", 101, "at")
    assert (await journal.purge())["quarantine"] == 5
    await admit(journal, bad("m-6"), bad("m-7"), bad("m-8"))
    assert [record["kept"] for record in await journal.quarantined()] == [False, True, True]


async def test_rule_8_4_an_hour_later_a_source_is_heard_again(place: Place) -> None:
    journal = await place.open(quarantine_source_hour=1)
    await admit(journal, bad("m-1"), bad(None, source=""), bad("m-2"))
    await earlier(journal, "quarantine", 3601, "at")
    await admit(journal, bad("m-3"))
    kept = {record["message_id"]: record["kept"] for record in await journal.quarantined()}
    assert kept == {"m-1": True, None: True, "m-2": False, "m-3": True}


async def test_rule_8_4_messages_without_a_source_share_one_limit(place: Place) -> None:
    journal = await place.open(quarantine_source_hour=1)
    nameless = Refusal(Problem(Code.INVALID_MESSAGE, "not JSON"), {}, b"x", "q")
    for _ in range(2):
        await journal.admit([Arrival(nameless, b"x", "q")])
    assert [record["kept"] for record in await journal.quarantined()] == [False, True]


async def test_rule_6_3_dead_letters_are_kept_and_recorded(journal: StoredJournal) -> None:
    problem = Problem(Code.INVALID_MESSAGE, "the broker gave it up after 100 deliveries")
    await journal.quarantine_dead([Refusal(problem, {}, b"dead", "provisioning.dead", {"x-death": [1]})])
    [kept] = await journal.quarantined()
    assert kept["queue"] == "provisioning.dead"
    [record] = await records(journal)
    assert (record["what"], record["details"]["queue"]) == ("dead_lettered", "provisioning.dead")
    assert (await journal.health()).quarantined == 1
    assert await results(journal) == []


async def test_rule_6_3_a_lone_surrogate_fails_its_batch_so_that_intake_can_split_it(
    journal: StoredJournal,
) -> None:
    culprit = order("m-2", BOB, data={"note": "half \ud800"})
    for batch in ([order("m-1"), culprit, order("m-3", "key-3")], [culprit]):
        with pytest.raises(Unstorable):
            await journal.admit(batch)
    assert await select(journal, "SELECT id FROM identities") == []
    assert await journal.admit([order("m-1")]) == ["admitted"]
    assert await journal.admit([order("m-3", "key-3")]) == ["admitted"]


@pytest.mark.parametrize(
    "where", ["id", "source", "subject", "key", "depends_on", "correlation_id", "reply_to"]
)
@pytest.mark.parametrize("what", ["\0", "\ud800"], ids=["nul", "surrogate"])
async def test_rule_6_3_what_a_text_cannot_hold_is_about_the_data_never_about_the_database(
    journal: StoredJournal, where: str, what: str
) -> None:
    """Either stored, or refused as data: JournalDown would hold up everybody for ever."""
    text = f"a{what}b"
    attributes: dict[str, Any] = (
        {"idempotency_key": text} if where == "key" else {where: text} if where != "id" else {}
    )
    arrival = order(text if where == "id" else "m-1", **attributes)
    try:
        await journal.admit([arrival])
    except (Unstorable, UnicodeError):
        assert await select(journal, "SELECT id FROM identities") == []
    assert await journal.admit([order("m-9", BOB)]) == ["admitted"]


async def test_rule_6_3_a_nul_inside_the_data_is_no_trouble(journal: StoredJournal) -> None:
    assert await admit(journal, order("m-1", data={"note": "a\0b"})) == ["admitted"]
    [one] = await journal.claim("sip-br", "w", 1, 60)
    assert one.data == {"note": "a\0b"}


async def test_rule_6_3_a_refusal_full_of_garbage_can_be_kept(journal: StoredJournal) -> None:
    problem = Problem(Code.INVALID_MESSAGE, "holds \0 and \ud800", "a\0")
    known = {"id": "m\0", "source": "\ud800", "type": 7}
    refusal = Refusal(problem, {}, b"\xff\0", "q", {"h\0": "\ud800", "n": 3})
    await journal.quarantine_dead([refusal, Refusal(problem, known, b"", "q")])
    kept = await journal.quarantined()
    assert [record["message"] for record in kept] == ["holds \ufffd and ?"] * 2
    found = await journal.quarantine_show(kept[1]["uid"], "ann", "x")
    assert found is not None
    assert found[1] == b"\xff\0"


async def test_admission_of_nothing_is_nothing(journal: StoredJournal) -> None:
    assert await journal.admit([]) == []
    await journal.quarantine_dead([])
    assert await journal.settle([]) == []
    assert await journal.mark_sent([]) == []
    await journal.published([])
    assert await select(journal, "SELECT id FROM lanes WHERE key = $1", ALICE) == []
