"""What a handler is given: the services, who calls, and the checked body."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic

from typing_extensions import TypeVar

from gateway.hostkeys import HostKeys
from gateway.protocols import Core
from kgpud.accounts import Accounts
from kgpud.audit import Audit
from kgpud.catalog import Catalog
from kgpud.clock import Clock
from kgpud.cluster.client import Cluster
from kgpud.commands import Commands
from kgpud.errors import Code, UserError
from kgpud.history import History
from kgpud.http_settings import Http
from kgpud.idempotency import HEADER, Idempotency, Once
from kgpud.life_settings import Life
from kgpud.metrics import Metrics
from kgpud.objects.opening import Transit
from kgpud.rentals import Rentals
from kgpud.rest.auth import Admit
from kgpud.rest.limits import Semaphores, Slots
from kgpud.rest.shapes.base import Body, Query
from kgpud.statements import Statements
from kgpud.tokens import Caller, Tokens
from store.records import Account

# Of one account: some are long, and may take their time.
_BODIES_AT_ONCE = 16

B = TypeVar("B", bound=Body | None, default=None)
Q = TypeVar("Q", bound=Query, default=Query)


@dataclass(frozen=True)
class Services:
    """Everything that the API stands on.

    `api_base` ends in ``/v1``; `ssh_host` and `ssh_port` are what users are told; `namespace` is
    where pods live; `default_image` is for rentals that name none. `core` is what the bastion asks
    too. `transit` is None where there is no object store.
    """

    accounts: Accounts
    tokens: Tokens
    audit: Audit
    catalog: Catalog
    rentals: Rentals
    statements: Statements
    history: History
    idempotency: Idempotency
    metrics: Metrics
    cluster: Cluster
    commands: Commands
    core: Core
    host_keys: HostKeys
    clock: Clock
    api_base: str
    ssh_host: str
    ssh_port: int
    namespace: str
    default_image: str
    life: Life = Life()
    transit: Transit | None = None
    http: Http = Http()
    bodies: Semaphores = field(default_factory=lambda: Semaphores(_BODIES_AT_ONCE))

    @cached_property
    def execs(self) -> Slots:
        """The commands that run in each pod."""
        busy = "commands run in this pod already; wait for one, or use ssh"
        return Slots(self.http.execs_per_pod, Code.TOO_MANY_EXECS, busy)

    @cached_property
    def streams(self) -> Slots:
        """The streams that each account, and each pod, has open, and its calls that wait."""
        busy = "streams are open, or calls wait, already; close one first"
        return Slots(self.http.streams_per_account, Code.RATE_LIMITED, busy)


@dataclass(frozen=True)
class Call(Generic[B, Q]):
    """One request that passed its route's checks.

    `path` holds the path's parameters, `headers` those of the route's headers that were sent,
    `operation` its route's method and path.
    A handler calls `lasts` when it needs no store from there on, and may take long: it may outlive
    the services then, and only `core` goes on.
    `admit` raises UserError once the caller may not call any more.
    """

    services: Services
    caller: Caller | None
    path: Mapping[str, str]
    query: Q
    body: B
    headers: Mapping[str, str]
    lasts: Callable[[], None]
    admit: Admit
    operation: str

    @property
    def account(self) -> Account:
        """The account that calls. Raises UserError on a public route, which has none."""
        if self.caller is None:
            raise UserError(Code.INVALID_TOKEN, "this call needs a token")
        return self.caller.account

    @property
    def who(self) -> str:
        """Who calls, as the ledger and the audit trail say it: ``api:ada@example.org``."""
        return f"api:{self.account.email}"

    @property
    def pod_id(self) -> str:
        """The pod that the path names."""
        return self.path["pod_id"]

    def lasting(self) -> AbstractContextManager[None]:
        """Count the call among those of its caller that last, while the block runs. RATE_LIMITED.

        So are streams, which have no end that is known, and calls that wait for something.
        """
        return self.services.streams.taken("" if self.caller is None else self.caller.counted)

    def once(self) -> AbstractAsyncContextManager[Once]:
        """Do the call in the block, unless its Idempotency-Key says that it was done before."""
        body = self.body.model_dump_json() if self.body is not None else ""
        # Bodies may hold secrets, as env does: what was asked is only ever compared.
        asked = hashlib.sha256(f"{self.operation}\n{body}".encode()).digest()
        key = self.headers.get(HEADER)
        return self.services.idempotency.once(self.account.account_id, key, asked)
