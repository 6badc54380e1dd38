"""What a model of the platform does, and what must hold after each thing that it did.

Everything else is the real store and the real services, on a cluster that the test plays. What is
done is drawn from a seed; when it meets the services' own work is up to the event loop.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any

from kgpud.errors import UserError
from kgpud.reasons import is_operators_fault
from kgpud.releasing import force
from store import check
from store.records import Rental
from store.rentals import Which
from tests.platform.model_fate import Fate
from tests.platform.model_house import CAPACITY, House
from tests.platform.world import World, wish

CREDITS = {"rich@example.org": 500_000, "poor@example.org": 3000}
EMAILS = tuple(CREDITS)
Action = Callable[[], Awaitable[None]]
#: The most turns of the event loop that something gets before the crash.
_TURNS = 60


class Model:
    """One life of an installation. `step` does something and checks what must always hold."""

    def __init__(self, house: House, seed: int) -> None:
        self.house = house
        self.done: list[str] = []
        self._random = Random(seed)
        self._fate = Fate(house, self._random)
        self._quota = dict.fromkeys(EMAILS, 4)
        self._crashed_at = self._backed_up_at = 0
        self._restored = False
        actions: dict[Action, int] = {
            self._rent: 5,
            self._release: 2,
            self._delete_account: 1,
            self._rotate: 1,
            self._credit: 1,
            self._raise_quota: 1,
            self._start: 2,
            self._end: 2,
            self._vanish: 2,
            self._lose_the_cluster: 1,
            self._land: 1,
            self._pass_time: 5,
            self._set_the_clock: 1,
            self._charge: 3,
            self._crash: 1,
            self._crash_amid: 2,
            self._back_up: 1,
            self._restore: 1,
        }
        self._actions, self._weights = list(actions), list(actions.values())

    async def begin(self) -> None:
        """Open the house and sign its users up."""
        await self.house.open()
        for email, amount in CREDITS.items():
            await self._world.account(email, credits_=amount)

    async def step(self) -> None:
        """Do one thing, and check."""
        if self.house.world is None and self._random.random() < 0.6:
            self.done.append("boot")
            await self._boot()
        else:
            (action,) = self._random.choices(self._actions, self._weights)
            self.done.append(action.__name__)
            await action()
        await self._check()

    # What users and operators do.

    async def _rent(self) -> None:
        """Rent some pods at the same moment, and let them run if the cluster has them."""
        if self.house.world is None:
            return
        moods = ("ok", "lose", "drop", "late", "refuse")
        self.house.api.mood = self._random.choices(moods, (6, 1, 1, 1, 1))[0]
        # Now and then one account wants it all, without a GPU.
        emails = EMAILS if self._random.random() < 0.7 else EMAILS[:1]
        async with asyncio.TaskGroup() as group:
            for _ in range(self._random.randint(1, 8)):
                gpus = self._random.choice((0, 1, 1, 2, 3)) if emails == EMAILS else 0
                group.create_task(self._rent_one(self._random.choice(emails), gpus))
        self.house.api.mood = "ok"
        if self._random.random() < 0.8:
            self._fate.start()
        await self.house.settle()

    async def _release(self) -> None:
        if rental := await self._live():
            if self._random.random() < 0.7:
                ended = await self._world.rentals.release(None, rental.pod_id)
            else:
                async with self.house.elsewhere() as db:
                    ended, _ = await force(db, self.house.clock, rental.pod_id, "m")
            assert ended.ended_at is not None
            self._fate.stop(rental.pod_id)
            await self.house.settle()

    async def _delete_account(self) -> None:
        """Delete one, with its rentals, and let it come back."""
        if self.house.world is not None:
            email = self._random.choice(EMAILS)
            await self._world.rentals.delete_account(email, "m")
            await self._world.accounts.reinstate(email, "m")
            for rental in await self._world.rentals.list(Which(active=False)):
                self._fate.stop(rental.pod_id)
            await self.house.settle()

    async def _rotate(self) -> None:
        if rental := await self._live():
            # The sweep may be faster.
            with contextlib.suppress(UserError):
                await self._world.rentals.rotate(rental.account_id, rental.pod_id, None)

    async def _credit(self) -> None:
        amount = self._random.choice((1, 500, 20_000, -1, -300))
        if self.house.world is not None:
            with contextlib.suppress(UserError) if amount < 0 else contextlib.nullcontext():
                email = self._random.choice(EMAILS)
                await self._world.accounts.credit(email, amount, who="m", note="")

    async def _raise_quota(self) -> None:
        if self.house.world is not None:
            email = self._random.choice(EMAILS)
            self._quota[email] += 1
            await self._world.accounts.change(email, "m", quota_gpus=self._quota[email])

    # What the cluster does, seen or unseen.

    async def _start(self) -> None:
        self._fate.start()
        await self.house.settle()

    async def _end(self) -> None:
        self._fate.end()
        await self.house.settle()

    async def _vanish(self) -> None:
        self._fate.vanish()
        await self.house.settle()

    async def _lose_the_cluster(self) -> None:
        self._fate.lose()
        await self.house.settle()

    async def _land(self) -> None:
        """Creations that nobody waits for any more come through."""
        self.house.api.land()
        await self.house.settle()

    # What time does, and the daemon.

    async def _pass_time(self) -> None:
        self.house.clock.advance(self._random.choice((1, 29, 60, 61, 600, 3600, 20_000)))
        await self.house.settle()

    async def _set_the_clock(self) -> None:
        """NTP steps it; not while news of the cluster wait, whose times are of the old clock."""
        if self.house.world is not None and not self.house.api.down:
            await self.house.settle()
            # It may take a daemon to start again until that is noticed.
            if self._random.random() < 0.3:
                await self._crash()
            self._backed_up_at = 0
            self.house.clock.step(self._random.choice((-90_000, -3600, -61, 61, 3600, 90_000)))
            await (self._boot() if self.house.world is None else self._charge())

    async def _charge(self) -> None:
        """One second of the metering loop and one sweep: after them nothing runs unbilled."""
        if self.house.world is None:
            return
        await self.house.settle()
        world = self._world
        if world.view.connected:
            for ended in await world.metering.charge():
                self._fate.stop(ended.pod_id)
            for rental in await world.rentals.list(Which(active=True)):
                ran = self._fate.ran.get(rental.pod_id)
                if ran is not None and ran.until is None:
                    minutes = ran.minutes(self.house.passed)
                    assert rental.charged_minutes == minutes, (rental, ran)
        await world.reconcile.sweep()
        for rental in await world.rentals.list(Which(active=False)):
            self._fate.stop(rental.pod_id)
        if world.view.connected:
            self._check_pods(await world.rentals.list(Which()))
        await self.house.settle()

    async def _boot(self) -> None:
        """Come back; what the crash met in the middle was either done by then or never."""
        await self.house.boot()
        for rental in await self._world.rentals.list(Which(active=False)):
            self._fate.stop(rental.pod_id, self._crashed_at)

    async def _crash(self) -> None:
        self._crashed_at = self.house.passed
        await self.house.crash()

    async def _back_up(self) -> None:
        # So that what was told before was told before.
        self.house.clock.advance(1)
        self.house.back_up()
        self._backed_up_at = self.house.passed

    async def _restore(self) -> None:
        """An operator puts the backup in the place of what there is.

        Not where the clock was set since: then nobody knows which times of pods are of which.
        """
        if self._backed_up_at == 0:
            return
        self.house.api.land()
        await self._crash()
        self.house.restore()
        self._restored = True
        self._fate.forget_since(self._backed_up_at)
        await self._boot()

    async def _crash_amid(self) -> None:
        if self.house.world is None:
            return
        rental = await self._live()
        works: list[Coroutine[Any, Any, Any]] = [self._rent_one(EMAILS[0], 1), self._charge()]
        if rental is not None:
            works.append(self._world.rentals.release(None, rental.pod_id))
        self._random.shuffle(works)
        work = works.pop()
        for other in works:
            other.close()
        await self.house.crash_amid(work, self._random.randint(0, _TURNS))
        self._crashed_at = self.house.passed

    # What holds after each of them.

    async def _check(self) -> None:
        if self.house.world is None:
            return
        async with self._world.db.reading() as rx:
            assert await check.disagreements(rx) == []
        rows = await self._world.rentals.list(Which())
        for rental in rows:
            self._check_bill(rental)
            if self.house.sees and rental.ended_at is None and rental.started_at is not None:
                assert rental.pod_id in self.house.api.pods, "paid for and not there"
        for email in EMAILS:
            account = await self._world.accounts.find(email)
            mine = [r for r in rows if r.account_id == account.account_id and not r.ended_at]
            # What a restored store takes in was within a quota that it does not know.
            if not self._restored:
                assert sum(rental.gpu_count for rental in mine) <= self._quota[email]
                assert sum(rental.gpu_count == 0 for rental in mine) <= account.quota_cpu_pods
            spent = sum(r.cost for r in rows if r.account_id == account.account_id)
            lines = await self._world.accounts.ledger(account.account_id, 10_000)
            given = sum(x.amount for x in lines if x.kind not in ("usage", "refund"))
            assert account.balance == given - spent >= 0

    def _check_pods(self, rows: list[Rental]) -> None:
        """Nothing runs that nobody pays for."""
        pods = self.house.api.pods
        # Nobody was told that there is a place for what has none, but by a creation that was late.
        assert all("nodeName" in pods[name]["spec"] for name in pods.keys() - self.house.api.landed)
        kept = {name for name, pod in pods.items() if "deletionTimestamp" not in pod["metadata"]}
        unpaid = kept - {rental.pod_id for rental in rows if rental.ended_at is None}
        assert not unpaid, [rental for rental in rows if rental.pod_id in unpaid]

    def _check_bill(self, rental: Rental) -> None:
        ran = self._fate.ran.get(rental.pod_id)
        if ran is None or rental.started_at is None:
            # It never ran, or its end was accepted before anybody saw it run.
            assert (rental.charged_minutes, rental.started_at) == (0, None)
            if ran is not None and rental.ended_at is None and self.house.sees:
                # Nobody saw its pod come and go, and its creation may still land.
                assert ran.untold, (rental, ran)
                assert rental.create_acked_at is None, (rental, ran)
            return
        most = ran.minutes(self.house.passed)
        if rental.ended_at is not None and (ran.untold or not self.house.sees):
            # What is still to be told may take minutes back.
            return
        assert rental.charged_minutes <= most, (rental, ran)
        assert rental.cost == rental.rate_per_hour * rental.charged_minutes // 60
        if rental.ended_at is not None:
            assert rental.end_reason
            lost = rental.end_reason in ("out_of_credits", "pod_lost", "node_lost")
            less = is_operators_fault(rental.end_reason)
            assert lost or rental.charged_minutes == most - less, (rental, ran)

    async def _rent_one(self, email: str, gpus: int) -> None:
        model = self._random.choice(sorted(CAPACITY))
        account = await self._world.accounts.find(email)
        with contextlib.suppress(UserError):
            await self._world.rentals.rent(
                account.account_id, wish(gpu_model=model, gpu_count=gpus)
            )

    async def _live(self) -> Rental | None:
        if self.house.world is None:
            return None
        live = await self._world.rentals.list(Which(active=True))
        return self._random.choice(live) if live else None

    @property
    def _world(self) -> World:
        assert self.house.world is not None
        return self.house.world
