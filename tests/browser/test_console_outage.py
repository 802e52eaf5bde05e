"""An outage as the person on duty sees it: the real worker, RabbitMQ, a platform that is away and comes back."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.async_api import Page, expect

from tests.browser.chromium import chromium
from tests.support.amqp import Sender, command, eventually
from tests.support.console import PASSWORD
from tests.support.worker import Workers
from worker.sandbox.ports import free_port
from worker.simulators.sippulse import SimulatorConfig, serve

DOMAIN = "sip.example"
PLATFORM = "sippulse-br"
SLOW = 60_000  # ms: a busy machine is no fault


async def test_an_outage_from_the_first_failure_to_the_all_clear(rabbit_url: str, tmp_path: Path) -> None:
    port = free_port()  # nobody listens there yet
    async with Workers(tmp_path, rabbit_url, {PLATFORM: f"http://127.0.0.1:{port}/SipPulse"}) as workers:
        one = await workers.start()
        await eventually(lambda: "/first/" in one.log())
        link = re.findall(r"http://\S+/first/\S+", one.log())[0]
        async with Sender(rabbit_url) as sender, chromium() as browser:
            page = await browser.new_page()
            page.set_default_timeout(SLOW)
            await page.goto(link)
            await page.get_by_label("Name").fill("ana")
            await page.get_by_label("Password", exact=True).fill(PASSWORD)
            await page.get_by_label("Password again").fill(f"{PASSWORD}, mistyped")
            await page.get_by_role("button", name="Make the admin").click()
            await expect(page.get_by_role("alert")).to_have_text("the two passwords differ", timeout=SLOW)
            await page.get_by_label("Password", exact=True).fill(PASSWORD)
            await page.get_by_label("Password again").fill(PASSWORD)
            await page.get_by_role("button", name="Make the admin").click()
            await page.get_by_label("Name").fill("ana")
            await page.get_by_label("Password").fill(PASSWORD)
            await page.get_by_role("button", name="Sign in").click()
            await expect(page.get_by_role("heading", name=PLATFORM)).to_be_visible(timeout=SLOW)

            for number in range(8):
                who = {"username": f"person{number}", "domain": DOMAIN}
                await sender.send(command("calls.block.v1", {"platform": PLATFORM, "subscriber": who}))
            await expect(page.locator("#banners")).to_contain_text("does not answer", timeout=SLOW)

            people = tuple({"username": f"person{number}", "domain": DOMAIN} for number in range(8))
            simulator = await serve(port, config=SimulatorConfig(subscribers=people))
            try:
                await expect(page.locator("#banners")).not_to_contain_text("does not answer", timeout=SLOW)
                await page.goto(f"{one.url}/commands?state=succeeded")
                await expect(page.locator("main tbody tr")).to_have_count(8, timeout=SLOW)
                await page.goto(f"{one.url}/commands/{await _first(page)}")
                await expect(page.locator(".timeline")).to_contain_text("notsent", timeout=SLOW)
                await page.goto(f"{one.url}/")
                panel = page.get_by_role("region", name=re.compile(PLATFORM))
                await expect(panel.locator(".state")).to_have_text("well", timeout=SLOW)
            finally:
                await simulator.close()
        one.terminate()
        assert await one.ended() == 0, one.tail()


async def _first(page: Page) -> str:
    """The number of the oldest command of the list."""
    return str(await page.locator("main tbody tr a").last.text_content())
