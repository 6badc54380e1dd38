"""The composition root: builds everything, runs it under TaskGroups, drains it.

Two parts. The *front* is SSH with its open sessions and the link to the cluster. The *core* is the
platform: the store, its services and their loops, HTTP. The front asks the core through a `Switch`,
so that a core can end and another begin while sessions go on.
"""

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from gateway.bastion import RESTARTING, Bastion
from gateway.executor import Executor
from gateway.hostkeys import HostKeys
from gateway.listener import Listener
from gateway.settings import Rhythm
from kgpud import statefolder
from kgpud.accounts import Accounts
from kgpud.clock import Clock
from kgpud.cluster.client import Cluster
from kgpud.config import Address, Config
from kgpud.dashboard import site as dashboard
from kgpud.handover.elders import Elders
from kgpud.handover.switch import Nobody, Switch
from kgpud.reasons import POD_LOST, sentence
from kgpud.rest import tls
from kgpud.rest.app import build as build_app
from kgpud.rest.doorway import Doorway
from kgpud.rest.peers import Peers
from kgpud.rest.server import Runner
from kgpud.routing import Routing, farewell
from kgpud.signin import SignIns
from kgpud.tokens import Tokens
from kgpud.wiring import Outside, Platform
from kgpud.wiring import opened as build_platform

# A cluster that is away when we start keeps nobody from reading their balance.
_FIRST_LIST_SECONDS = 15.0
_BACKLOG = 512
# More than the cluster has to answer (`cluster.client`).
_ANSWER_SECONDS = 15.0


@dataclass(frozen=True)
class Sockets:
    """The bound listeners, so that nobody else can take a port between start and ready."""

    http: socket.socket
    ssh: socket.socket


@dataclass(frozen=True)
class Running:
    """A daemon that is ready."""

    accounts: Accounts
    tokens: Tokens
    sign_ins: SignIns
    api_base: str
    ssh: Address
    host_keys: HostKeys
    http: Runner


@dataclass(frozen=True)
class Front:
    """SSH, its sessions, and the link to the cluster. `core` is what they ask.

    `elders` are daemons before this one that still have sessions. `answering` are HTTP servers of
    former cores that still have a request.
    """

    cluster: Cluster
    executor: Executor
    host_keys: HostKeys
    bastion: Bastion
    listener: Listener
    core: Switch
    elders: Elders
    answering: list[Runner] = field(default_factory=list)

    def cut(self, pod_id: str, reason: str) -> None:
        """End a rental's open sessions at once, wherever they are."""
        told = (pod_id, reason, farewell(reason))
        self.bastion.cut(*told)
        self.elders.cut(*told)

    def notify(self, pod_id: str, sentence: str) -> None:
        """Tell a rental's terminals a line of ours, wherever they are."""
        self.bastion.notify(pod_id, sentence)
        self.elders.notify(pod_id, sentence)

    async def deserted(self, linger_seconds: float) -> None:
        """Return once there are no sessions and no requests, as in `Bastion.deserted`."""
        await self.bastion.deserted(linger_seconds)
        for runner in self.answering:
            await runner.lasted()

    async def drain(self, seconds: float, hurry: asyncio.Event) -> None:
        """Accept nobody, and let sessions end: by themselves for `seconds`, less with `hurry`."""
        self.listener.close()
        async with asyncio.TaskGroup() as both:
            both.create_task(self.bastion.drain(seconds, hurry))
            both.create_task(self.elders.drain(seconds, hurry))


@asynccontextmanager
async def running(
    config: Config,
    sockets: Sockets,
    clock: Clock,
    *,
    hurry: asyncio.Event,
    lost_reason: str = POD_LOST,
) -> AsyncIterator[Running]:
    """Run the daemon while the block runs; what is yielded is ready for users.

    Afterwards it drains: SSH sessions have `config.drain.seconds` (less once `hurry` is set), then
    HTTP stops and the database closes. A crash in any background task ends the block. The caller
    holds `statefolder.locked`.
    """
    with contextlib.closing(sockets.http):
        async with (
            front(config, sockets.ssh, farewell=_farewell(lost_reason)) as ssh,
            core(config, sockets, clock, ssh, lost_reason) as ready,
        ):
            try:
                yield ready
            finally:
                await ssh.drain(config.drain.seconds, hurry)


