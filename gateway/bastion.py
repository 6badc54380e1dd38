"""The SSH listener: who may come in, which pod they reach, and its orderly end."""

import asyncio
import contextlib
import logging
import socket
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh

from gateway.connection import Connection, Owner
from gateway.cuts import Cut, Cuts
from gateway.exec import Executor
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

    def __init__(self, core: Core, executor: Executor, host_keys: Sequence[Path]) -> None:
        self._core = core
        self._executor = executor
        self._host_keys = [str(path) for path in host_keys]
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
            options = self._options(around)
            loop = asyncio.get_running_loop()
            server = await loop.create_server(
                lambda: self._accepted(Connection(loop, options, self._core)), sock=sock
            )
            try:
                yield
            finally:
                server.close()
                await self._drain(drain_seconds, hurry)

    def _accepted(self, connection: Connection) -> Connection:
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

    def _options(self, around: Surroundings) -> asyncssh.SSHServerConnectionOptions:
        return asyncssh.SSHServerConnectionOptions(
            server_factory=lambda: Owner(lambda connection: Session(around, connection)),
            server_host_keys=self._host_keys,
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


def ensure_host_key(path: Path) -> str:
    """Make an ed25519 host key (mode 0600) if there is none; return its public line."""
    if not path.exists():
        key = asyncssh.generate_private_key("ssh-ed25519")
        unfinished = path.with_suffix(".new")
        unfinished.touch(mode=0o600)
        unfinished.write_bytes(key.export_private_key("openssh"))
        unfinished.rename(path)
    return asyncssh.read_private_key(path).export_public_key("openssh").decode().strip()
