"""Pictures of every page, at two sizes and in two themes: ``make screenshots``."""

import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from playwright.async_api import Page

from kgpud.reasons import AUTO_IDLE, OOM, OUT_OF_CREDITS, RETURNED
from store import accounts, ledger, rentals
from store.db import Connection, Database
from store.ledger import Usage
from store.records import Rental
from tests.chromium import launched
from tests.e2e.dev import Dev, make_key, rent, running
from tests.e2e.serve import kgpud

SIZES = {"phone": (360, 740), "desk": (1280, 800)}
_HOUR_MS = 3_600_000
_PRICES = {"rtx3090": 600, "rtx4090": 1000, "v100": 600}
_REASONS = (RETURNED, AUTO_IDLE, OUT_OF_CREDITS, OOM)
_LONG = "Wolfeschlegelsteinhausenbergerdorff"


def _pages(pod_id: str, ended: str, person: str) -> Mapping[str, str]:
    return {
        "home": "/",
        "token": "/token",
        "rent": "/rent",
        "pods": "/pods",
        "usage": "/usage",
        "pod": f"/pods/{pod_id}",
        "log": f"/pods/{pod_id}/log",
        "release": f"/pods/{pod_id}/release",
        "key": f"/pods/{pod_id}/key",
        "ended": f"/pods/{ended}",
        "objects": "/objects",
        "error": "/pods/gone",
        "missing": "/no/such/page",
        "people": "/admin",
        "person": f"/admin/people/{person}",
        "fleet": "/admin/fleet",
        "rentals": "/admin/rentals",
        "audit": "/admin/audit",
    }


async def _spend_a_month(state: Path) -> str:
    """Write what a busy account would have left behind; return one of its rentals' ids."""
    async with Database.open(state / "kgpud.sqlite3") as db, db.transaction() as tx:
        account = await accounts.find(tx, "dev@localhost")
        assert account is not None
        now, left = time.time_ns() // 1_000_000, account.balance
        for day in range(1, 30):
            for number, model in enumerate(_PRICES):
                hours = (day * (3 + number) + number) % 7
                old = _old(account.account_id, model, now - day * 24 * _HOUR_MS, number)
                if hours:
                    left = await _spend(tx, old, hours, left, _REASONS[(day + number) % 4])
                    newest = old.pod_id
        return newest


def _old(account_id: str, model: str, at: int, number: int) -> Rental:
    return Rental(
        pod_id=f"gpu-sweep-{at // 1000}-{number:06x}",
        account_id=account_id,
        name="sweep",
        image="kgpu-pytorch:latest",
        gpu_model=model,
        gpu_count=1,
        cpu="2",
        memory="16Gi",
        ephemeral_storage_gib=100,
        price_per_hour=_PRICES[model],
        created_at=at,
        last_activity_at=at,
    )


