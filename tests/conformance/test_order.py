"""Rules 4.1 to 4.3 and 4.8: one object, one line, in order of arrival."""

from __future__ import annotations

import asyncio
import random

from tests.conformance.support import (
    ALICE,
    BOB,
    Place,
    admit,
    again,
    change,
    claim,
    claim_one,
    done,
    earlier,
    eventually,
    has,
    make_due,
    order,
    parked,
    refused,
    results,
    run_all,
    run_next,
    select,
    settle,
    states,
)
from worker.journal.journal import StoredJournal


async def test_rule_4_1_only_the_head_of_a_key_can_be_claimed(journal: StoredJournal) -> None:
    await admit(journal, order("a-1"), order("a-2"), order("b-1", BOB), order("a-3"))
    first = await claim(journal)
    assert sorted(one.message_id for one in first) == ["a-1", "b-1"]
    assert await claim(journal) == []
    await settle(journal, *(done(one) for one in first))
    assert await run_next(journal) == ["a-2"]
    assert await run_next(journal) == ["a-3"]


async def test_rule_4_1_platforms_are_claimed_apart(journal: StoredJournal) -> None:
    await admit(journal, order("a-1"), order("x-1", "other/subscriber/x", platform="other"))
    assert [one.message_id for one in await claim(journal, platform="other")] == ["x-1"]
    assert [one.message_id for one in await claim(journal)] == ["a-1"]


async def test_rule_4_1_a_retry_holds_its_key(journal: StoredJournal) -> None:
    await admit(journal, order("a-1"), order("a-2"))
    await settle(journal, again(await claim_one(journal), due_in=100))
    assert await claim(journal) == []
    await make_due(journal)
    assert await run_all(journal) == ["a-1", "a-2"]


async def test_rule_4_1_a_parked_command_holds_its_key(journal: StoredJournal) -> None:
    await admit(journal, order("a-1"), order("a-2"))
    await settle(journal, parked(await claim_one(journal)))
    assert await claim(journal) == []
    await admit(journal, order("a-3"))
    assert await claim(journal) == []
    await journal.cancel("a-1", "ann", "not wanted")
    assert await run_all(journal) == ["a-2", "a-3"]


async def test_rule_4_2_a_head_takes_the_highest_priority_behind_it(journal: StoredJournal) -> None:
    await admit(journal, order("a-1", priority=2), order("b-1", BOB, priority=1))
    assert [one.message_id for one in await claim(journal, limit=1)] == ["b-1"]
    await admit(journal, order("c-1", "key-c", priority=1), order("a-2", priority=0))
    assert [one.message_id for one in await claim(journal, limit=1)] == ["a-1"]


async def test_rule_4_2_priority_is_lent_only_while_it_waits_behind(journal: StoredJournal) -> None:
    await admit(
        journal,
        order("a-1", priority=2),
        order("a-2", priority=0),
        order("a-3", priority=2),
        order("b-1", BOB),
    )
    taken = []
    for _ in range(4):
        [one] = await claim(journal, limit=1)
        taken.append(one.message_id)
        await settle(journal, done(one))
    assert taken == ["a-1", "a-2", "b-1", "a-3"]


async def test_rule_4_3_a_line_keeps_the_order_of_delivery(journal: StoredJournal) -> None:
    sent = [order(f"{key}-{n}", key) for n in range(20) for key in ("x", "y", "z")]
    for start in range(0, len(sent), 7):
        await journal.admit(sent[start : start + 7])
    ran = await run_all(journal)
    for key in ("x", "y", "z"):
        assert [id for id in ran if id.startswith(key)] == [f"{key}-{n}" for n in range(20)]


async def test_rule_4_3_arrival_numbers_do_not_come_from_a_clock(journal: StoredJournal) -> None:
    await admit(
        journal, order("a-1", time=2000.0 + await journal.now()), order("a-2", time=await journal.now())
    )
    assert await run_all(journal) == ["a-1", "a-2"]


