"""A clock that is set at the worst moment: between two readings, or between two daemons."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kgpud.clock import Moment
from kgpud.releasing import force
from store.db import Database
from tests.manual_clock import ManualClock
from tests.platform.fake_api import FakeApi
from tests.platform.test_reconcile import tick
from tests.platform.world import World, platform, running, until, wish

HOUR = 3600
#: At least as many readings as one of the moves below takes.
_READINGS = 6


class Restless(ManualClock):
    """A clock that NTP sets right after somebody has read it so often."""

    def __init__(self) -> None:
        super().__init__()
        self._left, self._by = 0, 0.0

    def set_after(self, readings: int, by: float) -> None:
        self._left, self._by = readings, by

    def now_ms(self) -> int:
        now = super().now_ms()
        self._read()
        return now

    def moment(self) -> Moment:
        moment = super().moment()
        self._read()
        return moment

    def _read(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.step(self._by)


@pytest.fixture
def clock() -> Restless:
    return Restless()


async def runs(world: World, api: FakeApi, account: str, clock: ManualClock) -> tuple[str, int]:
    """Rent a pod that runs at once; return its name and when it started, in time that passed."""
    pod_id = (await world.rentals.rent(account, wish(gpu_model="v100"))).rental.pod_id
    api.run(pod_id, clock.now_ms())
    await until(lambda: world.view.pods[pod_id].ready)
    return pod_id, clock.moment().passed


Move = Callable[[World, str], Awaitable[object]]
MOVES: dict[str, Move] = {
    "rent": lambda world, _: world.accounts.list(),
    "charge": lambda world, _: world.metering.charge(),
    "sweep": lambda world, _: world.reconcile.sweep(),
    "see": lambda world, pod_id: world.rentals.observe([world.view.pods[pod_id]]),
    "use": lambda world, pod_id: world.rentals.activity.note(pod_id),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("by", [HOUR, -HOUR])
async def test_set_at_any_reading(
    world: World, api: FakeApi, clock: Restless, move: str, by: float
) -> None:
    account = (await world.account()).account_id
    for readings in range(1, _READINGS + 1):
        if move == "rent":
            clock.set_after(readings, by)
        pod_id, since = await runs(world, api, account, clock)
        clock.advance(90)
        clock.set_after(readings if move != "rent" else 0, by)
        await MOVES[move](world, pod_id)
        clock.advance(60)
        # The loop comes again within a second.
        for _ in range(2):
            await world.metering.charge()
        minutes = (clock.moment().passed - since) // 60_000 + 1
        assert (await world.row(pod_id)).charged_minutes == minutes
        if move == "charge":
            clock.set_after(readings, -by)
        assert (await world.rentals.release(account, pod_id)).charged_minutes == minutes
    await world.sound()


@pytest.mark.parametrize("by", [HOUR, -HOUR])
async def test_set_right_before_a_rental_is_made(
    world: World, api: FakeApi, clock: Restless, by: float
) -> None:
    account = (await world.account()).account_id
    await world.metering.charge()
    clock.step(by)
    # Nothing has noticed yet.
    pod_id = (await world.rentals.rent(account, wish())).rental.pod_id
    await tick(world, clock)
    row = await world.row(pod_id)
    assert (row.ended_at, row.made_at) == (None, clock.now_ms() - 2000)
    api.run(pod_id, clock.now_ms())
    await until(lambda: world.view.pods[pod_id].ready)
    clock.advance(61)
    await world.metering.charge()
    assert (await world.row(pod_id)).charged_minutes == 2


@pytest.mark.parametrize("by", [HOUR, -HOUR])
async def test_set_between_two_daemons(
    still: World, api: FakeApi, clock: Restless, tmp_path: Path, by: float
) -> None:
    account = (await still.account()).account_id
    async with running(still):
        pod_id, _ = await runs(still, api, account, clock)
        clock.advance(90)
        await still.metering.charge()
    clock.step(by)
    clock.advance(60)
    async with platform(tmp_path, tmp_path / "kubeconfig", clock) as again, running(again):
        await again.metering.charge()
        assert (await again.row(pod_id)).charged_minutes == 3
        await again.sound()


async def test_set_before_another_process_releases(
    world: World, api: FakeApi, clock: Restless, tmp_path: Path
) -> None:
    account = (await world.account()).account_id
    pod_id, _ = await runs(world, api, account, clock)
    clock.advance(90)
    await world.metering.charge()
    clock.step(HOUR)
    async with Database.open(tmp_path / "kgpud.sqlite3") as db:
        assert (await force(db, clock, pod_id, "test"))[0].charged_minutes == 2
    await world.metering.charge()
    await tick(world, clock)
    await world.sound()


async def test_set_back_while_the_pods_are_listed(
    world: World, api: FakeApi, clock: Restless
) -> None:
    """A pod that was made after the list was asked for is not missing from it."""
    account = (await world.account()).account_id
    listing, began = await world.reconcile._list(), clock.moment().passed
    clock.advance(1)
    clock.step(-HOUR)
    pod_id = (await world.rentals.rent(account, wish())).rental.pod_id
    await world.reconcile._pods_listed(listing, began)
    assert (await world.row(pod_id)).ended_at is None
    assert api.asked("DELETE") == []
