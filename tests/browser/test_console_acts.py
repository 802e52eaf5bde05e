"""What people do at the console, with the real worker behind it: correct, retry many, decide, stop; by key and by thumb."""

from __future__ import annotations

import json
import re

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.outpost import REASON, SLOW, Outpost, fits, state_is, tab_to
from tests.support.amqp import eventually
from tests.support.storm import DOMAIN

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOUBTFUL = {"credit_evidence": "strict"}  # after a lost answer a person decides
PLATFORMS = {
    "edit-br": {},
    "stop-br": {},
    "rest-br": {},
    "again-br": {},
    "two-br": {},
    "keys-br": {},
    "open-br": {**DOUBTFUL, "settle": 600.0},
    "ended-br": DOUBTFUL,
}
FULL = "the profile is full"


async def refused(post: Outpost, platform: str, count: int, batch: str | None = None) -> list[str]:
    """So many commands that the platform refuses; their subscribers, in a domain of the platform's name."""
    domain = f"{platform}.example"
    names = [f"{platform[:-3]}{number}" for number in range(count)]
    await post.simulator.tell("subscribers", subscribers=[{"username": n, "domain": domain} for n in names])
    await post.simulator.fail("blockOutgoingCalls", "declared", domain=domain, text=FULL)
    await post.order("calls.block", platform, *(f"{name}@{domain}" for name in names), batch=batch)
    return names


async def preview_of(page: Page, post: Outpost, platform: str) -> Locator:
    """The group of that platform on the page of failures."""
    await page.goto(f"{post.url}/failures")
    group = page.get_by_role("region", name=re.compile(platform))
    await expect(group).to_contain_text(FULL, timeout=SLOW)
    return group


# ---------------------------------------------------------------- one command


async def test_an_order_with_wrong_data_is_corrected_and_its_secrets_stay_unseen(post: Outpost) -> None:
    await post.simulator.subscribers(["carla"], password="sip-old")
    wanted, wrong = "a-new-secret-7", "not-her-password"
    await post.order("password.change", "edit-br", "carla", new_password=wanted, current_password=wrong)
    page = await post.page("olga")
    number = await post.shown(page, "state=rejected&platform=edit-br")
    await page.get_by_role("link", name="Edit and retry").click()

    field, reason = page.get_by_label("Data (JSON)"), page.get_by_label(REASON)
    data = json.loads(await field.input_value())
    assert (data["new_password"], data["current_password"]) == ("***", "***")
    typed = json.dumps({**data, "curent_password": "sip-old"}, indent=1)
    await field.fill(typed)
    await reason.fill("she told us her password")
    await page.get_by_role("button", name="Run it with these data").click()
    await expect(page.get_by_role("alert")).to_contain_text("curent_password", timeout=SLOW)
    assert json.loads(await field.input_value()) == json.loads(typed)  # nothing has to be typed again

    await field.fill(json.dumps({**data, "current_password": "sip-old"}))
    await reason.fill("she told us her password")
    await page.get_by_role("button", name="Run it with these data").click()
    await expect(page.locator("dl.facts")).to_contain_text("Retry of", timeout=SLOW)
    await state_is(page, "succeeded")
    for secret in (wanted, wrong, "sip-old"):
        assert secret not in await page.content()
    await page.goto(f"{post.url}/commands/{number}")
    await expect(page.locator(".records")).to_contain_text("she told us her password")
    assert wanted not in await page.content()
    found = await post.simulator.ask("state", username="carla", domain=DOMAIN, secrets="1")
    assert found["subscribers"][0]["password"] == wanted


async def test_two_operators_on_one_command_run_it_once_and_the_second_is_told(post: Outpost) -> None:
    [name] = await refused(post, "two-br", 1)
    pages = [await post.page("olga"), await post.page("oto")]
    for page in pages:
        await post.shown(page, "state=rejected&platform=two-br")
        await page.get_by_label(REASON).fill("the profile has room again")
    await post.simulator.heal()
    await pages[0].get_by_role("button", name="Retry").click()
    await state_is(pages[0], "succeeded")
    await pages[1].get_by_role("button", name="Retry").click()
    await expect(pages[1].get_by_role("heading", level=1)).to_have_text("Not done", timeout=SLOW)
    await expect(pages[1].get_by_role("alert")).to_contain_text(re.compile("newer|already|retried"))
    assert await post.calls("blockOutgoingCalls", name) == [name]


