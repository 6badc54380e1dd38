"""People who come by the provider, and the maintainer who lets them in, each at a browser."""

from playwright.async_api import Browser, Page, expect

from .browser import Site, browser


async def _by_provider(chromium: Browser, site: Site, subject: str) -> Page:
    page = await (await chromium.new_context()).new_page()
    await page.goto(f"{site.origin}/sign-in")
    await page.get_by_role("link", name="Continue with the test provider").click()
    await page.get_by_role("button", name=subject, exact=True).first.click()
    return page


async def test_people_come_by_the_provider_and_are_approved(site: Site, chromium: Browser) -> None:
    async with browser(site) as dave:
        await dave.by_provider("dave")
    new = await _by_provider(chromium, site, "carol")
    await expect(new.get_by_role("heading", name="Almost there")).to_be_visible()
    page = await _by_provider(chromium, site, "boss")
    await page.get_by_role("link", name="Admin").click()
    await _approve_elsewhere(page, site, "dave")
    await page.get_by_role("button", name="Approve carol@example.org").click()
    await page.get_by_role("link", name="Carol").click()
    await page.get_by_label("Credits").fill("1234")
    await page.get_by_label("Why").fill("for the paper")
    await page.get_by_role("button", name="Credit").click()
    await expect(page.get_by_role("cell", name="for the paper")).to_be_visible()
    await new.get_by_role("link", name="Look again").click()
    await expect(new.get_by_role("heading", name="Hello, Carol")).to_be_visible()
    await expect(new.get_by_text("101\N{NARROW NO-BREAK SPACE}234")).to_be_visible()
    for one in (page, new):
        await one.context.close()


async def _approve_elsewhere(page: Page, site: Site, subject: str) -> None:
    """Have somebody approved by another maintainer while the button for that has the focus."""
    button = page.get_by_role("button", name=f"Approve {subject}@example.org")
    await button.focus()
    row = page.locator("li", has=button)
    await page.wait_for_load_state()
    async with browser(site) as boss:
        csrf = (await boss.by_provider("boss")).csrf
        await boss.post(f"/admin/people/{await row.get_attribute('id')}", csrf, do="approve")
    await page.evaluate("refresh()")
    await expect(button).to_have_count(0)
    # It has not become the button for whoever was below.
    assert await page.evaluate("document.activeElement === document.body")
