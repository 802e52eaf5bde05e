"""What is seen of a worker from outside its journal: the console's pages and their twins for programs, and spans.

places |= await pages_of(worker)       # signed in as the first person, who may see everything
"""

from __future__ import annotations

import base64
import html
import json
import re
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx

from tests.support.console import PASSWORD
from tests.support.worker import WorkerProcess

BOARDS = ("", "/commands", "/in-doubt", "/failures", "/platforms", "/audit")


async def pages_of(worker: WorkerProcess) -> dict[str, bytes]:
    """Path -> body: the boards, each failure group, and each command with its attempts, as page and as JSON."""
    async with signed_in(worker) as client:
        numbers = [row["id"] for row in (await client.get("/api/v1/commands")).json()["rows"]]
        paths = [board or "/" for board in BOARDS]
        paths += [f"/api/v1{board}" for board in BOARDS if board not in ("", "/in-doubt")]
        for number in numbers:
            paths += [f"/commands/{number}", f"/api/v1/commands/{number}"]
        found = {}
        for path in paths:
            answer = await client.get(path)
            assert answer.status_code == 200, (path, answer.text)
            found[path] = answer.content
        return found


@asynccontextmanager
async def signed_in(worker: WorkerProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A browser of the first person, an admin."""
    assert worker.url is not None
    async with httpx.AsyncClient(base_url=worker.url, timeout=60) as client:
        await _sign_in(client, worker)
        yield client


async def _sign_in(client: httpx.AsyncClient, worker: WorkerProcess) -> None:
    """By the link that a worker without people writes into its log."""
    [*_, link] = re.findall(r"/first/\S+?(?=[\"\s\\])", worker.log())
    await client.post(link, data={"name": "ana", "password": PASSWORD, "again": PASSWORD})
    answer = await client.post("/sign-in", data={"name": "ana", "password": PASSWORD})
    assert answer.status_code == 303, answer.text


def echoes(*secrets: str) -> Iterator[str]:
    """Texts of a platform that tells secrets, in the dresses that programs give them."""
    both = " and ".join(secrets)
    yield f"refused: {both}"
    yield f"url /api/x/{'/'.join(urllib.parse.quote(one, safe='') for one in secrets)}"
    yield f"form {urllib.parse.urlencode({str(n): one for n, one in enumerate(secrets)})}"
    yield f"<a>{html.escape(both)}</a>"
    yield f"json {json.dumps(json.dumps(both))}"
    for one in secrets:
        yield f"base64 {base64.b64encode(one.encode()).decode()} {base64.b64encode(f'x:{one}'.encode()).decode()}"
