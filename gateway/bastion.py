"""The SSH listener: who may come in, which pod they reach, and its orderly end."""

import asyncio
import contextlib
import logging
import socket
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import asyncssh

from gateway import algorithms
from gateway.admission import Admission, Limits, Visit
from gateway.buffers import Buffers
from gateway.connection import Connection
from gateway.cuts import Cut, Cuts
from gateway.executor import Executor
from gateway.hostkeys import HostKey, HostKeys
from gateway.life import Life, Surroundings
from gateway.listener import Listener
from gateway.owner import Owner
from gateway.protocols import Core
from gateway.session import Session
from gateway.settings import Keepalive
from gateway.turns import Turns

_FAREWELL_SECONDS = 3.0
_LOOK_SECONDS = 0.5
_RESTARTS = (
    "kgpud restarts: this session ends in {seconds:.0f} s at the latest;"
    " your rental and its pod live on"
)
RESTARTING = "kgpud is restarting; your rental and its pod live on: connect again"


MakeSession = Callable[[Connection], Session]
_KEEPALIVE = Keepalive()


class Bastion:
    """The SSH front door. `listening` runs it; `cut` ends a rental's sessions at once.

    `farewell` is what sessions are told that it drops at its own end.
    """

    def __init__(
        self,
        core: Core,
        executor: Executor,
        host_keys: HostKeys,
        limits: Limits,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        keepalive: Keepalive = _KEEPALIVE,
        scp_engine: bool = True,
        farewell: str = RESTARTING,
    ) -> None:
        self._core = core
        self._stopping = Cut("daemon_stopped", farewell)
        self._keepalive = keepalive
        self._executor = executor
        self._scp_engine = scp_engine
        self._admission = Admission(limits, monotonic)
        self._host_keys = host_keys
        self._keys: Sequence[HostKey] = ()
        self._options: asyncssh.SSHServerConnectionOptions | None = None
        self._cuts = Cuts()
        self._buffers = Buffers()
        self._turns = Turns()
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        # asyncssh tells every command at INFO.
        logging.getLogger("asyncssh").setLevel(logging.WARNING)

    def remember(self, peers: Iterable[tuple[str, float]]) -> None:
        """Know addresses again that somebody logged in from, so many seconds ago; oldest first."""
        for address, seconds_ago in peers:
            self._admission.remember(address, seconds_ago)

    def cut(self, rental: str, reason: str, sentence: str) -> None:
        """End a rental's open sessions and connections; each client is told the sentence."""
        self._cuts.cut(rental, Cut(reason, sentence))
        for connection in list(self._connections):
            if connection.route is not None and connection.route.rental == rental:
                connection.dismiss(sentence)

    def notify(self, rental: str, sentence: str) -> None:
        """Tell a rental's open terminals a line of ours."""
        self._cuts.notify(rental, sentence)

    def open_sessions(self) -> Sequence[str]:
        """Return the names of the open sessions, as in SessionOpened."""
        return self._cuts.names()

    async def deserted(self, linger_seconds: float) -> None:
        """Return once nobody is connected, or nobody has had a session for so long."""
        quiet = 0.0
        while quiet < linger_seconds and any(not one.is_closed() for one in self._connections):
            await asyncio.sleep(_LOOK_SECONDS)
            quiet = quiet + _LOOK_SECONDS if self._cuts.empty.is_set() else 0.0

    @asynccontextmanager
    async def listening(self, sock: socket.socket) -> AsyncIterator[Listener]:
        """Hold a bound socket, on which the yielded listener accepts once it is opened.

        At the block's end whoever is still inside is told and dropped: `drain` first.
        """
        async with asyncio.TaskGroup() as tasks:
            make_session = self._session_maker(tasks)

            async def serve(client: socket.socket, visit: Visit) -> None:
                loop = asyncio.get_running_loop()
                await loop.connect_accepted_socket(
                    lambda: self._connection(make_session, visit), client
                )

            listener = Listener(sock, self._admission, serve, tasks)
            try:
                yield listener
            finally:
                listener.close()
                await self._dismiss()
        await self._abort_connections()

    async def drain(self, seconds: float, hurry: asyncio.Event) -> None:
        """Let sessions end by themselves for `seconds`, less once `hurry` is set; tell the rest.

        Terminals are told at once. Returns when no session is left. The listener must be closed by
        then.
        """
        if seconds > 0:
            self._cuts.notify_all(_RESTARTS.format(seconds=seconds))
        async with asyncio.TaskGroup() as waits:
            ends = [waits.create_task(event.wait()) for event in (self._cuts.empty, hurry)]
            await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in ends:
                task.cancel()
        await self._dismiss()
        # What they left in their pods is ended by now, or was tried in vain.
        await self._cuts.empty.wait()

    def _connection(self, make_session: MakeSession, visit: Visit) -> Connection:
        keys = self._host_keys.current()
        if keys is not self._keys:
            login_seconds = self._admission.limits.login_seconds
            self._keys = keys
            self._options = _options(make_session, keys, login_seconds, self._keepalive)
        assert self._options is not None
        loop = asyncio.get_running_loop()
        connection = Connection(
            loop, self._options, self._core, self._buffers, self._turns, self._admission, visit
        )
        self._connections.add(connection)
        return connection

    async def _dismiss(self) -> None:
        self._cuts.cut_all(self._stopping)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._cuts.empty.wait()
        await self._abort_connections()

    async def _abort_connections(self) -> None:
        """Leave no connection open, nor its descriptor."""
        left = list(self._connections)
        for connection in left:
            connection.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                for connection in left:
                    await connection.wait_closed()
        # asyncio closes a transport's descriptor in the next turn.
        await asyncio.sleep(0)

    def _session_maker(self, tasks: asyncio.TaskGroup) -> MakeSession:
        around = Surroundings(
            self._core, self._executor, self._cuts, self._turns, scp_engine=self._scp_engine
        )
        return lambda connection: Session(
            connection, tasks, lambda session: Life(around, session).run()
        )


def _options(
    make_session: MakeSession, keys: Sequence[HostKey], login_seconds: float, keepalive: Keepalive
) -> asyncssh.SSHServerConnectionOptions:
    return asyncssh.SSHServerConnectionOptions(
        server_factory=lambda: Owner(make_session),
        server_host_keys=[key.private for key in keys],
        send_server_host_keys=True,
        # Some things clients do for OpenSSH alone: ssh says when its output is read no more, and
        # SFTP clients turn a symlink's two names round, as OpenSSH's sftp-server has them.
        server_version="OpenSSH_kgpud",
        kex_algs=algorithms.KEX,
        encryption_algs=algorithms.CIPHERS,
        mac_algs=algorithms.MACS,
        signature_algs=algorithms.SIGNATURES,
        compression_algs=["none"],
        password_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        gss_host=None,
        allow_scp=False,
        agent_forwarding=False,
        x11_forwarding=False,
        login_timeout=login_seconds,
        keepalive_interval=keepalive.seconds,
        keepalive_count_max=keepalive.count,
    )
