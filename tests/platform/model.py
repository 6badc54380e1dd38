"""What a model of the platform does, and what it alone knows: when each container really ran.

Everything else is the real store and the real services, on a cluster that the test plays. What is
done is drawn from a seed; when it meets the services' own work is up to the event loop.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from random import Random
from typing import Any

from kgpud.billing import begun, cost
from kgpud.errors import UserError
from kgpud.reasons import is_operators_fault
from store import check
from store.records import Rental
from store.rentals import Which
from tests.platform.fake_api import Object, stamp
from tests.platform.model_house import CAPACITY, House
from tests.platform.world import World, wish

CREDITS = {"rich@example.org": 500_000, "poor@example.org": 3000}
EMAILS = tuple(CREDITS)
Action = Callable[[], Awaitable[None]]
#: The container's last state, and what the pod's status says beside it.
Ending = tuple[Object, Object]
_EXITED: Ending = ({"exitCode": 3, "reason": "Error"}, {})
_OOM: Ending = ({"exitCode": 137, "reason": "OOMKilled"}, {})
_DISK: Ending = (
    {"exitCode": 137, "reason": "Error"},
    {"reason": "Evicted", "message": "Pod ephemeral local storage usage exceeds the limit"},
)
_PRESSURE: Ending = (
    {"exitCode": 137, "reason": "Error"},
    {"reason": "Evicted", "message": "The node was low on resource: memory."},
)
#: The most turns of the event loop that something gets before the crash.
_TURNS = 60


@dataclass
class Ran:
    """When a container ran, in milliseconds that passed; `until` is None while it does.

    `untold` says that its pod went while nobody looked: nobody will ever know when it ended, so who
    releases it before that is noticed pays until the release.
    """

    since: int
    until: int | None = None
    untold: bool = False


class Model:
    """One life of an installation. `step` does something and checks what must always hold."""

    def __init__(self, house: House, seed: int) -> None:
        self.house = house
        self.done: list[str] = []
        self._random = Random(seed)
        self._ran: dict[str, Ran] = {}
        self._quota = dict.fromkeys(EMAILS, 4)
        self._crashed_at = 0
        actions: dict[Action, int] = {
            self._rent: 5,
            self._release: 2,
            self._rotate: 1,
            self._credit: 1,
            self._raise_quota: 1,
            self._start: 2,
            self._end: 2,
            self._vanish: 2,
            self._lose_the_cluster: 1,
            self._pass_time: 5,
            self._set_the_clock: 1,
            self._charge: 3,
            self._crash: 1,
            self._crash_amid: 2,
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
        moods = ("ok", "lose", "drop", "refuse")
        self.house.api.mood = self._random.choices(moods, (6, 1, 1, 1))[0]
        async with asyncio.TaskGroup() as group:
            for _ in range(self._random.randint(1, 5)):
                group.create_task(self._rent_one(self._random.choice(EMAILS)))
        self.house.api.mood = "ok"
        if self._random.random() < 0.8:
            for name in self._pods("Pending"):
                self._run(name)
        await self.house.settle()

    async def _release(self) -> None:
        if rental := await self._live():
            ended = await self._world.rentals.release(None, rental.pod_id)
            assert ended.ended_at is not None
            self._stop(rental.pod_id)
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
        for name in self._pods("Pending"):
            self._run(name)
        await self.house.settle()

    async def _end(self) -> None:
        """A container ends by itself, or the kubelet ends it."""
        if not (names := self._pods("Running")):
            return
        name = self._random.choice(names)
        pod = self.house.api.pods[name]
        terminated, status = self._random.choice((_EXITED, _OOM, _DISK, _PRESSURE))
        state = pod["status"]["containerStatuses"][0]["state"]["running"]
        times = {**state, "finishedAt": stamp(self.house.clock.now_ms())}
        container = {"name": "main", "state": {"terminated": {**terminated, **times}}}
        pod["status"] = {"phase": "Failed", "containerStatuses": [container], **status}
        self.house.api.apply("pods", "MODIFIED", pod)
        self._stop(name)
        await self.house.settle()

    async def _vanish(self) -> None:
        """Pods that are being deleted are gone, and now and then one that nobody deleted."""
        for name, pod in list(self.house.api.pods.items()):
            if "deletionTimestamp" in pod["metadata"] or self._random.random() < 0.2:
                self.house.api.remove(name)
                self._stop(name)
                if name in self._ran and not self._seen:
                    self._ran[name].untold = True
        await self.house.settle()

    async def _lose_the_cluster(self) -> None:
        if self.house.api.down:
            self.house.api.down = False
        elif self._random.random() < 0.5:
            self.house.api.stop()
        else:
            self.house.api.expire()
        await self.house.settle()

    # What time does, and the daemon.

    async def _pass_time(self) -> None:
        self.house.clock.advance(self._random.choice((1, 29, 60, 61, 600, 3600, 20_000)))
        await self.house.settle()

    async def _set_the_clock(self) -> None:
        """NTP steps it; not while news of the cluster wait, whose times are of the old clock."""
        if self.house.world is not None and not self.house.api.down:
            await self.house.settle()
            self.house.clock.step(self._random.choice((-90_000, -3600, -61, 61, 3600, 90_000)))
            await self._charge()

    async def _charge(self) -> None:
        """One second of the metering loop and one sweep: after them nothing runs unbilled."""
        if self.house.world is None:
            return
        await self.house.settle()
        world = self._world
        if world.view.connected:
            for ended in await world.metering.charge():
                self._stop(ended.pod_id)
            for rental in await world.rentals.list(Which(active=True)):
                ran = self._ran.get(rental.pod_id)
                if ran is not None and ran.until is None:
                    assert rental.charged_minutes == begun(ran.since, self._passed)
        await world.reconcile.sweep()
        for rental in await world.rentals.list(Which(active=False)):
            self._stop(rental.pod_id)
            pod = self.house.api.pods.get(rental.pod_id)
            if pod is not None and world.view.connected:
                assert "deletionTimestamp" in pod["metadata"], rental
        await self.house.settle()

    async def _boot(self) -> None:
        """Come back; what the crash met in the middle was either done by then or never."""
        await self.house.boot()
        for rental in await self._world.rentals.list(Which(active=False)):
            self._stop(rental.pod_id, self._crashed_at)

    async def _crash(self) -> None:
        self._crashed_at = self._passed
        await self.house.crash()

    async def _crash_amid(self) -> None:
        if self.house.world is None:
            return
        rental = await self._live()
        works: list[Coroutine[Any, Any, Any]] = [self._rent_one(EMAILS[0]), self._charge()]
        if rental is not None:
            works.append(self._world.rentals.release(None, rental.pod_id))
        self._random.shuffle(works)
        work = works.pop()
        for other in works:
            other.close()
        await self.house.crash_amid(work, self._random.randint(0, _TURNS))
        self._crashed_at = self._passed

    # What holds after each of them.

    async def _check(self) -> None:
        for model, gpus in CAPACITY.items():
            assert sum(_gpus(pod, model) for pod in self.house.api.pods.values()) <= gpus
        if self.house.world is None:
            return
        async with self._world.db.reading() as rx:
            assert await check.disagreements(rx) == []
        rows = await self._world.rentals.list(Which())
        for rental in rows:
            self._check_bill(rental)
        for email in EMAILS:
            account = await self._world.accounts.find(email)
            mine = [r for r in rows if r.account_id == account.account_id and not r.ended_at]
            assert sum(rental.gpu_count for rental in mine) <= self._quota[email]
            assert sum(rental.gpu_count == 0 for rental in mine) <= account.quota_cpu_pods
            spent = sum(r.cost for r in rows if r.account_id == account.account_id)
            lines = await self._world.accounts.ledger(account.account_id, 10_000)
            given = sum(x.amount for x in lines if x.kind not in ("usage", "refund"))
            assert account.balance == given - spent >= 0

    def _check_bill(self, rental: Rental) -> None:
        ran = self._ran.get(rental.pod_id)
        if ran is None or rental.started_at is None:
            # It never ran, or its end was accepted before anybody saw it run.
            assert (rental.charged_minutes, rental.started_at) == (0, None)
            assert ran is None or rental.ended_at is not None or not self._seen
            return
        most = begun(ran.since, self._passed if ran.until is None else ran.until)
        if rental.ended_at is not None and (ran.untold or not self._seen):
            # What is still to be told may take minutes back.
            return
        assert rental.charged_minutes <= most, (rental, ran)
        assert rental.cost == cost(rental.rate_per_hour, rental.charged_minutes)
        if rental.ended_at is not None:
            assert rental.end_reason
            lost = rental.end_reason in ("out_of_credits", "pod_lost", "node_lost")
            less = is_operators_fault(rental.end_reason)
            assert lost or rental.charged_minutes == most - less, (rental, ran)

    async def _rent_one(self, email: str) -> None:
        model = self._random.choice(sorted(CAPACITY))
        gpus = self._random.choice((0, 1, 1, 2, 3))
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

    def _pods(self, phase: str) -> list[str]:
        return [name for name, pod in self.house.api.pods.items() if _is(pod, phase)]

    def _run(self, name: str) -> None:
        self.house.api.run(name, self.house.clock.now_ms())
        self._ran[name] = Ran(self._passed)

    def _stop(self, name: str, at: int | None = None) -> None:
        ran = self._ran.get(name)
        if ran is not None and ran.until is None:
            ran.until = self._passed if at is None else at

    @property
    def _seen(self) -> bool:
        return self.house.world is not None and self.house.world.view.connected

    @property
    def _passed(self) -> int:
        return self.house.clock.moment().passed

    @property
    def _world(self) -> World:
        assert self.house.world is not None
        return self.house.world


def _is(pod: Object, phase: str) -> bool:
    return pod["status"]["phase"] == phase and "deletionTimestamp" not in pod["metadata"]


def _gpus(pod: Object, model: str) -> int:
    if pod["metadata"]["labels"]["kgpu.net/gpu-model"] != model:
        return 0
    limits = pod["spec"]["containers"][0]["resources"]["limits"]
    return int(limits.get("nvidia.com/gpu", 0))
