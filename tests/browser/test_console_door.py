"""Who may come in and what each may do; and people who would rather not be told: no page breaks, nothing is changed."""

from __future__ import annotations

import json
import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.outpost import REASON, SLOW, Outpost, state_is
from tests.support.amqp import command
from tests.support.console import PASSWORD
from tests.support.storm import DOMAIN, create

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLATFORMS = {"door-br": {}, "bad-br": {}, "form-br": {}}
NAME = "<img src=x onerror=document.title='owned'>"
SCRIPT = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
SENSELESS = {
    "/commands?q=" + "x" * 10_000: "q: ",
    "/commands/999999999": "there is no command 999999999",
    "/commands/99999999999999999999999": "there is no command",
    "/commands/none": "number: ",
    "/acts/4711": "there is no act 4711",
    "/bulk/explode?state=parked": "on many commands there are",
    "/bulk/retry": "an act on everything is none",
    "/commands?colour=red": "there is no filter 'colour'",
    "/commands?since=2027-01-01&until=2026-01-01": "the period ends before it begins",
    "/nothing/here": "there is no such page",
}


async def comes_in(page: Page, name: str, password: str) -> None:
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Sign in").click()


async def told(page: Page, text: str) -> None:
    """A page that says why it was not done, and that nothing was."""
    await expect(page.get_by_role("heading", level=1)).to_have_text("Not done", timeout=SLOW)
    await expect(page.get_by_role("alert")).to_contain_text(text)
    await expect(page.locator("main")).to_contain_text("Nothing was changed.")


async def commands(page: Page, post: Outpost) -> int:
    """How many there are, for the last ones."""
    await page.goto(f"{post.url}/commands")
    return await page.locator("main tbody tr").count()


# ---------------------------------------------------------------- signing in


async def test_the_link_of_the_first_admin_is_dead_once_there_is_one(post: Outpost) -> None:
    page = await post.page()
    await page.goto(await post.first_link())
    await told(page, "this link was used")
    assert await page.get_by_role("textbox").count() == 0


async def test_an_admin_makes_a_user_who_is_shut_out_after_five_wrong_passwords(post: Outpost) -> None:
    admin = await post.page("ana")
    await admin.goto(f"{post.url}/people")
    await admin.locator("#u-name").fill("lara")
    await admin.locator("#u-role").select_option("viewer")
    await admin.locator("#u-password").fill(PASSWORD)
    await admin.locator("#u-why").fill("she begins today")
    await admin.get_by_role("button", name="Save").click()
    await expect(admin.get_by_role("row", name=re.compile("lara"))).to_contain_text("viewer", timeout=SLOW)

    page = await post.page()
    await page.goto(f"{post.url}/failures")
    for _ in range(5):
        await comes_in(page, "lara", "not her password")
        await expect(page.get_by_role("alert")).to_have_text(
            "the name or the password is wrong", timeout=SLOW
        )
        await page.goto(f"{post.url}/sign-in?next=/failures")
    await comes_in(page, "lara", PASSWORD)
    await expect(page.get_by_role("alert")).to_contain_text("wait 1 min", timeout=SLOW)
    await admin.reload()
    await expect(admin.get_by_role("row", name=re.compile("lara"))).to_contain_text("locked", timeout=SLOW)


