"""A console with something to see: a journal in which commands succeeded, failed, wait, and are in doubt.

`python -m tests.browser.town docs/images` takes the screenshots of the main pages.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from playwright.async_api import FloatRect, Page

from tests.browser.chromium import chromium
from tests.conformance.support import (
    Place,
    admit,
    bad,
    change,
    claim,
    done,
    lost,
    order,
    parked,
    read,
    refused,
    settle,
)
from tests.support.console import PASSWORD, Front
from worker.console.server import Console
from worker.domain.lifecycle import EffectSeen
from worker.domain.outcome import Exchange
from worker.journal.batches.batches import Batches, NewBatch, Offered, Send, content_mac, row_hash
from worker.journal.journal import StoredJournal
from worker.messages.errors import Code, Problem
from worker.onboarding.desk import Desk
from worker.onboarding.workshop import Means
from worker.platforms.build import build
from worker.platforms.port import Platform
from worker.settings import VoipmundoSettings

PLATFORM = "sip-br"
KINDS = {PLATFORM: "sippulse", "voip-sp": "voipmundo", "ring-1": "ringme"}
MOST = 1150  # px of a picture's height
PAGES = {
    "overview": "/",
    "commands": "/commands",
    "command": "/commands?state=rejected&platform=sip-br",
    "failures": "/failures",
    "in-doubt": "/in-doubt",
    "preview": "/bulk/retry?state=parked",
    "batch": "/batches/debtors-november",
}


@asynccontextmanager
async def town(folder: Path) -> AsyncIterator[tuple[Console, Front, StoredJournal]]:
    """The console on a port of its own, over a filled journal; `ana` is admin, `olga` operator, `vera` viewer."""
    place = Place(f"sqlite:///{folder}/worker.db")
    journal = await place.open()
    front = Front(place.url, journal, KINDS)
    front.office.batches = Desk(journal, Means("town", KINDS, {}, built, _nowhere, 262_144, 2_000_000))
    await fill(journal)
    for name, role in (("ana", "admin"), ("olga", "operator"), ("vera", "viewer")):
        await front.user(name, role)  # type: ignore[arg-type]  # of the closed list
    await front.journal.fold()
    console = Console("127.0.0.1", 0, front.office.readiness, _metrics(front), front.office)
    front.office.address = ""
    front.office.settles = {PLATFORM: 600.0}
    await change(journal, "UPDATE lanes SET window_first = window_opened WHERE window_opened IS NOT NULL")
    await console.start()
    try:
        yield console, front, journal
    finally:
        await console.stop()
        await place.close()


async def built(name: str) -> Platform:
    """What makes commands of rows; it calls nobody: there is nothing at its address."""
    settings = VoipmundoSettings(kind="voipmundo", url="http://127.0.0.1:9", api_token="t", api_key="k")
    return await build(name, settings)


def _nowhere() -> Any:
    raise AssertionError("there is no RabbitMQ in the town")


def _metrics(front: Front):  # type: ignore[no-untyped-def]  # as `Front` made it
    from worker.console.metrics import Metrics
    from worker.telemetry import Telemetry

    return Metrics(Telemetry().registry, front.office.readiness.watch)


def about(name: str) -> str:
    return f"{PLATFORM}:subscriber:{name}@sip.example"


async def fill(journal: StoredJournal) -> None:
    for n in range(24):
        await admit(journal, order(f"order-{1000 + n}", about(f"person{n}"), batch_id="spring"))
    taken = await claim(journal)
    busy = Problem(Code.PLATFORM_REFUSED, "the profile has 12 lines, 10 allowed")
    seen = Exchange("SubscriberWS.blockOutgoingCalls", 41.0, 500, "<request/>", "<fault>12 lines</fault>")
    for index, one in enumerate(taken[:18]):
        if index % 6 == 5:
            await settle(journal, refused(one, problem=busy, exchange=seen))
        else:
            await settle(journal, done(one))
    for one in taken[18:22]:
        await settle(journal, parked(one, exchange=seen, outcome="unclear"))
    await admit(journal, order("topup-77", about("maria"), type="credit.add.v1", data={"amount": "20.00"}))
    [one] = await claim(journal)
    await journal.mark_sent([(one, read("credit", balance=Decimal("35.00"), last_call=9120))])
    after = read("credit", 1, "after", balance=Decimal("43.20"), calls=(Decimal("11.80"),))
    await settle(journal, lost(one, due_in=600.0, evidence=(after,)))
    await admit(journal, order("block-78", about("maria")))
    await others(journal)
    # As if it had taken an hour: charts begin where the present minute ends.
    for table, number, times in (
        ("commands", "id", ("received_at", "finished_at")),
        ("attempts", "command_id", ("at",)),
    ):
        ended = f"{number} IN (SELECT id FROM commands WHERE finished_at IS NOT NULL AND id < 100)"
        moved = ", ".join(f"{name} = {name} - {number} * 70" for name in times)
        await change(journal, f"UPDATE {table} SET {moved} WHERE {ended}")
    await journal.pause(PLATFORM, "olga", "they change the database until 04:00")


async def debtors(journal: StoredJournal) -> None:
    """A batch of six rows: four well, one refused, one on its way."""
    batches, kind = Batches(journal), "subscriber.block.v1"
    new = NewBatch("debtors-november", "voip-sp", "subscriber.block", "debtors.csv", "c", "p", 6, by="olga")
    batch = await batches.begin(new)
    mac = content_mac(batches.core, "as it was")
    names = [f"2007{n}" for n in range(1, 7)]
    hashes = {name: row_hash(batches.core, "voip-sp", [name]) for name in names}
    rows = [
        Offered(hashes[name], number, mac, {"id": name}, (kind,))
        for number, name in enumerate(names, start=2)
    ]
    for name, send in zip(names, await batches.offer(batch, rows, False), strict=True):
        assert isinstance(send, Send)
        [(_, message, _)] = send.parts
        about_it = {"type": kind, "platform": "voip-sp", "source": batch.source, "batch_id": batch.name}
        await admit(journal, order(message, f"voip-sp:customer:{name}", **about_it))
        await batches.sent([send.row])
    taken = await claim(journal, platform="voip-sp")
    seen = Exchange("statusCustomer", 310.0, 200, "{}", "{}")
    for one in taken[:4]:
        await settle(journal, done(one, exchange=seen))
    gone = Problem(Code.NOT_FOUND, "no customer 20075", platform_message="customer not found")
    await settle(journal, refused(taken[4], problem=gone, exchange=seen))


async def others(journal: StoredJournal) -> None:
    """Two more platforms; what waits for its day; an order in doubt whose window has ended; a refused message."""
    await debtors(journal)
    wrong = Problem(Code.NOT_FOUND, "no extension 4005 of client 88", platform_message="extension not found")
    for name in ("4001", "4002", "4005"):
        key = f"ring-1:extension:88/{name}"
        await admit(journal, order(f"ext-{name}", key, type="subscriber.update.v1", platform="ring-1"))
    for one in await claim(journal, platform="ring-1"):
        await settle(journal, done(one) if one.message_id != "ext-4005" else refused(one, problem=wrong))
    start = await journal.now()
    later = order("spring-cleaning", about("person3"), not_before=start + 86_400)
    await admit(journal, later, order("after-it", about("person4"), depends_on="block-78"))
    asked: dict[str, Any] = {
        "platform": PLATFORM,
        "profile": "business",
        "email": "teresa@new.example",
        "call_limit": 4,
    }
    asked["subscriber"] = {"username": "teresa.de.jesus.almeida", "domain": "sip.example"}
    asked["password"] = asked["portal_password"] = "hidden"
    made = order("new-91", about("teresa.de.jesus.almeida"), type="subscriber.create.v1", data=asked)
    await admit(journal, made)
    [one] = await claim(journal)
    await journal.mark_sent([(one, read("create", present=False))])
    record = {"username": "teresa.de.jesus.almeida", "email": "te@old.example", "profile": "business"}
    there = read("create", 1, "closing", present=True, matches=False, differences=("email",), record=record)
    end = parked(one, EffectSeen.UNKNOWN, evidence=(there,), outcome="unclear")
    why = Problem(Code.EFFECT_UNKNOWN, "what is there differs in: email")
    await settle(journal, replace(end, problem=why, releases_window=True))
    await admit(journal, bad("crm-4711", body=b'{"id": "crm-4711", "data": {"password": "hidden"'))


async def shots(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as home:
        async with town(Path(home)) as (console, _, journal), chromium() as browser:
            await journal.resume(PLATFORM, "olga", "for the picture")
            for name, width, scheme in (
                ("", 1080, "light"),
                ("-narrow", 380, "light"),
                ("-dark", 1080, "dark"),
            ):
                page = await browser.new_page(
                    viewport={"width": width, "height": 800},
                    color_scheme=scheme,  # type: ignore[arg-type]  # of the closed list
                )
                await page.goto(f"{console.url}/sign-in")
                await page.get_by_label("Name").fill("ana")
                await page.get_by_label("Password").fill(PASSWORD)
                await page.get_by_role("button", name="Sign in").click()
                for shot, path in PAGES.items():
                    if name == "-dark" and shot != "overview":
                        continue
                    if name == "-narrow" and shot not in ("overview", "commands", "in-doubt"):
                        continue
                    await page.set_viewport_size({"width": width, "height": 500})
                    await page.goto(f"{console.url}{path}")
                    if shot == "command":
                        await page.locator("main table a").first.click()
                    await page.wait_for_selector("main h1")
                    await page.screenshot(
                        path=str(folder / f"console-{shot}{name}.png"), clip=await extent(page)
                    )
                await page.close()


async def extent(page: Page) -> FloatRect:
    """The whole page, or so much of a long one as one reads at once."""
    wide, high = await page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    await page.set_viewport_size({"width": wide, "height": min(high, MOST)})
    return {"x": 0, "y": 0, "width": wide, "height": min(high, MOST)}


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(shots(target))
