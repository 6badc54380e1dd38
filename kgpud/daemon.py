"""The composition root: builds everything, runs it under one TaskGroup, drains it.

Nothing else wires.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from gateway.bastion import Bastion
from gateway.exec import Executor
from gateway.hostkeys import HostKeys
from kgpud import statefolder
from kgpud.accounts import Accounts
from kgpud.audit import Audit
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
    """A daemon that is ready."""

    accounts: Accounts
    tokens: Tokens
    api_base: str
    ssh: Address
    host_keys: HostKeys


@dataclass(frozen=True)
class _Parts:
    """What runs, built and not yet started."""

    services: Services
    bastion: Bastion
    metering: Metering
    reconcile: Reconcile
    audit: Audit


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
    kubernetes = config.cluster
    async with (
        Database.open(config.state / statefolder.DATABASE) as db,
        Cluster.connect(kubernetes.kubeconfig, kubernetes.namespace) as cluster,
    ):
        parts = await _build(config, sockets, clock, db, cluster, lost_reason)
        async with asyncio.TaskGroup() as tasks:
            loops = [
                tasks.create_task(parts.reconcile.run()),
                tasks.create_task(parts.metering.run()),
                tasks.create_task(parts.audit.run()),
            ]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(parts.reconcile.wait_ready(), _FIRST_LIST_SECONDS)
            async with (
                parts.bastion.listening(
                    sockets.ssh, drain_seconds=config.drain.seconds, hurry=hurry
                ),
                _serving(parts.services, sockets.http),
            ):
                yield _running(parts)
            for loop in loops:
                loop.cancel()
        await parts.services.rentals.flush_activity()
        await parts.audit.finish()


async def _build(
    config: Config,
    sockets: Sockets,
    clock: Clock,
    db: Database,
    cluster: Cluster,
    lost_reason: str,
) -> _Parts:
    http = bound(sockets.http)
    settings = await _rent_settings(config, db, clock, http)
    secret = load_or_create_secret(config.state / statefolder.SECRET)
    tokens = Tokens(db, clock, secret=secret)
    view = ClusterView()
    catalog = Catalog(view, config.gpu)
    executor = Executor(cluster)

    def cut(pod_id: str, reason: str) -> None:
        # The bastion comes last, and nobody is cut before it is there.
        bastion.cut(pod_id, reason, farewell(reason))

    rentals = Rentals(db, clock, cluster, catalog, tokens, settings, cut)
    accounts = Accounts(db, clock, trial_credits=config.trial_credits, quota_gpus=config.quota_gpus)
    audit = Audit(db, clock, kept_days=config.ssh.audit_days)
    await audit.close_lost()
    routing = Routing(rentals, accounts, audit, clock, cluster.namespace)
    host_keys = HostKeys(config.state / statefolder.HOST_KEY)
    bastion = Bastion(
        routing,
        executor,
        host_keys,
        config.ssh.limits(),
        scp_engine=config.gateway.scp == "engine",
    )
    bastion.remember(await audit.recent_peers(config.ssh.known_days))
    installed = settings.installation.id
    told = config.ssh_address(bound(sockets.ssh))
    services = Services(
        accounts=accounts,
        tokens=tokens,
        catalog=catalog,
        rentals=rentals,
        executor=executor,
        host_keys=host_keys,
        clock=clock,
        api_base=config.api_base(http),
        ssh_host=told.host,
        ssh_port=told.port,
        namespace=cluster.namespace,
        default_image=config.images.default,
    )
    metering = Metering(db, clock, rentals.on_ended, may_charge=lambda: view.connected)
    reconcile = Reconcile(
        db, clock, cluster, view, rentals, installation=installed, lost_reason=lost_reason
    )
    return _Parts(services, bastion, metering, reconcile, audit)


def _running(parts: _Parts) -> Running:
    services = parts.services
    ssh = Address(services.ssh_host, services.ssh_port)
    return Running(services.accounts, services.tokens, services.api_base, ssh, services.host_keys)


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