async def test_rule_4_8_one_with_notbefore_joins_its_line_then_and_holds_nobody(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("a-1", not_before=await journal.now() + 1000), order("a-2"))
    await journal.sweep()
    assert await run_all(journal) == ["a-2"]
    await change(journal, "UPDATE commands SET not_before = 1 WHERE finished_at IS NULL")
    await admit(journal, order("a-3"))
    await journal.sweep()
    await admit(journal, order("a-4"))
    assert await run_all(journal) == ["a-3", "a-1", "a-4"]


async def test_rule_4_8_a_notbefore_that_has_passed_defers_nothing(journal: StoredJournal) -> None:
    await admit(journal, order("a-1", not_before=await journal.now() - 1))
    assert await run_all(journal) == ["a-1"]


async def test_rule_4_8_those_that_become_due_together_join_in_the_order_of_their_times(
    journal: StoredJournal,
) -> None:
    now = await journal.now()
    await admit(journal, order("p", BOB))
    await run_next(journal)
    await admit(
        journal,
        order("late", not_before=now + 2000),
        order("early", not_before=now + 1000),
        order("free", depends_on="p"),
    )
    await earlier(journal, "commands", 5000, "not_before", "finished_at")
    await journal.sweep()
    assert await run_all(journal) == ["free", "early", "late"]


async def test_rule_4_8_a_dependent_runs_only_after_success(journal: StoredJournal) -> None:
    await admit(journal, order("p", BOB), order("c", depends_on="p"))
    await journal.sweep()
    [parent] = await claim(journal)
    await journal.sweep()
    assert await claim(journal) == []
    await settle(journal, done(parent))
    await journal.sweep()
    assert await run_all(journal) == ["c"]


async def test_rule_4_8_a_dependent_holds_nobody_while_it_waits(journal: StoredJournal) -> None:
    await admit(journal, order("p", BOB), order("c", ALICE, depends_on="p"), order("a-1", ALICE))
    [parent] = [one for one in await claim(journal) if one.message_id == "p"]
    assert await states(journal) == {"p": "running", "c": "waiting", "a-1": "running"}
    await settle(journal, done(parent))


async def test_rule_4_8_a_failed_dependency_cancels_the_whole_chain(journal: StoredJournal) -> None:
    await admit(
        journal, order("p", BOB), order("c-1", depends_on="p"), order("c-2", "key-2", depends_on="c-1")
    )
    await settle(journal, refused(await claim_one(journal)))
    for _ in range(3):
        await journal.sweep()
    assert await states(journal) == {"p": "rejected", "c-1": "cancelled", "c-2": "cancelled"}
    answers = {seen.id: seen for seen in await results(journal)}
    assert answers["c-1"].data["error"]["code"] == "dependency_failed"
    assert answers["c-1"].data["effect"] == "none"
    assert "p" in answers["c-1"].data["error"]["message"]
    assert await claim(journal) == []


async def test_rule_4_8_whoever_waits_for_an_end_is_told_of_it(journal: StoredJournal) -> None:
    heard: list[str] = []
    journal.listen(heard.append)
    await admit(journal, order("p", BOB))
    await settle(journal, done(await claim_one(journal)))
    # Nobody depends on it: no process is woken in vain.
    await eventually(lambda: has(heard, "relay"))
    assert "sweep" not in heard
    await admit(journal, order("p-2", BOB), order("c-2", depends_on="p-2"))
    heard.clear()
    await journal.cancel("p-2", "ann", "not wanted")
    await eventually(lambda: has(heard, "sweep"))


async def test_rule_4_8_a_dependency_that_ended_long_ago_is_enough(place: Place) -> None:
    journal = await place.open(retention=100.0)
    await admit(journal, order("p", BOB), order("q", BOB))
    [parent] = await claim(journal)
    await settle(journal, done(parent))
    await settle(journal, refused(await claim_one(journal)))
    await earlier(journal, "commands", 101, "finished_at")
    await journal.purge()
    await admit(journal, order("c", depends_on="p"), order("d", depends_on="q"))
    await journal.sweep()
    assert await run_all(journal) == ["c"]
    assert (await states(journal))["d"] == "cancelled"


