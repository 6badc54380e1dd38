"""A look into real pods, full and bare: what works in them is seen, and nothing else is."""

import asyncio

import pytest

from gateway import capture
from gateway.executor import Executor
from gateway.protocols import PodRef
from kgpud import busy
from kgpud.cluster.pods import CONTAINER

from .platform import NAMESPACE, Platform

_LOOP = "i=0; while :; do i=$((i+1)); done"


async def look(platform: Platform, pod_id: str, gpus: int) -> bool | None:
    done = await capture.run(
        Executor(platform.cluster),
        PodRef(NAMESPACE, pod_id, CONTAINER),
        busy.command(1),
        output_limit=1 << 20,
        timeout=30,
    )
    return busy.is_busy(done.stdout, gpus=gpus)


@pytest.mark.parametrize(
    "body", [{"gpu_count": 0, "image": "bare:latest"}, {"gpu_count": 1, "gpu_model": "v100"}]
)
async def test_work_is_seen_and_idleness_too(platform: Platform, body: dict[str, object]) -> None:
    user = await platform.user()
    pod_id = await platform.rent(user, **body)
    gpus = 1 if body["gpu_count"] else 0
    await platform.ready(user, pod_id)
    assert await look(platform, pod_id, gpus) is False
    async with asyncio.TaskGroup() as group:
        cmd = ["sh", "-c", f"timeout 60 sh -c '{_LOOP}' & wait"]
        work = group.create_task(platform.exec(user, pod_id, cmd, timeout_seconds=60))
        async with asyncio.timeout(20):
            while not await look(platform, pod_id, gpus):
                pass
        await platform.api.call("DELETE", f"/v1/pods/{pod_id}", token=user.token)
        await work
