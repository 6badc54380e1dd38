"""Store and cluster come to agree again, whatever was cut short, lost or away."""

import asyncio
import copy
from dataclasses import replace
from pathlib import Path

import pytest

from kgpud.cluster import manifests
from kgpud.cluster.manifests import Installation
from kgpud.errors import Code, UserError
from kgpud.releasing import force
from kgpud.renting import choose_key
from store import keys, rentals
from store.records import Rental
from tests.manual_clock import ManualClock
from tests.platform.fake_api import FakeApi
from tests.platform.world import World, platform, running, until, wish


async def tick(world: World, clock: ManualClock, seconds: float = 2) -> None:
    """Let time pass and the sweep that comes with it run."""
    clock.advance(seconds)
    await world.reconcile.sweep()


async def away(world: World, api: FakeApi) -> None:
    api.stop()
    await until(lambda: not world.view.connected)


async def back(world: World, api: FakeApi, clock: ManualClock) -> None:
    def asked_again() -> bool:
        clock.advance(0.1)
        return world.view.connected

    api.down = False
    await until(asked_again)


async def half_made(world: World, pod_id: str, account_id: str) -> Rental:
    """Write the row of a rental whose creation was cut off right after."""
    now = world.clock.now_ms()
    rental = Rental(pod_id, account_id, "rent", "i", "rtx4090", 1, "1", "1Gi", 1, 1000, now, now)
    async with world.db.transaction() as tx:
        await rentals.insert(tx, rental)
        public = choose_key(None, pod_id).public
        await keys.pin(tx, pod_id, public.fingerprint, public.line, 1, now)
    return rental


async def test_an_unanswered_creation_that_landed_is_found(world: World, api: FakeApi) -> None:
    account = (await world.account()).account_id
    api.mood = "lose"
    rental = (await world.rentals.rent(account, wish())).rental
    await until(lambda: rental.pod_id in world.view.pods)
    api.run(rental.pod_id, world.clock.now_ms())
    await until(lambda: world.view.pods[rental.pod_id].ready)
    assert (await world.row(rental.pod_id)).phase == "Running"


async def test_a_pod_that_was_seen_was_created_whatever_the_answer(
    still: World, api: FakeApi, clock: ManualClock
) -> None:
    account = (await still.account()).account_id
    api.mood = "lose"
    async with running(still):
        pod_id = (await still.rentals.rent(account, wish())).rental.pod_id
        await until(lambda: pod_id in still.view.pods)
    api.remove(pod_id)
    # Within the time in which a creation that nobody saw may still land.
    clock.advance(1)
    async with running(still):
        await until(lambda: pod_id not in still.view.pods)
    rental = await still.row(pod_id)
    assert (rental.phase, rental.end_reason, rental.cost) == ("Ended", "pod_lost", 0)


