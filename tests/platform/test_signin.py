"""How long links and sign-ins last, by the clock."""

import pytest

from kgpud.errors import UserError
from kgpud.signin import SignIns
from tests.manual_clock import ManualClock

from .world import World

_HOUR = 3600


@pytest.fixture
def sign_ins(still: World) -> SignIns:
    return SignIns(still.db, still.clock, still.accounts)


async def test_a_link_lasts_a_quarter_of_an_hour(
    still: World, sign_ins: SignIns, clock: ManualClock
) -> None:
    await still.account()
    good, late = await sign_ins.link("a@example.org"), await sign_ins.link("a@example.org")
    clock.advance(15 * 60 - 1)
    assert await sign_ins.by_link(good)
    clock.advance(1)
    with pytest.raises(UserError, match="older than 15 minutes"):
        await sign_ins.by_link(late)


async def test_a_browser_is_forgotten_after_half_a_day_unused(
    still: World, sign_ins: SignIns, clock: ManualClock
) -> None:
    await still.account()
    browser = await sign_ins.by_link(await sign_ins.link("a@example.org"))
    for _ in range(3):
        clock.advance(11 * _HOUR)
        assert await sign_ins.account(browser) is not None
    clock.advance(12 * _HOUR)
    assert await sign_ins.account(browser) is None


async def test_a_browser_is_forgotten_after_a_week(
    still: World, sign_ins: SignIns, clock: ManualClock
) -> None:
    await still.account()
    browser = await sign_ins.by_link(await sign_ins.link("a@example.org"))
    for _ in range(16):
        clock.advance(10 * _HOUR)
        assert await sign_ins.account(browser) is not None
    clock.advance(8 * _HOUR)
    assert await sign_ins.account(browser) is None


async def test_the_store_has_no_secret_and_no_leftovers(
    still: World, sign_ins: SignIns, clock: ManualClock
) -> None:
    await still.account()
    await sign_ins.link("a@example.org")
    await sign_ins.by_link(await sign_ins.link("a@example.org"))
    clock.advance(8 * 24 * _HOUR)
    browser = await sign_ins.by_link(await sign_ins.link("a@example.org"))
    async with still.db.reading() as rx:
        links = await rx.rows("SELECT * FROM sign_in_links")
        browsers = await rx.rows("SELECT * FROM sign_ins")
    assert (len(links), len(browsers)) == (0, 1)
    assert browser.encode() not in browsers[0]["hash"]
