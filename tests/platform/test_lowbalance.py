"""Who runs out of credits hears of it in time, once, and again after a top-up."""

import pytest

from kgpud.history import History
from kgpud.lowbalance import LowBalance
from store.records import Account
from tests.manual_clock import ManualClock
from tests.platform.test_charging import runs
from tests.platform.world import World

MINUTE = 60


class Watched:
    """An account whose balance is watched; `said` are the lines on its terminals."""

    def __init__(self, world: World, account: Account, clock: ManualClock) -> None:
        self.said: list[tuple[str, str]] = []
        self._world, self._account, self._clock = world, account, clock
        self._watch = LowBalance(
            world.db, clock, world.rentals.changes, lambda *line: self.said.append(line)
        )

    async def after(self, minutes: float) -> None:
        self._clock.advance(minutes * MINUTE)
        await self._world.metering.charge()
        await self._watch.sweep()

    async def credit(self, amount: int) -> None:
        await self._world.accounts.credit(self._account.account_id, amount, who="test", note="")
        await self._watch.sweep()

    async def told(self, pod_id: str) -> list[str]:
        found = await History(self._world.db, self._world.rentals).after(pod_id, 0, 100)
        return [event.detail for event in found if event.kind == "low_balance"]

    async def field(self, pod_id: str) -> int | None:
        return (await self._world.row(pod_id)).low_balance_minutes


@pytest.fixture
async def watched(still: World, clock: ManualClock) -> Watched:
    account = await still.account(credits_=120)
    await runs(still, account.account_id, "p1", price=60)
    return Watched(still, account, clock)


async def test_an_hour_and_ten_minutes_before_the_end(watched: Watched, still: World) -> None:
    # A credit a minute, each charged when it begins: 120 of them last until minute 120.
    await watched.after(60)
    assert await watched.told("p1") == ["60"]
    for _ in range(3):
        await watched.after(0)
    assert [pod_id for pod_id, _ in watched.said] == ["p1"]
    await watched.after(51)
    assert (await watched.told("p1"), await watched.field("p1")) == (["60", "10"], 10)
    assert "10 minutes" in watched.said[-1][1]
    await watched.after(20)
    assert (await still.row("p1")).end_reason == "out_of_credits"
    assert len(watched.said) == 2
    await still.sound()


async def test_the_line_is_exact(watched: Watched) -> None:
    await watched.after(60 - 1 / 60)
    assert await watched.field("p1") is None
    await watched.after(1 / 60)
    assert await watched.field("p1") == 60


async def test_a_top_up_takes_it_back_and_arms_it_again(watched: Watched) -> None:
    await watched.after(115)
    assert await watched.told("p1") == ["10"]
    await watched.credit(30)
    # Better, but not well: nobody is told the same thing again for that.
    assert (await watched.told("p1"), await watched.field("p1")) == (["10"], 60)
    await watched.after(26)
    assert await watched.told("p1") == ["10", "10"]
    await watched.credit(1000)
    assert await watched.field("p1") is None
    await watched.credit(-960)
    assert await watched.told("p1") == ["10", "10", "60"]


async def test_every_rental_of_the_account_is_told(
    watched: Watched, still: World, clock: ManualClock
) -> None:
    account = (await still.row("p1")).account_id
    other = await still.account("b@example.org", 600)
    await runs(still, other.account_id, "p3", price=60)
    assert await watched.field("p1") is None
    await runs(still, account, "p2", price=60)
    await watched.after(0)
    # Two burn twice as fast.
    assert sorted(pod_id for pod_id, _ in watched.said) == ["p1", "p2"]
    assert await watched.told("p3") == []
    assert clock.now_ms() > 0
