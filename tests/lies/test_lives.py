"""Recorded lives of real pods, played as a watch to the whole platform: what the renter sees.

The recording's words become those of the rental's pod; where its owner deleted it, the renter
releases the rental.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from kgpud.cluster.pods import derive
from store.records import Rental
from tests.manual_clock import ManualClock
from tests.platform.fake_api import FakeApi, node, serve
from tests.platform.world import World, platform, running, until, wish
from tests.recorded import files

Row = dict[str, Any]

CASES = [name for name in files.names() if name.startswith("lifecycle/")]
LEFT_OUT: dict[str, str] = {}

# Kubernetes cuts its times to the second.
_STAMPS_MS = 1000

_DISK = "evicted_by_kubelet:OutOfephemeral-storage"
_OOM = "evicted_by_kubelet:OOMKilled"
_RETURNED = "Terminating(returned) Ended(returned)"

_STARTED = "Pending(scheduling) Pending(starting) Pending(pulling)"

# What the renter sees, one word after the other.
TABLE = {
    "normal_ready_delete": f"{_STARTED} Running Running+ready {_RETURNED}",
    "tcp_probe": f"{_STARTED} Running Running+ready {_RETURNED}",
    "gpu_ok": f"{_STARTED} Running+ready {_RETURNED}",
    "graceful_term_ignored": f"{_STARTED} Running+ready {_RETURNED}",
    "delete_while_exec": f"{_STARTED} Running+ready {_RETURNED}",
    "oom_in_exec": f"{_STARTED} Running+ready {_RETURNED}",
    # Somebody else deleted it.
    "conflicts_and_force_delete": (
        f"{_STARTED} Running+ready Terminating(pod_lost) Ended(pod_lost)"
    ),
    # It ended by itself: first the container, and why with the pod's phase, a second later.
    "exit_zero_never": (
        f"{_STARTED} Running+ready Running Failed(pod_failed:0) Ended(pod_failed:0)"
    ),
    "exit_nonzero_never": (
        f"{_STARTED} Running+ready Running Failed(pod_failed:3) Ended(pod_failed:3)"
    ),
    "oom": f"{_STARTED} Running+ready Running Failed({_OOM}) Ended({_OOM})",
    "ephemeral_limit_eviction": f"{_STARTED} Running+ready Failed({_DISK}) Ended({_DISK})",
    "emptydir_limit_eviction": f"{_STARTED} Running+ready Failed({_DISK}) Ended({_DISK})",
    # Its container was started again, which those of rentals never are.
    "container_dies_while_exec": (f"{_STARTED} Running+ready Running Running+ready {_RETURNED}"),
    "oom_restart": f"{_STARTED} Running+ready Running Running+ready Running {_RETURNED}",
    # It never started.
    "bad_command": (f"{_STARTED} Failed(start_failed:StartError) Ended(start_failed:StartError)"),
    "gpu_insufficient": f"Pending(scheduling) Pending(Unschedulable) {_RETURNED}",
    "image_always_unreachable": (
        f"{_STARTED} Pending(ErrImagePull) Pending(ImagePullBackOff) {_RETURNED}"
    ),
    "image_bad_name": f"{_STARTED} Pending(InvalidImageName) {_RETURNED}",
    "image_never_absent": f"{_STARTED} Pending(ErrImageNeverPull) {_RETURNED}",
    "missing_secret": f"Pending(scheduling) Pending(starting) {_RETURNED}",
}


def events(name: str) -> list[Row]:
    """Return the recorded watch events and the owner's deletion, in order."""
    return [row for row in files.rows(name) if row.get("ev") in ("watch", "delete_request")]


def created_at(name: str) -> int:
    [answer] = [row for row in files.rows(name) if row.get("ev") == "create_response"]
    moment = answer["body"]["metadata"]["creationTimestamp"]
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def word(rental: Rental) -> str:
    """Say what `GET /v1/pods/ID` would."""
    said = rental.phase + ("+ready" if rental.ready else "")
    why = rental.end_reason or (rental.pending_reason or "").partition(": ")[0]
    return f"{said}({why})" if why else said


@pytest.fixture
async def world(tmp_path: Path, api: FakeApi, clock: ManualClock) -> AsyncIterator[World]:
    assert api is not None
    async with platform(tmp_path, tmp_path / "kubeconfig", clock) as still, running(still):
        yield still


@pytest.fixture
async def api(tmp_path: Path, clock: ManualClock) -> AsyncIterator[FakeApi]:
    fake = FakeApi(clock)
    fake.apply("nodes", "ADDED", node("n1", "rtx4090", 4))
    async with serve(fake, tmp_path / "kubeconfig"):
        yield fake


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def lived(name: str, world: World, api: FakeApi, clock: ManualClock) -> list[Rental]:
    clock.advance((created_at(name) - clock.now_ms()) / 1000)
    account = (await world.account()).account_id
    pod_id = (await world.rentals.rent(account, wish())).rental.pod_id
    rows = [await world.row(pod_id)]
    seconds = 0.0
    for row in events(name):
        clock.advance(row["t"] - seconds)
        seconds = row["t"]
        if row["ev"] == "delete_request":
            await world.rentals.release(account, pod_id)
            await world.reconcile.sweep()
        else:
            await take(row, pod_id, world, api)
        rows.append(await world.row(pod_id))
    await world.sound()
    return rows


async def take(row: Row, pod_id: str, world: World, api: FakeApi) -> None:
    """Send one recorded event through the watch, and wait until it was taken."""
    pod = api.pods[pod_id]
    pod["status"] = row["status"]
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        pod["metadata"][name] = row[name]
    pod["spec"]["nodeName"] = row["nodeName"]
    seen = derive(pod, deleted=row["type"] == "DELETED")
    api.apply("pods", row["type"], pod)
    await until(lambda: world.view.pods.get(pod_id) == (None if seen.deleted else seen))


@pytest.mark.parametrize("name", CASES)
async def test_a_renter_sees(name: str, world: World, api: FakeApi, clock: ManualClock) -> None:
    rows = await lived(name, world, api, clock)
    should = TABLE[name.removeprefix("lifecycle/lifecycle_")]
    assert " ".join(key for key, _ in groupby(map(word, rows))) == should
    deleted = next(n for n, row in enumerate(events(name), 1) if row.get("type") == "DELETED")
    assert [row.gone_at is not None for row in rows].index(True) == deleted
    # Nobody is billed before the container runs, and its first start is what counts.
    billed_from = {row.started_at for row in rows if row.started_at is not None}
    assert len(billed_from) == (1 if ran(name) else 0)
    for moment in billed_from:
        assert abs(moment - ran(name)) <= _STAMPS_MS


def ran(name: str) -> int:
    """Return the kubelet's word on when the container first ran, 0 for never."""
    for row in events(name):
        for container in row.get("status", {}).get("containerStatuses", []):
            if started := container["state"].get("running", {}).get("startedAt"):
                return round(datetime.fromisoformat(started).timestamp() * 1000)
    return 0


def test_the_table_has_every_life() -> None:
    assert {f"lifecycle/lifecycle_{name}" for name in TABLE} == set(CASES)
