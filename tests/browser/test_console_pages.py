"""The console in a real browser: reachable for everybody, at any width, with the keyboard alone, by role."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from tests.browser.chromium import chromium
from tests.browser.outpost import REASON
from tests.browser.town import town
from tests.conformance.support import earlier
from tests.support.console import PASSWORD, Front
from worker.console.server import Console
from worker.console.texts import PORTUGUESE
from worker.journal.console import bulk
from worker.journal.console.lists import Wanted
from worker.journal.console.people import IDLE
from worker.journal.journal import StoredJournal

PAGES = (
    "/", "/commands", "/commands?state=parked", "/commands/1", "/commands/25", "/commands/6/edit", "/scheduled",
    "/failures", "/failures?archived=1", "/in-doubt", "/acts", "/bulk/retry?state=parked", "/commands/38", "/platforms", "/quarantine", "/audit", "/people",
    "/commands?state=nonsense", "/batches", "/batches/debtors-november", "/quarantine?state=sent",
)  # fmt: skip
Town = tuple[Console, Front, StoredJournal]


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """One for all: each test keeps to commands of its own."""
    async with town(tmp_path_factory.mktemp("town")) as it:
        yield it


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as it:
        yield it


async def signed_in(
    browser: Browser, console: Console, name: str, width: int = 1200, scheme: str = "light"
) -> Page:
    page = await browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]  # of a closed list
    page.set_default_timeout(60_000)
    await page.goto(f"{console.url}/sign-in")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview", timeout=60_000)
    return page


async def faults(page: Page) -> list[str]:
    """What axe has against the page."""
    found = await Axe().run(page)
    return [
        f"{page.url}: {one['id']}: {one['nodes'][0]['html'][:200]}" for one in found.response["violations"]
    ]


async def test_no_page_shuts_anybody_out_in_light_or_dark_and_none_is_wider_than_380_px(
    place: Town, browser: Browser
) -> None:
    console, _, _ = place
    wrong: list[str] = []
    for width, scheme in SIZES:
        page = await signed_in(browser, console, "ana", width, scheme)
        said: list[str] = []
        page.on(
            "console",
            lambda message, said=said: said.append(message.text) if message.type == "error" else None,
        )  # type: ignore[misc]  # bound at once
        for path in PAGES:
            await page.goto(f"{console.url}{path}")
            wrong += await faults(page)
            if await page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wrong.append(f"{path} is wider than {width} px")
        wrong += [text for text in said if "Content Security Policy" in text]
        await page.close()
    page = await browser.new_page()
    await page.goto(f"{console.url}/sign-in")
    wrong += await faults(page)
    assert wrong == []


SIZES = ((1200, "light"), (380, "dark"))


async def shuts_nobody_out(page: Page) -> None:
    assert await faults(page) == []
    assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth"), page.url


async def half_way(front: Front) -> int:
    """An act on many of which one portion is done, and which nobody works on just now."""
    wanted, stored = Wanted(state="succeeded", platform="voip-sp"), front.stored
    number = await front.journal.begin(
        await front.journal.preview("archive", wanted), wanted, "olga", "known"
    )
    act = await front.journal.bulk_act(number)
    assert act is not None
    [first] = await stored.run(lambda tx: bulk.next_items(tx, number, 1))
    await stored.run(lambda tx: bulk.one(tx, stored.core, act, first, 1))
    return number


@pytest.mark.parametrize(("width", "scheme"), SIZES)
async def test_what_comes_after_a_form_shuts_nobody_out_either(
    place: Town, browser: Browser, width: int, scheme: str
) -> None:
    """An act on its way, a look into quarantine, a token that is shown once, and what cannot be done."""
    console, front, _ = place
    page = await signed_in(browser, console, "ana", width, scheme)
    act = await half_way(front)
    await page.goto(f"{console.url}/acts/{act}")
    await expect(page.get_by_role("button", name="Stop it")).to_be_visible()
    await expect(page.locator("main tbody tr")).to_have_count(1)
    await shuts_nobody_out(page)
    await page.get_by_label(REASON).fill("not tonight")
    await page.get_by_role("button", name="Stop it").click()
    await expect(page.locator("#head")).to_contain_text("stopped by ana: not tonight", timeout=60_000)
    await shuts_nobody_out(page)

    await page.goto(f"{console.url}/quarantine")
    await page.get_by_label(REASON).first.fill("what did they send?")
    await page.get_by_role("button", name="Look at it").first.click()
    await expect(page.get_by_label("Attributes (JSON)")).to_be_visible(timeout=60_000)
    await shuts_nobody_out(page)

    await page.goto(f"{console.url}/people")
    tokens = page.get_by_role("region", name="Tokens of programs")
    await tokens.locator("#t-name").fill(f"crm-{width}")
    await tokens.locator("#t-why").fill("the CRM shows states")
    await tokens.get_by_role("button", name="Make a token").click()
    await expect(page.get_by_role("status")).to_contain_text("pw_", timeout=60_000)
    await shuts_nobody_out(page)
    for one in await page.locator("main summary").all():
        await one.click()
    await shuts_nobody_out(page)

    await page.goto(f"{console.url}/acts/4711")
    await expect(page.get_by_role("alert")).to_contain_text("there is no act 4711")
    await shuts_nobody_out(page)
    await page.close()


@pytest.mark.parametrize(("width", "scheme"), SIZES)
async def test_an_uploaded_file_says_at_each_step_what_becomes_of_its_rows_at_any_width(
    place: Town, browser: Browser, width: int, scheme: str
) -> None:
    console, _, _ = place
    page = await signed_in(browser, console, "olga", width, scheme)
    await page.goto(f"{console.url}/batches")
    rows = f"id,reason\n{width}1,unpaid\nx y,unpaid\n".encode()
    file = {"name": f"debtors-{width}.csv", "mimeType": "text/csv", "buffer": rows}
    await page.get_by_label("A file of rows").set_input_files(file)  # type: ignore[arg-type]  # in memory
    await page.get_by_role("button", name="Upload").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(f"debtors-{width}.csv", timeout=60_000)
    await shuts_nobody_out(page)
    await page.get_by_label("Platform", exact=True).select_option("voip-sp")
    await page.get_by_label("Command (onboard").fill("subscriber.block")
    await page.get_by_role("button", name="Show the first rows").click()
    await expect(page.get_by_role("region", name="Row 2")).to_contain_text("subscriber.block", timeout=60_000)
    await shuts_nobody_out(page)
    await page.get_by_role("button", name="Dry run").click()
    await expect(page.locator("#state .verdict")).to_contain_text("1 bad", timeout=60_000)
    await page.reload()
    await expect(page.get_by_role("heading", name="Send it")).to_be_visible(timeout=60_000)
    await shuts_nobody_out(page)
    await page.close()


async def test_each_role_is_offered_what_it_may_do(place: Town, browser: Browser) -> None:
    console, _, _ = place
    viewer = await signed_in(browser, console, "vera")
    await viewer.goto(f"{console.url}/commands/19")
    assert "person18" not in await viewer.content()
    assert await viewer.get_by_role("button", name="Retry").count() == 0
    operator = await signed_in(browser, console, "olga")
    await operator.goto(f"{console.url}/commands/19")
    assert await operator.get_by_role("link", name="People").count() == 0
    await operator.get_by_label("Reason (stands in the audit record)").first.fill("the platform is back")
    await operator.get_by_role("button", name="Retry").click()
    await expect(operator.locator("main .state").first).to_have_text("waiting", timeout=60_000)
    await expect(operator.locator(".records")).to_contain_text("retried by olga")
    admin = await signed_in(browser, console, "ana")
    await admin.get_by_role("link", name="People").click()
    await expect(admin.get_by_role("heading", level=1)).to_have_text("People")


async def test_a_person_decides_what_is_in_doubt_from_its_evidence(place: Town, browser: Browser) -> None:
    console, _, journal = place
    operator = await signed_in(browser, console, "olga")
    await operator.goto(f"{console.url}/in-doubt")
    await expect(operator.locator("main")).to_contain_text("35.00")
    await expect(operator.locator("main")).to_contain_text("11.80")
    await expect(operator.locator("main")).to_contain_text("Only an admin may decide before it ends")
    admin = await signed_in(browser, console, "ana")
    await admin.goto(f"{console.url}/in-doubt")
    doubt = admin.get_by_role("region", name="credit.add")
    await doubt.get_by_label("Reason (stands in the audit record)").fill(
        "43.20 + 11.80 is 55.00: it was booked"
    )
    await doubt.get_by_label("I know that the platform will not apply it any more").check()
    await doubt.get_by_role("button", name="It took effect").click()
    await expect(admin.locator("main .state").first).to_have_text("succeeded", timeout=60_000)
    found = await journal.command("25")
    assert (found["state"], found["effect"], found["flags"]) == ("succeeded", "applied", "window_waived")


async def test_a_page_follows_what_happens_without_being_loaded_again(place: Town, browser: Browser) -> None:
    console, _, journal = place
    page = await signed_in(browser, console, "olga")
    await page.goto(f"{console.url}/commands/20")
    await expect(page.locator("#banners")).to_contain_text("is paused by olga")
    await journal.cancel("#20", "somebody", "not needed")
    await journal.resume("sip-br", "somebody", "they are ready")
    await expect(page.locator("main .state").first).to_have_text("cancelled", timeout=60_000)
    await expect(page.locator("#banners")).not_to_contain_text("is paused by olga", timeout=60_000)


async def test_the_keyboard_alone_finds_a_subscriber(place: Town, browser: Browser) -> None:
    console, _, _ = place
    page = await signed_in(browser, console, "olga")
    await page.wait_for_load_state("load")  # the script that listens for the key comes with the page
    await page.keyboard.press("/")
    await expect(page.get_by_role("searchbox")).to_be_focused()
    await page.keyboard.type("maria")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Commands", timeout=60_000)
    await expect(page.locator("main tbody tr")).to_have_count(2)
    await page.goto(f"{console.url}/")
    await page.keyboard.press("Tab")
    await expect(page.get_by_text("Skip to the content")).to_be_focused()


async def test_a_session_that_has_rested_too_long_leads_back_to_the_page_after_sign_in(
    place: Town, browser: Browser
) -> None:
    console, _, journal = place
    page = await signed_in(browser, console, "olga")
    await page.goto(f"{console.url}/failures")
    await earlier(journal, "console_sessions", IDLE + 60, "seen_at")
    await page.get_by_role("link", name="Scheduled").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in", timeout=60_000)
    await page.get_by_label("Name").fill("olga")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Scheduled", timeout=60_000)


async def test_every_page_speaks_portuguese_throughout(place: Town, browser: Browser) -> None:
    """Words of ours; what platforms and people said stays as it was said."""
    console, _, _ = place
    page = await signed_in(browser, console, "ana")
    await page.get_by_role("link", name="Português").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Visão geral", timeout=60_000)
    ours = {text for text in PORTUGUESE if len(text) > 3 and PORTUGUESE[text] != text and "{" not in text}
    wrong = []
    for path in PAGES:
        await page.goto(f"{console.url}{path}")
        shown = await page.locator(
            "h1, h2, h3, th, dt, label, button, nav a, main a.button"
        ).all_text_contents()
        wrong += [f"{path}: {text}" for text in {" ".join(one.split()) for one in shown} & ours]
        assert await page.locator("html").get_attribute("lang") == "pt-BR"
    assert wrong == []
