"""The SSH listener: who may come in, which pod they reach, and its orderly end."""

import asyncio
import contextlib
import logging
import socket
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncssh

from gateway.connection import Connection, Owner
from gateway.cuts import Cut, Cuts
from gateway.exec import Executor
from gateway.hostkeys import HostKey, HostKeys
from gateway.protocols import Core
from gateway.session import Session, Surroundings

LOGIN_SECONDS = 60
KEEPALIVE_SECONDS, KEEPALIVE_COUNT = 30, 20
_FAREWELL_SECONDS = 3.0
_STOPPING = Cut(
    "daemon_stopped", "kgpud is restarting; your rental and its pod live on: connect again"
)

_KEX = ["mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org"]
# The slower ones are for clients without GCM (dropbear, older PuTTY); see `Connection`.
_CIPHERS = [
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes128-ctr",
]
_MACS = ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"]


class Bastion:
    """The SSH front door. `listening` runs it; `cut` ends a rental's sessions at once."""

    def __init__(self, core: Core, executor: Executor, host_keys: HostKeys) -> None:
        self._core = core
        self._executor = executor
        self._host_keys = host_keys
        self._keys: Sequence[HostKey] = ()
        self._options: asyncssh.SSHServerConnectionOptions | None = None
        self._cuts = Cuts()
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        # asyncssh tells every command at INFO.
        logging.getLogger("asyncssh").setLevel(logging.WARNING)

    def cut(self, rental: str, reason: str, sentence: str) -> None:
        """End the open sessions of a rental; each client is told the sentence."""
        self._cuts.cut(rental, Cut(reason, sentence))

    @asynccontextmanager
    async def listening(
        self, sock: socket.socket, *, drain_seconds: float, hurry: asyncio.Event
    ) -> AsyncIterator[None]:
        """Serve on a bound socket while the block runs.

        Afterwards: no new connections, `drain_seconds` (less once `hurry` is set) for sessions to
        end by themselves, a farewell to the rest.
        """
        async with asyncio.TaskGroup() as tasks:
            around = Surroundings(self._core, self._executor, self._cuts, tasks)
            loop = asyncio.get_running_loop()
            server = await loop.create_server(lambda: self._accepted(loop, around), sock=sock)
            try:
                yield
            finally:
                server.close()
                await self._drain(drain_seconds, hurry)

    def _accepted(self, loop: asyncio.AbstractEventLoop, around: Surroundings) -> Connection:
        keys = self._host_keys.current()
        if keys is not self._keys:
            self._keys, self._options = keys, _options(around, keys)
        assert self._options is not None
        connection = Connection(loop, self._options, self._core)
        self._connections.add(connection)
        return connection

    async def _drain(self, seconds: float, hurry: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as waits:
            ends = [waits.create_task(event.wait()) for event in (self._cuts.empty, hurry)]
            await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in ends:
                task.cancel()
        self._cuts.cut_all(_STOPPING)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._cuts.empty.wait(), _FAREWELL_SECONDS)
        for connection in list(self._connections):
            connection.abort()


def _options(around: Surroundings, keys: Sequence[HostKey]) -> asyncssh.SSHServerConnectionOptions:
    return asyncssh.SSHServerConnectionOptions(
        server_factory=lambda: Owner(lambda connection: Session(around, connection)),
        server_host_keys=[key.private for key in keys],
        send_server_host_keys=True,
        server_version="kgpud",
        kex_algs=_KEX,
        encryption_algs=_CIPHERS,
        mac_algs=_MACS,
        compression_algs=["none"],
        password_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        gss_host=None,
        allow_scp=False,
        agent_forwarding=False,
        x11_forwarding=False,
        login_timeout=LOGIN_SECONDS,
        keepalive_interval=KEEPALIVE_SECONDS,
        keepalive_count_max=KEEPALIVE_COUNT,
    )
