"""`/docs`: a page that a person reads and tries calls from, with nothing fetched from elsewhere."""

import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, expect

from tests.chromium import launched

from .platform import Platform


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with launched() as browser:
        yield browser


async def test_a_call_is_tried_with_ones_token(platform: Platform, chromium: Browser) -> None:
    user = await platform.user()
    page = await chromium.new_page()
    complaints: list[str] = []
    asked: set[str] = set()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    await page.goto(f"{platform.api.root}/docs")
    await page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".modal-ux")
    await dialog.locator("input").first.fill(user.token)
    await dialog.locator("button.authorize").first.click()
    await dialog.locator("button.btn-done").first.click()
    await page.locator("#operations-me-get_me .opblock-summary-control").click()
    await page.locator("#operations-me-get_me").get_by_role("button", name="Execute").click()
    answer = page.locator("#operations-me-get_me .live-responses-table")
    await expect(answer).to_contain_text(user.email, timeout=20_000)
    await page.close()
    assert [one for one in complaints if "Content Security Policy" in one] == []
    assert complaints == []
    assert asked <= {urlsplit(platform.api.root).netloc, ""}


async def test_the_page_and_its_files(platform: Platform) -> None:
    for path in ("/docs", "/docs/start.js", "/docs/swagger.js", "/docs/swagger.css"):
        async with platform.api.session.get(platform.api.root + path) as response:
            assert response.status == 200
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert len(response.headers["X-Request-ID"]) == 16
            headers = {"If-None-Match": response.headers["ETag"]}
            assert len(await response.read()) > 200
        async with platform.api.session.get(platform.api.root + path, headers=headers) as response:
            assert (response.status, await response.read()) == (304, b"")
            assert response.headers["ETag"] == headers["If-None-Match"]


async def test_the_rent_that_is_filled_in_is_safe_to_try(
    platform: Platform, chromium: Browser
) -> None:
    """Nobody's key but one's own is pinned, and no key makes the second rent the first again."""
    user = await platform.user()
    page = await chromium.new_page()
    await page.goto(f"{platform.api.root}/docs")
    rent = page.locator("#operations-pods-rent_pod")
    await rent.locator(".opblock-summary-control").click()
    body = await rent.locator("textarea").input_value()
    assert json.loads(body) == {"gpu_model": "rtx4090"}
    assert await rent.locator(".parameters input").input_value() == ""
    await page.close()
    reply = await platform.api.call("POST", "/v1/pods", token=user.token, data=body.encode())
    assert "private_key" in reply.body["ssh_access"]
