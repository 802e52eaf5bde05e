"""The system's Chromium (Debian package `chromium`), driven by Playwright; no browser is downloaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


def program() -> str:
    """Fails where there is none: a missing browser must never look like a pass."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    assert found is not None, "no Chromium: deploy/packages chromium"
    return found


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    words = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program(), args=[*words, "--disable-dev-shm-usage"], timeout=120_000
        )
        try:
            yield browser
        finally:
            await browser.close()
