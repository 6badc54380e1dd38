"""Which service stands on which: the platform around one open store, built and not yet started."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
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
from kgpud.commands import Commands
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
    terminals something. `lost_reason` is what a rental ends with whose pod is gone.
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
    """The services. `loops` run until they are cancelled."""

    services: Services
    site: Site
    routing: Routing
    audit: Audit
    reconcile: Reconcile
    loops: Iterable[Callable[[], Coroutine[Any, Any, None]]]


@asynccontextmanager
async def opened(outside: Outside) -> AsyncIterator[Platform]:
    """Hold the store open, with the services on it; nothing runs yet, and nothing may afterwards.

    Raises OSError, StoreUnavailable, migrate.TooNew.
    """
    config, clock = outside.config, outside.clock
    secret = load_or_create_secret(config.state / statefolder.SECRET)
    base = config.api_base(outside.http)
    async with Database.open(config.state / statefolder.DATABASE) as db:
        async with db.transaction() as tx:
            identity = await installation.identify(tx, clock.now_ms())
        settings = RentSettings(Installation.of(config, identity, base), config.images.allows)
        signer = Signer(secret, base.removesuffix("/v1"), clock)
        async with opening.opened(config.objects, config.state, identity, signer) as objects:
            wired = _Wiring(outside, db, objects, settings, secret)
            try:
                yield wired.platform()
            finally:
                # What is still in memory.
                await wired.rentals.activity.flush()
                await wired.audit.finish()
                await wired.commands.finish()


class _Wiring:
    """Each service, made once, when the first that stands on it asks for it."""

    def __init__(
        self,
        outside: Outside,
        db: Database,
        store: ObjectStore | None,
        settings: RentSettings,
        secret: bytes,
    ) -> None:
        self._outside = outside
        self._config = config = outside.config
        self._db, self._clock = db, outside.clock
        self._cluster, self._executor = outside.cluster, outside.executor
        self._settings, self._secret = settings, secret
        self._view = ClusterView()
        self._transit = (
            None if store is None else opening.build(db, outside.clock, store, config.objects)
        )
        self._counters = Counters()
        self._watchdog = Watchdog()

    def platform(self) -> Platform:
        """Build it all."""
        low_balance = LowBalance(self._db, self._clock, self.rentals.changes, self._outside.notify)
        return Platform(
            services=self._services,
            site=self._site,
            routing=self._routing,
            audit=self.audit,
            reconcile=self._reconcile,
            loops=(
                self._reconcile.run,
                self._metering.run,
                self._idling.run,
                self._orphans.run,
                low_balance.run,
                self.audit.run,
                self.commands.run,
                self._watchdog.run,
                *(self._transit.loops if self._transit else ()),
            ),
        )

    def _fresh(self) -> bool:
        return self._view.connected

    def _cut(self, pod_id: str, reason: str) -> None:
        """Do what is to be done at once when a rental has ended, or its key has."""
        self._outside.cut(pod_id, reason)
        if self._transit is not None:
            # It may have been the account's last one.
            self._transit.sweep.wanted.set()

    # People and their money.

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(self._db, self._clock, secret=self._secret)

    @cached_property
    def _accounts(self) -> Accounts:
        return Accounts(
            self._db,
            self._clock,
            trial_credits=self._config.trial_credits,
            quota_gpus=self._config.quota_gpus,
            quota_cpu_pods=self._config.quota_cpu_pods,
        )

    @cached_property
    def _metering(self) -> Metering:
        ended, steps = self.rentals.on_ended, self.rentals.steps
        return Metering(self._db, self._clock, ended, steps=steps, may_charge=self._fresh)

    # Rentals and their pods.

    @cached_property
    def _catalog(self) -> Catalog:
        return Catalog(self._view, self._config.gpu)

    @cached_property
    def rentals(self) -> Rentals:
        return Rentals(
            self._db,
            self._clock,
            self._cluster,
            self._catalog,
            self._tokens,
            self._settings,
            self._cut,
        )

    @cached_property
    def _reconcile(self) -> Reconcile:
        installation = self._settings.installation
        return Reconcile(
            self._db,
            self._clock,
            self._cluster,
            self._view,
            self.rentals,
            installation=installation.id,
            lost_reason=self._outside.lost_reason,
            placement=installation.placement,
            life=self._config.rentals,
        )

    @cached_property
    def _idling(self) -> Idling:
        return Idling(
            self._db,
            self._clock,
            self.rentals,
            self._executor,
            self._cluster.namespace,
            self._config.rentals,
            # Only then is it known which time was idle.
            fresh=lambda: self._metering.current,
        )

    # SSH sessions.

    @cached_property
    def _routing(self) -> Routing:
        return Routing(
            self.rentals,
            self._accounts,
            self.audit,
            self._clock,
            self._cluster.namespace,
            self._config.rentals,
            self._counters,
            self._orphans.left,
        )

    @cached_property
    def audit(self) -> Audit:
        return Audit(
            self._db,
            self._clock,
            kept_days=self._config.ssh.audit_days,
            tell=self.rentals.changes.tell,
            on_lost=self._orphans.look,
        )

    @cached_property
    def _orphans(self) -> Orphans:
        namespace = self._cluster.namespace
        return Orphans(self._db, self._clock, self._executor, namespace, fresh=self._fresh)

    # HTTP.

    @cached_property
    def commands(self) -> Commands:
        return Commands(self._db, self._clock, self._executor, self._cluster.namespace)

    @cached_property
    def _services(self) -> Services:
        config, outside = self._config, self._outside
        told = config.ssh_address(outside.ssh)
        return Services(
            accounts=self._accounts,
            tokens=self._tokens,
            audit=self.audit,
            catalog=self._catalog,
            rentals=self.rentals,
            statements=Statements(self._db),
            history=History(self._db, self.rentals),
            idempotency=Idempotency(self._db, self._clock),
            metrics=Metrics(self._db, self._catalog, self._counters, self._watchdog),
            cluster=self._cluster,
            commands=self.commands,
            core=outside.core,
            host_keys=outside.host_keys,
            clock=self._clock,
            api_base=config.api_base(outside.http),
            ssh_host=told.host,
            ssh_port=told.port,
            namespace=self._cluster.namespace,
            default_image=config.images.default,
            life=config.rentals,
            transit=self._transit,
            http=config.http,
        )

    @cached_property
    def _site(self) -> Site:
        settings = self._config.sign_in
        sign_ins = SignIns(
            self._db, self._clock, self._accounts, approved_domains=settings.approved_domains
        )
        provider = Provider(settings.issuer, settings.client_id, settings.client_secret())
        return Site(self._services, sign_ins, provider if settings.issuer else None, settings.name)