async def test_who_signs_in_comes_to_the_page_they_wanted_and_who_signs_out_is_out(post: Outpost) -> None:
    page = await post.page()
    await page.goto(f"{post.url}/commands?state=parked")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in", timeout=SLOW)
    await comes_in(page, "vera", PASSWORD)
    await page.wait_for_url(f"{post.url}/commands?state=parked")
    [cookie] = [one for one in await page.context.cookies() if one["name"] == "worker_session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert cookie["name"] not in str(await page.evaluate("document.cookie"))
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in", timeout=SLOW)
    await page.go_back()
    await expect(page.get_by_label("Password")).to_be_visible(timeout=SLOW)  # nothing was kept by the browser
    stolen = {"name": "worker_session", "value": cookie["value"], "url": post.url}
    await page.context.add_cookies([stolen])  # type: ignore[list-item]  # of these three
    await page.goto(f"{post.url}/commands")
    await expect(page.get_by_label("Password")).to_be_visible(timeout=SLOW)


async def test_a_session_ends_with_its_user(post: Outpost) -> None:
    admin = await post.page("ana")
    await admin.goto(f"{post.url}/people")
    form = {
        "csrf": await admin.locator("[name=csrf]").first.input_value(),
        "name": "nina",
        "role": "operator",
        "reason": "for the night shift",
    }
    await admin.context.request.post(f"{post.url}/people/user", form={**form, "password": PASSWORD})
    page = await post.page()
    await page.goto(f"{post.url}/sign-in")
    await comes_in(page, "nina", PASSWORD)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview", timeout=SLOW)
    await admin.reload()
    nina = admin.get_by_role("row", name=re.compile("nina"))
    await nina.locator("summary").click()
    await nina.get_by_label(REASON).fill("she has left")
    await nina.get_by_role("button", name="Disable").click()
    await expect(admin.get_by_role("row", name=re.compile("nina"))).to_contain_text("disabled", timeout=SLOW)
    await page.get_by_role("link", name="Platforms", exact=True).click()
    await expect(page.get_by_label("Password")).to_be_visible(timeout=SLOW)
    await comes_in(page, "nina", PASSWORD)
    await expect(page.get_by_role("alert")).to_have_text("the name or the password is wrong", timeout=SLOW)


async def test_a_viewer_looks_and_an_operator_acts_and_only_an_admin_sees_people(post: Outpost) -> None:
    await post.simulator.subscribers(["valentina"])
    await post.simulator.fail("blockOutgoingCalls", "declared", text="no line is free", count=1)
    await post.order("calls.block", "door-br", "valentina")
    viewer = await post.page("vera")
    number = await post.shown(viewer, "platform=door-br&state=rejected")
    assert "valentina" not in await viewer.content()
    assert "no line is free" not in await viewer.content()
    assert await viewer.locator("main button, main a.button").count() == 0
    await viewer.goto(f"{post.url}/commands/{number}/edit")
    await told(viewer, "this needs the role operator; yours is viewer")
    operator = await post.page("olga")
    await operator.goto(f"{post.url}/commands/{number}")
    await expect(operator.locator("main")).to_contain_text("valentina")
    await operator.goto(f"{post.url}/people")
    await told(operator, "this needs the role admin; yours is operator")
    admin = await post.page("ana")
    await admin.goto(f"{post.url}/audit?what=denied")
    await expect(admin.locator("main tbody")).to_contain_text("vera")
    await expect(admin.locator("main tbody")).to_contain_text("olga")


# ---------------------------------------------------------------- ill will


async def test_script_in_names_and_errors_stays_text(post: Outpost) -> None:
    """What customers and platforms write is shown, and never run."""
    await post.simulator.fail("insertSubscriber", "declared", text=f"no: {SCRIPT}", count=1)
    data = {**create("beata")["data"], "platform": "bad-br", "first_name": NAME, "address": {"street": NAME}}
    await post.sender.send(command("subscriber.create.v1", data))
    await post.order("calls.block", "bad-br", SCRIPT)  # no name that the platform could have: quarantine
    page = await post.page("olga")
    number = await post.shown(page, "platform=bad-br&state=rejected")
    paths = [
        f"/commands/{number}", f"/commands/{number}/edit", "/commands?platform=bad-br", "/failures", "/", "/audit",
        f"/commands?q={SCRIPT}", "/bulk/retry?platform=bad-br", f"/commands?about={SCRIPT}", "/quarantine",
    ]  # fmt: skip
    for path in paths:
        await page.goto(f"{post.url}{path}")
        await page.wait_for_load_state("load")
        assert await page.locator("script:not([src]), main img, [onerror]").count() == 0, path
        assert "owned" not in await page.title(), path
    await page.goto(f"{post.url}/commands/{number}")
    await expect(page.locator("main")).to_contain_text(SCRIPT)
    await expect(page.locator("#content")).to_contain_text(NAME)
    await page.get_by_label(REASON).fill(SCRIPT)
    await page.get_by_role("button", name="Archive").click()
    await expect(page.locator(".records")).to_contain_text(SCRIPT, timeout=SLOW)
    assert await page.title() != "owned"


async def test_what_makes_no_sense_gets_a_clear_page(post: Outpost) -> None:
    page = await post.page("olga")
    for path, says in SENSELESS.items():
        answer = await page.goto(f"{post.url}{path}")
        assert answer is not None
        assert 400 <= answer.status < 500, path
        await told(page, says)


async def test_a_forged_cookie_is_nobody(post: Outpost) -> None:
    page = await post.page("olga")
    cookies = {one["name"]: one["value"] for one in await page.context.cookies()}
    good = cookies["worker_session"]
    for forged in (good[:-3] + "abc", "a" * 4000, '{"user": "ana"}', good.split(".")[0]):
        await page.context.clear_cookies()
        value = json.dumps(forged) if " " in forged else forged
        await page.context.add_cookies([{"name": "worker_session", "value": value, "url": post.url}])
        await page.goto(f"{post.url}/people")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in", timeout=SLOW)


async def test_a_form_sent_again_or_by_somebody_else_changes_nothing_more(post: Outpost) -> None:
    await post.simulator.subscribers(["fatima"])
    await post.simulator.fail("blockOutgoingCalls", "declared", text="no line is free", count=1)
    await post.order("calls.block", "form-br", "fatima")
    page = await post.page("olga")
    number = await post.shown(page, "platform=form-br&state=rejected")
    mark = await page.locator("#can [name=csrf]").first.input_value()
    await page.get_by_label(REASON).fill("there is room again")
    await page.get_by_role("button", name="Retry").click()
    await state_is(page, "succeeded")
    before = await commands(page, post)
    form = {"csrf": mark, "reason": "there is room again"}
    for name, sent, status in (
        ("olga", form, 409),  # the same form once more
        ("oto", form, 403),  # with another session's mark
        ("olga", {"reason": "no mark at all"}, 403),
        ("olga", {**form, "reason": ""}, 422),
        ("vera", form, 403),
    ):
        other = await post.page(name)
        answer = await other.context.request.post(
            f"{post.url}/commands/{number}/retry", form=sent, timeout=SLOW
        )
        assert answer.status == status, (name, sent, await answer.text())
        assert "Nothing was changed" in await answer.text()
    assert await commands(page, post) == before
    assert await post.calls("blockOutgoingCalls", "fatima") == ["fatima"]
    assert DOMAIN in await page.content()
