"""A whole worker with its console, RabbitMQ, a simulated SIPPulse and Chromium: what the person on duty sits at.

    async with Outpost(folder, broker, {"credit-br": {"settle": 600}}) as post:
        await post.people()                              # ana admin, olga and oto operators, vera viewer
        page = await post.page("olga")                   # signed in; `narrow=True`: a phone of 380 px
        await post.order("calls.block", "credit-br", "maria")
        post.checked()                                   # nothing broke the content security policy

Every platform of the settings is the same simulator; tests that share an outpost keep to a platform and to
names of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.chromium import chromium
from tests.support.amqp import Sender, command, eventually
from tests.support.console import PASSWORD
from tests.support.storm import DOMAIN, Sippulse
from tests.support.worker import WorkerProcess, Workers

SLOW = 60_000  # ms: a busy machine is no fault
PHONE: dict[str, Any] = {"viewport": {"width": 380, "height": 720}, "has_touch": True, "is_mobile": True}
DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
CREW = {"olga": "operator", "oto": "operator", "vera": "viewer"}
REASON = "Reason (stands in the audit record)"
# What the page itself cannot hide: each breach of the policy, counted in the page that broke it.
WATCH = (
    "addEventListener('securitypolicyviolation', event =>"
    " console.error('Content Security Policy: ' + event.violatedDirective))"
)


class Outpost:
    """`platforms`: name -> settings of its own; all are served by one simulator."""

    def __init__(self, folder: Path, broker: str, platforms: Mapping[str, Mapping[str, Any]]) -> None:
        self.simulator = Sippulse(folder)
        self.wrong: list[str] = []  # breaches of the policy, errors of scripts, dialogs
        self.worker: WorkerProcess
        self.browser: Browser
        self._folder, self._broker, self._platforms = folder, broker, platforms
        self._stack = AsyncExitStack()
        self._signed: dict[str, Any] = {}
        self._contexts: list[BrowserContext] = []

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        try:
            await self._stack.enter_async_context(self.simulator)
            tables = {name: {"url": self.simulator.url, **own} for name, own in self._platforms.items()}
            workers = Workers(self._folder, self._broker, tables)
            self.worker = await (await self._stack.enter_async_context(workers)).start()
            self.sender = await self._stack.enter_async_context(Sender(self._broker))
            self.browser = await self._stack.enter_async_context(chromium())
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        assert self.worker.url is not None
        return self.worker.url

    # ------------------------------------------------------------ people

    async def first_link(self) -> str:
        await eventually(lambda: "/first/" in self.worker.log())
        return str(re.findall(r"http://\S+/first/\S+", self.worker.log())[0])

    async def people(self) -> None:
        """The first admin by the link, the others by the admin; without a page, for tests about something else."""
        link = await self.first_link()
        context = await self.browser.new_context()
        ask = context.request
        form = {"name": "ana", "password": PASSWORD, "again": PASSWORD}
        assert (await ask.post(link, form=form, timeout=SLOW)).ok
        await self._sign_in(context, "ana")
        mark = re.search(
            r'name="csrf" value="([^"]+)"', await (await ask.get(f"{self.url}/scheduled")).text()
        )
        assert mark is not None
        for name, role in CREW.items():
            user = {
                "csrf": mark[1],
                "name": name,
                "role": role,
                "password": PASSWORD,
                "reason": "a new colleague",
            }
            assert (await ask.post(f"{self.url}/people/user", form=user, timeout=SLOW)).ok
        await context.close()
        for name in CREW:
            context = await self.browser.new_context()
            await self._sign_in(context, name)
            await context.close()

    async def _sign_in(self, context: BrowserContext, name: str) -> None:
        form = {"name": name, "password": PASSWORD}
        answer = await context.request.post(f"{self.url}/sign-in", form=form, timeout=SLOW)
        assert answer.ok, await answer.text()
        self._signed[name] = await context.storage_state()

    async def page(self, name: str | None = None, *, narrow: bool = False) -> Page:
        """A page in a context of its own, of who signed in, or of nobody; closed by `tidy`."""
        how = PHONE if narrow else DESK
        context = await self.browser.new_context(**how, storage_state=self._signed[name] if name else None)
        self._contexts.append(context)
        await context.add_init_script(WATCH)
        page = await context.new_page()
        page.set_default_timeout(SLOW)
        page.on("console", lambda said: self._hear(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))
        page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))
        return page

    def _hear(self, text: str) -> None:
        if "Content Security Policy" in text:
            self.wrong.append(text)

    async def tidy(self) -> None:
        """Close what a test opened; it broke no policy."""
        for context in self._contexts:
            await context.close()
        self._contexts.clear()
        wrong, self.wrong = self.wrong, []
        assert wrong == []

    # ------------------------------------------------------------ orders

    async def order(
        self, kind: str, platform: str, *names: str, batch: str | None = None, **data: Any
    ) -> None:
        """One command about each of these subscribers; `name@domain` for one of another domain."""
        more = {"batchid": batch} if batch else {}
        for name in names:
            user, _, domain = name.partition("@")
            who = {"username": user, "domain": domain or DOMAIN}
            body = command(f"{kind}.v1", {"platform": platform, "subscriber": who, **data}, **more)
            await self.sender.send(body)

    async def act(self, page: Page, path: str, reason: str) -> None:
        """What somebody else does meanwhile, in the name of who has this page."""
        mark = await page.locator("[name=csrf]").first.input_value()
        form = {"csrf": mark, "reason": reason}
        answer = await page.context.request.post(f"{self.url}{path}", form=form, timeout=SLOW)
        assert answer.ok, await answer.text()

    async def calls(self, operation: str, *names: str) -> list[str]:
        """The subscribers that the platform has done this for, in order."""
        log = (await self.simulator.ask("log"))["log"]
        return [
            entry["username"]
            for entry in log
            if entry["operation"] == operation and entry["username"] in names
        ]

    async def listed(self, page: Page, query: str, count: int, of: str = "main tbody tr") -> Locator:
        """The list of commands, once it holds so many; it is asked for anew until then."""

        async def there() -> bool:
            await page.goto(f"{self.url}/commands?{query}")
            return await page.locator(of).count() == count

        await eventually(there, 60, 0.2, f"{count} commands at {query}")
        return page.locator(of)

    async def shown(self, page: Page, query: str) -> str:
        """The page of the one command of that list; its number."""
        rows = await self.listed(page, query, 1)
        number = str(await rows.locator("a").first.text_content())
        await page.goto(f"{self.url}/commands/{number}")
        return number


# ---------------------------------------------------------------- what eyes and hands need


async def fits(page: Page) -> None:
    """Nothing is wider than the window, and whatever can be pressed can be reached and hit."""
    wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"{page.url} is {wide} px too wide"
    beyond = await page.evaluate(
        """() => [...document.querySelectorAll("main button, main a.button, main input:not([type=hidden]), nav a")]
          .filter(one => one.checkVisibility())
          .map(one => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
          .filter(([, box]) => box.left < 0 || box.right > innerWidth + 1 || box.height < 13 || box.width < 13)
          .map(([html]) => html)"""
    )
    assert beyond == [], f"{page.url}: not to be reached: {beyond}"


async def tab_to(page: Page, target: Locator, most: int = 80) -> None:
    """By the Tab key alone; wherever it stops, one sees where one is."""
    for _ in range(most):
        if await target.evaluate("one => one === document.activeElement"):
            return
        await page.keyboard.press("Tab")
        seen = await page.evaluate(
            """() => { const it = document.activeElement; if (!it || it === document.body) return true;
              const style = getComputedStyle(it); const box = it.getBoundingClientRect();
              return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 && box.width > 0; }"""
        )
        assert seen, (
            f"{page.url}: no focus to be seen at {await page.evaluate('document.activeElement.outerHTML')}"
        )
    raise AssertionError(f"{page.url}: Tab does not lead to {target}")


async def state_is(page: Page, state: str) -> None:
    await expect(page.locator("main .state").first).to_have_text(state, timeout=SLOW)
