"""What is done with a refused message, on both databases."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from tests.conformance.support import CRM, admit, bad, order, records
from worker.journal.commands.acts import ActRefused
from worker.journal.journal import StoredJournal
from worker.journal.quarantine.mending import Sheet
from worker.journal.quarantine.resending import Rules, Unsent, drop, look, send

RULES = Rules({"sip-br": "sippulse"}, 262_144)
ABOUT = {"platform": "sip-br", "subscriber": {"username": "ana", "domain": "sip.example"}}
BODY = json.dumps(
    {"specversion": "1.0", "id": "m-1", "source": CRM, "type": "calls.blok.v1", "data": ABOUT}
).encode()
RIGHT = {"specversion": "1.0", "id": "m-1", "source": CRM, "type": "calls.block.v1"}


class Box:
    """Takes what is sent; `down`: as a RabbitMQ that does not answer."""

    def __init__(self, down: bool = False) -> None:
        self.down = down
        self.sent: list[bytes] = []

    async def send(
        self, queue: str, body: bytes, headers: Mapping[str, str], content_type: str, reply_to: str | None
    ) -> str:
        if self.down:
            raise Unsent("RabbitMQ did not take the message")
        self.sent.append(body)
        return queue


async def refused(journal: StoredJournal, body: bytes = BODY) -> str:
    await admit(journal, bad("m-1", body=body))
    return str((await journal.quarantined())[0]["uid"])


async def test_a_mended_message_goes_out_under_its_own_id_and_stands_as_sent(journal: StoredJournal) -> None:
    uid, box = await refused(journal), Box()
    looked = await look(journal, uid, "ann", "who sent it?", RULES)
    assert looked is not None
    assert looked.wrong is not None
    assert looked.wrong.code.value == "unknown_command"
    done = await send(journal, box, uid[:8], Sheet(RIGHT), "ann", "a typo", RULES)
    assert (done["uid"], done["mended"]) == (uid, ["attributes"])
    assert json.loads(box.sent[0]) == {**RIGHT, "data": ABOUT}
    assert [one["uid"] for one in await journal.quarantined("sent")] == [uid]
    acts = [(one["what"], one["actor"], one["reason"]) for one in await records(journal)]
    assert acts[-2:] == [("quarantine_shown", "ann", "who sent it?"), ("quarantine_sent", "ann", "a typo")]
    with pytest.raises(ActRefused, match="was sent already"):
        await send(journal, box, uid, Sheet(RIGHT), "bob", "a typo", RULES)
    with pytest.raises(ActRefused, match="was sent already"):
        await drop(journal, uid, "bob", "junk")
    assert len(box.sent) == 1


async def test_what_would_be_refused_again_is_not_sent(journal: StoredJournal) -> None:
    uid, box = await refused(journal), Box()
    wrong = {**RIGHT, "type": "calls.none.v1"}
    with pytest.raises(ActRefused, match="refused again \\(unknown_command\\)"):
        await send(journal, box, uid, Sheet(wrong), "ann", "x", RULES)
    with pytest.raises(ActRefused, match="id stays 'm-1'"):
        await send(journal, box, uid, Sheet({**RIGHT, "id": "m-2"}), "ann", "x", RULES)
    await admit(journal, order("m-1", data={"other": "content"}))
    with pytest.raises(ActRefused, match="id_conflict"):
        await send(journal, box, uid, Sheet(RIGHT), "ann", "x", RULES)
    assert box.sent == []
    assert [one["state"] for one in await journal.quarantined()] == ["kept"]


async def test_where_rabbitmq_does_not_take_it_it_stays(journal: StoredJournal) -> None:
    uid = await refused(journal)
    with pytest.raises(Unsent):
        await send(journal, Box(down=True), uid, Sheet(), "ann", "x", RULES)
    assert [one["uid"] for one in await journal.quarantined()] == [uid]
    await send(journal, Box(), uid, Sheet(), "ann", "x", RULES)
    assert await journal.quarantined() == []


async def test_of_two_who_drop_one_the_second_is_told(journal: StoredJournal) -> None:
    uid = await refused(journal)
    assert (await drop(journal, uid, "ann", "junk"))["state"] == "dropped"
    with pytest.raises(ActRefused, match="was dropped already"):
        await drop(journal, uid, "bob", "junk")
    with pytest.raises(ActRefused, match="no message in quarantine begins with 'none-such'"):
        await drop(journal, "none-such", "bob", "junk")
    assert [one["what"] for one in await records(journal)].count("quarantine_dropped") == 1
