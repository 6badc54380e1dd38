"""Pictures of every page, at two sizes and in two themes: ``make screenshots``."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Literal

from playwright.async_api import Page, async_playwright

from tests.e2e.dev import make_key, rent, running
from tests.e2e.serve import kgpud

SIZES = {"phone": (360, 740), "desk": (1280, 800)}
PAGES = {
    "home": "/",
    "token": "/token",
    "rent": "/rent",
    "pods": "/pods",
    "usage": "/usage",
    "objects": "/objects",
    "people": "/admin",
    "fleet": "/admin/fleet",
    "rentals": "/admin/rentals",
    "sessions": "/admin/sessions",
}


async def _take(origin: str, link: str, pod_id: str, folder: Path) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        page = await browser.new_page()
        await page.goto(origin)
        await _picture(page, folder / "welcome.png")
        await page.goto(link)
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("heading", name="Hello").wait_for()
        themes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
        for theme in themes:
            await page.emulate_media(color_scheme=theme)
            for size, (width, height) in SIZES.items():
                await page.set_viewport_size({"width": width, "height": height})
                for name, path in {**PAGES, "pod": f"/pods/{pod_id}"}.items():
                    await page.goto(origin + path)
                    await _picture(page, folder / f"{name}-{size}-{theme}.png")
        await browser.close()


async def _picture(page: Page, path: Path) -> None:
    await page.screenshot(path=path, full_page=True)


def main() -> None:
    """Take them all, into the folder named on the command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, running(Path(temporary) / "state") as dev:
        pod = rent(dev, make_key(Path(temporary) / "key"), name="train")
        pod.ssh("nvidia-smi")
        state = str(dev.state)
        kgpud("user", "add", "ada@example.org", "--name", "Ada", "--state", state)
        link = kgpud("user", "login-link", "dev@localhost", "--state", state).strip()
        asyncio.run(_take(link.partition("/sign-in")[0], link, pod.pod_id, folder))
    print(f"{len(list(folder.glob('*.png')))} pictures in {folder}")


if __name__ == "__main__":
    main()