async def test_rule_4_8_a_dependency_may_stand_in_the_same_batch_but_not_after(
    journal: StoredJournal,
) -> None:
    answers = await admit(
        journal,
        order("c-early", depends_on="p"),
        order("p", BOB),
        order("c", depends_on="p"),
        order("s", source="/shop", depends_on="p"),
    )
    assert answers == ["refused", "admitted", "admitted", "refused"]
    codes = {seen.id: seen.data["error"]["code"] for seen in await results(journal)}
    assert codes == {"c-early": "unknown_dependency", "s": "unknown_dependency"}


async def test_rule_4_8_depending_on_a_duplicate_is_depending_on_the_one_that_runs(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("p", BOB, idempotency_key="k"), order("p-2", BOB, idempotency_key="k"))
    assert await admit(journal, order("c", depends_on="p-2")) == ["admitted"]
    await run_next(journal)
    await journal.sweep()
    assert await run_all(journal) == ["c"]


async def test_rule_4_8_notbefore_and_dependson_both_have_to_come_true(journal: StoredJournal) -> None:
    await admit(journal, order("p", BOB), order("c", depends_on="p", not_before=await journal.now() + 1000))
    await run_next(journal)
    await journal.sweep()
    assert await claim(journal) == []
    await change(journal, "UPDATE commands SET not_before = 1 WHERE finished_at IS NULL")
    await journal.sweep()
    assert await run_all(journal) == ["c"]


async def test_rule_4_3_admitters_joiners_and_engines_at_once_keep_every_line_in_order(place: Place) -> None:
    """Two intakes, a joiner and two engines: what a key's line did is what its arrival numbers say."""
    intakes = [await place.open() for _ in range(2)]
    others = [await place.open() for _ in range(3)]
    keys = [f"key-{n}" for n in range(4)]
    ran: list[tuple[str, str, int]] = []  # key, id, place
    left = 2 * 60
    soon = await intakes[0].now() + 0.3

    async def intake(number: int) -> None:
        chance = random.Random(number)
        for start in range(0, 60, 6):
            await intakes[number].admit(
                [
                    order(
                        f"{number}-{n}",
                        chance.choice(keys),
                        not_before=soon if n % 5 == 0 else None,
                        priority=chance.choice([0, 1, 2]),
                    )
                    for n in range(start, start + 6)
                ]
            )

    async def engine(number: int) -> None:
        chance = random.Random(100 + number)
        while len(ran) < left:
            claims = await others[number].claim("sip-br", f"w-{number}", 3, 60.0)
            ran.extend((one.view.partition_key or "", one.message_id, len(ran)) for one in claims)
            retried = [one for one in claims if chance.random() < 0.2]
            for one in retried:
                ran.remove(next(entry for entry in ran if entry[1] == one.message_id))
            await others[number].settle([again(one) if one in retried else done(one) for one in claims])
            if not claims:
                await asyncio.sleep(0.005)

    async def joiner() -> None:
        while len(ran) < left:
            await others[2].sweep()
            await asyncio.sleep(0.01)

    await asyncio.wait_for(asyncio.gather(intake(0), intake(1), engine(0), engine(1), joiner()), 120)
    rows = await select(
        intakes[0], "SELECT partition_key, message_id, arrival FROM commands ORDER BY arrival"
    )
    assert len({row["arrival"] for row in rows}) == left
    for key in keys:
        expected = [row["message_id"] for row in rows if row["partition_key"] == key]
        assert [id for k, id, _ in ran if k == key] == expected
        for number in ("0-", "1-"):  # what one sender sent straight on kept its order
            straight = [i for i in expected if i.startswith(number) and int(i[2:]) % 5]
            assert straight == sorted(straight, key=lambda id: int(id[2:]))
