"""Files and batches on the console by role, and what bad input gets: a sentence, and nothing is changed."""

from __future__ import annotations

import io
import json
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from tests.batches.files import write_xlsx
from tests.conformance.support import Place, select
from tests.support.amqp import eventually
from tests.support.console import Front, said
from worker.journal.batches.batches import Batches, NewBatch, Offered
from worker.journal.batches.uploads import Uploads
from worker.journal.journal import StoredJournal
from worker.onboarding import streamed, workshop
from worker.onboarding.held import Held

FILE = b"username,domain\nana,sip.example\nbea,sip.example\n"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    it = Place(f"sqlite:///{tmp_path}/worker.db")
    yield it
    await it.close()


@pytest.fixture
async def journal(place: Place) -> StoredJournal:
    return await place.open()


@pytest.fixture
async def front(place: Place, journal: StoredJournal) -> AsyncIterator[Front]:
    async with Front(place.url, journal) as it:
        await batch(journal)
        yield it


async def batch(journal: StoredJournal) -> None:
    """Two rows that wait, one that was never sent; one is about somebody with a script for a name."""
    batches = Batches(journal)
    made = await batches.begin(NewBatch("spring", "sip-br", "calls.block", "l.csv", "c", "p", 3, "olga"))
    for number, name in enumerate(("ana", SCRIPT), 2):
        offered = Offered(f"{number:064}", number, "m", {"username": name}, ("calls.block.v1",))
        [send] = await batches.offer(made, [offered], False)
        await batches.sent([send.row])  # type: ignore[union-attr]  # it is new
    await batches.keep_bad(
        made, [(4, {"username": "caio"}, {"code": "missing_field", "message": "no domain: caio"})]
    )


async def denied(journal: StoredJournal) -> int:
    rows = await select(journal, "SELECT count(*) AS n FROM audit WHERE what = 'denied'")
    return int(rows[0]["n"])


async def upload(one: Any, content: bytes = FILE, name: str = "list.csv") -> Any:
    form = {"csrf": await one.mark()}
    return await one.client.post("/batches/upload", data=form, files={"file": (name, content)})


async def test_a_viewer_sees_how_a_batch_fares_and_nobody_s_name_and_may_do_nothing(
    front: Front, journal: StoredJournal
) -> None:
    vera = await front.person("vera", "viewer")
    page = (await vera.get("/batches/spring")).text
    assert "missing_field" in page
    assert "caio" not in page
    assert "ana" not in re.sub(r"<[^>]+>", "", page.split('id="rows"')[1])
    assert "report.csv" not in page
    assert 'type="file"' not in (await vera.get("/batches")).text
    before = await denied(journal)
    tries = [
        await vera.get("/batches/spring/report.csv"),
        await vera.act("/batches/spring/pause", reason="no"),
        await vera.act("/batches/spring/cancel", reason="no"),
        await upload(vera),
        await vera.get("/uploads/1"),
    ]
    assert [one.status_code for one in tries] == [403] * 5
    assert await denied(journal) - before == 5
    assert (await front.journal.reader.read(lambda tx: tx.rows("SELECT * FROM uploads"))) == []
    token = await front.token("dash", "viewer")
    rows = (await token.get("/api/v1/batches/spring/rows")).json()["rows"]
    assert {value for row in rows for value in row["keys"].values()} == {"•••"}
    assert (await token.post("/api/v1/uploads?name=a.csv", content=FILE)).status_code == 403


async def test_an_operator_steers_a_batch_and_every_act_is_in_the_audit_chain(
    front: Front, journal: StoredJournal
) -> None:
    olga = await front.person("olga", "operator")
    page = (await olga.get("/batches/spring")).text
    assert SCRIPT not in page
    assert "&lt;script&gt;" in page
    assert (await olga.act("/batches/spring/pause", reason="slow")).status_code == 303
    assert "is paused by olga: slow" in (await olga.get("/batches/spring")).text
    assert (await olga.act("/batches/spring/rate", reason="gently", rate="2,5")).status_code == 303
    assert (await olga.act("/batches/spring/resume", reason="well")).status_code == 303
    assert (await olga.act("/batches/spring/resume", reason="well")).status_code == 409
    assert (await olga.act("/batches/spring/pause", reason="")).status_code == 422
    assert (await olga.act("/batches/spring/rate", reason="x", rate="fast")).status_code == 422
    assert (await olga.act("/batches/nobody/pause", reason="x")).status_code == 404
    assert (await olga.act("/batches/spring/eat", reason="x")).status_code == 404
    assert (await olga.client.post("/batches/spring/cancel", data={"reason": "forged"})).status_code == 403
    assert (await olga.act("/batches/spring/cancel", reason="wrong list")).status_code == 303
    found, _ = await front.journal.records(actor="olga")
    assert {"batch_rate", "batch_cancelled"} <= {one["what"] for one in found}