# ---------------------------------------------------------------- in doubt


async def doubtful(page: Page, post: Outpost, name: str, says: str) -> Locator:
    """The panel of that subscriber's credit, once it says so."""

    async def there() -> bool:
        await page.goto(f"{post.url}/in-doubt")
        panel = page.locator("section.panel").filter(has_text=name)
        return await panel.count() == 1 and says in str(await panel.text_content())

    await eventually(there, 60, 0.2, f"{says} about {name}")
    return page.locator("section.panel").filter(has_text=name)


async def test_before_the_window_s_end_only_an_admin_decides_by_waiving_it(post: Outpost) -> None:
    await post.simulator.subscribers(["dora"], balance="15")
    await post.simulator.fail("addCredit", "drop_before", username="dora", count=1)
    await post.order("credit.add", "open-br", "dora", amount="20.00")
    viewer = await doubtful(await post.page("vera"), post, "open-br", "A viewer may not decide")
    assert "dora" not in str(await viewer.text_content())
    operator = await doubtful(await post.page("olga"), post, "dora", "The settle window is open since")
    await expect(operator).to_contain_text("Only an admin may decide before it ends")
    assert await operator.get_by_role("button").count() == 0

    page = await post.page("ana", narrow=True)
    panel = await doubtful(page, post, "dora", "15")
    await fits(page)
    again = panel.get_by_role("button", name="It did not: run it again")
    await panel.get_by_label(REASON).fill("their log has no such request")
    await again.tap()  # not without saying that the window is waived
    await expect(panel.get_by_role("checkbox")).to_be_focused()
    await panel.get_by_role("checkbox").tap()
    await again.tap()
    await state_is(page, "succeeded")
    booked = (await post.simulator.ask("credits"))["by_subscriber"][f"dora@{DOMAIN}"]
    assert (booked["times"], float(booked["sum"])) == (1, 20.0)
    await post.listed(page, "q=dora", 2)


async def test_after_the_window_s_end_an_operator_says_that_it_took_effect(post: Outpost) -> None:
    await post.simulator.subscribers(["dino"], balance="15")
    await post.simulator.fail("addCredit", "drop_after", username="dino", count=1)
    await post.order("credit.add", "ended-br", "dino", amount="20.00")
    page = await post.page("olga")
    panel = await doubtful(page, post, "dino", "The settle window has ended")
    for shown in ("amount 20.00", "balance 15", "balance 35", "that leaves 20.00", "leaves it to a person"):
        await expect(panel).to_contain_text(re.compile(shown.replace(" ", r"\s*")))
    took = panel.get_by_role("button", name="It took effect")
    await took.click()  # not without a reason
    await expect(panel.get_by_label(REASON)).to_be_focused()
    await panel.get_by_label(REASON).fill("their log shows it booked")
    await took.click()
    await state_is(page, "succeeded")
    await expect(page.locator(".records")).to_contain_text("their log shows it booked")
    assert await post.calls("addCredit", "dino") == ["dino"]


# ---------------------------------------------------------------- many commands


