"""A real Chromium at a real daemon: what people click, read, copy and paste."""

import asyncio
import json
import shlex
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Error, Page, Request, expect

from tests.e2e.dev import make_key

from .browser import Site

PAGES = (
    *("/", "/token", "/rent", "/rent?gpu_count=x", "/pods", "/pods/none", "/usage", "/objects"),
    *("/admin", "/admin/fleet", "/admin/rentals", "/admin/audit", "/no/such/page"),
)


async def _signed_in(context: BrowserContext, site: Site) -> Page:
    page = await context.new_page()
    await page.goto(await site.link("boss@example.org"))
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Hello")).to_be_visible()
    return page


async def _bash(script: str, folder: Path, **env: str) -> str:
    """Run what was pasted into a shell; return what it printed."""
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-euc", script],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **env},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done
    return done.stdout.decode()


async def _reissued(page: Page, site: Site) -> str:
    """Make a new token by clicks; return it as the copy button gives it."""
    await page.goto(site.origin)
    await (
        page.get_by_role("link", name="Reissue")
        .or_(page.get_by_role("link", name="Make one"))
        .click()
    )
    await (
        page.get_by_role("button", name="Reissue")
        .or_(page.get_by_role("button", name="Make it"))
        .click()
    )
    await page.get_by_role("button", name="Copy: Token").click()
    await expect(page.get_by_role("button", name="Copy: Token")).to_have_text("Copied")
    return str(await page.evaluate("navigator.clipboard.readText()"))


async def _reads_well(page: Page) -> None:
    """Ask axe, which knows what screen readers, keyboards and weak eyes need."""
    found = await Axe().run(page)
    assert found.violations_count == 0, f"{page.url}: {found.generate_report()}"


def _ssh(folder: Path) -> str:
    """Return a function for bash that lets ssh know no host and ask nothing."""
    known = f"-o UserKnownHostsFile={folder}/known -o StrictHostKeyChecking=accept-new"
    return f'ssh() {{ command ssh -F none {known} "$@"; }}\n'


async def test_a_token_is_copied_used_and_replaced(
    site: Site, chromium: Browser, tmp_path: Path
) -> None:
    context = await chromium.new_context()
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = await _signed_in(context, site)
    old = await _reissued(page, site)
    new = await _reissued(page, site)
    for token, status in ((new, 200), (old, 401)):
        argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{site.origin}/v1/me"]
        argv += ["-H", f"Authorization: Bearer {token}"]
        done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, timeout=20)
        assert int(done.stdout) == status
    await _reads_well(page)
    exports = await page.get_by_label("For your shell, and CI", exact=True).inner_text()
    asked = 'curl -s "$KGPU_API_BASE/me" -H "Authorization: Bearer $KGPU_API_TOKEN"'
    assert "boss@example.org" in await _bash(f"{exports}\n{asked}", tmp_path)
    # Neither a look back nor any page shows it again.
    await page.get_by_role("link", name="I have it").click()
    await expect(page.get_by_text(f"{new[:15]}•")).to_be_visible()
    assert new not in await page.content()
    with pytest.raises(Error, match="ERR_CACHE_MISS"):
        await page.go_back()
    await context.close()


async def test_a_rental_from_first_click_to_last(
    site: Site, chromium: Browser, tmp_path: Path
) -> None:
    context = await chromium.new_context()
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(urlsplit(request.url).netloc)

    context.on("request", note)
    page = await _signed_in(context, site)
    token = await _reissued(page, site)
    await page.get_by_role("link", name="Rent", exact=True).click()
    await page.get_by_label("v100").check()
    await page.get_by_label("Name").fill("it-s")
    await page.get_by_text("Environment").click()
    await page.get_by_label("Variables").fill('QUOTE=it\'s "so"\nEQUAL=a=b')
    # What the shell would send is what the form sends.
    line = await page.locator("#curl pre").inner_text()
    by_curl = json.loads(await _bash(line, tmp_path, KGPU_API_TOKEN=token))
    assert by_curl["ssh_access"]["private_key"].startswith("-----BEGIN OPENSSH")
    await page.get_by_role("button", name="Rent").click()
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Download the key").click()
    title = await page.get_by_role("heading", name="Your key to").inner_text()
    pod_id = title.split()[-1]
    saved = await download.value
    assert saved.suggested_filename == f"{pod_id}.key"
    await saved.save_as(tmp_path / saved.suggested_filename)
    shell = await page.get_by_label("How to use it", exact=True).inner_text()
    await _reads_well(page)
    await page.get_by_role("link", name="To the pod").click()
    await page.evaluate("window.mark = true")
    await expect(page.locator("#state .badge")).to_have_text("ready")
    await _reads_well(page)
    await expect(page.get_by_role("heading", name="Ready after")).to_be_visible()
    said = await _bash(f"{_ssh(tmp_path)}{shell} 'echo $QUOTE $EQUAL; nvidia-smi -L'", tmp_path)
    assert said.startswith('it\'s "so" a=b\nGPU 0')
    # Events and cost move, and nobody has loaded the page again.
    await expect(page.get_by_text("An ssh session ended (exit).")).to_be_visible()
    await expect(page.get_by_text("credits, 600 an hour")).to_be_visible()
    await expect(page.locator("#state .tile .big").first).to_have_text("10")
    other = await context.new_page()
    await other.goto(f"{site.origin}/usage")
    await expect(other.locator("svg.broad rect").first).to_be_visible()
    await expect(other.get_by_role("link", name=pod_id).first).to_be_visible()
    for one in (pod_id, by_curl["pod_id"]):
        await other.goto(f"{site.origin}/pods/{one}")
        await other.get_by_role("link", name="Release").click()
        await other.get_by_role("button", name="Release it").click()
        await expect(other.get_by_text("The rental was released").first).to_be_visible()
    await expect(page.get_by_text("The rental was released").first).to_be_visible()
    assert await page.evaluate("window.mark")
    await context.close()
    assert set(asked) == {urlsplit(site.origin).netloc}


