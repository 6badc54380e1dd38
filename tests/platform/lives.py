"""Thousands of rentals' lives at once, on the real store and services; the cluster is left out.

Whatever becomes of pods, credits and the clock is drawn from a seed, handed to the services as the
watch would hand it over, and told the oracle. `agree` compares what both make of it.
"""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from kgpud import clocksteps
from kgpud.cluster.pods import derive
from kgpud.errors import UserError
from store import check, keys, rentals
from store.records import Rental
from store.rentals import Which
from tests.manual_clock import ManualClock
from tests.platform.fake_api import stamp
from tests.platform.oracle import Oracle
from tests.platform.world import World, platform

ACCOUNTS = 24
#: Half of them can't pay for long.
_GIFTS = (100, 3000, 10**7, 10**7)
_EVICTED = {
    "pressure": {"reason": "Evicted", "message": "The node was low on resource: memory."},
    "disk": {"reason": "Evicted", "message": "Pod ephemeral local storage usage exceeds the limit"},
}
_WHY = {
    "pressure": "evicted_by_kubelet:NodePressure",
    "disk": "evicted_by_kubelet:OutOfephemeral-storage",
}


@dataclass
class Pod:
    """A pod as the cluster has it, by the clock that was set; the moments are of time that passed.

    `why` is the reason that its end has for the rental, None while there is none.
    """

    name: str
    status: dict[str, Any]
    started: int | None = None
    finished: int | None = None
    why: str | None = None
    gone: bool = False
    deletion: str | None = None


