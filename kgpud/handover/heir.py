"""The elder's end of a handover: the successor that it starts.

In turns: the successor starts, reads its configuration and says *hello*; the elder closes its core
and says *go*; the successor opens the store and serves, and says so. Until that last word the
elder can take it all back, and nobody has been refused: the listening sockets are open all along.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from kgpud.handover.inherited import VARIABLE, Listening
from kgpud.handover.remote import RemoteCore, Sessions
from kgpud.handover.wire import Message, Wire, WireClosed, pair

log = structlog.get_logger()

# A machine that is busy, a disk that is slow.
_HELLO_SECONDS = 60.0
# A migration of a large store, a cluster that doesn't answer the first list.
_SERVING_SECONDS = 120.0
_END_SECONDS = 30.0


class HandoverFailed(Exception):
    """The successor did not come up. The text says why."""


class Heir:
    """A successor that has said *hello*, as its elder sees it."""

    def __init__(self, wire: Wire, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._wire = wire
        self._pidfd = pidfd

    @asynccontextmanager
    async def core(
        self, sessions: Sessions, asked_to_stop: Callable[[float], None]
    ) -> AsyncIterator[RemoteCore]:
        """Hear the successor while the block runs; it takes over meanwhile, or we kill it."""
        async with asyncio.TaskGroup() as group:
            remote = RemoteCore(self._wire, sessions, asked_to_stop)
            hearing = group.create_task(remote.run())
            try:
                yield remote
            finally:
                hearing.cancel()
                self.close()

    async def take_over(self, remote: RemoteCore) -> None:
        """Let it have the store; return once it serves. Raises HandoverFailed when it is gone."""
        log.info("handover.goes", successor=self.pid)
        with contextlib.suppress(WireClosed):
            await self._wire.send({"go": True})
        async with asyncio.TaskGroup() as waits:
            ends = [waits.create_task(e.wait()) for e in (remote.serving, remote.lost)]
            await asyncio.wait(ends, timeout=_SERVING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for task in ends:
                task.cancel()
        if remote.serving.is_set():
            return
        slow = not remote.lost.is_set()
        await self.kill()
        why = "it took too long to begin to serve" if slow else "it ended before it served"
        raise HandoverFailed(remote.failure or why)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def close(self) -> None:
        """Close what leads to it."""
        self._wire.close()
        os.close(self._pidfd)

    async def kill(self) -> None:
        """Make sure that it is gone: two may never have the store. Raises TimeoutError."""
        self.signal(signal.SIGKILL)
        await _gone(self._pidfd)


@dataclass(frozen=True)
class Estate:
    """What a successor is given, as in `inherited.Inherited`; `lock` and `wires` as descriptors."""

    state: Path
    http: Listening
    ssh: Listening
    lock: int
    wires: Sequence[int]


async def start(command: Sequence[str], estate: Estate) -> Heir:
    """Start a successor and wait until it could serve. Raises HandoverFailed."""
    ours, theirs = pair()
    wire = Wire(ours)
    try:
        with theirs:
            process = _spawn(command, estate, theirs.fileno())
        return await _greeted(wire, process)
    except BaseException as error:
        wire.close()
        if isinstance(error, OSError):
            raise HandoverFailed(f"it can't be started: {error.strerror}") from error
        raise


def _spawn(command: Sequence[str], estate: Estate, wire: int) -> subprocess.Popen[bytes]:
    wires = [*estate.wires, wire]
    http, ssh = estate.http, estate.ssh
    given = {
        "state": str(estate.state),
        "http": http.given(),
        "ssh": ssh.given(),
        "lock": estate.lock,
        "wires": wires,
    }
    # Not asyncio's: that kills its children when its loop ends, and this one outlives us.
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        env={**os.environ, VARIABLE: json.dumps(given)},
        pass_fds=[http.sock.fileno(), ssh.sock.fileno(), estate.lock, *wires],
    )


async def _greeted(wire: Wire, process: subprocess.Popen[bytes]) -> Heir:
    """Wait for a successor's hello; whatever comes instead, it is gone."""
    heir = None
    try:
        async with asyncio.timeout(_HELLO_SECONDS):
            pid = (await _heard(wire, "pid"))["pid"]
            heir = Heir(wire, pid, os.pidfd_open(pid))
            await _heard(wire, "hello")
    except BaseException as error:
        process.kill()
        if heir is not None:
            await heir.kill()
            heir.close()
        if isinstance(error, TimeoutError):
            raise HandoverFailed("it took too long to start") from None
        if isinstance(error, (WireClosed, ProcessLookupError)):
            raise HandoverFailed("it ended before it could serve; see the log") from None
        raise
    finally:
        # It went on in a child of init's, so this one has ended.
        await asyncio.to_thread(process.wait, _END_SECONDS)
    return heir


async def _heard(wire: Wire, word: str) -> Message:
    while True:
        message = await wire.receive()
        if word in message:
            return message
        if "failed" in message:
            raise HandoverFailed(message["failed"])


async def _gone(pidfd: int) -> None:
    """Return once a process has ended; all that it had open is closed by then."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(pidfd, gone.set)
    try:
        async with asyncio.timeout(_END_SECONDS):
            await gone.wait()
    finally:
        loop.remove_reader(pidfd)