async def test_the_quick_start_is_pasted_as_it_stands(
    site: Site, chromium: Browser, tmp_path: Path
) -> None:
    context = await chromium.new_context()
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = await _signed_in(context, site)
    token = await _reissued(page, site)
    await page.goto(site.origin)
    steps = [await one.inner_text() for one in await page.locator(".steps pre").all()]
    (tmp_path / ".ssh").mkdir(mode=0o700)
    make_key(tmp_path / ".ssh" / "id_ed25519")
    # The placeholder is all that is not there; ssh and scp look for keys where the account lives.
    script = "\n".join(steps).replace("kgpu_…", token)
    options = f"-F none -o UserKnownHostsFile={tmp_path}/.ssh/known_hosts"
    options += f" -o StrictHostKeyChecking=yes -i {tmp_path}/.ssh/id_ed25519"
    ours = "".join(f'{name}() {{ command {name} {options} "$@"; }}\n' for name in ("ssh", "scp"))
    said = await _bash(ours + script, tmp_path)
    assert "nvidia-smi" in said
    assert '"end_reason":"returned"' in said
    await context.close()


async def test_every_page_reads_well(site: Site, chromium: Browser) -> None:
    context = await chromium.new_context()
    page = await _signed_in(context, site)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    themes: tuple[tuple[Literal["light", "dark"], int], ...] = (("light", 360), ("dark", 1600))
    for number, path in enumerate(PAGES):
        await page.goto(site.origin + path)
        # Read in one theme and width a page: colours and layouts are the same everywhere.
        for theme, width in themes if number % 2 else reversed(themes):
            await page.emulate_media(color_scheme=theme)
            await page.set_viewport_size({"width": width, "height": 800})
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{path} scrolls sideways at {width}"
        await _reads_well(page)
    await context.close()
    assert errors == []


async def test_times_are_the_readers_own(site: Site, chromium: Browser) -> None:
    context = await chromium.new_context(timezone_id="Asia/Tokyo", locale="en-GB")
    page = await _signed_in(context, site)
    await page.goto(f"{site.origin}/usage")
    shown = page.locator("td time").first
    theirs = datetime.strptime(await shown.inner_text(), "%d %b %Y, %H:%M")  # noqa: DTZ007
    title = await shown.get_attribute("title")
    assert title
    assert theirs - datetime.strptime(title, "%Y-%m-%d %H:%M UTC") == timedelta(hours=9)  # noqa: DTZ007
    await context.close()


async def test_it_works_without_scripts(site: Site, chromium: Browser, tmp_path: Path) -> None:
    context = await chromium.new_context(java_script_enabled=False)
    page = await _signed_in(context, site)
    key = make_key(tmp_path / "key").with_suffix(".pub").read_text().strip()
    await page.get_by_role("link", name="Rent", exact=True).click()
    await page.get_by_label("v100").check()
    await page.get_by_label("Your public key").fill(key)
    await page.get_by_role("button", name="Show it as curl").click()
    sent = shlex.split(await page.locator("#curl pre").inner_text())[-1]
    assert (json.loads(sent)["ssh_pubkey"], json.loads(sent)["gpu_model"]) == (key, "v100")
    await page.get_by_role("button", name="Rent").click()
    await page.get_by_role("link", name="Replace").click()
    await page.get_by_label("Your public key").fill("ssh-rsa nonsense")
    await page.get_by_role("button", name="Replace it").click()
    await expect(page.get_by_label("Your public key")).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("Your public key").fill("")
    await page.get_by_role("button", name="Replace it").click()
    await expect(page.get_by_text("BEGIN OPENSSH PRIVATE KEY")).to_be_visible()
    await page.get_by_role("link", name="To the pod").click()
    await expect(page.get_by_text("Another key opens it now")).to_be_visible()
    await page.get_by_role("link", name="Release").click()
    await page.get_by_role("button", name="Release it").click()
    await expect(page.get_by_text("The rental was released").first).to_be_visible()
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
    await _reads_well(page)
    await page.get_by_label("A file from this machine").set_input_files(file)
    await expect(page.get_by_role("cell", name="1.0 MB")).to_be_visible()
    await expect(page.get_by_text("ready")).to_be_visible()
    await page.get_by_role("link", name="Fetch a file").click()
    await _reads_well(page)
    line = await page.get_by_label("Fetch it in a pod", exact=True).inner_text()
    await _bash(line, tmp_path)
    assert (tmp_path / "data").read_bytes() == file.read_bytes()
    await page.get_by_role("link", name="Delete").click()
    await page.get_by_role("button", name="Delete it").click()
    await expect(page.get_by_text("deleted")).to_be_visible()
    await context.close()


@pytest.mark.slow
async def test_a_balance_that_moves_moves_on_the_page(site: Site, chromium: Browser) -> None:
    context = await chromium.new_context()
    page = await _signed_in(context, site)
    balance = page.locator("#now .big").first
    before = await balance.inner_text()
    await asyncio.to_thread(site.kgpud, "user", "credit", "boss@example.org", "1", "--note", "x")
    # Another process wrote it: the next beat at the latest shows it.
    await expect(balance).not_to_have_text(before, timeout=30_000)
    await context.close()
