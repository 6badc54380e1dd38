"""A real Chromium at a real daemon: what people click, read and copy."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, Request, async_playwright, expect

from tests.e2e.dev import make_key

from .browser import Site

PAGES = (
    *("/", "/token", "/rent", "/pods", "/usage", "/objects"),
    *("/admin", "/admin/fleet", "/admin/rentals", "/admin/sessions"),
)


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        # As root Chromium runs without its own sandbox or not at all.
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        await browser.close()


async def _signed_in(context: BrowserContext, site: Site) -> Page:
    page = await context.new_page()
    await page.goto(site.kgpud("user", "login-link", "boss@example.org"))
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Hello")).to_be_visible()
    return page


async def test_a_rental_from_first_click_to_last(
    site: Site, chromium: Browser, tmp_path: Path
) -> None:
    context = await chromium.new_context()
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(urlsplit(request.url).netloc)

    context.on("request", note)
    page = await _signed_in(context, site)
    key = make_key(tmp_path / "key")
    await page.get_by_role("link", name="Rent", exact=True).click()
    await page.get_by_label("v100").check()
    await page.get_by_label("Your public key").fill(key.with_suffix(".pub").read_text())
    line = await page.locator("#curl-line pre").inner_text()
    assert '"gpu_model":"v100"' in line
    assert "ssh-ed25519" in line
    await page.get_by_role("button", name="Rent").click()
    await expect(page.get_by_role("heading", name="gpu-rent-")).to_be_visible()
    await expect(page.locator("#state .badge")).to_have_text("ready")
    shown = await page.get_by_label("A shell").inner_text()
    argv = [
        *("ssh", "-i", str(key), "-o", "StrictHostKeyChecking=no", "-F", "none"),
        *("-o", f"UserKnownHostsFile={tmp_path / 'known_hosts'}", *shown.split()[1:]),
    ]
    done = await asyncio.to_thread(
        subprocess.run, [*argv, "nvidia-smi -L"], capture_output=True, timeout=60
    )
    assert (done.returncode, b"GPU 0" in done.stdout) == (0, True), done
    await page.get_by_role("link", name="Release").click()
    await page.get_by_role("button", name="Release it").click()
    await expect(page.get_by_text("The rental was released")).to_be_visible()
    await context.close()
    assert set(asked) == {urlsplit(site.origin).netloc}


async def test_every_page_reads_well(site: Site, chromium: Browser) -> None:
    context = await chromium.new_context()
    page = await _signed_in(context, site)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    themes: tuple[tuple[Literal["light", "dark"], int], ...] = (("light", 360), ("dark", 1600))
    for theme, width in themes:
        await page.emulate_media(color_scheme=theme)
        await page.set_viewport_size({"width": width, "height": 800})
        for path in PAGES:
            await page.goto(site.origin + path)
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{path} scrolls sideways at {width}"
            found = await Axe().run(page)
            assert found.violations_count == 0, f"{path}: {found.generate_report()}"
    await context.close()
    assert errors == []


async def test_it_works_without_scripts(site: Site, chromium: Browser) -> None:
    context = await chromium.new_context(java_script_enabled=False)
    page = await _signed_in(context, site)
    await page.get_by_role("link", name="Rent", exact=True).click()
    await page.get_by_role("button", name="Rent").click()
    await expect(page.get_by_text("BEGIN OPENSSH PRIVATE KEY")).to_be_visible()
    await page.get_by_role("link", name="To the pod").click()
    await page.get_by_role("link", name="Release").click()
    await page.get_by_role("button", name="Release it").click()
    await expect(page.get_by_text("The rental was released")).to_be_visible()
    await context.close()


async def test_a_file_goes_straight_to_the_store(
    site: Site, chromium: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(bytes(range(256)) * 4096)
    context = await chromium.new_context()
    page = await _signed_in(context, site)
    await page.goto(f"{site.origin}/objects")
    await page.get_by_label("Label").fill("a file")
    await page.get_by_role("button", name="Upload").click()
    await page.get_by_label("A file from this machine").set_input_files(file)
    await expect(page.get_by_role("cell", name="1.0 MB")).to_be_visible()
    await expect(page.get_by_text("ready")).to_be_visible()
    await context.close()


@pytest.mark.slow
async def test_a_balance_that_moves_moves_on_the_page(site: Site, chromium: Browser) -> None:
    context = await chromium.new_context()
    page = await _signed_in(context, site)
    balance = page.locator("#tiles .big").first
    before = await balance.inner_text()
    await asyncio.to_thread(site.kgpud, "user", "credit", "boss@example.org", "1", "--note", "x")
    # Another process wrote it: the next beat at the latest shows it.
    await expect(balance).not_to_have_text(before, timeout=30_000)
    await context.close()
