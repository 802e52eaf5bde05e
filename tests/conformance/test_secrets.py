"""P7: secrets are never in clear in the journal, quarantine and outbox included."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import pytest

from tests.conformance.support import (
    BOB,
    Place,
    admit,
    again,
    bad,
    claim,
    claim_one,
    done,
    order,
    read,
    refused,
    select,
    settle,
    take_all,
)
from worker.domain.effect import Risk
from worker.journal.driver import Unstorable
from worker.journal.journal import StoredJournal

PASSWORD = "Grün+Kohl/4711&Pinkel"
PIN = "80245-17-99"


async def dump(place: Place, journal: StoredJournal) -> bytes:
    """All that lies on disk, as text."""
    if place.url.startswith("sqlite"):
        path = Path(place.url.removeprefix("sqlite:///"))
        return b"".join(file.read_bytes() for file in path.parent.iterdir())
    tables = await select(
        journal,
        "SELECT relname AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
    )
    texts = []
    for table in tables:
        rows = await select(journal, f"SELECT t::text AS row FROM {table['name']} t")
        texts += [row["row"] for row in rows]
    return "\n".join(texts).encode()


def forms(secret: str) -> set[str]:
    """The secret as it may stand in a text: plain, or in URL, XML, JSON and base64 dress."""
    found = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), escape(secret)}
    found |= {json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    for lead in range(3):  # what is left of it inside any base64 text
        signs = base64.b64encode(b"\0" * lead + secret.encode()).decode().rstrip("=")
        inside = signs[(0, 2, 3)[lead] : -1]
        found |= {inside, inside.replace("+", "-").replace("/", "_")}
    return found


def found(secret: str, text: bytes) -> list[str]:
    return [form for form in forms(secret) if form.encode() in text]


async def test_p7_no_secret_lies_in_the_journal(place: Place) -> None:
    journal = await place.open()
    data = {"platform": "sip-br", "password": PASSWORD, "subscriber": {"username": "alice"}}
    await admit(
        journal,
        order("m-1", data=data, risk=Risk.SENT, secret_output=True, reply_to="crm.answers"),
        order("m-2", data=data),
        order("m-3", BOB, data=data),
        order("m-1", BOB, data={**data, "password": PASSWORD + "x"}),
        bad("m-4", body=PASSWORD.encode(), reply_to="crm.answers"),
    )
    claims = {one.message_id: one for one in await claim(journal)}
    assert claims["m-1"].data == data
    await journal.mark_sent([(claims["m-1"], read(present=False, record={"note": PASSWORD}))])
    step = {"name": "one", "status": "done", "output": {"pin": PIN}}
    await settle(
        journal,
        done(claims["m-1"], output={"pin": "***"}, secret_output={"pin": PIN}, steps=(step,)),
        refused(claims["m-3"]),
    )
    two = await claim_one(journal)
    await settle(journal, again(two, 1000, steps=(step,)))
    await journal.edit("m-3", {"password": PASSWORD + "y"}, lambda type, data: None, "ann", "corrected")
    for _ in range(2):
        text = await dump(place, journal)
        for secret in (PASSWORD, PIN, "Kohl"):
            assert found(secret, text) == []
        await take_all(journal)


async def test_p7_what_was_deleted_is_gone_from_the_disk_as_well(place: Place) -> None:
    journal = await place.open(
        retention=0.0, events_retention=0.0, dedup_window=0.0, quarantine_retention=0.0
    )
    await admit(journal, order("m-1", data={"password": PASSWORD}))
    await settle(journal, done(await claim_one(journal)))
    await take_all(journal)
    gone = await journal.purge()
    assert (gone["commands"], gone["identities"], gone["events"]) == (1, 1, 1)
    assert found(PASSWORD, await dump(place, journal)) == []


@pytest.mark.parametrize("form", ["plain", "base64", "url"])
async def test_the_search_itself_finds_a_secret_that_lies_open(place: Place, form: str) -> None:
    journal = await place.open()
    text = {
        "plain": PASSWORD,
        "base64": base64.b64encode(f"x:{PASSWORD}".encode()).decode(),
        "url": quote(PASSWORD),
    }[form]
    await journal.run(lambda tx: tx.run("INSERT INTO meta (name, value) VALUES ('x', $1)", text))
    assert found(PASSWORD, await dump(place, journal))


async def test_p7_no_secret_in_what_is_shown_or_said(journal: StoredJournal) -> None:
    data = {"platform": "sip-br", "password": PASSWORD}
    arrival = order("m-1", data=data, secret_output=True, reply_to="q")
    await admit(journal, arrival)
    one = await claim_one(journal)
    settlement = done(one, output={"pin": "***"}, secret_output={"pin": PIN})
    for thing in (arrival, one, settlement, journal.core, bad(body=PASSWORD.encode())):
        assert found(PASSWORD, repr(thing).encode()) == []
        assert found(PIN, repr(thing).encode()) == []
    await settle(journal, settlement)
    shown = repr(await journal.command("m-1")) + repr(await journal.commands({}, 10))
    assert found(PASSWORD, shown.encode()) + found(PIN, shown.encode()) == []


async def test_p7_an_error_about_data_quotes_nothing_of_them(journal: StoredJournal) -> None:
    with pytest.raises(Unstorable) as caught:
        await admit(journal, order("m-1", data={"password": PASSWORD + "\ud800"}))
    said = f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
    assert found(PASSWORD, said.encode()) == []