async def test_an_unanswered_creation_that_did_not_land_is_given_up(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    account = (await world.account()).account_id
    api.mood = "drop"
    pod_id = (await world.rentals.rent(account, wish())).rental.pod_id
    await tick(world, clock, 59)
    assert (await world.row(pod_id)).phase == "Pending"
    await tick(world, clock)
    await tick(world, clock)
    rental = await world.row(pod_id)
    assert (rental.phase, rental.end_reason) == ("Ended", "start_failed:create_interrupted")
    assert api.objects["secrets"] == {}
    assert rental.cost == 0


async def test_a_crash_before_the_creation_is_repaired(
    still: World, api: FakeApi, clock: ManualClock
) -> None:
    account = (await still.account()).account_id
    await half_made(still, "gpu-rent-1-aaaaaa", account)
    async with running(still):
        assert (await still.row("gpu-rent-1-aaaaaa")).phase == "Pending"
        await tick(still, clock, 61)
        await tick(still, clock)
        assert (await still.row("gpu-rent-1-aaaaaa")).phase == "Ended"
    # Nothing was ever created for it.
    assert api.asked("POST") == []


async def test_a_slow_creation_lands_on_an_ended_rental(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    account = (await world.account()).account_id
    rental = await half_made(world, "gpu-rent-1-aaaaaa", account)
    await world.rentals.release(account, rental.pod_id)
    await tick(world, clock)
    assert (await world.row(rental.pod_id)).phase == "Terminating"
    ours = Installation(world.reconcile._installation, "http://x/v1")
    await world.cluster.create_pod(manifests.pod(rental, {}, ours))
    await tick(world, clock)
    assert "deletionTimestamp" in api.pods[rental.pod_id]["metadata"]
    await until(lambda: rental.pod_id in world.view.pods)
    api.remove(rental.pod_id)
    await until(lambda: rental.pod_id not in world.view.pods)
    assert (await world.row(rental.pod_id)).phase == "Ended"


async def test_a_pod_that_went_unseen_ends_its_rental_at_what_was_paid(
    still: World, api: FakeApi, clock: ManualClock, tmp_path: Path
) -> None:
    account = (await still.account()).account_id
    async with running(still):
        pod_id = (await still.rentals.rent(account, wish())).rental.pod_id
        api.run(pod_id, clock.now_ms())
        await until(lambda: still.view.pods[pod_id].ready)
        clock.advance(30)
        await still.metering.charge()
    api.remove(pod_id)
    # A day later, as another daemon.
    clock.advance(86_400)
    async with (
        platform(
            tmp_path, tmp_path / "kubeconfig", clock, lost_reason="local_cluster_stopped"
        ) as again,
        running(again),
    ):
        await again.metering.charge()
        rental = await again.row(pod_id)
    assert (rental.phase, rental.end_reason) == ("Ended", "local_cluster_stopped")
    assert (rental.charged_minutes, rental.cost) == (1, 16)
    assert rental.ended_at == (rental.started_at or 0) + 59_999
    await still.sound()


async def test_a_pod_deleted_by_others_ends_its_rental(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    account = (await world.account()).account_id
    pod_id = (await world.rentals.rent(account, wish())).rental.pod_id
    api.run(pod_id, clock.now_ms())
    await world.cluster.delete_pod(pod_id, 1)
    await until(lambda: (pod_id, "pod_lost") in world.cuts)
    assert (await world.row(pod_id)).phase == "Terminating"
    api.remove(pod_id)
    await until(lambda: pod_id not in world.view.pods)
    assert (await world.row(pod_id)).phase == "Ended"
    await world.sound()


async def test_what_another_process_ended_is_cut_and_deleted(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    account = (await world.account()).account_id
    pod_id = (await world.rentals.rent(account, wish())).rental.pod_id
    await force(world.db, clock, pod_id, "test")
    assert world.cuts == []
    await tick(world, clock)
    assert (pod_id, "admin_released") in world.cuts
    assert "deletionTimestamp" in api.pods[pod_id]["metadata"]
    assert api.objects["secrets"] == {}
    asked = len(api.asked("DELETE"))
    await tick(world, clock)
    assert len(api.asked("DELETE")) == asked


async def test_other_installations_pods_are_left_alone(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    account = (await world.account()).account_id
    mine = (await world.rentals.rent(account, wish(gpu_model="v100"))).rental
    for name, ours in (("gpu-x-1-aaaaaa", world.reconcile._installation), ("gpu-y", "other")):
        stranger = replace(mine, pod_id=name, gpu_model="rtx4090")
        await world.cluster.create_pod(manifests.pod(stranger, {}, Installation(ours, "http://x")))
    await until(lambda: len(world.view.pods) == 3)
    await tick(world, clock)
    assert api.asked("DELETE") == []
    # But their GPUs are taken.
    assert [m.free for m in world.catalog.menu() if m.gpu_model == "rtx4090"] == [2]


@pytest.mark.parametrize("how", ["expired", "away"])
async def test_news_missed_by_the_watch_come_with_the_next_list(
    world: World, api: FakeApi, clock: ManualClock, how: str
) -> None:
    account = (await world.account()).account_id
    pod_id = (await world.rentals.rent(account, wish())).rental.pod_id
    if how == "away":
        api.stop()
        # Both watches: one that slept through it would take an hour for a moment.
        await until(lambda: world.view._missing == {"pods", "nodes"})
        # An hour without a cluster ends nothing and charges nothing.
        await tick(world, clock, 3600)
        await world.metering.charge()
        assert (await world.row(pod_id)).phase == "Pending"
        api.down = False
    api.run(pod_id, clock.now_ms())
    api.expire()
    async with asyncio.timeout(5):
        while not (world.view.connected and world.view.pods[pod_id].ready):
            clock.advance(0.5)
            await asyncio.sleep(0.005)
    assert (await world.row(pod_id)).ready


async def test_what_does_not_start_is_given_up_uncharged(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    account = (await world.account()).account_id
    pod_id = (await world.rentals.rent(account, wish())).rental.pod_id
    waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
    pod = api.pods[pod_id]
    pod["status"]["containerStatuses"] = [{"name": "main", "state": {"waiting": waiting}}]
    api.apply("pods", "MODIFIED", pod)
    await until(lambda: (world.view.pods[pod_id].pending_reason or "").startswith("Image"))
    assert (await world.row(pod_id)).pending_reason == "ImagePullBackOff: Back-off pulling image"
    await tick(world, clock, 299)
    assert (await world.row(pod_id)).ended_at is None
    await tick(world, clock)
    rental = await world.row(pod_id)
    assert rental.end_reason == "start_failed:ImagePullBackOff"
    assert rental.cost == 0
    assert (await world.rentals.in_use(account))[0] == 0


async def test_nodes_come_and_go_on_the_menu(world: World, api: FakeApi) -> None:
    def menu() -> dict[str, tuple[int, int]]:
        return {m.gpu_model: (m.total, m.free) for m in world.catalog.menu()}

    assert menu() == {"v100": (8, 8), "rtx4090": (4, 4)}
    assert [m.gpu_model for m in world.catalog.menu()] == ["v100", "rtx4090"]
    node = api.objects["nodes"]["n1"]
    node["spec"]["unschedulable"] = True
    api.apply("nodes", "MODIFIED", node)
    await until(lambda: menu() == {"v100": (8, 8)})
    assert [(n.hostname, n.free, n.cordoned) for n in world.catalog.nodes()] == [
        ("n1", 0, True),
        ("n2", 8, False),
    ]
    account = (await world.account()).account_id
    with pytest.raises(UserError) as caught:
        await world.rentals.rent(account, wish())
    assert caught.value.code == Code.NO_CAPACITY
    api.apply("nodes", "DELETED", node)
    await until(lambda: len(world.catalog.nodes()) == 1)


async def test_a_pod_that_comes_back_from_the_dead_is_deleted_again(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    """As from a backup of the cluster: nobody pays for it any more, and nobody gets in."""
    account = (await world.account()).account_id
    pod_id = (await world.rentals.rent(account, wish())).rental.pod_id
    kept = copy.deepcopy(api.pods[pod_id])
    await world.rentals.release(account, pod_id)
    await tick(world, clock)
    api.remove(pod_id)
    await until(lambda: pod_id not in world.view.pods)
    before = await world.row(pod_id)
    assert (before.phase, before.swept_at is not None) == ("Ended", True)
    api.apply("pods", "ADDED", kept)
    await until(lambda: pod_id in world.view.pods)
    await tick(world, clock)
    assert "deletionTimestamp" in api.pods[pod_id]["metadata"]
    after = await world.row(pod_id)
    assert (after.ended_at, after.end_reason, after.cost) == (before.ended_at, "returned", 0)
    assert after.phase == "Ended"