async def test_a_person_with_a_phone_stops_a_bulk_retry_half_way_and_nothing_more_goes(post: Outpost) -> None:
    names = [*await refused(post, "stop-br", 1, "night"), *await refused(post, "rest-br", 11, "night")]
    page = await post.page("olga", narrow=True)
    await post.listed(page, "state=rejected&batch=night", 12)
    await fits(page)
    # The first goes through; those of the other platform wait, for somebody has paused it: the second portion hangs.
    await post.act(page, "/platforms/rest-br/pause", "they restart it")
    await post.simulator.heal()
    await page.get_by_role("link", name="Preview a retry").tap()
    await expect(page.locator(".verdict")).to_have_text("12 commands", timeout=SLOW)
    await expect(page.locator("#banners")).to_contain_text("they restart it")
    await fits(page)
    await page.get_by_label(REASON).fill("the profile has room again")
    await page.get_by_role("button", name="Go: 12 commands").tap()
    await expect(page.locator("#head")).to_contain_text("6 of 12 acted on", timeout=SLOW)
    await fits(page)
    await page.get_by_label(REASON).fill("they restart it again")
    await page.get_by_role("button", name="Stop it").tap()
    await state_is(page, "stopped")
    await expect(page.locator("#head")).to_contain_text("stopped by olga: they restart it again")
    portions = await page.locator("td[data-label=Portion]").all_text_contents()
    assert sorted(one for one in portions if one.isdigit()) == ["1", "2", "2", "2", "2", "2"]
    # What was on its way arrives, the rest stays as it was.
    await post.act(page, "/platforms/rest-br/resume", "it is back")
    await post.listed(page, "state=succeeded&batch=night", 6)
    await post.listed(page, "batch=night", 18)
    assert len(await post.calls("blockOutgoingCalls", *names)) == 6


async def test_a_bulk_retry_stops_by_itself_when_the_first_fails_again(post: Outpost) -> None:
    names = await refused(post, "again-br", 8)
    page = await post.page("olga")
    await post.listed(page, "state=rejected&platform=again-br", 8)
    group = await preview_of(page, post, "again-br")
    await group.get_by_role("link", name="Preview a retry").click()
    await page.get_by_label(REASON).fill("they say it works again")
    await page.get_by_role("button", name="Go: 8 commands").click()
    await state_is(page, "stopped")
    await expect(page.locator("#head")).to_contain_text("1 of the 1 in portion 1 failed again")
    await expect(page.locator("#head")).to_contain_text("1 of 8 acted on")
    await expect(page.get_by_role("button", name="Stop it")).to_be_hidden(timeout=SLOW)
    await post.listed(page, "state=rejected&platform=again-br", 9)
    assert await post.calls("blockOutgoingCalls", *names) == []


# ---------------------------------------------------------------- without the mouse


async def test_an_outage_is_put_right_with_the_keyboard_alone(post: Outpost) -> None:
    await refused(post, "keys-br", 3)
    page = await post.page()
    await page.goto(f"{post.url}/")
    await expect(page.get_by_label("Name")).to_be_focused()
    await page.keyboard.type("olga")
    await tab_to(page, page.get_by_label("Password"))
    await page.keyboard.type("a password that is long enough")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview", timeout=SLOW)

    await page.keyboard.press("Tab")
    skip = page.get_by_text("Skip to the content")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await expect(page.locator("#main")).to_be_focused()
    await page.wait_for_load_state("load")  # the script that listens for the key comes with the page
    await page.keyboard.press("/")
    await expect(page.get_by_role("searchbox").first).to_be_focused()
    await page.keyboard.type("keys1")
    await page.keyboard.press("Enter")
    await expect(page.locator("main tbody tr")).to_have_count(1, timeout=SLOW)

    await tab_to(page, page.get_by_role("link", name="Failures", exact=True))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Failures", timeout=SLOW)
    group = page.get_by_role("region", name=re.compile("keys-br"))
    await expect(group).to_contain_text("3×", timeout=SLOW)
    await tab_to(page, group.get_by_role("link", name="Preview a retry"))
    await page.keyboard.press("Enter")
    await expect(page.locator(".verdict")).to_have_text("3 commands", timeout=SLOW)
    await post.simulator.heal()
    await tab_to(page, page.get_by_label(REASON))
    await page.keyboard.type("the profile has room again")
    await page.keyboard.press("Enter")
    await expect(page.locator("#head")).to_contain_text("3 of 3 acted on", timeout=SLOW)
    await state_is(page, "done")
    await post.listed(page, "state=succeeded&platform=keys-br", 3)
