"""A clock that is set while containers run: no minute is charged twice, early or not at all."""

import time
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgpud.clock import SystemClock
from kgpud.idle import idle_ms
from tests.manual_clock import START_MS, ManualClock
from tests.platform.fake_api import FakeApi
from tests.platform.test_charging import runs
from tests.platform.test_reconcile import tick
from tests.platform.world import World, until, wish

HOUR = 3600


async def running(world: World, api: FakeApi, account_id: str) -> str:
    pod_id = (await world.rentals.rent(account_id, wish())).rental.pod_id
    api.run(pod_id, world.clock.now_ms())
    await until(lambda: world.view.pods[pod_id].ready)
    return pod_id


async def minutes(world: World, pod_id: str) -> int:
    await world.metering.charge()
    return (await world.row(pod_id)).charged_minutes


@pytest.mark.parametrize("step", [HOUR, -HOUR, 30 * 24 * HOUR, -30 * 24 * HOUR, 1.5, -1.5])
async def test_only_time_that_passed_is_charged(
    world: World, api: FakeApi, clock: ManualClock, step: float
) -> None:
    account = (await world.account()).account_id
    pod_id = await running(world, api, account)
    clock.advance(90)
    assert await minutes(world, pod_id) == 2
    clock.step(step)
    assert await minutes(world, pod_id) == 2
    clock.advance(29)
    assert await minutes(world, pod_id) == 2
    clock.advance(1)
    assert await minutes(world, pod_id) == 3
    # What starts now is counted by the clock as it is now.
    other = await running(world, api, account)
    clock.step(-step)
    clock.advance(60)
    assert await minutes(world, pod_id) == 4
    assert await minutes(world, other) == 2
    for name in (pod_id, other):
        clock.step(step)
        assert (await world.rentals.release(account, name)).charged_minutes in (2, 4)
    await world.sound()


async def test_a_suspended_machine_skips_no_minute(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    pod_id = await running(world, api, (await world.account()).account_id)
    clock.advance(5 * HOUR)
    assert await minutes(world, pod_id) == 301
    await world.sound()


async def test_a_container_that_ends_after_a_step_pays_what_it_ran(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    for step in (HOUR, -HOUR):
        account = (await world.account(f"{step}@example.org")).account_id
        pod_id = await running(world, api, account)
        started = clock.now_ms()
        clock.advance(150)
        clock.step(step)
        api.finish(pod_id, started, clock.now_ms() - 40_000, 0)
        # Its failure is seen for a moment only: the next sweep deletes the pod.
        await until(lambda end=(pod_id, "pod_failed:0"): end in world.cuts)  # type: ignore[misc]
        assert (await world.row(pod_id)).charged_minutes == 2
    await world.sound()


async def test_a_step_gives_nothing_up(world: World, api: FakeApi, clock: ManualClock) -> None:
    account = (await world.account()).account_id
    idle = await running(world, api, account)
    pending = (await world.rentals.rent(account, wish())).rental.pod_id
    clock.step(48 * HOUR)
    await tick(world, clock)
    row = await world.row(idle)
    assert (row.ended_at, idle_ms(row, clock.now_ms()) <= 2000) == (None, True)
    assert (await world.row(pending)).ended_at is None
    # It starts on a clock that was set back, before it was asked for.
    clock.step(-96 * HOUR)
    await tick(world, clock)
    api.run(pending, clock.now_ms())
    await until(lambda: world.view.pods[pending].ready)
    clock.advance(61)
    assert await minutes(world, pending) == 2
    await world.rentals.release(account, pending)
    assert (await world.row(pending)).charged_minutes == 2
    await world.sound()


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(-7000, 7000)), min_size=1, max_size=8))
async def test_whatever_is_set_the_bill_is_of_what_passed(
    still: World, clock: ManualClock, moves: list[tuple[int, int]]
) -> None:
    account = (await still.account(f"{uuid4()}@example.org")).account_id
    pod_id = f"p-{account.removeprefix('acct_')}"
    await runs(still, account, pod_id)
    passed = 0
    for seconds, step in moves:
        clock.step(step)
        clock.advance(seconds)
        passed += seconds
        assert await minutes(still, pod_id) == passed // 60 + 1
    await still.sound()


def test_the_systems_clock_is_not_stepped_by_waiting() -> None:
    clock = SystemClock()
    before = clock.moment()
    time.sleep(0.01)
    after = clock.moment()
    assert (after.origin, after.passed - before.passed >= 10) == (before.origin, True)
    assert abs(after.ahead - before.ahead) <= 5
    assert clock.now_ms() > START_MS - 10**11
