"""Rent, time, crash, restart, release, top-up, eviction and cluster loss, in any order.

The machine knows one thing for itself: when each container really ran, on a clock that is never
set. Everything else is the real store and the real services, on a cluster played by the test.
"""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kgpud.billing import begun, cost
from kgpud.errors import UserError
from kgpud.reasons import is_operators_fault
from store import check
from store.records import Rental
from store.rentals import Which
from tests.platform.fake_api import Object, stamp
from tests.platform.model_house import CAPACITY, House
from tests.platform.world import World, wish

EMAILS = ("a@example.org", "b@example.org")
ENDS = {
    "exit": ({"exitCode": 3, "reason": "Error"}, {}),
    "oom": ({"exitCode": 137, "reason": "OOMKilled"}, {}),
    "disk": (
        {"exitCode": 137, "reason": "Error"},
        {"reason": "Evicted", "message": "Pod ephemeral local storage usage exceeds the limit"},
    ),
    "pressure": (
        {"exitCode": 137, "reason": "Error"},
        {"reason": "Evicted", "message": "The node was low on resource: memory."},
    ),
}
turns = st.integers(0, 60)


@dataclass
class Ran:
    """When a container ran, in milliseconds that passed; `until` is None while it does."""

    since: int
    until: int | None = None


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._folder = tempfile.TemporaryDirectory()
        self.ran: dict[str, Ran] = {}
        self.quota = dict.fromkeys(EMAILS, 4)

    @initialize()
    def begin(self) -> None:
        async def begin() -> None:
            self.house = House(Path(self._folder.name))
            await self.house.open()
            for email in EMAILS:
                await self.world.account(email, credits_=3000)

        self._runner.run(begin())

    def teardown(self) -> None:
        self._runner.run(self.house.close())
        self._runner.close()
        self._folder.cleanup()

    # What users and operators do.

    @precondition(lambda self: self.up)
    @rule(
        email=st.sampled_from(EMAILS),
        model=st.sampled_from(sorted(CAPACITY)),
        gpus=st.sampled_from([0, 1, 1, 2, 4]),
        mood=st.sampled_from(["ok", "ok", "ok", "lose", "drop", "refuse"]),
    )
    def rent(self, email: str, model: str, gpus: int, mood: str) -> None:
        async def rent() -> None:
            self.house.api.mood = mood
            try:
                await self._rent(email, model, gpus)
            except UserError:
                pass
            finally:
                self.house.api.mood = "ok"
            await self.house.settle()

        self._runner.run(rent())

    @precondition(lambda self: self.up)
    @rule(email=st.sampled_from(EMAILS), model=st.sampled_from(sorted(CAPACITY)), turns=turns)
    def crash_while_it_rents(self, email: str, model: str, turns: int) -> None:
        self._runner.run(self.house.crash_amid(self._rent(email, model, 1), turns))

    @precondition(lambda self: self.up and self.live)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        rental = data.draw(st.sampled_from(self.live))

        async def release() -> None:
            ended = await self.world.rentals.release(None, rental.pod_id)
            assert ended.ended_at is not None
            self._stopped(rental.pod_id)
            await self.house.settle()

        self._runner.run(release())

    @precondition(lambda self: self.up and self.live)
    @rule(data=st.data(), turns=turns)
    def crash_while_it_releases(self, data: st.DataObject, turns: int) -> None:
        rental = data.draw(st.sampled_from(self.live))
        work = self.world.rentals.release(None, rental.pod_id)
        self._runner.run(self.house.crash_amid(work, turns))

    @precondition(lambda self: self.up and self.live)
    @rule(data=st.data())
    def rotate(self, data: st.DataObject) -> None:
        rental = data.draw(st.sampled_from(self.live))
        self._runner.run(self.world.rentals.rotate(rental.account_id, rental.pod_id, None))

    @precondition(lambda self: self.up)
    @rule(email=st.sampled_from(EMAILS), amount=st.sampled_from([1, 500, 20_000, -1, -300]))
    def credit(self, email: str, amount: int) -> None:
        async def credit() -> None:
            try:
                await self.world.accounts.credit(email, amount, who="m", note="")
            except UserError:
                assert amount < 0

        self._runner.run(credit())

    @precondition(lambda self: self.up)
    @rule(email=st.sampled_from(EMAILS))
    def raise_quota(self, email: str) -> None:
        self.quota[email] += 1
        change = self.world.accounts.change(email, "m", quota_gpus=self.quota[email])
        self._runner.run(change)

    # What the cluster does, seen or unseen.

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.pending))

        async def start() -> None:
            self.house.api.run(name, self.house.clock.now_ms())
            self.ran[name] = Ran(self._passed)
            await self.house.settle()

        self._runner.run(start())

    @precondition(lambda self: self.containers)
    @rule(data=st.data(), how=st.sampled_from(sorted(ENDS)))
    def end(self, data: st.DataObject, how: str) -> None:
        name = data.draw(st.sampled_from(self.containers))

        async def end() -> None:
            pod = self.house.api.pods[name]
            terminated, status = ENDS[how]
            state = pod["status"]["containerStatuses"][0]["state"]["running"]
            times = {**state, "finishedAt": stamp(self.house.clock.now_ms())}
            container = {"name": "main", "state": {"terminated": {**terminated, **times}}}
            pod["status"] = {"phase": "Failed", "containerStatuses": [container], **status}
            self.house.api.apply("pods", "MODIFIED", pod)
            self._stopped(name)
            await self.house.settle()

        self._runner.run(end())

    @precondition(lambda self: self.house.api.pods)
    @rule(data=st.data())
    def vanish(self, data: st.DataObject) -> None:
        """A pod is gone: as it should be if it was being deleted, else lost."""
        name = data.draw(st.sampled_from(sorted(self.house.api.pods)))

        async def vanish() -> None:
            self.house.api.remove(name)
            self._stopped(name)
            await self.house.settle()

        self._runner.run(vanish())

    @precondition(lambda self: self.house.api.down)
    @rule()
    def come_back(self) -> None:
        self.house.api.down = False
        self._runner.run(self.house.settle())

    @precondition(lambda self: not self.house.api.down)
    @rule(how=st.sampled_from(["away", "expired"]))
    def lose_the_cluster(self, how: str) -> None:
        if how == "away":
            self.house.api.stop()
        else:
            self.house.api.expire()
        self._runner.run(self.house.settle())

    # What time does, and the daemon.

    @rule(seconds=st.sampled_from([1, 29, 60, 61, 600, 3600, 50_000]))
    def pass_time(self, seconds: int) -> None:
        async def wait() -> None:
            self.house.clock.advance(seconds)
            await self.house.settle()

        self._runner.run(wait())

    @precondition(lambda self: self.up and not self.house.api.down)
    @rule(seconds=st.sampled_from([-90_000, -3600, -61, 61, 3600, 90_000]))
    def set_the_clock(self, seconds: int) -> None:
        self.house.clock.step(seconds)
        self._runner.run(self._charge())

    @precondition(lambda self: self.up)
    @rule()
    def charge(self) -> None:
        self._runner.run(self._charge())

    @precondition(lambda self: self.up)
    @rule(turns=turns)
    def crash_while_it_charges(self, turns: int) -> None:
        self._runner.run(self.house.crash_amid(self._charge(), turns))

    @precondition(lambda self: self.up)
    @rule()
    def crash(self) -> None:
        self._runner.run(self.house.crash())

    @precondition(lambda self: not self.up)
    @rule()
    def restart(self) -> None:
        self._runner.run(self.house.boot())

    # What holds after each of them.

    @invariant()
    def the_books_agree(self) -> None:
        if not self.up:
            return

        async def look() -> tuple[list[str], list[Rental]]:
            async with self.world.db.reading() as rx:
                wrong = await check.disagreements(rx)
            return wrong, await self.world.rentals.list(Which())

        wrong, rows = self._runner.run(look())
        assert wrong == []
        for rental in rows:
            self._check(rental)
        for email in EMAILS:
            account = self._runner.run(self.world.accounts.find(email))
            mine = [r for r in rows if r.account_id == account.account_id and not r.ended_at]
            assert sum(rental.gpu_count for rental in mine) <= self.quota[email]
            assert sum(rental.gpu_count == 0 for rental in mine) <= account.quota_cpu_pods
            assert account.balance >= 0

    @invariant()
    def no_machine_has_more_than_it_can_hold(self) -> None:
        for model, gpus in CAPACITY.items():
            assert sum(_gpus(pod, model) for pod in self.house.api.pods.values()) <= gpus

    def _check(self, rental: Rental) -> None:
        ran = self.ran.get(rental.pod_id)
        if ran is None:
            assert (rental.charged_minutes, rental.started_at) == (0, None)
            return
        until = self._passed if ran.until is None else ran.until
        most = begun(ran.since, until)
        assert rental.charged_minutes <= most, (rental, ran)
        assert rental.cost == cost(rental.rate_per_hour, rental.charged_minutes)
        if rental.ended_at is not None:
            assert rental.end_reason
            kept = not is_operators_fault(rental.end_reason)
            if kept and rental.end_reason not in ("out_of_credits", "pod_lost"):
                assert rental.charged_minutes == most, (rental, ran)

    async def _charge(self) -> None:
        """One second of the metering loop, and one sweep: then nothing runs unbilled."""
        await self.house.settle()
        world = self.world
        if world.view.connected:
            for ended in await world.metering.charge():
                self._stopped(ended.pod_id)
            for rental in await world.rentals.list(Which(active=True)):
                ran = self.ran.get(rental.pod_id)
                if ran is not None and ran.until is None:
                    assert rental.charged_minutes == begun(ran.since, self._passed)
        await world.reconcile.sweep()
        for rental in await world.rentals.list(Which(active=False)):
            self._stopped(rental.pod_id)
            pod = self.house.api.pods.get(rental.pod_id)
            if pod is not None and world.view.connected:
                assert "deletionTimestamp" in pod["metadata"]
        await self.house.settle()

    async def _rent(self, email: str, model: str, gpus: int) -> None:
        account = await self.world.accounts.find(email)
        await self.world.rentals.rent(account.account_id, wish(gpu_model=model, gpu_count=gpus))

    def _stopped(self, name: str) -> None:
        ran = self.ran.get(name)
        if ran is not None and ran.until is None:
            ran.until = self._passed

    @property
    def _passed(self) -> int:
        return self.house.clock.now_ms() - self.house.clock.stepped_ms()

    @property
    def up(self) -> bool:
        return self.house.world is not None

    @property
    def world(self) -> World:
        assert self.house.world is not None
        return self.house.world

    @property
    def live(self) -> list[Rental]:
        return self._runner.run(self.world.rentals.list(Which(active=True)))

    @property
    def pending(self) -> list[str]:
        return [name for name, pod in self.house.api.pods.items() if _is(pod, "Pending")]

    @property
    def containers(self) -> list[str]:
        return [name for name, pod in self.house.api.pods.items() if _is(pod, "Running")]


def _is(pod: Object, phase: str) -> bool:
    return pod["status"]["phase"] == phase and "deletionTimestamp" not in pod["metadata"]


def _gpus(pod: Object, model: str) -> int:
    if pod["metadata"]["labels"]["kgpu.net/gpu-model"] != model:
        return 0
    limits = pod["spec"]["containers"][0]["resources"]["limits"]
    return int(limits.get("nvidia.com/gpu", 0))


_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def test_whatever_comes_in_whatever_order() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            suppress_health_check=_QUIET,
        ),
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_whatever_comes_for_long() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=400,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=_QUIET,
        ),
    )
