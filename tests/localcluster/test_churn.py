"""Pods that come and go leave nothing: processes, descriptors, cgroups, folders, memory."""

import asyncio
from pathlib import Path

import aiohttp
import psutil
import pytest

from .clusters import Api, Running, pods_folders, processes_of, running, until

_AT_ONCE = 8
_LIMITED = {"resources": {"limits": {"memory": "64Mi", "cpu": "1"}}}
_MEBIBYTE = 1 << 20


def _groups(cluster: Running) -> list[Path]:
    return list(Path("/sys/fs/cgroup").glob(f"**/kgpud-local-{cluster.process.pid}-*/*/"))


def _folders(cluster: Running) -> list[Path]:
    return [pod for pods in pods_folders(cluster.state) for pod in pods.glob("pod-*")]


async def _cycle(api: Api, name: str) -> None:
    await api.ready(name, **_LIMITED)
    assert (
        await api.execute(name, "sh", "-c", "echo x > f; setsid sleep 600 <&- >&- 2>&- &")
    ).code == 0
    await api.delete(name)


async def _cycles(cluster: Running, first: int, count: int) -> None:
    numbers = iter(range(first, first + count))

    async def some(api: Api) -> None:
        for number in numbers:
            await _cycle(api, f"churn-{number}")

    headers = {"Authorization": f"Bearer {cluster.token}"}
    async with (
        aiohttp.ClientSession(cluster.url, headers=headers) as session,
        asyncio.TaskGroup() as group,
    ):
        for _worker in range(_AT_ONCE):
            group.create_task(some(Api(session)))


async def _settled(cluster: Running) -> tuple[int, int]:
    """Return the resident bytes and the descriptors of a cluster without pods and clients."""
    process = psutil.Process(cluster.process.pid)
    await until(lambda: not processes_of(cluster) and not _groups(cluster))
    await until(lambda: not _folders(cluster))
    await until(lambda: {one.status for one in process.net_connections("tcp")} == {"LISTEN"})
    return process.memory_info().rss, process.num_fds()


async def _leak(state: Path, cycles: int, allowed: int) -> None:
    with running(state) as cluster:
        await _cycles(cluster, 0, 16)
        memory, descriptors = await _settled(cluster)
        await _cycles(cluster, 16, cycles)
        later, open_later = await _settled(cluster)
        assert later <= memory + allowed
        assert open_later <= descriptors
        assert str(state) not in Path("/proc/self/mounts").read_text()
        threads = psutil.Process(cluster.process.pid).num_threads()
        assert threads < 64


async def test_a_few_cycles_leak_nothing(tmp_path: Path) -> None:
    await _leak(tmp_path, 16, 64 * _MEBIBYTE)


@pytest.mark.slow
async def test_a_thousand_cycles_leak_nothing(tmp_path: Path) -> None:
    await _leak(tmp_path, 1000, 64 * _MEBIBYTE)
