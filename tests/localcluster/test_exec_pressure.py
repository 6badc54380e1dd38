"""What execs cost the cluster when their ends don't keep step, and how it ends while they run."""

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import psutil

from .clusters import (
    WITHIN,
    Api,
    Running,
    is_ready,
    processes_of,
    running,
    until,
    wait_gone,
)
from .exec_player import V5
from .raw_websocket import BINARY, CLOSE, RawWebsocket

V4 = "v4.channel.k8s.io"
MESSAGE = b"\0" + b"x" * 65535
MOST_SENT = 64 << 20
MOST_KEPT = 48 << 20


@asynccontextmanager
async def exec_in(
    cluster: Running,
    pod: str,
    *argv: str,
    protocol: str = V5,
    stdin: bool = True,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[RawWebsocket]:
    names = ("stdin", "stdout", "stderr") if stdin else ("stdout", "stderr")
    query = [*((name, "true") for name in names), *(("command", one) for one in argv)]
    path = f"/api/v1/namespaces/kgpu/pods/{pod}/exec?{urlencode(query)}"
    headers = {"Authorization": f"Bearer {cluster.token}", "Sec-WebSocket-Protocol": protocol}
    answer, socket = await RawWebsocket.open(cluster.url, "GET", path, headers, tls)
    assert answer.status == 101, answer
    try:
        yield socket
    finally:
        await socket.reset()


async def press(socket: RawWebsocket) -> int:
    """Send stdin until nothing more is taken; return how much was."""
    sent = 0
    while sent < MOST_SENT:
        socket.send(BINARY, MESSAGE)
        try:
            async with asyncio.timeout(1):
                await socket.drain()
        except TimeoutError:
            return sent
        sent += len(MESSAGE)
    return sent


async def test_memory_is_bounded_whatever_the_two_ends_do(cluster: Running, own: str) -> None:
    process = psutil.Process(cluster.process.pid)
    before = process.memory_info().rss
    async with AsyncExitStack() as stack, asyncio.timeout(2 * WITHIN):
        pressed = []
        for protocol in (V4, V5):
            opened = exec_in(cluster, own, "sleep", "600", protocol=protocol)
            pressed.append(await stack.enter_async_context(opened))
            wedged = await stack.enter_async_context(
                exec_in(cluster, own, "cat", protocol=protocol)
            )
            wedged.send(BINARY, b"\4garbage")
            wedged.send(BINARY, b"\4garbage")
            pressed.append(wedged)
            flood = exec_in(cluster, own, "cat", "/dev/zero", protocol=protocol, stdin=False)
            await stack.enter_async_context(flood)
        taken = await asyncio.gather(*(press(socket) for socket in pressed))
        kept = process.memory_info().rss - before
    assert max(taken) < MOST_SENT
    assert kept < MOST_KEPT


async def one_way(cluster: Running, pod: str, number: int) -> None:
    """Run a command and end in one of ten ways: five of leaving, in two protocols."""
    protocol, way = (V4, V5)[number % 2], number % 10 // 2
    argv = ("sh", "-c", "read a; exit 3")
    async with exec_in(cluster, pod, *argv, protocol=protocol) as socket:
        if way:  # else RST at once
            await socket.receive()
        if way == 1:
            socket.send(CLOSE, b"\x03\xe8")
            await socket.receive()
        elif way == 2:
            await socket.close()
        elif way > 2:  # the last way reads to the end, the one before leaves with RST
            socket.send(BINARY, b"\0x\n")
            while way == 4 and await socket.receive() is not None:
                pass


async def test_a_hundred_execs_that_end_in_every_way_leave_nothing(
    api: Api, cluster: Running, own: str
) -> None:
    process = psutil.Process(cluster.process.pid)
    before = process.num_fds()
    for start in range(0, 100, 20):
        async with asyncio.timeout(WITHIN), asyncio.TaskGroup() as group:
            for number in range(start, start + 20):
                group.create_task(one_way(cluster, own, number))
    await until(lambda: process.num_fds() <= before)
    assert b"read a" not in (await api.execute(own, "ps", "-eo", "args=")).out


async def test_a_pod_and_the_cluster_end_while_many_commands_run(tmp_path: Path) -> None:
    with running(tmp_path) as cluster:
        headers = {"Authorization": f"Bearer {cluster.token}"}
        async with AsyncExitStack() as stack:
            session = aiohttp.ClientSession(cluster.url, headers=headers)
            api = Api(await stack.enter_async_context(session))
            for pod in ("deleted", "left"):
                await api.ready(pod)
                for number in range(5):
                    argv = ("sleep", f"60{number}")
                    socket = await stack.enter_async_context(exec_in(cluster, pod, *argv))
                    assert await socket.receive() == (BINARY, b"\1")
                flood = exec_in(cluster, pod, "cat", "/dev/zero", stdin=False)
                await stack.enter_async_context(flood)  # and its output is never read
            await api.delete("deleted", grace=0)
            left = await api.wait("left", is_ready)
            assert left["status"]["phase"] == "Running"
            processes = processes_of(cluster)
            assert await asyncio.to_thread(cluster.stop, signal.SIGTERM) == 0
            assert wait_gone(processes) == []


async def test_a_client_over_tls_that_is_killed_with_stdin_under_way_ends_its_exec_alone(
    tmp_path: Path,
) -> None:
    with running(tmp_path, "--tls") as cluster:
        tls = ssl.create_default_context(cafile=tmp_path / "ca.crt")
        headers = {"Authorization": f"Bearer {cluster.token}"}
        connector = aiohttp.TCPConnector(ssl=tls)
        async with aiohttp.ClientSession(
            cluster.url, headers=headers, connector=connector
        ) as session:
            api = Api(session)
            await api.ready("own")
            async with AsyncExitStack() as stack:
                # As much as waits for the command, and a little more that waits for that.
                reads_late = (
                    "sh",
                    "-c",
                    "until [ -e /tmp/go ]; do sleep 0.1; done; cat >/dev/null",
                )
                for messages in range(64, 70):
                    opened = exec_in(cluster, "own", *reads_late, tls=tls)
                    socket = await stack.enter_async_context(opened)
                    for _ in range(messages):
                        socket.send(BINARY, MESSAGE)
                    await socket.drain()
            assert (await api.execute("own", "touch", "/tmp/go")).code == 0
            await until(lambda: not _named(cluster, "cat"))
        # TLS says goodbye in its own time.
        await until(lambda: not psutil.Process().net_connections("tcp"))
        assert cluster.stop() == 0


def _named(cluster: Running, name: str) -> list[psutil.Process]:
    return [one for one in processes_of(cluster) if one.is_running() and one.name() == name]
