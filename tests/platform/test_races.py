"""All that may end, re-key or charge a rental, at the same moment: one of them wins, once."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random

from kgpud.cluster.pods import PodState, derive
from kgpud.errors import UserError
from kgpud.history import History
from store.records import Rental
from tests.manual_clock import ManualClock
from tests.platform.fake_api import FakeApi, stamp
from tests.platform.test_charging import runs
from tests.platform.world import World

ROUNDS = 25
#: Turns of the event loop: more than a transaction takes.
_TURNS = 30


class Race:
    """One rental and all that may happen to it at once. Its account is at its last credits."""

    def __init__(self, world: World, rental: Rental, pod: PodState) -> None:
        self.world, self.rental, self._pod = world, rental, pod
        self.moves: list[Callable[[], Awaitable[object]]] = [
            lambda: world.rentals.release(rental.account_id, rental.pod_id),
            lambda: world.rentals.release(None, rental.pod_id, "admin_released"),
            lambda: world.rentals.rotate(rental.account_id, rental.pod_id, None),
            lambda: world.rentals.rotate(rental.account_id, rental.pod_id, None),
            lambda: world.rentals.delete_account(rental.account_id, "m"),
            lambda: world.rentals.end(rental.pod_id, "auto_idle"),
            lambda: world.rentals.observe([self._failed("evicted_by_kubelet:NodePressure")]),
            lambda: world.rentals.observe([replace(pod, deleted=True)]),
            lambda: world.accounts.credit(rental.account_id, 5, who="m", note=""),
            lambda: world.accounts.suspend(rental.account_id, "m"),
            world.metering.charge,
            world.metering.charge,
            world.reconcile.sweep,
        ]

    def _failed(self, why: str) -> PodState:
        finished = self.world.clock.now_ms() - 1000
        return replace(self._pod, failure=why, finished_at=finished)

    async def run(self, random: Random) -> None:
        """Start some of them within a few turns of each other."""
        async with asyncio.TaskGroup() as group:
            for move in random.sample(self.moves, random.randint(2, len(self.moves))):
                group.create_task(self._after(random.randint(0, _TURNS), move))

    async def _after(self, turns: int, move: Callable[[], Awaitable[object]]) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        try:
            await move()
        except UserError:
            # Too late, or not allowed any more.
            return


async def test_whoever_comes_first_ends_it_and_nobody_twice(
    still: World, api: FakeApi, clock: ManualClock
) -> None:
    assert api is not None
    random = Random(7)
    for number in range(ROUNDS):
        rental, pod = await begun(still, clock, number)
        race = Race(still, rental, pod)
        await race.run(random)
        await still.rentals.release(None, rental.pod_id)
        await agree(still, rental)
    await still.sound()


async def begun(world: World, clock: ManualClock, number: int) -> tuple[Rental, PodState]:
    """Write a rental that runs, with minutes to charge and credits for some of them."""
    account = await world.account(f"{number}@example.org", credits_=16 * (number % 5))
    name = f"p{number}"
    await runs(world, account.account_id, name)
    running = {"running": {"startedAt": stamp(clock.now_ms())}}
    status = {"phase": "Running", "containerStatuses": [{"name": "main", "state": running}]}
    clock.advance(150)
    return await world.row(name), derive({"metadata": {"name": name}, "status": status})


async def agree(world: World, rental: Rental) -> None:
    """Assert that it ended once, for one reason, and that everybody was told of that one."""
    row = await world.row(rental.pod_id)
    told = [event.kind for event in await History(world.db, world.rentals).after(row.pod_id, 0, 99)]
    assert (row.ended_at is not None, told.count("ended")) == (True, 1)
    reasons = {reason for pod, reason in world.cuts if pod == row.pod_id} - {"key_rotated"}
    assert reasons == {row.end_reason}
    assert told[-1] == "ended", told
    assert await world.rentals.by_fingerprint(rental.fingerprint or "") is None
    assert row.fingerprint is None
    account = await world.accounts.find(rental.account_id)
    lines = await world.accounts.ledger(account.account_id, 99)
    assert account.balance == sum(line.amount for line in lines) >= 0
    assert row.charged_minutes <= 3
