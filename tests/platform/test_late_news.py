"""What the cluster tells of a container only after its rental's end was accepted."""

import pytest

from tests.manual_clock import ManualClock
from tests.platform.fake_api import FakeApi, stamp
from tests.platform.test_operators_fault import runs_for
from tests.platform.test_reconcile import away, back
from tests.platform.world import World, until, wish


@pytest.mark.parametrize(
    ("credits_", "reason", "paid"), [(100_000, "returned", 121), (1000, "out_of_credits", 60)]
)
async def test_minutes_after_an_end_that_nobody_saw_are_given_back(
    world: World, api: FakeApi, clock: ManualClock, credits_: int, reason: str, paid: int
) -> None:
    account = await world.account(credits_=credits_)
    pod_id = (await world.rentals.rent(account.account_id, wish())).rental.pod_id
    started = clock.now_ms()
    api.run(pod_id, started)
    await until(lambda: world.view.pods[pod_id].ready)
    await away(world, api)
    api.finish(pod_id, started, started + 100_000, 3)
    clock.advance((started + 7_200_000 - clock.now_ms()) / 1000)
    rental = await world.rentals.release(None, pod_id)
    assert (rental.charged_minutes, rental.end_reason) == (paid, reason)
    usage = await world.accounts.ledger(account.account_id, 99)

    await back(world, api, clock)
    rental = await world.row(pod_id)
    assert (rental.charged_minutes, rental.cost, rental.end_reason) == (2, 33, reason)
    assert rental.finished_at == started + 100_000
    refund, *lines = await world.accounts.ledger(account.account_id, 99)
    assert (refund.kind, refund.minutes) == ("refund", paid - 2)
    assert lines == usage
    assert (await world.accounts.find(account.account_id)).balance == credits_ - 33
    await world.sound()
    # Told again, and told that the pod is gone, nothing more is given.
    api.apply("pods", "MODIFIED", api.pods[pod_id])
    api.remove(pod_id)
    await until(lambda: pod_id not in world.view.pods)
    assert (await world.row(pod_id)).phase == "Ended"
    assert await world.accounts.ledger(account.account_id, 99) == [refund, *usage]
    await world.sound()


async def test_a_cluster_whose_clock_is_behind_gives_nothing_away(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    pod_id = await runs_for(world, api, clock, 600)
    released = await world.rentals.release(None, pod_id)
    assert released.charged_minutes == 11
    await until(lambda: "deletionTimestamp" in api.pods[pod_id]["metadata"])
    behind = clock.now_ms() - 300_000
    api.pods[pod_id]["metadata"]["deletionTimestamp"] = stamp(behind + 1000)
    api.finish(pod_id, behind - 300_000, behind, 137)
    await until(lambda: world.view.pods[pod_id].finished_at is not None)
    assert (await world.row(pod_id)).charged_minutes == 11
    # What had finished before it was asked to had finished.
    api.finish(pod_id, behind - 300_000, behind - 1000, 137)
    await until(lambda: world.view.pods[pod_id].finished_at == behind - 1000)
    rental = await world.row(pod_id)
    assert rental.finished_at is not None
    assert rental.charged_minutes == 5
    await world.sound()


async def test_a_clock_that_is_set_back_before_the_news_gives_nothing_away(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    pod_id = await runs_for(world, api, clock, 600)
    await away(world, api)
    await world.rentals.release(None, pod_id)
    clock.advance(1)
    api.finish(pod_id, clock.now_ms() - 601_000, clock.now_ms(), 3)
    clock.step(-300)
    await back(world, api, clock)
    await until(lambda: world.view.pods[pod_id].finished_at is not None)
    rental = await world.row(pod_id)
    assert (rental.charged_minutes, rental.finished_at) == (11, None)
    await world.sound()


async def test_what_started_unseen_before_the_release_is_not_charged(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    account = await world.account()
    pod_id = (await world.rentals.rent(account.account_id, wish())).rental.pod_id
    await until(lambda: pod_id in world.view.pods)
    await away(world, api)
    api.run(pod_id, clock.now_ms())
    clock.advance(600)
    assert (await world.rentals.release(None, pod_id)).cost == 0
    await back(world, api, clock)
    rental = await world.row(pod_id)
    assert (rental.started_at, rental.charged_minutes) == (None, 0)
    await world.sound()