@asynccontextmanager
async def front(
    config: Config,
    sock: socket.socket,
    wires: Iterable[socket.socket] = (),
    farewell: str = RESTARTING,
) -> AsyncIterator[Front]:
    """Hold the SSH listener and its sessions, for a core to open.

    `wires` lead to the elders; `farewell` is for the sessions that are left at the end.
    """
    async with Cluster.of(config.cluster) as cluster:
        switch = Switch()
        gateway = config.gateway
        executor = Executor(cluster, Rhythm(gateway.ping_seconds, gateway.pings_missed))
        host_keys = HostKeys(config.state / statefolder.HOST_KEY)
        bastion = Bastion(
            switch,
            executor,
            host_keys,
            config.ssh.limits(),
            keepalive=config.ssh.keepalive(),
            scp_engine=gateway.scp == "engine",
            farewell=farewell,
        )
        async with bastion.listening(sock) as listener:
            elders = Elders(wires)
            made = Front(cluster, executor, host_keys, bastion, listener, switch, elders)
            try:
                yield made
            finally:
                for runner in made.answering:
                    await runner.cleanup()
                elders.close()
                # Nothing is left to wait for.
                switch.use(Nobody())


def _farewell(lost_reason: str) -> str:
    """Say what those who are inside at the end are told of their pods."""
    return RESTARTING if lost_reason == POD_LOST else sentence(lost_reason)


@asynccontextmanager
async def core(
    config: Config, sockets: Sockets, clock: Clock, front: Front, lost_reason: str = POD_LOST
) -> AsyncIterator[Running]:
    """Run the platform while the block runs, and be what the front asks and lets in for.

    Afterwards HTTP stops, SSH waits for another core, everything is written and the database
    closes.
    """
    async with build_platform(_outside(config, sockets, clock, front, lost_reason)) as platform:
        # In this order: how a session ends meanwhile is told later, by itself.
        spared = [*front.bastion.open_sessions(), *await front.elders.greet()]
        await platform.audit.close_lost(spared)
        front.bastion.remember(await platform.audit.recent_peers(config.ssh.known_days))
        # What is there by now stays: a full collection that went through all of it would hold up
        # every session for a tenth of a second.
        gc.freeze()
        async with (
            _looping(platform),
            _asked(front, platform.routing),
            front.elders.served(platform.routing, platform.audit.lost),
            _serving(platform, sockets.http, front.answering) as http,
        ):
            yield _running(platform, http)


def _outside(
    config: Config, sockets: Sockets, clock: Clock, front: Front, lost_reason: str
) -> Outside:
    return Outside(
        config=config,
        clock=clock,
        cluster=front.cluster,
        executor=front.executor,
        core=front.core,
        host_keys=front.host_keys,
        http=bound(sockets.http),
        ssh=bound(sockets.ssh),
        cut=front.cut,
        notify=front.notify,
        lost_reason=lost_reason,
    )


@asynccontextmanager
async def _looping(platform: Platform) -> AsyncIterator[None]:
    """Run the loops while the block runs. A crash in one ends the block."""
    async with asyncio.TaskGroup() as tasks:
        loops = [tasks.create_task(loop()) for loop in platform.loops]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LIST_SECONDS):
                await platform.reconcile.wait_ready()
        yield
        for loop in loops:
            loop.cancel()


@asynccontextmanager
async def _asked(front: Front, routing: Routing) -> AsyncIterator[None]:
    """Be what the front asks while the block runs; who comes or asks later has to wait."""
    front.core.use(routing)
    front.listener.open()
    try:
        yield
    finally:
        front.listener.pause()
        await front.core.hold()


@asynccontextmanager
async def _serving(
    platform: Platform, sock: socket.socket, answering: list[Runner]
) -> AsyncIterator[Runner]:
    """Serve HTTP while the block runs. The socket stays open: who comes later queues.

    Requests that may outlive the core are left to `answering`.
    """
    app = build_app(platform.services)
    dashboard.install(app, platform.site)
    runner = Runner(app, access_log=None, shutdown_timeout=5)
    await runner.setup()
    services, http = platform.services, platform.services.http
    peers = Peers(http.trusted_proxies)
    try:
        async with tls.listening(http, services.clock) as context:
            door = Doorway(sock, peers.source, http.connections_per_source)
            site = web.SockSite(runner, door, backlog=_BACKLOG, ssl_context=context)
            await site.start()
            yield runner
    finally:
        await runner.finish(_ANSWER_SECONDS)
        if runner.lasts:
            answering.append(runner)
        else:
            await runner.cleanup()


def _running(platform: Platform, http: Runner) -> Running:
    services = platform.services
    return Running(
        accounts=services.accounts,
        tokens=services.tokens,
        sign_ins=platform.site.sign_ins,
        api_base=services.api_base,
        ssh=Address(services.ssh_host, services.ssh_port),
        host_keys=services.host_keys,
        http=http,
    )


def bind(address: Address) -> socket.socket:
    """Bind a listener; port 0 takes any free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)


def bound(sock: socket.socket) -> Address:
    """Return where a socket listens."""
    host, port = sock.getsockname()[:2]
    return Address(host, port)
