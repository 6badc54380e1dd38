"""How long links and sign-ins last, by the clock."""

import asyncio
from dataclasses import replace

import pytest

from kgpud.errors import UserError
from kgpud.signin import Identity, SignIns
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
    good, late = (
        await sign_ins.link("a@example.org", "test"),
        await sign_ins.link("a@example.org", "test"),
    )
    clock.advance(15 * 60 - 1)
    assert await sign_ins.by_link(good)
    clock.advance(1)
    with pytest.raises(UserError, match="older than 15 minutes"):
        await sign_ins.by_link(late)


async def test_a_browser_is_forgotten_after_half_a_day_unused(
    still: World, sign_ins: SignIns, clock: ManualClock
) -> None:
    await still.account()
    browser = await sign_ins.by_link(await sign_ins.link("a@example.org", "test"))
    for _ in range(3):
        clock.advance(11 * _HOUR)
        assert await sign_ins.account(browser) is not None
    clock.advance(12 * _HOUR)
    assert await sign_ins.account(browser) is None


async def test_an_open_page_that_nobody_uses_keeps_nobody_signed_in(
    still: World, sign_ins: SignIns, clock: ManualClock
) -> None:
    await still.account()
    browser = await sign_ins.by_link(await sign_ins.link("a@example.org", "test"))
    for _ in range(11):
        clock.advance(_HOUR)
        assert await sign_ins.account(browser, in_use=False) is not None
    clock.advance(_HOUR)
    assert await sign_ins.account(browser, in_use=False) is None


async def test_a_browser_is_forgotten_after_a_week(
    still: World, sign_ins: SignIns, clock: ManualClock
) -> None:
    await still.account()
    browser = await sign_ins.by_link(await sign_ins.link("a@example.org", "test"))
    for _ in range(16):
        clock.advance(10 * _HOUR)
        assert await sign_ins.account(browser) is not None
    clock.advance(8 * _HOUR)
    assert await sign_ins.account(browser) is None


async def test_the_store_has_no_secret_and_no_leftovers(
    still: World, sign_ins: SignIns, clock: ManualClock
) -> None:
    await still.account()
    await sign_ins.link("a@example.org", "test")
    await sign_ins.by_link(await sign_ins.link("a@example.org", "test"))
    clock.advance(8 * 24 * _HOUR)
    browser = await sign_ins.by_link(await sign_ins.link("a@example.org", "test"))
    async with still.db.reading() as rx:
        links = await rx.rows("SELECT * FROM sign_in_links")
        browsers = await rx.rows("SELECT * FROM sign_ins")
    assert (len(links), len(browsers)) == (0, 1)
    assert browser.encode() not in browsers[0]["hash"]


def _who(subject: str, email: str) -> Identity:
    return Identity("https://id.example", subject, email, "Ada")


async def test_of_many_who_use_a_link_at_once_one_is_signed_in(
    still: World, sign_ins: SignIns
) -> None:
    await still.account()
    link = await sign_ins.link("a@example.org", "test")
    tried = await asyncio.gather(
        *(sign_ins.by_link(link) for _ in range(10)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in tried) == ["UserError"] * 9 + ["str"]


async def test_many_first_sign_ins_at_once_make_one_account(still: World) -> None:
    sign_ins = SignIns(still.db, still.clock, still.accounts, approved_domains=("Example.ORG",))
    browsers = await asyncio.gather(
        *(sign_ins.by_identity(_who("ada", "ada@example.org")) for _ in range(10))
    )
    assert len(set(browsers)) == 10
    (account,) = await still.accounts.list()
    assert (account.status, account.balance) == ("approved", 100_000)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("ada@example.org", "ADA@Example.Org"),
        ("ada@example.org", " ada@example.org "),
        ("Äda@example.org", "äda@example.org"),
        ("ada\u0308@example.org", "ad\u00e4@example.org"),
    ],
)
async def test_an_address_has_trial_credits_once_however_it_is_spelt(
    still: World, first: str, then: str
) -> None:
    one = SignIns(still.db, still.clock, still.accounts, approved_domains=("example.org",))
    await one.by_identity(_who("one", first))
    # Another provider, or the same one set up anew: the subject is unknown, the address is not.
    await one.by_identity(replace(_who("two", then), issuer="https://other.example"))
    (account,) = await still.accounts.list()
    assert account.balance == 100_000
    # Nor does what is done to the account bring more.
    await still.accounts.suspend(account.account_id, "test")
    await still.accounts.reinstate(account.account_id, "test")
    await still.accounts.approve(account.account_id, "test")
    assert (await still.accounts.find(account.account_id)).balance == 100_000


async def test_another_address_is_somebody_else(still: World, sign_ins: SignIns) -> None:
    for number, email in enumerate(("ada@x.org", "a.da@x.org", "ada+kgpu@x.org", "ada@y.org")):
        await sign_ins.by_identity(_who(str(number), email))
    assert len(await still.accounts.list()) == 4


async def test_an_address_that_the_provider_changed_keeps_its_account(
    still: World, sign_ins: SignIns
) -> None:
    await sign_ins.by_identity(_who("ada", "ada@example.org"))
    await sign_ins.by_identity(_who("ada", "ada@married.example"))
    (account,) = await still.accounts.list()
    assert account.email == "ada@example.org"


async def test_who_was_suspended_is_not_approved_by_signing_in_again(still: World) -> None:
    sign_ins = SignIns(still.db, still.clock, still.accounts, approved_domains=("example.org",))
    account = await still.accounts.add("ada@example.org", "Ada", who="test")
    link = await sign_ins.link("ada@example.org", "test")
    await still.accounts.suspend(account.account_id, "test")
    browser = await sign_ins.by_identity(_who("ada", "ada@example.org"))
    by_link = await sign_ins.by_link(link)
    for one in (browser, by_link):
        seen = await sign_ins.account(one)
        assert seen is not None
        assert (seen.status, seen.balance) == ("suspended", 0)
    # Nor by the form of somebody who had not heard of it.
    await still.accounts.approve(account.account_id, "test", only_pending=True)
    assert (await still.accounts.find(account.account_id)).status == "suspended"


async def test_who_was_deleted_does_not_come_back_with_new_credits(still: World) -> None:
    sign_ins = SignIns(still.db, still.clock, still.accounts, approved_domains=("example.org",))
    await sign_ins.by_identity(_who("ada", "ada@example.org"))
    await still.rentals.delete_account("ada@example.org", "test")
    for subject in ("ada", "another"):
        with pytest.raises(UserError, match="ask a maintainer"):
            await sign_ins.by_identity(_who(subject, "ada@example.org"))
    assert await still.accounts.list() == []
