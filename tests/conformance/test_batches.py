"""What the journal knows of batches: which rows were sent, how they ended, and what is sent again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conformance.support import admit, bad, done, order, select, settle
from worker.domain.effect import Risk
from worker.domain.lifecycle import EffectSeen, State
from worker.journal.batches.batches import (
    Batch,
    BatchBusy,
    Batches,
    Known,
    NewBatch,
    Offered,
    Send,
    UnknownBatch,
    content_mac,
    row_hash,
)
from worker.journal.batches.care import cancel_late, purge
from worker.journal.journal import StoredJournal
from worker.journal.port import Settlement
from worker.messages.errors import Code, Problem
from worker.onboarding.sending import Progress, Watch

PLATFORM = "sip-br"
BLOCK = ("calls.block.v1",)
CHAIN = ("subscriber.create.v1", "credit.add.v1")
pytestmark = pytest.mark.timeout(60)


def new(name: str = "friday", **more: Any) -> NewBatch:
    given = {"title": "calls.block", "file": "f.csv", "content": "c", "plan": "p", "total": 3, "by": "ana"}
    return NewBatch(name, PLATFORM, **{**given, **more})


def row(batches: Batches, who: str, number: int = 2, types: tuple[str, ...] = BLOCK, **more: Any) -> Offered:
    mac = content_mac(batches.core, more.pop("content", "same"))
    return Offered(row_hash(batches.core, PLATFORM, [who]), number, mac, {"who": who}, types, **more)


@pytest.fixture
def batches(journal: StoredJournal) -> Batches:
    return Batches(journal)


async def offered(batches: Batches, batch: Batch, *rows: Offered, retry: bool = False) -> list[Send | Known]:
    return await batches.offer(batch, rows, retry)


async def sends(batches: Batches, batch: Batch, offer: Offered, retry: bool = False) -> Send:
    [answer] = await offered(batches, batch, offer, retry=retry)
    assert isinstance(answer, Send)
    return answer


async def arrive(journal: StoredJournal, batch: Batch, send: Send, types: tuple[str, ...] = BLOCK) -> None:
    """Its messages reach the journal, and RabbitMQ had confirmed them."""
    for part, name, before in send.parts:
        key = name.split("/again-")[0]
        await admit(
            journal,
            order(
                name,
                f"sip-br/{key.rsplit('/', 1)[0]}",
                type=types[part],
                source=batch.source,
                idempotency_key=key,
                depends_on=before,
                batch_id=batch.name,
            ),
        )
    await Batches(journal).sent([send.row])


async def end(journal: StoredJournal, *, well: bool = True) -> int:
    claims = await journal.claim(PLATFORM, "w", 50, 60.0)
    for claim in claims:
        if well:
            await settle(journal, done(claim))
        else:
            problem = Problem(Code.NOT_FOUND, "there is no such subscriber")
            await settle(journal, Settlement(claim, State.REJECTED, effect=EffectSeen.NONE, problem=problem))
    return len(claims)


async def test_a_row_offered_again_before_it_was_confirmed_is_the_same_messages(batches: Batches) -> None:
    batch = await batches.begin(new())
    first = await sends(batches, batch, row(batches, "a", types=CHAIN, made={"password": "one"}))
    second = await sends(batches, batch, row(batches, "a", 9, types=CHAIN, made={"password": "two"}))
    assert first.parts == second.parts
    assert second.made == {"password": "one"}
    assert [before for _, _, before in first.parts] == [None, first.parts[0][1]]


async def test_a_sent_row_is_open_then_done_and_never_sent_again(
    journal: StoredJournal, batches: Batches
) -> None:
    batch = await batches.begin(new())
    send = await sends(batches, batch, row(batches, "a", made={"password": "one"}))
    await arrive(journal, batch, send)
    assert await offered(batches, batch, row(batches, "a")) == [Known(send.row, "open")]
    await end(journal)
    assert await batches.gather_all(batch) == {"done": 1}
    assert await offered(batches, batch, row(batches, "a"), retry=True) == [Known(send.row, "done")]
    assert [r["made_sealed"] for r in await select(journal, "SELECT made_sealed FROM batch_rows")] == [None]


async def test_a_row_with_other_content_is_not_sent(journal: StoredJournal, batches: Batches) -> None:
    batch = await batches.begin(new())
    send = await sends(batches, batch, row(batches, "a"))
    await arrive(journal, batch, send)
    assert await offered(batches, batch, row(batches, "a", content="other")) == [Known(send.row, "changed")]
    assert (await batches.counts(batch))["changed"] == 1
    await batches.begin(new())
    assert "changed" not in await batches.counts(batch)


async def test_a_failed_row_goes_again_when_asked_under_the_same_key(
    journal: StoredJournal, batches: Batches
) -> None:
    batch = await batches.begin(new())
    await arrive(journal, batch, await sends(batches, batch, row(batches, "a")))
    await end(journal, well=False)
    assert await batches.gather_all(batch) == {"failed": 1}
    [known] = await offered(batches, batch, row(batches, "a"))
    assert isinstance(known, Known)
    assert known.state == "failed"
    again = await sends(batches, batch, row(batches, "a"), retry=True)
    assert again.parts[0][1].endswith("/0/again-1")
    # Killed before it was confirmed, and run again without being asked to retry: the same messages.
    assert (await sends(batches, batch, row(batches, "a"))).parts == again.parts
    await arrive(journal, batch, again)
    await batches.gather_all(batch)
    assert (await batches.counts(batch)) == {"sent": 1}
    await end(journal)
    assert await batches.gather_all(batch) == {"done": 1}


async def test_what_took_effect_of_a_failed_row_is_not_sent_again(
    journal: StoredJournal, batches: Batches
) -> None:
    batch = await batches.begin(new())
    offer = row(batches, "a", types=CHAIN)
    send = await sends(batches, batch, offer)
    await arrive(journal, batch, send, CHAIN)
    await end(journal)
    await journal.sweep()
    await end(journal, well=False)
    assert await batches.gather_all(batch) == {"failed": 1}
    again = await sends(batches, batch, offer, retry=True)
    assert again.parts == ((1, f"{send.parts[1][1]}/again-1", None),)


async def test_what_did_not_run_because_an_earlier_one_failed_is_skipped(
    journal: StoredJournal, batches: Batches
) -> None:
    batch = await batches.begin(new())
    await arrive(journal, batch, await sends(batches, batch, row(batches, "a", types=CHAIN)), CHAIN)
    await end(journal, well=False)
    await journal.sweep()
    await batches.gather_all(batch)
    [line], more = await batches.lines(batch)
    assert more is None
    assert (line.state, line.keys, [part.skipped for part in line.parts]) == (
        "failed",
        {"who": "a"},
        [False, True],
    )
    assert (line.parts[0].problem or {})["code"] == "not_found"


async def test_a_refused_command_ends_its_row(journal: StoredJournal, batches: Batches) -> None:
    batch = await batches.begin(new())
    send = await sends(batches, batch, row(batches, "a"))
    await admit(journal, bad(send.parts[0][1], source=batch.source))
    await batches.sent([send.row])
    assert await batches.gather_all(batch) == {"failed": 1}
    [line], _ = await batches.lines(batch)
    assert line.parts[0].state == "refused"


async def test_a_person_who_runs_a_failed_command_again_mends_the_row(
    journal: StoredJournal, batches: Batches
) -> None:
    batch = await batches.begin(new())
    send = await sends(batches, batch, row(batches, "a"))
    await arrive(journal, batch, send)
    await end(journal, well=False)
    await journal.retry(send.parts[0][1], "ana", "the subscriber is there now")
    await end(journal)
    assert await batches.gather_all(batch) == {"done": 1}


async def test_a_row_that_had_failed_is_mended_by_the_person_who_runs_it_again(
    journal: StoredJournal, batches: Batches
) -> None:
    batch = await batches.begin(new())
    send = await sends(batches, batch, row(batches, "a", made={"0 password": "one"}))
    await arrive(journal, batch, send)
    await end(journal, well=False)
    assert await batches.gather_all(batch) == {"failed": 1}
    await journal.retry(send.parts[0][1], "ana", "the subscriber is there now")
    assert await offered(batches, batch, row(batches, "a"), retry=True) == [Known(send.row, "open")]
    await end(journal)
    assert await batches.gather_all(batch) == {"done": 1}


async def test_a_retry_of_failed_rows_goes_on_behind_what_a_person_ran_again(
    journal: StoredJournal, batches: Batches
) -> None:
    """Not behind the failed original, on which nothing may depend."""
    batch = await batches.begin(new())
    chained = row(batches, "a", types=CHAIN)
    send = await sends(batches, batch, chained)
    await arrive(journal, batch, send, CHAIN)
    await end(journal, well=False)
    await journal.sweep()
    assert await batches.gather_all(batch) == {"failed": 1}
    await journal.retry(send.parts[0][1], "ana", "it works now")
    await end(journal)
    again = await sends(batches, batch, chained, retry=True)
    assert again.parts == ((1, f"{send.parts[1][1]}/again-1", None),)
    await arrive(journal, batch, again, CHAIN)
    await end(journal)
    assert await batches.gather_all(batch) == {"done": 1}


async def test_one_run_of_a_batch_at_a_time(
    place: Any, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.journal.batches.batches.LETS_GO", 0.0)
    other = Batches(await place.open())  # of another process
    async with batches.running("friday"):
        with pytest.raises(BatchBusy, match="another run of batch friday"):
            async with other.running("friday"):
                pass
        async with other.running("saturday"):
            pass
    async with other.running("friday"):
        pass


async def test_two_runs_at_once_send_one_password(batches: Batches) -> None:
    batch = await batches.begin(new())
    both = await asyncio.gather(
        *(
            batches.offer(batch, [row(batches, "a", made={"0 password": word})], False)
            for word in ("one", "two")
        )
    )
    assert len({tuple(send.made.items()) for [send] in both if isinstance(send, Send) and send.made}) == 1


async def gone(journal: StoredJournal, batches: Batches) -> Batch:
    """The batch was purged, its identities were not; and it is begun again."""
    await batches.all_sent("friday")
    while await journal.run(lambda tx: purge(tx, journal.core, 10)):
        pass
    assert await batches.find("friday") is None
    return await batches.begin(new())


async def test_a_purged_batch_that_is_run_again_makes_no_passwords_that_nobody_uses(place: Any) -> None:
    journal = await place.open(retention=-1.0)
    batches = Batches(journal)
    batch = await batches.begin(new())
    first = await sends(batches, batch, row(batches, "a", types=CHAIN, made={"0 password": "one"}))
    await arrive(journal, batch, first, CHAIN)
    await end(journal)
    await journal.sweep()
    await end(journal)
    assert await batches.gather_all(batch) == {"done": 1}
    batch = await gone(journal, batches)
    offer = row(batches, "a", types=CHAIN, made={"0 password": "two"})
    [known] = await offered(batches, batch, offer, retry=True)
    assert isinstance(known, Known)
    assert known.state == "done"
    assert [r["made_sealed"] for r in await select(journal, "SELECT made_sealed FROM batch_rows")] == [None]
    # One that nobody has sent yet is sent as ever.
    assert (await sends(batches, batch, row(batches, "b", made={"0 password": "three"}))).made == {
        "0 password": "three"
    }


async def test_a_failed_row_of_a_purged_batch_goes_again_with_a_password_of_its_own(place: Any) -> None:
    journal = await place.open(retention=-1.0)
    batches = Batches(journal)
    batch = await batches.begin(new())
    await arrive(journal, batch, await sends(batches, batch, row(batches, "a", made={"0 password": "one"})))
    await end(journal, well=False)
    assert await batches.gather_all(batch) == {"failed": 1}
    await arrive(journal, batch, await sends(batches, batch, row(batches, "a"), retry=True))
    await end(journal, well=False)
    assert await batches.gather_all(batch) == {"failed": 1}
    batch = await gone(journal, batches)
    offer = row(batches, "a", made={"0 password": "two"})
    [known] = await offered(batches, batch, offer)
    assert isinstance(known, Known)
    assert known.state == "failed"
    again = await sends(batches, batch, offer, retry=True)
    assert again.made == {"0 password": "two"}
    assert (await sends(batches, batch, row(batches, "a", made={"0 password": "three"}))).made == again.made
    await arrive(journal, batch, again)
    await end(journal)
    assert await batches.gather_all(batch) == {"done": 1}


async def test_a_cancelled_batch_cancels_what_waits_and_what_comes_late(
    journal: StoredJournal, batches: Batches
) -> None:
    batch = await batches.begin(new())
    early, late = [await sends(batches, batch, row(batches, who)) for who in ("a", "b")]
    await arrive(journal, batch, early)
    await batches.close("friday", "ana", "wrong file")
    assert await batches.cancel_waiting("friday", "ana", "wrong file") == 1
    await arrive(journal, batch, late)
    assert await journal.run(lambda tx: cancel_late(tx, journal.core)) == 1
    assert await batches.gather_all(batch) == {"failed": 2}
    lines, _ = await batches.lines(batch)
    assert [(line.parts[0].problem or {})["code"] for line in lines] == ["cancelled_by_operator"] * 2


async def test_rows_of_earlier_batches_are_found_unless_they_failed(
    journal: StoredJournal, batches: Batches
) -> None:
    first = await batches.begin(new("first"))
    await arrive(journal, first, await sends(batches, first, row(batches, "a")))
    await end(journal, well=False)
    await batches.gather_all(first)
    await sends(batches, first, row(batches, "b"))
    hashes = [row(batches, who).hash for who in ("a", "b", "c")]
    found = await batches.earlier("second", PLATFORM, hashes, BLOCK[0])
    assert found == {hashes[1]: "first"}
    assert await batches.earlier("first", PLATFORM, hashes, BLOCK[0]) == {}
    assert await batches.earlier("second", PLATFORM, hashes, "credit.add.v1") == {}


async def test_pause_resume_and_rate_are_seen_and_recorded(journal: StoredJournal, batches: Batches) -> None:
    await batches.begin(new())
    await batches.pause("friday", "ana", "the platform is slow")
    assert (await batches.control("friday")).paused_by == "ana"
    await batches.resume("friday", "ana", "it is well")
    await batches.set_rate("friday", 5.0, "ana", "gently")
    seen = await batches.control("friday")
    assert (seen.paused_by, seen.rate, seen.state) == (None, 5.0, "sending")
    records = await select(journal, "SELECT what FROM audit ORDER BY id")
    assert [r["what"] for r in records] == ["batch_begun", "batch_paused", "batch_resumed", "batch_rate"]
    with pytest.raises(UnknownBatch, match="worker batch list"):
        await batches.pause("saturday", "ana", "no")


async def test_a_batch_is_begun_with_its_rate_and_keeps_it_when_it_goes_on(
    journal: StoredJournal, batches: Batches
) -> None:
    """Were it set after, whoever is killed between would be followed by a run without any rate."""
    assert (await batches.begin(new(rate=2.5))).rate == 2.5
    assert (await batches.begin(new(rate=7.0))).rate == 2.5
    begun, resumed = await select(journal, "SELECT what, record FROM audit ORDER BY id")
    assert (begun["what"], '"rate":2.5' in begun["record"]) == ("batch_begun", True)
    assert '"rate"' not in resumed["record"]


async def test_bad_rows_are_kept_until_the_next_run(batches: Batches) -> None:
    batch = await batches.begin(new())
    await batches.keep_bad(batch, [(7, {"who": "?"}, {"code": "invalid_field", "message": "no"})])
    assert await batches.counts(batch) == {"bad": 1}
    [line], _ = await batches.lines(batch)
    assert (line.number, line.state, line.keys) == (7, "bad", {"who": "?"})
    await batches.begin(new())
    assert await batches.counts(batch) == {}


async def test_somebody_elses_change_since_is_seen(journal: StoredJournal, batches: Batches) -> None:
    batch = await batches.begin(new())
    send = await sends(batches, batch, row(batches, "a"))
    await arrive(journal, batch, send)
    await end(journal)
    [line], _ = await batches.lines(batch)
    part = line.parts[0]
    assert part.command is not None
    assert part.partition_key is not None
    assert await batches.since(batch, [part.partition_key], part.command) is None
    await admit(journal, order("fraud-1", part.partition_key, risk=Risk.CLAIM))
    assert await batches.since(batch, [part.partition_key], part.command) == "calls.block fraud-1"


async def test_an_old_batch_goes_with_its_rows(place: Any) -> None:
    journal = await place.open(retention=-1.0)
    batches = Batches(journal)
    batch = await batches.begin(new())
    await sends(batches, batch, row(batches, "a"))
    assert await journal.run(lambda tx: purge(tx, journal.core, 10)) == 0  # it is still being sent
    await batches.all_sent("friday")
    await journal.stop("batch", "friday", "ann", "nobody remembers why")
    while await journal.run(lambda tx: purge(tx, journal.core, 10)):
        pass
    for table in ("batches", "batch_rows", "batch_commands", "pauses"):
        assert await select(journal, f"SELECT 1 FROM {table}") == []


async def test_a_run_sees_what_somebody_else_wrote_down(journal: StoredJournal, batches: Batches) -> None:
    """`batch show` and others settle rows too: a run that counted only what it saw itself would wait for ever."""
    batch = await batches.begin(new())
    progress = Progress(total=1)
    watch = Watch(batches, batch, progress)
    await arrive(journal, batch, await sends(batches, batch, row(batches, "a")))
    await watch.look()
    assert (progress.open, progress.done) == (1, 0)
    await end(journal)
    await batches.gather_all(batch)
    await watch.look()
    assert (progress.open, progress.done, progress.ended_here) == (0, 1, 1)
