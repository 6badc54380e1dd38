"""Which service stands on which: the platform around one open store, built and not yet started."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gateway.executor import Executor
from gateway.hostkeys import HostKeys
from gateway.protocols import Core
from kgpud import statefolder
from kgpud.accounts import Accounts
from kgpud.audit import Audit
from kgpud.catalog import Catalog
from kgpud.clock import Clock
from kgpud.cluster.client import Cluster
from kgpud.cluster.manifests import Installation
from kgpud.cluster.view import ClusterView
from kgpud.config import Address, Config
from kgpud.dashboard.oidc import Provider
from kgpud.dashboard.visit import Site
from kgpud.history import History
from kgpud.idempotency import Idempotency
from kgpud.idling import Idling
from kgpud.lowbalance import LowBalance
from kgpud.metering import Metering
from kgpud.metrics import Counters, Metrics
from kgpud.objects import opening
from kgpud.objects.signing import Signer
from kgpud.objects.stores import ObjectStore
from kgpud.orphans import Orphans
from kgpud.reconcile import Reconcile
from kgpud.rentals import Rentals, RentSettings
from kgpud.rest.call import Services
from kgpud.rest.limits import Slots
from kgpud.routing import Routing
from kgpud.signin import SignIns
from kgpud.statements import Statements
from kgpud.tokens import Tokens, load_or_create_secret
from kgpud.watchdog import Watchdog
from store import installation
from store.db import Database


@dataclass(frozen=True)
class Outside:
    """What the services stand on and is there before them.

    `core` is what the bastion asks. `http` and `ssh` are where the listeners are bound.
    `cut(pod_id, reason)` ends a rental's sessions at once, `notify(pod_id, sentence)` tells its
    terminals something. `lost_reason` is what a rental ends with
    whose pod is gone.
    """

    config: Config
    clock: Clock
    cluster: Cluster
    executor: Executor
    core: Core
    host_keys: HostKeys
    http: Address
    ssh: Address
    cut: Callable[[str, str], None]
    notify: Callable[[str, str], None]
    lost_reason: str


@dataclass(frozen=True)
class Platform:
    """The services. `loops` run until they are cancelled, then `finish` is called, once."""

    services: Services
    site: Site
    routing: Routing
    audit: Audit
    reconcile: Reconcile
    loops: Iterable[Callable[[], Coroutine[Any, Any, None]]]

    async def finish(self) -> None:
        """Write what is still in memory."""
        await self.services.rentals.activity.flush()
        await self.audit.finish()


@asynccontextmanager
async def object_store(outside: Outside, db: Database) -> AsyncIterator[ObjectStore | None]:
    """Hold the object store that is configured; None if there is to be none. Raises OSError."""
    config, clock = outside.config, outside.clock
    async with db.transaction() as tx:
        identity = await installation.identify(tx, clock.now_ms())
    secret = load_or_create_secret(config.state / statefolder.SECRET)
    signer = Signer(secret, config.api_base(outside.http).removesuffix("/v1"), clock)
    async with opening.opened(
        config.objects, config.state, installation=identity, signer=signer
    ) as store:
        yield store


async def build(outside: Outside, db: Database, store: ObjectStore | None) -> Platform:
    """Build the services on an open store. Nothing runs yet."""
    config, clock, cluster = outside.config, outside.clock, outside.cluster
    settings = await _rent_settings(outside, db)
    transit = None if store is None else opening.build(db, clock, store, config.objects)
    tokens = Tokens(db, clock, secret=load_or_create_secret(config.state / statefolder.SECRET))
    view = ClusterView()
    catalog = Catalog(view, config.gpu)
    rentals = Rentals(db, clock, cluster, catalog, tokens, settings, _cut(outside, transit))
    accounts = Accounts(
        db,
        clock,
        trial_credits=config.trial_credits,
        quota_gpus=config.quota_gpus,
        quota_cpu_pods=config.quota_cpu_pods,
    )
    orphans = Orphans(db, clock, outside.executor, cluster.namespace, fresh=lambda: view.connected)
    audit = Audit(
        db,
        clock,
        kept_days=config.ssh.audit_days,
        tell=rentals.changes.tell,
        on_lost=orphans.look,
    )
    metering = Metering(
        db, clock, rentals.on_ended, steps=rentals.steps, may_charge=lambda: view.connected
    )
    reconcile = Reconcile(
        db,
        clock,
        cluster,
        view,
        rentals,
        installation=settings.installation.id,
        lost_reason=outside.lost_reason,
        placement=settings.installation.placement,
        life=config.rentals,
    )
    idling = Idling(
        db,
        clock,
        rentals,
        outside.executor,
        cluster.namespace,
        config.rentals,
        fresh=lambda: view.connected,
    )
    watchdog, counters = Watchdog(), Counters()
    metrics = Metrics(db, catalog, counters, watchdog)
    services = _services(
        outside,
        db,
        accounts=accounts,
        tokens=tokens,
        audit=audit,
        catalog=catalog,
        rentals=rentals,
        metrics=metrics,
        transit=transit,
    )
    return Platform(
        services=services,
        site=_site(outside, db, services),
        routing=Routing(
            rentals, accounts, audit, clock, cluster.namespace, config.rentals, counters
        ),
        audit=audit,
        reconcile=reconcile,
        loops=(
            reconcile.run,
            metering.run,
            idling.run,
            orphans.run,
            LowBalance(db, clock, rentals.changes, outside.notify).run,
            audit.run,
            watchdog.run,
            *(transit.loops if transit else ()),
        ),
    )


def _services(
    outside: Outside,
    db: Database,
    *,
    accounts: Accounts,
    tokens: Tokens,
    audit: Audit,
    catalog: Catalog,
    rentals: Rentals,
    metrics: Metrics,
    transit: opening.Transit | None,
) -> Services:
    config = outside.config
    told = config.ssh_address(outside.ssh)
    return Services(
        accounts=accounts,
        tokens=tokens,
        audit=audit,
        catalog=catalog,
        rentals=rentals,
        statements=Statements(db),
        history=History(db, rentals),
        idempotency=Idempotency(db, outside.clock),
        metrics=metrics,
        cluster=outside.cluster,
        executor=outside.executor,
        core=outside.core,
        host_keys=outside.host_keys,
        clock=outside.clock,
        api_base=config.api_base(outside.http),
        ssh_host=told.host,
        ssh_port=told.port,
        namespace=outside.cluster.namespace,
        default_image=config.images.default,
        life=config.rentals,
        transit=transit,
        http=config.http,
        execs=Slots(config.http.execs_per_pod),
    )


def _cut(outside: Outside, transit: opening.Transit | None) -> Callable[[str, str], None]:
    """Return what is done at once when a rental has ended, or its key has."""

    def cut(pod_id: str, reason: str) -> None:
        outside.cut(pod_id, reason)
        if transit is not None:
            # It may have been the account's last one.
            transit.sweep.wanted.set()

    return cut


def _site(outside: Outside, db: Database, services: Services) -> Site:
    settings = outside.config.sign_in
    sign_ins = SignIns(
        db, outside.clock, services.accounts, approved_domains=settings.approved_domains
    )
    secret = settings.client_secret_file
    provider = Provider(
        settings.issuer,
        settings.client_id,
        secret.read_text(encoding="utf-8").strip() if secret else None,
    )
    return Site(services, sign_ins, provider if settings.issuer else None, settings.name)


async def _rent_settings(outside: Outside, db: Database) -> RentSettings:
    config = outside.config
    async with db.transaction() as tx:
        identity = await installation.identify(tx, outside.clock.now_ms())
    return RentSettings(
        installation=Installation.of(config, identity, config.api_base(outside.http)),
        allows_image=config.images.allows,
    )