async def test_a_file_waits_as_it_was_mapped_and_is_dropped_by_hand(
    front: Front, journal: StoredJournal
) -> None:
    olga = await front.person("olga", "operator")
    answer = await upload(olga, name=f"{SCRIPT}.csv")
    assert answer.status_code == 303, said(answer)
    where = answer.headers["location"]
    page = (await olga.get(where)).text
    assert SCRIPT not in page
    assert "2 rows" in page
    wrong = {
        "[[command]": "not TOML",
        "lookup = 3\n[[command]]\ntype = 'calls.block'": "docs/batches.md",
        "[[command]]\ntype = 'calls.block'\n[command.data]\n'subscriber.username' = { column = 'Nome' }\n"
        "'subscriber.domain' = 'x.example'": "no column",
        "when = { column = 'username', matches = '(a+)+$' }\n[[command]]\ntype = 'calls.block'\n[command.data]\n"
        "'subscriber.username' = { column = 'username' }\n'subscriber.domain' = 'x.example'": "`matches`",
    }
    for text, why in wrong.items():
        answer = await olga.act(f"{where}/plan", platform="sip-br", command="calls.block", mapping=text)
        assert answer.status_code == 422
        assert why in said(answer), said(answer)
    assert (await olga.act(f"{where}/plan", platform="nobody", command="calls.block")).status_code == 404
    assert (await olga.act(f"{where}/check")).status_code == 409  # nobody said what a row becomes
    done = await olga.act(f"{where}/plan", platform="sip-br", command="calls.block", batch="x")
    assert done.status_code == 303, said(done)
    assert (await olga.act(f"{where}/go", reason="now")).status_code == 409  # a dry run comes first
    sealed = await select(journal, "SELECT sealed FROM upload_parts")
    assert all("ana" not in row["sealed"] for row in sealed)
    assert (await olga.act(f"{where}/drop", reason="wrong one")).status_code == 303
    assert await select(journal, "SELECT * FROM upload_parts") == []
    assert (await olga.get(where)).status_code == 404


async def test_a_file_is_bounded_and_an_unreadable_one_leaves_nothing(
    front: Front, journal: StoredJournal
) -> None:
    token = await front.token("crm", "operator")
    olga = await front.person("olga", "operator")
    large = b"username,domain\n" + b"ana,sip.example\n" * 200_000
    assert (await token.post("/api/v1/uploads?name=a.csv", content=large)).status_code == 413
    assert (await upload(olga, large)).status_code == 413
    for content, why in (
        (b"%PDF-1.7", "a PDF"),
        (b"PK\x03\x04" + b"\0" * 100, "cannot be read as XLSX"),
        (b"a\n", "no row"),
    ):
        answer = await token.post("/api/v1/uploads?name=a.csv", content=content)
        assert (answer.status_code, why in answer.text) == (422, True), answer.text
        assert str(Path("/tmp")) not in answer.text
    assert (await olga.act("/batches/upload")).status_code == 422  # no file in the form
    forged = await olga.client.post("/batches/upload", data={"csrf": "x"}, files={"file": ("a.csv", FILE)})
    assert forged.status_code == 403
    assert await select(journal, "SELECT * FROM uploads") == []
    assert await select(journal, "SELECT * FROM upload_parts") == []


async def mapped_and_tried(journal: StoredJournal, one: Any, number: int, name: str) -> None:
    """A plan, and a dry run of it that has ended well."""
    done = await one.act(f"/uploads/{number}/plan", platform="sip-br", command="calls.block", batch=name)
    assert done.status_code == 303, said(done)
    assert (await one.act(f"/uploads/{number}/check")).status_code == 303
    figures = {"good": 2, "bad": 0, "commands": 2}
    assert await Uploads(journal).ended(number, "checking", "checked", found=figures)


async def test_what_goes_is_what_the_person_saw_who_let_it_go(front: Front, journal: StoredJournal) -> None:
    olga, otto = await front.person("olga", "operator"), await front.person("otto", "operator")
    number = int((await upload(olga)).headers["location"].rsplit("/", 1)[1])
    where = f"/uploads/{number}"

    async def seen() -> str:
        found = re.search(r'name="seen" value="([^"]+)"', (await olga.get(where)).text)
        return found[1] if found else ""

    await mapped_and_tried(journal, olga, number, "hers")
    looked = await seen()
    await mapped_and_tried(journal, otto, number, "his")
    before = await denied(journal)
    gone = await olga.act(f"{where}/go", reason="as I saw it", seen=looked)
    assert (gone.status_code, "after you looked" in gone.text) == (409, True), gone.text
    token = await front.token("crm", "operator")
    body = {"reason": "as I saw it", "seen": float(looked or 0)}
    assert (await token.post(f"/api/v1{where}/go", json=body)).status_code == 409
    assert await denied(journal) - before == 2
    assert [row["state"] for row in await select(journal, "SELECT state FROM uploads")] == ["checked"]
    assert (await olga.act(f"{where}/go", reason="now I did", seen=await seen())).status_code == 303
    [row] = await select(journal, "SELECT state, batch FROM uploads")
    assert (row["state"], row["batch"]) == ("going", "his")


