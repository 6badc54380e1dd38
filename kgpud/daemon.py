"""The composition root: builds everything, runs it under one TaskGroup, drains it.

Nothing else wires.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from gateway.bastion import Bastion, ensure_host_key
from gateway.exec import Executor
from kgpud import statefolder
from kgpud.accounts import Accounts
from kgpud.catalog import Catalog
from kgpud.clock import Clock
from kgpud.cluster.client import Cluster
from kgpud.cluster.manifests import Installation
from kgpud.cluster.view import ClusterView
from kgpud.config import Address, Config
from kgpud.metering import Metering
from kgpud.observing import POD_LOST
from kgpud.reconcile import Reconcile
from kgpud.rentals import Rentals, RentSettings
from kgpud.rest.app import build
from kgpud.rest.call import Services
from kgpud.rest.server import Runner
from kgpud.routing import Routing, farewell
from kgpud.tokens import Tokens, load_or_create_secret
from store import installation
from store.db import Database

# A cluster that is away when we start keeps nobody from reading their balance.
_FIRST_LIST_SECONDS = 15.0


@dataclass(frozen=True)
class Sockets:
    """The bound listeners, so that nobody else can take a port between start and ready."""

    http: socket.socket
    ssh: socket.socket


@dataclass(frozen=True)
class Running:
    """A daemon that is ready. `host_key` is the bastion's public key line."""

    accounts: Accounts
    tokens: Tokens
    http: Address
    api_base: str
    ssh: Address
    host_key: str


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

    Afterwards it drains: HTTP stops, SSH sessions have `config.drain.seconds` (less once `hurry`
    is set), the database closes. A crash in any background task ends the block. The caller holds
    `statefolder.locked`.
    """
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Database.open(config.state / statefolder.DATABASE))
        kubernetes = config.cluster
        cluster = await stack.enter_async_context(
            Cluster.connect(kubernetes.kubeconfig, kubernetes.namespace)
        )
        async with _wired(config, sockets, clock, db, cluster, lost_reason, hurry) as daemon:
            yield daemon


@asynccontextmanager
async def _wired(
    config: Config,
    sockets: Sockets,
    clock: Clock,
    db: Database,
    cluster: Cluster,
    lost_reason: str,
    hurry: asyncio.Event,
) -> AsyncIterator[Running]:
    http, ssh = bound(sockets.http), bound(sockets.ssh)
    settings = await _rent_settings(config, db, clock, http)
    accounts = Accounts(db, clock, trial_credits=config.trial_credits, quota_gpus=config.quota_gpus)
    tokens = Tokens(db, clock, secret=load_or_create_secret(config.state / statefolder.SECRET))
    view = ClusterView()
    catalog = Catalog(view, config.gpu)
    executor = Executor(cluster)
    # The bastion comes last, and nobody is cut before it is there.
    rentals = Rentals(
        db,
        clock,
        cluster,
        catalog,
        tokens,
        settings,
        lambda pod_id, reason: bastion.cut(pod_id, farewell(reason)),
    )
    host_key_file = config.state / statefolder.HOST_KEY
    host_key = ensure_host_key(host_key_file)
    bastion = Bastion(Routing(rentals, clock, config.cluster.namespace), executor, [host_key_file])
    metering = Metering(db, clock, rentals.on_ended, may_charge=lambda: view.connected)
    reconcile = Reconcile(
        db,
        clock,
        cluster,
        view,
        rentals,
        installation=settings.installation.id,
        lost_reason=lost_reason,
    )
    told = config.ssh_address(ssh)
    services = Services(
        accounts=accounts,
        tokens=tokens,
        catalog=catalog,
        rentals=rentals,
        executor=executor,
        clock=clock,
        api_base=config.api_base(http),
        ssh_host=told.host,
        ssh_port=told.port,
        namespace=config.cluster.namespace,
        default_image=config.images.default,
    )
    async with asyncio.TaskGroup() as tasks:
        loops = [tasks.create_task(reconcile.run()), tasks.create_task(metering.run())]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reconcile.wait_ready(), _FIRST_LIST_SECONDS)
        async with (
            bastion.listening(sockets.ssh, drain_seconds=config.drain.seconds, hurry=hurry),
            _serving(services, sockets.http),
        ):
            yield Running(accounts, tokens, http, services.api_base, told, host_key)
        for loop in loops:
            loop.cancel()


async def _rent_settings(config: Config, db: Database, clock: Clock, http: Address) -> RentSettings:
    async with db.transaction() as tx:
        identity = await installation.identify(tx, clock.now_ms())
    return RentSettings(
        installation=Installation(
            identity, config.api_base(http), preloaded_images=config.images.local
        ),
        allows_image=config.images.allows,
    )


@asynccontextmanager
async def _serving(services: Services, sock: socket.socket) -> AsyncIterator[None]:
    runner = Runner(build(services), access_log=None, shutdown_timeout=5)
    await runner.setup()
    try:
        await web.SockSite(runner, sock).start()
        yield
    finally:
        await runner.cleanup()


def bind(address: Address) -> socket.socket:
    """Bind a listener; port 0 takes any free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family, backlog=512)


def bound(sock: socket.socket) -> Address:
    """Return where a socket listens."""
    host, port = sock.getsockname()[:2]
    return Address(host, port)
