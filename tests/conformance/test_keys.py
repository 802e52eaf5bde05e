"""Keys: the first encrypts, all decrypt, the last one gives identity and audit their keys and stays."""

from __future__ import annotations

import json

import pytest

from tests.conformance.support import (
    BOB,
    Place,
    admit,
    bad,
    done,
    order,
    read,
    run_all,
    select,
    settle,
    take_all,
)
from worker.domain.effect import Risk
from worker.journal.batches.uploads import Uploads
from worker.journal.journal import StoredJournal
from worker.journal.port import JournalError
from worker.journal.vault import Vault, new_key
from worker.journal.whole import metadata

OLDEST, OLD, NEW = new_key(), new_key(), new_key()


async def fill(journal: StoredJournal) -> None:
    await admit(journal, order("m-1", risk=Risk.SENT, reply_to="q"), order("m-2", BOB), bad("m-3"))
    [one, *_] = [c for c in await journal.claim("sip-br", "w", 9, 60) if c.message_id == "m-1"]
    await journal.mark_sent([(one, read(present=False))])
    await settle(journal, done(one, steps=({"name": "one", "status": "done", "output": {}},)))
    await upload(journal)


async def upload(journal: StoredJournal) -> None:
    """Two files of more parts than are encrypted at a time, with a plan, checked."""
    uploads = Uploads(journal)
    for id in [await uploads.begin(f"{n}.csv", 15, "0" * 64, "olga", {"columns": ["a"]}) for n in range(2)]:
        for kind, part in [*(("file", part) for part in range(15)), ("problems", 0)]:
            await uploads.keep_part(id, kind, part, f"{part}\n".encode())
        await uploads.whole(id, "olga")
        await uploads.plan(id, "sip-br", {"command": "calls.block"})
        await uploads.ended(id, "ready", "checked", found={"rows": 15})


def sealed_columns() -> dict[str, list[str]]:
    """Of every table there is: a new one is not to be forgotten."""
    every = {
        table.name: [c.name for c in table.columns if "sealed" in c.name] for table in metadata.sorted_tables
    }
    return {table: columns for table, columns in every.items() if columns}


async def tokens(journal: StoredJournal) -> list[str]:
    found = []
    for table, columns in sealed_columns().items():
        for row in await select(journal, f"SELECT {', '.join(columns)} FROM {table}"):
            found += [token for token in row.values() if token is not None]
    return found


def opens(key: str, token: str) -> bool:
    return Vault([key]).can_open(token)


async def test_rotation_reencrypts_everything_under_the_first_key(place: Place) -> None:
    before = await place.open(vault=Vault([OLDEST]))
    await fill(before)
    journal = await place.open(vault=Vault([NEW, OLDEST]))
    held = await tokens(journal)
    assert len(held) >= 9
    assert all(opens(OLDEST, token) for token in held)
    done_: list[tuple[str, int]] = []
    totals = await journal.rekey(lambda table, count: done_.append((table, count)))
    assert totals["commands"] == 2
    assert ("commands", 2) in done_
    assert set(totals) == set(sealed_columns())
    assert (totals["uploads"], totals["upload_parts"]) == (2, 30)
    assert ("upload_parts", 30) in done_
    assert all(opens(NEW, token) and not opens(OLDEST, token) for token in await tokens(journal))


async def test_after_rotation_a_key_in_the_middle_may_go_and_everything_works(place: Place) -> None:
    await fill(await place.open(vault=Vault([OLD, OLDEST])))
    await (await place.open(vault=Vault([NEW, OLD, OLDEST]))).rekey()
    journal = await place.open(vault=Vault([NEW, OLDEST]))
    assert await admit(journal, order("m-1")) == ["repeated"]
    assert await admit(journal, order("m-2", BOB, data={"x": 1})) == ["refused"]
    await journal.run(
        lambda tx: tx.run("UPDATE commands SET lease_until = 1, risk = 'none' WHERE owner IS NOT NULL")
    )
    await journal.rescue()
    assert await run_all(journal) == ["m-2"]
    await take_all(journal)
    assert (await journal.verify()).faults == []
    [kept] = [one for one in await journal.quarantined() if one["message_id"] == "m-3"]
    assert await journal.quarantine_show(kept["uid"], "ann", "x") is not None
    [*files] = await Uploads(journal).listing()
    assert [dict(file.plan) for file in files] == [{"command": "calls.block"}] * 2
    for file in files:
        assert [part async for part in Uploads(journal).parts(file.id, "file")][14] == b"14\n"


@pytest.mark.parametrize("keys", [[NEW], [NEW, OLD], [OLDEST, NEW]], ids=["new", "both-new", "turned"])
async def test_the_last_key_stays_another_one_stops_the_start(place: Place, keys: list[str]) -> None:
    await place.open(vault=Vault([OLDEST]))
    with pytest.raises(JournalError, match="the last of"):
        await place.open(vault=Vault(keys))
    await place.open(vault=Vault([NEW, OLDEST]))


async def test_rotation_goes_on_while_the_worker_runs(place: Place) -> None:
    journal = await place.open(vault=Vault([OLDEST]))
    await journal.admit([order(f"m-{n}", f"key-{n}") for n in range(30)])
    rotating = await place.open(vault=Vault([NEW, OLDEST]))
    both = await place.open(vault=Vault([NEW, OLDEST]))
    one = (await both.claim("sip-br", "w", 1, 60))[0]
    await rotating.rekey()
    assert await settle(both, done(one)) == [True]
    assert len(await run_all(both)) == 29


async def test_a_sealed_text_tells_nothing_but_its_length(place: Place) -> None:
    journal = await place.open()
    await admit(journal, order("m-1"), order("m-2", BOB))
    rows = await select(journal, "SELECT data_sealed FROM commands")
    assert len({row["data_sealed"] for row in rows}) == 2
    assert not opens(new_key(), rows[0]["data_sealed"])


async def test_events_that_no_key_opens_stand_in_nobody_s_way(place: Place) -> None:
    lost = await place.open(vault=Vault([OLD, OLDEST]))
    await lost.admit([order(f"m-{n}", f"key-{n}") for n in range(5)])
    await run_all(lost)
    journal = await place.open(vault=Vault([NEW, OLDEST]))
    await admit(journal, order("m-9", BOB))
    await run_all(journal)
    [ready] = [event for event in await journal.unpublished(2) if event.table == "outbox"]
    assert json.loads(ready.body)["data"]["command"]["id"] == "m-9"
