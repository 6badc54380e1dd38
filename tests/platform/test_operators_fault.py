"""Ends that no renter could help: whose fault it was is said, and the last minute given back."""

from pathlib import Path

import pytest

from kgpud import reasons
from tests.manual_clock import ManualClock
from tests.platform.fake_api import FakeApi, stamp
from tests.platform.test_reconcile import tick
from tests.platform.test_starting import away_for
from tests.platform.world import World, platform, running, until, wish

HOUR = 3600


async def runs_for(world: World, api: FakeApi, clock: ManualClock, seconds: float) -> str:
    """Rent a pod, let it run for so long and charge it."""
    account = await world.account()
    pod_id = (await world.rentals.rent(account.account_id, wish())).rental.pod_id
    api.run(pod_id, clock.now_ms())
    await until(lambda: world.view.pods[pod_id].ready)
    clock.advance(seconds)
    await world.metering.charge()
    return pod_id


def put_out(api: FakeApi, pod_id: str, **status: object) -> None:
    """Let the kubelet end a pod for a reason of its own."""
    pod = api.pods[pod_id]
    started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    ended = {"exitCode": 137, "reason": "Error", "startedAt": started, "finishedAt": started}
    containers = [{"name": "main", "state": {"terminated": ended}}]
    pod["status"] = {"phase": "Failed", "containerStatuses": containers, **status}
    api.apply("pods", "MODIFIED", pod)


def node_is(api: FakeApi, name: str, status: str, since: int) -> None:
    node = api.objects["nodes"][name]
    ready = {"type": "Ready", "status": status, "lastTransitionTime": stamp(since)}
    node["status"]["conditions"] = [ready]
    api.apply("nodes", "MODIFIED", node)


PRESSED = "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi"
SHUT = "Pod was terminated in response to imminent node shutdown."


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"reason": "Evicted", "message": PRESSED}, reasons.NODE_PRESSURE),
        ({"reason": "Terminated", "message": SHUT}, reasons.NODE_SHUTDOWN),
        ({"reason": "Preempting", "message": "for a critical pod"}, reasons.PREEMPTED),
    ],
)
async def test_a_kubelet_that_needs_the_place_gives_the_last_minute_back(
    world: World, api: FakeApi, clock: ManualClock, status: dict[str, str], reason: str
) -> None:
    pod_id = await runs_for(world, api, clock, 0)
    put_out(api, pod_id, **status)
    await until(lambda: (pod_id, reason) in world.cuts)
    rental = await world.row(pod_id)
    assert (rental.phase, rental.end_reason, rental.cost) == ("Failed", reason, 0)
    assert "the operator's fault, not yours" in reasons.sentence(reason)
    lines = await world.accounts.ledger(rental.account_id, 2)
    assert [(line.kind, line.minutes, line.amount) for line in lines] == [
        ("refund", 1, 16),
        ("usage", 1, -16),
    ]
    await world.sound()


