"""Times on the pages, in a browser that is in another zone than UTC."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from playwright.async_api import expect

from tests.browser.chromium import chromium
from tests.browser.town import town
from tests.support.console import PASSWORD

SLOW = 60_000  # ms
SAO_PAULO = timedelta(hours=-3)


async def test_every_time_stands_there_in_utc_and_beside_it_as_the_clock_on_the_wall_has_it(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as (console, _, _), chromium() as browser:
        page = await browser.new_page(timezone_id="America/Sao_Paulo", locale="pt-BR")
        page.set_default_timeout(SLOW)
        await page.goto(f"{console.url}/sign-in")
        await page.locator("#name").fill("vera")
        await page.locator("#password").fill(PASSWORD)
        await page.locator("form button.main").click()
        await expect(page.locator(".grid .panel").first).to_be_visible(timeout=SLOW)
        for path in ("/commands/1", "/commands", "/audit"):
            await page.goto(f"{console.url}{path}")
            times = page.locator("main time[datetime]")
            assert await times.count() > 0, path
            first = times.first
            at = datetime.fromisoformat(str(await first.get_attribute("datetime")).replace("Z", "+00:00"))
            await expect(first).to_have_text(f"{at:%Y-%m-%d %H:%M:%S} UTC")
            local = first.locator("xpath=following-sibling::*[1][@class='local']")
            await expect(local).to_contain_text(f"{at + SAO_PAULO:%H:%M:%S}", timeout=SLOW)
            await expect(local).to_contain_text("BRT")
            await expect(page.locator("main .local")).to_have_count(await times.count(), timeout=SLOW)
