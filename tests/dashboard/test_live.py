"""Pages that follow what happens: in many tabs, through reloads of the daemon, after its death."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Request, expect

from tests.e2e.serve import write_config
from tests.reload.house import EMAIL, House, standing

from .browser import Site

# HTTP/1.1 browsers have six connections to one host.
TABS = 8


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, kubeconfig: Path) -> Iterator[House]:
    with standing(write_config(tmp_path_factory.mktemp("house"), kubeconfig)) as house:
        yield house


@pytest.fixture
async def context(chromium: Browser, house: House) -> AsyncIterator[BrowserContext]:
    site = Site(house.config, "")
    place, _, secret = (await site.link(EMAIL)).rpartition("/")
    context = await chromium.new_context()
    entered = await context.request.post(
        place, form={"secret": secret}, headers={"Origin": site.origin}
    )
    assert entered.ok
    yield context
    await context.close()


def _happen(house: House) -> str:
    """Let something happen to the pod that its page tells of: once a time."""
    done = house.pod.ssh("true")
    assert done.returncode == 0, done
    return "Somebody came in over ssh"


async def _open(context: BrowserContext, house: House) -> Page:
    page = await context.new_page()
    await page.goto(f"{house.dev.env['KGPU_API_BASE'][:-3]}/pods/{house.pod.pod_id}")
    return page


async def test_many_tabs_share_one_stream(context: BrowserContext, house: House) -> None:
    streams: list[Request] = []
    context.on(
        "request", lambda asked: streams.append(asked) if asked.url.endswith("/live") else None
    )
    tabs = [await _open(context, house) for _ in range(TABS)]
    before = await tabs[0].get_by_text("Somebody came in").count()
    await asyncio.to_thread(_happen, house)
    for tab in tabs:
        await expect(tab.get_by_text("Somebody came in")).to_have_count(before + 1)
    assert len(streams) == 1
    # The one that listens goes; another takes over, and those that stay hear of it.
    await tabs[0].close()
    await asyncio.to_thread(_happen, house)
    for tab in tabs[1:]:
        await expect(tab.get_by_text("Somebody came in")).to_have_count(before + 2)
    assert len(streams) == 2


async def test_it_goes_on_across_a_reload(context: BrowserContext, house: House) -> None:
    page = await _open(context, house)
    await page.evaluate("window.mark = true")
    before = await page.get_by_text("Somebody came in").count()
    await asyncio.to_thread(house.reload)
    await asyncio.to_thread(_happen, house)
    await expect(page.get_by_text("Somebody came in")).to_have_count(before + 1)
    assert await page.evaluate("window.mark")


async def test_what_has_the_focus_keeps_it(context: BrowserContext, house: House) -> None:
    page = await _open(context, house)
    button = page.get_by_role("button", name="Copy: Mount it")
    await button.focus()
    before = await page.get_by_text("Somebody came in").count()
    await asyncio.to_thread(_happen, house)
    await expect(page.get_by_text("Somebody came in")).to_have_count(before + 1)
    await expect(button).to_be_focused()


async def test_a_tab_that_is_signed_out_says_so(context: BrowserContext, house: House) -> None:
    page, other = await _open(context, house), await _open(context, house)
    await other.get_by_role("button", name="Sign out").click()
    await asyncio.to_thread(_happen, house)
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_over_plain_http_each_tab_that_is_seen_listens(
    context: BrowserContext, house: House
) -> None:
    # What browsers give to pages over TLS, or from this very machine, alone.
    await context.add_init_script(
        "for (const name of ['locks', 'clipboard']) "
        "Object.defineProperty(Navigator.prototype, name, { value: undefined });"
    )
    page = await _open(context, house)
    before = await page.get_by_text("Somebody came in").count()
    await asyncio.to_thread(_happen, house)
    await expect(page.get_by_text("Somebody came in")).to_have_count(before + 1)
    await page.get_by_role("button", name="Copy: A shell").click()
    await expect(page.get_by_role("button", name="Copy: A shell")).to_have_text("Copied")
    await page.set_content("<textarea autofocus></textarea>")
    await page.locator("textarea").press("Control+v")
    assert (await page.locator("textarea").input_value()).startswith("ssh -p ")
