"""Debian's Chromium without a window, for whoever looks at pages as people do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

_ARGUMENTS = (
    # As root Chromium runs without its own sandbox or not at all.
    "--no-sandbox",
    "--disable-gpu",
    # A page that names another host, as the mock provider's style sheet does, learns at once that
    # there is none: asking a name server could take as long as a test may.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """Run a browser that reaches this machine and nothing else."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=_ARGUMENTS
        )
        yield browser
        await browser.close()