async def test_a_machine_that_was_rebooted_is_to_blame_for_what_it_took_along(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    pod_id = await runs_for(world, api, clock, 90)
    started, back = stamp(clock.now_ms() - 90_000), stamp(clock.now_ms())
    ended = {"exitCode": 255, "reason": "Unknown", "startedAt": started, "finishedAt": back}
    put_out(api, pod_id, containerStatuses=[{"name": "main", "state": {"terminated": ended}}])
    await until(lambda: (pod_id, reasons.NODE_LOST) in world.cuts)
    rental = await world.row(pod_id)
    assert (rental.end_reason, rental.charged_minutes) == (reasons.NODE_LOST, 1)
    await world.sound()


async def test_overuse_is_the_renters_own(world: World, api: FakeApi, clock: ManualClock) -> None:
    pod_id = await runs_for(world, api, clock, 0)
    message = "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. "
    put_out(api, pod_id, reason="Evicted", message=message)
    await until(lambda: (pod_id, reasons.DISK) in world.cuts)
    assert (await world.row(pod_id)).cost == 16


async def test_a_machine_that_stays_away_ends_its_rental_once_and_as_of_then(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    pod_id = await runs_for(world, api, clock, 90)
    left = clock.now_ms()
    node_is(api, "n1", "Unknown", left)
    await until(lambda: not world.view.nodes["n1"].ready)
    await tick(world, clock, 0)
    await tick(world, clock, HOUR - 1)
    await world.metering.charge()
    assert (await world.row(pod_id)).phase == "Running"
    await tick(world, clock)
    rental = await world.row(pod_id)
    assert (rental.phase, rental.end_reason) == ("Terminating", "node_lost")
    # Two minutes had begun when it went; the second is given back, like the hour that it was away.
    assert (rental.charged_minutes, rental.finished_at) == (1, left)
    # Kubernetes comes to the same end a moment later; the pod of a dead kubelet stays for long.
    gone = [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]
    pod = api.pods[pod_id]
    pod["status"]["conditions"] = gone
    api.apply("pods", "MODIFIED", pod)
    node_is(api, "n1", "True", clock.now_ms())
    await until(lambda: world.view.nodes["n1"].ready)
    await tick(world, clock)
    assert await world.row(pod_id) == rental
    await world.sound()


async def test_a_cluster_whose_clock_is_behind_loses_nobody(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    pod_id = await runs_for(world, api, clock, 90)
    node_is(api, "n1", "Unknown", clock.now_ms() - 2 * HOUR * 1000)
    await until(lambda: not world.view.nodes["n1"].ready)
    for seconds in (0, HOUR - 1):
        await tick(world, clock, seconds)
        assert (await world.row(pod_id)).phase == "Running"


async def test_a_machine_has_time_to_report_once_the_cluster_is_back(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    pod_id = await runs_for(world, api, clock, 90)
    node_is(api, "n1", "Unknown", clock.now_ms())
    await until(lambda: not world.view.nodes["n1"].ready)
    await tick(world, clock)
    # Nobody could hear of it meanwhile.
    await away_for(world, api, clock, 2 * HOUR)
    await tick(world, clock)
    assert (await world.row(pod_id)).phase == "Running"
    node_is(api, "n1", "True", clock.now_ms())
    await until(lambda: world.view.nodes["n1"].ready)
    await tick(world, clock, 120)
    assert (await world.row(pod_id)).phase == "Running"


async def test_a_machine_that_comes_back_in_time_loses_nothing(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    pod_id = await runs_for(world, api, clock, 90)
    for _ in range(3):
        node_is(api, "n1", "Unknown", clock.now_ms())
        await until(lambda: not world.view.nodes["n1"].ready)
        await tick(world, clock, HOUR - 60)
        node_is(api, "n1", "True", clock.now_ms())
        await until(lambda: world.view.nodes["n1"].ready)
        await tick(world, clock, 60)
    assert (await world.row(pod_id)).phase == "Running"


async def test_what_the_taint_manager_deletes_ended_when_its_machine_went(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    pod_id = await runs_for(world, api, clock, 30)
    left = clock.now_ms()
    node_is(api, "n1", "Unknown", left)
    await until(lambda: not world.view.nodes["n1"].ready)
    clock.advance(HOUR / 2)
    pod = api.pods[pod_id]
    gone = [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]
    pod["status"]["conditions"] = gone
    pod["metadata"]["deletionTimestamp"] = stamp(clock.now_ms())
    api.apply("pods", "MODIFIED", pod)
    await until(lambda: (pod_id, "node_lost") in world.cuts)
    rental = await world.row(pod_id)
    assert (rental.finished_at, rental.charged_minutes) == (left, 0)
    await world.sound()


async def test_a_machine_and_its_pods_taken_out_behind_our_back(
    still: World, api: FakeApi, clock: ManualClock, tmp_path: Path
) -> None:
    async with running(still):
        pod_id = await runs_for(still, api, clock, 30)
    api.remove(pod_id)
    api.apply("nodes", "DELETED", api.objects["nodes"]["n1"])
    async with (
        platform(tmp_path, tmp_path / "kubeconfig", clock) as again,
        running(again),
    ):
        rental = await again.row(pod_id)
    assert (rental.phase, rental.end_reason, rental.cost) == ("Ended", "node_lost", 0)
    await still.sound()


async def test_a_pod_that_somebody_else_deletes_is_no_fault_of_its_renter(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    pod_id = await runs_for(world, api, clock, 30)
    await world.cluster.delete_pod(pod_id, 1)
    await until(lambda: (pod_id, "pod_lost") in world.cuts)
    assert (await world.row(pod_id)).cost == 0
    await world.sound()


async def test_what_ran_and_is_refused_by_a_restarted_kubelet_did_start(
    world: World, api: FakeApi, clock: ManualClock
) -> None:
    pod_id = await runs_for(world, api, clock, 30)
    pod = api.pods[pod_id]
    pod["status"] = {"phase": "Failed", "reason": "NodeAffinity", "message": "Pod was rejected"}
    api.apply("pods", "MODIFIED", pod)
    await until(lambda: (pod_id, "evicted_by_kubelet:NodeAffinity") in world.cuts)
    assert (await world.row(pod_id)).cost == 0
