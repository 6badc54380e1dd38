"""What does not start is given up in time and uncharged; a pull that goes on gets longer."""

import asyncio

import pytest

from kgpud.cluster.pulls import is_pulling
from tests.manual_clock import ManualClock
from tests.platform.fake_api import FakeApi
from tests.platform.test_reconcile import away, back, tick
from tests.platform.world import World, until, wish
from tests.recorded import files

_FIVE_MINUTES, _HALF_AN_HOUR = 300, 1800


async def away_for(world: World, api: FakeApi, clock: ManualClock, seconds: float) -> None:
    """Let the API server be away for so long, and come back."""
    await away(world, api)
    await tick(world, clock, seconds)
    await back(world, api, clock)


async def pulls(world: World, api: FakeApi) -> str:
    """Rent a pod whose image is being pulled."""
    account = (await world.account()).account_id
    pod_id = (await world.rentals.rent(account, wish())).rental.pod_id
    conditions = [{"type": "PodScheduled", "status": "True"}]
    conditions.append({"type": "PodReadyToStartContainers", "status": "True"})
    pod = api.pods[pod_id]
    pod["status"]["conditions"] = conditions
    api.apply("pods", "MODIFIED", pod)
    await until(lambda: world.view.pods[pod_id].pending_reason == "pulling")
    return pod_id


async def test_a_pull_that_goes_on_gets_longer(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    pod_id = await pulls(world, api)
    api.say(pod_id, "Pulling")
    api.say("another-pod", "Failed")
    await tick(world, clock, _FIVE_MINUTES + 1)
    assert (await world.row(pod_id)).ended_at is None
    # It is asked about now and then, not at every sweep.
    for _ in range(5):
        await tick(world, clock)
    assert api.asked("GET").count("events") == 1
    await tick(world, clock, _HALF_AN_HOUR - _FIVE_MINUTES - 12)
    assert (await world.row(pod_id)).ended_at is None
    await tick(world, clock)
    rental = await world.row(pod_id)
    assert (rental.end_reason, rental.cost) == ("start_failed:timeout", 0)
    assert await world.rentals.in_use(rental.account_id) == (0, 0)


@pytest.mark.parametrize("then", ["Failed", "BackOff", "Pulled"])
async def test_a_pull_that_went_wrong_does_not(
    world: World, api: FakeApi, clock: ManualClock, then: str
) -> None:
    pod_id = await pulls(world, api)
    api.say(pod_id, "Pulling")
    await tick(world, clock, _FIVE_MINUTES + 1)
    api.say(pod_id, then)
    await tick(world, clock, 15)
    assert (await world.row(pod_id)).end_reason == "start_failed:timeout"


async def test_one_that_nobody_saw_begin_does_not(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    pod_id = await pulls(world, api)
    await tick(world, clock, _FIVE_MINUTES + 1)
    assert (await world.row(pod_id)).end_reason == "start_failed:timeout"


async def test_one_that_starts_while_it_is_asked_about_is_not_given_up(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    pod_id = await pulls(world, api)
    clock.advance(_FIVE_MINUTES + 1)
    api.tells_events.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(world.reconcile.sweep())
        await until(lambda: "events" in api.asked("GET"))
        api.run(pod_id, clock.now_ms())
        await until(lambda: world.view.pods[pod_id].ready)
        api.tells_events.set()
    assert (await world.row(pod_id)).phase == "Running"


async def test_a_kubelet_has_time_to_say_that_it_started_while_the_cluster_was_away(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    account = (await world.account()).account_id
    pod_id = (await world.rentals.rent(account, wish())).rental.pod_id
    await away_for(world, api, clock, 3600)
    for _ in range(20):
        await tick(world, clock)
        assert (await world.row(pod_id)).ended_at is None
    api.run(pod_id, clock.now_ms() - 3_500_000)
    await until(lambda: world.view.pods[pod_id].ready)
    await tick(world, clock, 60)
    assert (await world.row(pod_id)).phase == "Running"


async def test_what_did_not_start_while_the_cluster_was_away_is_given_up_then(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    account = (await world.account()).account_id
    pod_id = (await world.rentals.rent(account, wish())).rental.pod_id
    await away_for(world, api, clock, 3600)
    await tick(world, clock, 61)
    assert (await world.row(pod_id)).end_reason == "start_failed:timeout"


def test_a_recorded_pull_that_failed() -> None:
    rows = files.rows("lifecycle/lifecycle_image_always_unreachable")
    said = [row["event"] for row in rows if row.get("ev") == "k8s_event"]
    first = [event["reason"] for event in said].index("Pulling")
    assert not is_pulling(said[:first])
    assert is_pulling(said[: first + 1])
    assert not is_pulling(said)