async def test_a_file_that_waits_for_its_turn_says_so_and_can_be_taken_back(
    place: Place, journal: StoredJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshop, "GOING", 0)  # as many as may go are on their way
    async with Front(place.url, journal) as front:
        olga, uploads = await front.person("olga", "operator"), Uploads(journal)
        number = int((await upload(olga)).headers["location"].rsplit("/", 1)[1])
        where = f"/uploads/{number}"
        await mapped_and_tried(journal, olga, number, "later")
        assert (await olga.act(f"{where}/back", reason="no")).status_code == 409  # it does not go
        assert (await olga.act(f"{where}/go", reason="now", rate="5")).status_code == 303
        first = await uploads.find(number)
        assert front.office.batches is not None
        front.office.batches.start()

        async def waits() -> bool:
            return "can be taken back" in (await olga.get(where)).text

        await eventually(waits, 60, 0.2, "why it waits")
        assert (await olga.act(f"{where}/back", reason="wrong list")).status_code == 303
        found = await uploads.find(number)
        assert (found and found.state, found and found.text) == ("checked", "")
        assert first is not None
        assert not await uploads.opening(first)  # whoever works on it finds out before the batch is begun
        token = await front.token("crm", "operator")
        await token.post(f"/api/v1{where}/go", json={"reason": "slower", "rate": 1})
        assert not await uploads.opening(first)  # nor goes on as it was asked for before
        second = await uploads.find(number)
        assert second is not None
        assert await uploads.opening(second)
        answer = await token.post(f"/api/v1{where}/back", json={"reason": "too late"})
        assert (answer.status_code, "pause or cancel" in answer.text) == (409, True)
        found_, _ = await front.journal.records(actor="olga")
        assert "batch_taken_back" in {one["what"] for one in found_}


async def test_a_report_stands_under_no_name_on_the_disk_while_it_is_made(
    front: Front, journal: StoredJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, seen, append = tmp_path / "temporary", [], streamed._append
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    def looked(*given: Any) -> None:
        append(*given)
        seen.extend(folder.iterdir())

    monkeypatch.setattr(streamed, "_append", looked)
    made = bytearray()
    batches = Batches(journal)
    async for part in streamed.report(batches, await batches.needed("spring"), "xlsx"):
        made += part
        seen.extend(folder.iterdir())
    assert seen == []
    book = openpyxl.load_workbook(io.BytesIO(made))
    assert book.sheetnames == ["rows", "summary"]
    assert [row[0] for row in book["rows"].iter_rows(values_only=True)] == ["row", 2, 3, 4]


def rehearsed(content: bytes, most: int) -> dict[str, Any]:
    """What the reading process says of a workbook when its files in memory may have `most` bytes."""
    said = "import sys, worker.onboarding.rehearsal as it; it.MOST_HELD = int(sys.argv[3]);"
    code = f"{said} it.main(int(sys.argv[1]), sys.argv[2])"
    with Held("texts.xlsx") as held:
        held.write(content)
        words = [sys.executable, "-c", code, str(held.descriptor), "texts.xlsx", str(most)]
        child = subprocess.run(words, pass_fds=(held.descriptor,), capture_output=True, check=True)
    return dict(json.loads(child.stdout))


def test_a_workbook_that_holds_too_much_text_is_refused_before_the_worker_holds_it(tmp_path: Path) -> None:
    rows = [(f"{place:06}" + secrets.token_hex(15_000), "", "", "", "") for place in range(40)]
    content = write_xlsx(tmp_path / "texts.xlsx", rows).read_bytes()
    assert rehearsed(content, 2 << 20)["rows"] == 40
    assert "holds more text than is read" in str(rehearsed(content, 1 << 20))


async def test_a_plan_that_cannot_be_worked_on_stops_and_says_why(
    front: Front, journal: StoredJournal
) -> None:
    token = await front.token("crm", "operator")
    number = (await token.post("/api/v1/uploads?name=a.csv", content=FILE)).json()["id"]
    plan = {"platform": "sip-br", "command": "calls.block"}
    assert (await token.post(f"/api/v1/uploads/{number}/plan", json=plan)).status_code == 200
    assert (await token.get(f"/api/v1/uploads/{number}/preview")).status_code == 422
    assert front.office.batches is not None
    front.office.batches.start()
    await token.post(f"/api/v1/uploads/{number}/check", json={})

    async def stopped() -> bool:
        found = (await token.get(f"/api/v1/uploads/{number}")).json()
        return bool(found["state"] == "stopped" and "there is no platform" in found["text"])

    await eventually(stopped, 60, 0.2, "a stopped dry run")
