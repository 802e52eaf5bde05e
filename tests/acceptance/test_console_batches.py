"""A file of customers goes through the console: seen as commands first, checked, sent once, and reported."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from openpyxl import load_workbook

from tests.batches.files import DOMAIN
from tests.support.amqp import eventually
from tests.support.console import PASSWORD
from tests.support.stage import MODULE, PLATFORM, Stage, staged

pytestmark = [MODULE, pytest.mark.timeout(600)]
stage = staged(rate=5000.0, lease_margin=20.0)
LONG = 120.0
SECRET = "Fjord-7712-secret"
MAPPING = f"""
identity = ["Nome"]
[[command]]
type = "subscriber.create"
[command.data]
"subscriber.username" = {{ column = "Telefone", do = ["phone_br_55"] }}
"subscriber.domain" = "{DOMAIN}"
password = {{ column = "Senha" }}
portal_password = {{ column = "Senha" }}
profile = "residential"
rate_plan_id = 3
email = {{ column = "E-mail" }}
country_code = 55
area_code = 11
call_limit = 2
"""


class Desk:
    """A person with a session, as a browser without script."""

    def __init__(self, stage: Stage) -> None:
        assert stage.worker.url
        self.client = httpx.AsyncClient(base_url=stage.worker.url, timeout=60)

    async def __aenter__(self) -> Desk:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    async def sign_in(self, stage: Stage, name: str = "ana") -> Desk:
        links = re.findall(r"/first/\S+", stage.worker.log())
        if links:
            form = {"name": name, "password": PASSWORD, "again": PASSWORD}
            await self.client.post(links[0], data=form)
        answer = await self.client.post("/sign-in", data={"name": name, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        return self

    async def mark(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', (await self.client.get("/scheduled")).text)
        assert found
        return found[1]

    async def act(self, path: str, **fields: Any) -> httpx.Response:
        return await self.client.post(path, data={"csrf": await self.mark(), **fields})

    async def upload(self, name: str, content: bytes) -> httpx.Response:
        form = {"csrf": await self.mark()}
        return await self.client.post("/batches/upload", data=form, files={"file": (name, content)})

    async def text(self, path: str) -> str:
        answer = await self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def shows(self, path: str, text: str) -> str:
        async def there() -> str | None:
            answer = await self.client.get(path)  # 404 until a batch has begun
            return answer.text if text in answer.text else None

        found = await eventually(there, LONG, 0.3, f"{text!r} on {path}")
        assert isinstance(found, str)
        return found

    async def token(self, name: str, role: str) -> str:
        page = (await self.act("/people/token", name=name, role=role, days="1", reason="for a test")).text
        found = re.search(r"<code[^>]*>([^<]{20,})</code>", page)
        assert found, page
        return found[1]


def customers(count: int) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";")
    writer.writerow(("Telefone", "Nome", "E-mail", "Senha"))
    for place in range(count):
        phone = f"(11) 97{place:03}-0001" if place != 3 else "(20) 3"
        writer.writerow((phone, f"=João {place}", f"c{place}@{DOMAIN}", SECRET))
    return text.getvalue().encode("cp1252")


def nowhere_in_clear(stage: Stage, secret: str) -> None:
    """Neither in the journal's files nor in the logs."""
    for file in stage.workers.folder.iterdir():
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file.name


async def test_a_file_is_shown_as_commands_checked_sent_and_reported(stage: Stage) -> None:
    await stage.platform.subscribers(["5511970070001"])  # one of them is there already
    there = (await stage.platform.ask("counts"))["subscribers"]
    async with Desk(stage) as desk:
        await desk.sign_in(stage)
        answer = await desk.upload("clientes.csv", customers(12))
        assert answer.status_code == 303, answer.text
        place = answer.headers["location"]
        page = await desk.text(place)
        assert "CSV, cp1252, delimiter semicolon" in page
        guessed = await desk.act(f"{place}/plan", platform=PLATFORM, command="onboard", guess="1")
        assert "column = &#34;Telefone&#34;" in guessed.text
        planned = await desk.act(
            f"{place}/plan", platform=PLATFORM, command="onboard", mapping=MAPPING, batch="friday"
        )
        assert planned.status_code == 303, planned.text
        page = await desk.text(place)
        assert "5511970000001" in page
        assert "subscriber.create" in page
        assert SECRET not in page
        early = await desk.act(f"{place}/go", reason="now")
        assert early.status_code == 409  # a dry run comes first
        await desk.act(f"{place}/check")
        page = await desk.shows(place, "good rows")
        assert "11 good rows, 1 bad" in page
        problems = (await desk.client.get(f"{place}/problems.csv")).content.decode("utf-8-sig")
        assert "(20) 3" in problems
        assert SECRET not in problems
        assert (await stage.platform.ask("counts"))["subscribers"] == there  # nothing was sent
        await desk.act(f"{place}/go", reason="go")  # a row is bad, and nobody said to send the others
        await desk.shows(place, "1 of 12 rows are bad")
        await desk.act(f"{place}/check")
        await desk.shows(place, "Go: 11 rows")  # figures of the run before stand there until then
        nowhere_in_clear(stage, SECRET)
        gone = await desk.act(f"{place}/go", reason="the CRM's order", skip_bad="1", share="20", rate="0")
        assert gone.status_code == 303
        page = await desk.shows("/batches/friday", "12 of 12 rows have ended")
        assert "already_exists" in page
        assert "/commands?batch=friday" in page
        assert "=João 4" in await desk.text("/batches/friday")
        assert "(20)" not in await desk.text("/batches/friday?state=failed")
        await _reported(desk)
        nowhere_in_clear(stage, SECRET)
        records = await stage.cli("audit", "list", "--json", code=None)
        if records.code == 0:
            said = Counter(one["what"] for one in json.loads(records.out))
            assert said["batch_uploaded"] == 1