class Lives:
    """Steps through them. `step` does something somewhere; `agree` says whether all is right."""

    def __init__(self, folder: Path, clock: ManualClock, seed: int) -> None:
        self.oracle = Oracle()
        self._folder, self._clock = folder, clock
        self._random = Random(seed)
        self._stack = AsyncExitStack()
        self._pods: dict[str, Pod] = {}
        self._news: set[str] = set()
        self._accounts: list[str] = []
        self._away, self._silent = False, False
        self._world: World

    async def begin(self) -> None:
        """Open the store and sign everybody up."""
        await self._open()
        for number in range(ACCOUNTS):
            account = await self._world.account(
                f"{number}@example.org", self._random.choice(_GIFTS)
            )
            self._accounts.append(account.account_id)
            self.oracle.give(account.account_id, account.balance)

    async def close(self) -> None:
        """Close the store."""
        await self._stack.aclose()

    async def step(self) -> None:
        """Let time pass, then do one thing."""
        moves: dict[Callable[[], Awaitable[None]], int] = {
            self._rent: 4,
            self._start: 6,
            self._finish: 3,
            self._end: 3,
            self._credit: 2,
            self._charge: 6,
            self._set: 1,
            self._go: 1,
            self._restart: 1,
            self._delete: 1,
        }
        self._clock.advance(self._random.choice((0, 1, 29, 59, 60, 61, 600, 4000)))
        (move,) = self._random.choices(list(moves), list(moves.values()))
        await move()
        if not (self._away or self._silent):
            await self._tell()

    async def agree(self) -> None:
        """Let all news arrive, and compare every bill and balance with the oracle's."""
        self._away = self._silent = False
        await self._tell()
        await self._charge()
        async with self._world.db.reading() as rx:
            assert await check.disagreements(rx) == []
        for row in await self._world.rentals.list(Which()):
            bill = self.oracle.bills[row.pod_id]
            real = (row.charged_minutes, row.cost, row.end_reason)
            assert real == (len(bill.paid), sum(bill.paid), bill.reason), (row, bill)
        for account in await self._world.accounts.newest(ACCOUNTS):
            assert account.balance == self.oracle.balances[account.account_id] >= 0

    async def _open(self) -> None:
        where = self._folder / "kubeconfig"
        self._world = await self._stack.enter_async_context(
            platform(self._folder, where, self._clock)
        )

    async def _rent(self) -> None:
        now = self._clock.now_ms()
        made = []
        for _ in range(self._random.randint(1, 20)):
            name, account = f"p{len(self._pods):05}", self._random.choice(self._accounts)
            price, gpus = (
                self._random.choice((0, 1, 59, 600, 1000, 1400)),
                self._random.randint(0, 4),
            )
            made.append(Rental(name, account, "r", "i", "v", gpus, "1", "1", 1, price, now, now))
            self._pods[name] = Pod(name, {"phase": "Pending"})
            self.oracle.rent(account, name, price * max(1, gpus))
        # As `rent` writes them, in one go.
        async with self._world.db.transaction() as tx:
            assert await clocksteps.now(tx, self._clock) == now
            for rental in made:
                await rentals.insert(tx, rental)
                await rentals.acknowledge(tx, rental.pod_id, now)
                await keys.pin(tx, rental.pod_id, f"SHA256:{rental.pod_id}", "", 1, now)

    async def _start(self) -> None:
        for pod in self._some(lambda pod: pod.started is None):
            pod.started = self._passed
            running = {"startedAt": stamp(self._clock.now_ms())}
            pod.status = {"phase": "Running", "containerStatuses": [_main(running=running)]}
            self._news.add(pod.name)

    async def _finish(self) -> None:
        """Containers end by themselves, or the kubelet or somebody else ends them."""
        for pod in self._some(lambda pod: pod.started is not None and pod.why is None):
            self._news.add(pod.name)
            how = self._random.choice(("exit", "pressure", "disk", "undecided", "deleted"))
            if how == "deleted" and pod.finished is None and not self._away:
                await self._delete_pod(pod)
                continue
            self._stop(pod)
            if how != "undecided":
                pod.status |= {"phase": "Failed", **_EVICTED.get(how, {})}
                pod.why = _WHY.get(how, "pod_failed:1")

    async def _delete_pod(self, pod: Pod) -> None:
        """Somebody else deletes it; its container may have ended before, as is told after that."""
        pod.why = "pod_lost"
        if self._random.random() < 0.5:
            pod.gone = True
            return
        pod.deletion = stamp(self._clock.now_ms())
        await self._tell()
        self._stop(pod, 1000 * self._random.randint(1, 200))
        self._news.add(pod.name)
        await self._tell()

    def _stop(self, pod: Pod, ago: int = 0) -> None:
        """End the container; the kubelet may make up its mind later."""
        if pod.finished is None and pod.started is not None:
            pod.finished = max(pod.started, self._passed - ago)
            state = pod.status["containerStatuses"][0]["state"]["running"]
            at = self._clock.now_ms() - self._passed + pod.finished
            over = {**state, "finishedAt": stamp(at), "exitCode": 1}
            pod.status = {"phase": "Running", "containerStatuses": [_main(terminated=over)]}

    async def _end(self) -> None:
        """Rentals are released, found idle, or on a machine that went a while ago."""
        for pod in self._some(self._is_live):
            reason = self._random.choice(("returned", "auto_idle", "node_lost"))
            if reason == "returned":
                await self._world.rentals.release(None, pod.name)
            elif reason == "auto_idle":
                await self._world.rentals.end(pod.name, reason)
            else:
                ago = self._random.randint(0, 200) * 1000
                await self._lose(pod, ago)
            self.oracle.end(pod.name, self._passed, reason)

    async def _lose(self, pod: Pod, ago: int) -> None:
        bill = self.oracle.bills[pod.name]
        await self._world.rentals.end(pod.name, "node_lost", finished_at=self._clock.now_ms() - ago)
        if bill.ended is None and bill.started is not None and bill.finished is None:
            bill.finished = max(bill.started, self._passed - ago)

    async def _credit(self) -> None:
        account, amount = self._random.choice(self._accounts), self._random.randint(-50, 2000)
        try:
            await self._world.accounts.credit(account, amount, who="m", note="")
        except UserError:
            return
        self.oracle.give(account, amount)

    async def _charge(self) -> None:
        if not self._away:
            await self._world.metering.charge()
            self.oracle.charge(self._passed)

    async def _set(self) -> None:
        """NTP sets the clock; not while news wait, whose times are of the old one."""
        if not (self._news or self._away):
            self._clock.step(self._random.choice((-90_000, -61, 61, 3600)))

    async def _go(self) -> None:
        """The cluster is away, or the watch falls silent, or all is well again."""
        self._away = not (self._away or self._silent) and self._random.random() < 0.5
        self._silent = not (self._away or self._silent) and self._random.random() < 0.8

    async def _restart(self) -> None:
        await self._stack.aclose()
        if not (self._news or self._away) and self._random.random() < 0.5:
            self._clock.step(self._random.choice((-3600, 7200)))
        await self._open()

    async def _delete(self) -> None:
        """A rich account is deleted and comes back; in a poor one the order of pods matters."""
        account = self._random.choice(self._accounts)
        if self.oracle.balances[account] < 10**6:
            return
        await self._world.rentals.delete_account(account, "m")
        await self._world.accounts.reinstate(account, "m")
        for bill in self.oracle.bills.values():
            if bill.account == account:
                self.oracle.end(bill.name, self._passed, "admin_released")

    async def _tell(self) -> None:
        """Hand over the newest of every pod that has news, as a list after a gap does."""
        pods = [self._pods[name] for name in sorted(self._news)]
        self._news.clear()
        for start in range(0, len(pods), 500):
            part = pods[start : start + 500]
            await self._world.rentals.observe([_derived(pod) for pod in part])
            for pod in part:
                self.oracle.see(pod.name, pod.started, pod.finished)
            for pod in part:
                if pod.why is not None:
                    self.oracle.end(pod.name, self._passed, pod.why)

        for pod in self._pods.values():
            # As the sweep does.
            if pod.deletion is None and not self._is_live(pod):
                pod.deletion = stamp(self._clock.now_ms())

    def _is_live(self, pod: Pod) -> bool:
        return self.oracle.bills[pod.name].ended is None

    def _some(self, which: Callable[[Pod], bool]) -> list[Pod]:
        found = [pod for pod in self._pods.values() if not pod.gone and which(pod)]
        return self._random.sample(found, self._random.randint(0, min(12, len(found))))

    @property
    def _passed(self) -> int:
        return self._clock.moment().passed


def _main(**state: Any) -> dict[str, Any]:
    return {"name": "main", "state": state}


def _derived(pod: Pod) -> Any:
    metadata = {"name": pod.name, "deletionTimestamp": pod.deletion}
    return derive({"metadata": metadata, "status": pod.status}, deleted=pod.gone)
