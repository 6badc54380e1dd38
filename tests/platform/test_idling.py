"""Idle rentals: warned of, looked into, released, and never while anything works in them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from gateway.executor import Executor
from kgpud.history import History
from kgpud.idle import idle_ms, release_at
from kgpud.idling import Idling
from kgpud.life_settings import Life
from tests.gateway.fake_api import Call, serving
from tests.manual_clock import ManualClock
from tests.platform.fake_api import FakeApi
from tests.platform.test_busy import answer, stat
from tests.platform.test_operators_fault import runs_for
from tests.platform.world import World, until

HOUR = 3600
LIFE = Life()
NOTHING = answer([b"gpu 0"], [b"gpu 0"])
WORK = answer([stat(41, 41, 0), b"gpu 0"], [stat(41, 41, 400), b"gpu 0"])


@dataclass
class Pods:
    """What every pod answers a look with; `at_once` is the most looks there were at a time."""

    says: bytes | str = NOTHING
    looks: int = 0
    now: int = 0
    at_once: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, call: Call) -> None:
        if call.is_hangup:
            call.upgrade()
            call.stdout(b"gone")
            call.finish(0)
            return
        self.looks += 1
        self.now += 1
        self.at_once = max(self.at_once, self.now)
        try:
            await self.answer(call)
        finally:
            self.now -= 1

    async def answer(self, call: Call) -> None:
        if self.says == "refuse":
            call.writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        call.upgrade()
        if self.says == "hold":
            await self.held.wait()
        if self.says == "break":
            return
        call.stdout(self.says if isinstance(self.says, bytes) else NOTHING)
        call.finish(0)


@dataclass
class Idle:
    """A world, what its pods answer, and what watches them."""

    world: World
    api: FakeApi
    pods: Pods
    idling: Idling
    clock: ManualClock

    async def after(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.idling.sweep()

    async def warnings(self, pod_id: str) -> int:
        events = await History(self.world.db, self.world.rentals).after(pod_id, 0, 100)
        return sum(event.kind == "idle_warning" for event in events)


@pytest.fixture
async def idle(world: World, api: FakeApi, clock: ManualClock) -> AsyncIterator[Idle]:
    async with made(world, api, clock, LIFE) as one:
        yield one


@asynccontextmanager
async def made(world: World, api: FakeApi, clock: ManualClock, life: Life) -> AsyncIterator[Idle]:
    pods = Pods()
    async with serving(pods.serve) as exec_api:
        idling = Idling(
            world.db,
            clock,
            world.rentals,
            # What ends a look whose stream broke has no half minute here.
            Executor(exec_api, beside_seconds=0.2),
            "kgpu",
            life,
            fresh=lambda: world.view.connected,
        )
        yield Idle(world, api, pods, idling, clock)


async def test_who_is_idle_is_warned_once_and_released_after_a_day(idle: Idle) -> None:
    pod_id = await runs_for(idle.world, idle.api, idle.clock, 0)
    begun = idle.clock.now_ms()
    await idle.after(12 * HOUR - 1)
    assert (idle.pods.looks, await idle.warnings(pod_id)) == (0, 0)
    await idle.after(1)
    assert (idle.pods.looks, await idle.warnings(pod_id)) == (1, 1)
    row = await idle.world.row(pod_id)
    assert release_at(row, idle.clock.now_ms(), LIFE) == begun + 24 * HOUR * 1000
    # Looked into every five minutes, not at every sweep.
    for _ in range(5):
        await idle.after(60)
    assert (idle.pods.looks, await idle.warnings(pod_id)) == (2, 1)
    await idle.after(12 * HOUR - 301)
    assert (await idle.world.row(pod_id)).ended_at is None
    await idle.after(301)
    ended = await idle.world.row(pod_id)
    assert (ended.phase, ended.end_reason) == ("Terminating", "auto_idle")
    assert (pod_id, "auto_idle") in idle.world.cuts
    await idle.world.sound()


async def test_one_look_that_finds_work_sets_the_clock_back(idle: Idle) -> None:
    pod_id = await runs_for(idle.world, idle.api, idle.clock, 0)
    idle.pods.says = WORK
    for _ in range(5):
        await idle.after(12 * HOUR)
    assert (await idle.world.row(pod_id)).ended_at is None
    # Nobody was frightened for nothing.
    assert await idle.warnings(pod_id) == 0
    idle.pods.says = NOTHING
    await idle.after(12 * HOUR)
    assert await idle.warnings(pod_id) == 1
    idle.pods.says = WORK
    await idle.after(11 * HOUR)
    idle.pods.says = NOTHING
    await idle.after(12 * HOUR)
    assert await idle.warnings(pod_id) == 2
    assert (await idle.world.row(pod_id)).ended_at is None


@pytest.mark.parametrize("says", ["refuse", "break", answer([b"gpu unknown"], []), b"nonsense\n"])
async def test_a_look_that_fails_releases_nobody(idle: Idle, says: bytes | str) -> None:
    pod_id = await runs_for(idle.world, idle.api, idle.clock, 0)
    idle.pods.says = says
    for _ in range(10):
        await idle.after(12 * HOUR)
    assert idle.pods.looks == 10
    assert (await idle.world.row(pod_id)).ended_at is None
    # Warned of it is: a look that fails is no use of it.
    assert await idle.warnings(pod_id) == 1


async def test_who_comes_back_during_the_last_look_is_not_released(idle: Idle) -> None:
    pod_id = await runs_for(idle.world, idle.api, idle.clock, 0)
    await idle.after(12 * HOUR)
    idle.pods.says = "hold"
    idle.clock.advance(12 * HOUR)
    async with asyncio.TaskGroup() as group:
        group.create_task(idle.idling.sweep())
        await until(lambda: idle.pods.now == 1)
        await idle.world.rentals.activity.note(pod_id)
        idle.pods.held.set()
    assert (await idle.world.row(pod_id)).ended_at is None


async def test_a_clock_that_leaps_a_day_leaves_time_to_answer(idle: Idle) -> None:
    pod_id = await runs_for(idle.world, idle.api, idle.clock, 0)
    await idle.after(48 * HOUR)
    assert (await idle.world.row(pod_id)).ended_at is None
    assert await idle.warnings(pod_id) == 1
    await idle.after(LIFE.idle_look_every_seconds)
    assert (await idle.world.row(pod_id)).end_reason == "auto_idle"


async def test_a_cluster_that_is_away_has_nobody_released(idle: Idle) -> None:
    pod_id = await runs_for(idle.world, idle.api, idle.clock, 0)
    await idle.after(12 * HOUR)
    idle.api.stop()
    await until(lambda: not idle.world.view.connected)
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(idle.idling.run())
        for _ in range(3):
            await asyncio.sleep(0.01)
            idle.clock.advance(12 * HOUR)
        loop.cancel()
    assert idle.pods.looks == 1
    assert (await idle.world.row(pod_id)).ended_at is None


async def test_time_in_which_nobody_could_come_in_is_no_idleness(idle: Idle) -> None:
    pod_id = await runs_for(idle.world, idle.api, idle.clock, 0)
    await idle.world.metering.charge()
    for _ in range(11):
        # Metering that comes by now and then, as it does where nothing is wrong.
        idle.clock.advance(300)
        await idle.world.metering.charge()
    assert idle_ms(await idle.world.row(pod_id), idle.clock.now_ms()) == 11 * 300_000
    # A weekend without the cluster, or without a daemon: then what ran is charged at once.
    idle.clock.advance(60 * HOUR)
    await idle.world.metering.charge()
    await idle.after(0)
    assert (idle.pods.looks, await idle.warnings(pod_id)) == (0, 0)
    row = await idle.world.row(pod_id)
    assert row.charged_minutes == 55 + 60 * 60 + 1
    assert idle_ms(row, idle.clock.now_ms()) == 11 * 300_000
    await idle.after(12 * HOUR)
    assert await idle.warnings(pod_id) == 1
    # And again, between the warning and the release.
    await idle.world.metering.charge()
    assert (await idle.world.row(pod_id)).ended_at is None


async def test_looks_are_few_at_a_time_and_leave_no_session(idle: Idle) -> None:
    account = await idle.world.account()
    now = idle.clock.now_ms()
    async with idle.world.db.transaction() as tx:
        await tx.run_many(
            "INSERT INTO rentals (pod_id, account_id, name, image, gpu_model, gpu_count, cpu,"
            " memory, ephemeral_storage_gib, price_per_hour, created_at, started_at,"
            " last_activity_at) VALUES (?, ?, 'r', 'i', 'v100', 1, '1', '1Gi', 1, 600, ?, ?, ?)",
            [(f"p{n}", account.account_id, now, now, now) for n in range(30)],
        )
    idle.pods.says = "hold"
    idle.clock.advance(12 * HOUR)
    async with asyncio.TaskGroup() as group:
        group.create_task(idle.idling.sweep())
        await until(lambda: idle.pods.now == 8)
        idle.pods.held.set()
    assert (idle.pods.looks, idle.pods.at_once) == (30, 8)
    async with idle.world.db.reading() as rx:
        assert await rx.rows("SELECT * FROM sessions") == []
        rows = await rx.rows("SELECT DISTINCT last_activity_at FROM rentals")
    assert [row["last_activity_at"] for row in rows] == [now]
