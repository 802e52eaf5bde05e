"""Sign-in by a real provider in a real browser: what cookies, redirects and the content policy let through."""

from __future__ import annotations

from pathlib import Path

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from tests.browser.chromium import chromium
from tests.conformance.support import Place
from tests.support.console import Front
from tests.support.provider import provider
from worker.console.metrics import Metrics
from worker.console.oidc.provider import Provider
from worker.console.server import Console
from worker.sandbox.ports import free_port
from worker.settings import OidcSettings
from worker.telemetry import Telemetry


async def test_a_person_goes_to_the_provider_and_back_and_out_again(tmp_path: Path) -> None:
    place = Place(f"sqlite:///{tmp_path}/worker.db")
    later = Provider(OidcSettings(issuer="http://127.0.0.1:9", client_id="console", default_role="viewer"))
    front = Front(place.url, await place.open(), provider=later)
    office = front.office
    office.address = ""
    metrics = Metrics(Telemetry().registry, office.readiness.watch)
    console = Console("127.0.0.1", free_port(), office.readiness, metrics, office)
    await console.start()
    try:
        with provider(console.url) as there:
            office.provider = Provider(there.settings(button="Enter with the house account"))
            await there_and_back(console.url, there.issuer)
    finally:
        await console.stop()
        await place.close()


async def there_and_back(console: str, issuer: str) -> None:
    async with chromium() as browser:
        page = await browser.new_page(viewport={"width": 380, "height": 800})
        page.set_default_timeout(60_000)
        await page.goto(f"{console}/failures")
        way = page.get_by_role("link", name="Enter with the house account")
        await expect(way).to_be_visible()
        found = await Axe().run(page)
        assert found.response["violations"] == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= 380
        await way.focus()
        await page.keyboard.press("Enter")
        await page.locator('input[name="login"]').fill("u-1")
        await page.locator('input[name="password"]').fill("any")
        await page.locator('button[type="submit"]').click()
        await page.locator('button[type="submit"]').click()  # it may tell the console who that is
        await expect(page.get_by_role("heading", level=1)).to_have_text("Failures", timeout=60_000)
        assert page.url == f"{console}/failures"
        await page.get_by_role("button", name="Sign out").click()
        await page.wait_for_url(
            f"{issuer}/session/end**"
        )  # the policy lets no form lead there; the page does
        await page.locator('button[value="yes"]').click()
        await page.wait_for_url(f"{console}/sign-in**")
        await page.goto(f"{console}/failures")
        await expect(way).to_be_visible()
