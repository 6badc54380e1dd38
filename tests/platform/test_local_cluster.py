"""The same, against the local cluster as it is shipped: a process of its own with real pods."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kgpud.clock import SystemClock
from tests.platform.world import World, platform, running, until, wish


@pytest.fixture
async def kubeconfig(tmp_path: Path) -> AsyncIterator[Path]:
    command = ["-m", "kgpud.localcluster", "--state", str(tmp_path / "cluster"), "--port", "0"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        "--die-with-stdin",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(20):
            line = await process.stdout.readline()
        if not line:
            pytest.skip(f"no local cluster here: {(await process.stderr.read()).decode()[-300:]}")
        yield Path(json.loads(line)["kubeconfig"])
    finally:
        process.stdin.close()
        async with asyncio.timeout(20):
            await process.communicate()


@pytest.fixture
async def world(tmp_path: Path, kubeconfig: Path) -> AsyncIterator[World]:
    async with platform(tmp_path, kubeconfig, SystemClock()) as world, running(world):
        yield world


async def ready(world: World, account_id: str, pod_id: str) -> None:
    async with asyncio.timeout(10):
        while not (await world.rentals.get(account_id, pod_id)).ready:  # noqa: ASYNC110 - polls
            await asyncio.sleep(0.01)


async def test_a_rental_from_rent_to_gone(world: World) -> None:
    account = (await world.account()).account_id
    total = {m.gpu_model: m.total for m in world.catalog.menu()}
    assert total["rtx4090"] == 1
    rented = await world.rentals.rent(account, wish(env={"GREETING": "hello"}))
    pod_id = rented.rental.pod_id
    assert {m.gpu_model: m.free for m in world.catalog.menu()}["rtx4090"] == 0
    await ready(world, account, pod_id)
    await world.metering.charge()
    rental = await world.rentals.get(account, pod_id)
    assert (rental.phase, rental.charged_minutes, rental.cost) == ("Running", 1, 16)
    assert rental.created_at <= (rental.started_at or 0) <= (rental.ready_at or 0)
    await world.rentals.release(account, pod_id)
    await until(lambda: pod_id not in world.view.pods, 10)
    rental = await world.rentals.get(account, pod_id)
    assert (rental.phase, rental.end_reason, rental.cost) == ("Ended", "returned", 16)
    assert {m.gpu_model: m.free for m in world.catalog.menu()}["rtx4090"] == 1
    await world.sound()


async def test_rotation_reaches_the_pods_annotation(world: World) -> None:
    account = (await world.account()).account_id
    pod_id = (await world.rentals.rent(account, wish())).rental.pod_id
    rotated = await world.rentals.rotate(account, pod_id, None)
    (pod,) = (await world.cluster.list_pods()).items
    fingerprint = pod["metadata"]["annotations"]["kgpu.net/key-fingerprint"]
    assert fingerprint == rotated.rental.fingerprint