async def _spend(tx: Connection, old: Rental, hours: int, left: int, reason: str) -> int:
    """Let a rental have run for so long; return the balance that it leaves."""
    await rentals.insert(tx, old)
    at, end, price = old.created_at, old.created_at + hours * _HOUR_MS, old.price_per_hour
    await tx.run(
        "UPDATE rentals SET started_at = ?, ready_at = ?, finished_at = ?, ended_at = ?,"
        " end_reason = ?, gone_at = ?, node = ?, charged_minutes = ?, cost = ? WHERE pod_id = ?",
        (
            *(at + 9000, at + 12_000, end, end, reason, end, f"node-{old.gpu_model}"),
            *(60 * hours, price * hours, old.pod_id),
        ),
    )
    for hour in range(at // _HOUR_MS, at // _HOUR_MS + hours):
        left -= price
        used = Usage(old.account_id, old.pod_id, hour, 60, -price, left)
        await ledger.add_usage(tx, [used], at)
    return left


async def _take(origin: str, link: str, pages: Mapping[str, str], folder: Path) -> None:
    async with launched() as browser:
        page = await browser.new_page()
        themes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
        strangers = {"welcome": origin, "sign-in": f"{origin}/sign-in", "link": link}
        for theme in themes:
            await page.emulate_media(color_scheme=theme)
            await _sizes(page, strangers, f"{theme}", folder)
        await page.goto(link)
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("heading", name="Hello").wait_for()
        for theme in themes:
            await page.emulate_media(color_scheme=theme)
            await _sizes(page, {name: origin + path for name, path in pages.items()}, theme, folder)
            await _forms(page, origin, theme, folder)


async def _forms(page: Page, origin: str, theme: str, folder: Path) -> None:
    """Show what only a form leads to."""
    for size, (width, height) in SIZES.items():
        await page.set_viewport_size({"width": width, "height": height})
        await page.goto(f"{origin}/rent")
        await page.get_by_label("Name").fill("Not a name")
        await page.get_by_role("button", name="Rent").click()
        await page.get_by_label("Name").wait_for()
        await _picture(page, folder / f"rent-refused-{size}-{theme}.png")
        await page.get_by_label("Name").fill("mine")
        await page.get_by_role("button", name="Rent").click()
        await page.get_by_role("link", name="Download the key").wait_for()
        await _picture(page, folder / f"rented-{size}-{theme}.png")
        await page.get_by_role("link", name="To the pod").click()
        await page.get_by_role("link", name="Release").click()
        await page.get_by_role("button", name="Release it").click()
        await page.goto(f"{origin}/objects")
        await page.get_by_label("Label").fill("mit-bih")
        await page.get_by_role("button", name="Upload").click()
        await page.get_by_label("A file").wait_for()
        await _picture(page, folder / f"upload-{size}-{theme}.png")
        await page.goto(f"{origin}/token")
        await page.get_by_role("button", name="Reissue").click()
        await _picture(page, folder / f"reissued-{size}-{theme}.png")


async def _sizes(page: Page, pages: Mapping[str, str], theme: str, folder: Path) -> None:
    for size, (width, height) in SIZES.items():
        await page.set_viewport_size({"width": width, "height": height})
        for name, address in pages.items():
            await page.goto(address)
            await _picture(page, folder / f"{name}-{size}-{theme}.png")


async def _picture(page: Page, path: Path) -> None:
    await page.screenshot(path=path, full_page=True)


def _populate(dev: Dev) -> str:
    """Sign some people up; return one's id."""
    store = ("--state", str(dev.state))
    kgpud("user", "credit", "dev@localhost", "200000", "--note", "for the paper", *store)
    kgpud("user", "add", "ada@example.org", "--name", "Ada", *store)
    long = f"{_LONG.lower()}@a-department-with-a-name.of-a-university.example"
    kgpud("user", "add", long, "--name", f"Hubert Blaine {_LONG} Sr.", *store)
    kgpud("user", "add", "bob@example.org", "--name", "Bob", *store)
    kgpud("user", "approve", "bob@example.org", *store)
    kgpud("user", "add", "eve@example.org", "--name", "Eve", *store)
    kgpud("user", "suspend", "eve@example.org", *store)
    shown = kgpud("user", "show", "bob@example.org", *store)
    return next(word for word in shown.split() if word.startswith("acct_"))


def main() -> None:
    """Take them all, into the folder named on the command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, running(Path(temporary) / "state") as dev:
        person = _populate(dev)
        ended = asyncio.run(_spend_a_month(dev.state))
        pod = rent(dev, make_key(Path(temporary) / "key"), name="train")
        pod.ssh("nvidia-smi")
        rent(dev, make_key(Path(temporary) / "key2"), name="notebook", gpu_model="rtx3090")
        link = kgpud("user", "login-link", "dev@localhost", "--state", str(dev.state)).strip()
        origin = link.partition("/sign-in")[0]
        asyncio.run(_take(origin, link, _pages(pod.pod_id, ended, person), folder))
    print(f"{len(list(folder.glob('*.png')))} pictures in {folder}")


if __name__ == "__main__":
    main()
