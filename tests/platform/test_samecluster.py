"""A kubeconfig that leads to another cluster shows no pods of ours, and is not believed."""

import pytest

from kgpud.errors import Code, UserError
from tests.manual_clock import ManualClock
from tests.platform.fake_api import FakeApi, Object
from tests.platform.world import World, running, until, wish


def swap(api: FakeApi, uid: str, pods: dict[str, Object]) -> None:
    """Let the API's address lead to another cluster, whose watches know nothing of the last."""
    api.objects["pods"] = pods
    api.objects["namespaces"]["kgpu"]["metadata"]["uid"] = uid
    api.expire()


async def found_again(world: World, clock: ManualClock) -> None:
    """Let time pass until the cluster was asked again, and believed."""

    def found() -> bool:
        clock.advance(1)
        return world.view.connected

    await until(found)


async def test_another_cluster_ends_no_rental(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    account = (await world.account()).account_id
    pod_id = (await world.rentals.rent(account, wish())).rental.pod_id
    api.run(pod_id, clock.now_ms())
    await until(lambda: pod_id in world.view.pods and world.view.pods[pod_id].ready)
    ours = api.objects["pods"]
    swap(api, "another", {})
    await until(lambda: not world.view.connected)
    clock.advance(7200)
    await world.reconcile.sweep()
    with pytest.raises(UserError) as refused:
        await world.rentals.rent(account, wish())
    assert refused.value.code is Code.CLUSTER_UNREACHABLE
    assert (await world.row(pod_id)).phase == "Running"
    swap(api, "uid-of-a-cluster", ours)
    await found_again(world, clock)
    await world.metering.charge()
    rental = await world.row(pod_id)
    assert rental.started_at
    minutes = (clock.now_ms() - rental.started_at) // 60_000 + 1
    assert (rental.phase, rental.charged_minutes) == ("Running", minutes)


async def test_the_next_cluster_is_taken_once_nothing_lives_in_the_last(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    account = (await world.account()).account_id
    pod_id = (await world.rentals.rent(account, wish())).rental.pod_id
    await until(lambda: pod_id in world.view.pods)
    swap(api, "another", {})
    await until(lambda: not world.view.connected)
    await world.rentals.release(account, pod_id)
    await found_again(world, clock)
    new = (await world.rentals.rent(account, wish())).rental.pod_id
    await until(lambda: new in world.view.pods)


async def test_a_role_that_may_not_ask_is_no_reason_to_stop(still: World, api: FakeApi) -> None:
    api.hides_namespaces = True
    async with running(still):
        await until(lambda: still.view.connected)