async def _reported(desk: Desk) -> None:
    text = (await desk.client.get("/batches/friday/report.csv")).content.decode("utf-8-sig")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [int(line["row"]) for line in lines] == list(range(2, 14))
    assert Counter(line["ending"] for line in lines) == {"succeeded": 10, "failed": 1, "not sent": 1}
    assert lines[0]["Nome"] == "'=João 0"  # no spreadsheet takes it for a formula
    book = load_workbook(io.BytesIO((await desk.client.get("/batches/friday/report.xlsx")).content))
    rows = list(book["rows"].iter_rows(values_only=True))
    assert len(rows) == 13
    assert rows[1][1] == "'=João 0"


async def test_a_batch_goes_on_where_it_was_when_its_process_was_killed_and_nothing_is_done_twice(
    stage: Stage,
) -> None:
    names = [f"5511960{place:06}" for place in range(150)]
    await stage.platform.subscribers(names)
    content = ("username,domain,amount\n" + "".join(f"{name},{DOMAIN},1.50\n" for name in names)).encode()
    async with Desk(stage) as desk:
        token = await (await desk.sign_in(stage)).token("crm", "operator")
    before = await stage.platform.ask("counts")

    def api() -> httpx.AsyncClient:
        assert stage.worker.url
        return httpx.AsyncClient(
            base_url=f"{stage.worker.url}/api/v1", headers={"authorization": f"Bearer {token}"}, timeout=60
        )

    async def until(path: str, good: Any) -> dict[str, Any]:
        async def there() -> dict[str, Any] | None:
            async with api() as client:
                try:
                    found = (await client.get(path)).json()
                except httpx.TransportError:
                    return None
            return found if good(found) else None

        return dict(await eventually(there, LONG, 0.2, f"what is wanted of {path}"))

    async with api() as client:
        answer = await client.post("/uploads?name=presents.csv", content=content)
        assert answer.status_code == 200, answer.text
        number = answer.json()["id"]
        plan = {"platform": PLATFORM, "command": "credit.add", "batch": "presents"}
        assert (await client.post(f"/uploads/{number}/plan", json=plan)).status_code == 200
        rows = (await client.get(f"/uploads/{number}/preview")).json()
        assert rows[0]["commands"][0]["data"]["subscriber"]["username"] == names[0]
        await client.post(f"/uploads/{number}/check", json={"against": True})
        found = (await until(f"/uploads/{number}", lambda one: one["state"] == "checked"))["found"]
        assert (found["good"], found["bad"]) == (150, 0)
        key = {"idempotency-key": "tonight"}
        for _ in range(2):  # the second is the same wish again
            gone = await client.post(
                f"/uploads/{number}/go", json={"reason": "a present", "rate": 5}, headers=key
            )
            assert gone.json() == {"upload": number, "batch": "presents"}, gone.text
    await until("/batches/presents", lambda one: one.get("rows", {}).get("done", 0) > 10)
    stage.worker.kill()
    stage.worker = await stage.workers.start()
    async with api() as client:
        await client.post("/batches/presents/pause", json={"reason": "a look"})
        assert (await client.get("/batches/presents")).json()["stage"] == "paused"
        await client.post("/batches/presents/rate", json={"reason": "faster", "rate": 0})
        await client.post("/batches/presents/resume", json={"reason": "well"})
    done = await until("/batches/presents", lambda one: one.get("stage") == "done")
    assert done["rows"]["done"] == 150
    after = await stage.platform.ask("counts")
    assert (after["credits"] - before["credits"], after["doubles"]) == (150, before["doubles"])
    # What has ended well leaves nothing behind: the file is gone from the journal.
    await eventually(lambda: _gone(stage), LONG, 1.0, "a swept upload")


async def _gone(stage: Stage) -> bool:
    return bool(await stage.value("SELECT count(*) FROM uploads WHERE batch = 'presents'") == 0)


async def test_a_hostile_file_gets_a_clear_page_and_changes_nothing(stage: Stage, tmp_path: Path) -> None:
    before = await stage.value("SELECT count(*) FROM uploads")
    files = {
        "picture.csv": (b"\x89PNG\r\n\x1a\n" + b"\0" * 2000, "is a picture"),
        "binary.csv": (bytes(range(256)) * 400, "binary file"),
        "cell.csv": (b"username,domain\nana," + b"x" * 10_000_000, "a cell has more than"),
        "wide.csv": (b",".join(b"c%d" % n for n in range(1001)) + b"\n1\n", "more than 1000"),
        "empty.csv": (b"", "choose a file"),
        "bomb.xlsx": (_bomb(), "would unpack to"),
        "<script>alert(1)</script>.csv": (b"a,a\n1,2\n", "two columns are called"),
    }
    async with Desk(stage) as desk:
        await desk.sign_in(stage)
        for name, (content, said) in files.items():
            answer = await desk.upload(name, content)
            assert answer.status_code == 422, (name, answer.status_code, answer.text)
            assert said in answer.text, (name, answer.text)
            assert "<script>alert" not in answer.text
        assert (await stage.worker.get("/healthz"))[0] == 200
    assert await stage.value("SELECT count(*) FROM uploads") == before


def _bomb() -> bytes:
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        with archive.open("xl/worksheets/sheet1.xml", "w") as sheet:
            for _ in range(300):
                sheet.write(b" " * (1 << 20))
    return packed.getvalue()
