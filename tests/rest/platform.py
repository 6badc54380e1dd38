"""What the daemon wires, less the bastion, with the few moves that tests make on it."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from gateway.executor import Executor
from gateway.hostkeys import HostKeys
from kgpud.accounts import Accounts
from kgpud.audit import Audit
from kgpud.catalog import Catalog
from kgpud.catalog_settings import Images
from kgpud.clock import SystemClock
from kgpud.cluster.client import Cluster
from kgpud.cluster.manifests import Installation
from kgpud.cluster.view import ClusterView
from kgpud.commands import Commands
from kgpud.config import Config
from kgpud.history import History
from kgpud.http_settings import Http
from kgpud.idempotency import Idempotency
from kgpud.metrics import Counters, Metrics
from kgpud.reconcile import Reconcile
from kgpud.rentals import Rentals, RentSettings
from kgpud.rest.app import Services, build
from kgpud.rest.server import Runner
from kgpud.routing import Routing
from kgpud.statements import Statements
from kgpud.tokens import Tokens
from kgpud.watchdog import Watchdog
from store import installation
from store.db import Database

from .client import Api, Reply

NAMESPACE = "kgpu"
_IMAGES = ("kgpu-pytorch:latest", "bare:latest")
SSH_HOST, SSH_PORT = "ssh.example.org", 2222


@dataclass(frozen=True)
class User:
    account_id: str
    email: str
    token: str


@dataclass
class Platform:
    db: Database
    accounts: Accounts
    tokens: Tokens
    cluster: Cluster
    rentals: Rentals
    services: Services
    api: Api
    port: int
    _users: dict[str, User] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def on(
        cls, kubeconfig: Path, state: Path, http: Http = Http()
    ) -> AsyncIterator["Platform"]:
        async with AsyncExitStack() as stack:
            platform = await cls._built(
                stack, Config(state=state, http=http, images=Images(local=_IMAGES)), kubeconfig
            )
            yield platform
            await platform.clear_cluster()

    @classmethod
    async def _built(cls, stack: AsyncExitStack, config: Config, kubeconfig: Path) -> "Platform":
        clock, state = SystemClock(), config.state
        db = await stack.enter_async_context(Database.open(state / "kgpud.sqlite3"))
        async with db.transaction() as tx:
            ours = await installation.identify(tx, clock.now_ms())
        cluster = await stack.enter_async_context(Cluster.connect(kubeconfig, NAMESPACE))
        view = ClusterView()
        catalog = Catalog(view, config.gpu)
        tokens = Tokens(db, clock, secret=os.urandom(32))
        accounts = Accounts(
            db, clock, trial_credits=config.trial_credits, quota_gpus=4, quota_cpu_pods=4
        )
        settings = RentSettings(Installation(ours, "http://127.0.0.1/v1"), config.images.allows)
        rentals = Rentals(db, clock, cluster, catalog, tokens, settings, lambda _pod, _reason: None)
        audit = Audit(db, clock, kept_days=1)
        reconcile = Reconcile(
            db, clock, cluster, view, rentals, installation=ours, delete_grace_seconds=0
        )
        running = asyncio.get_running_loop().create_task(reconcile.run())
        stack.push_async_callback(_stopped, running)
        async with asyncio.timeout(5):
            await reconcile.wait_ready()
        # Bound before the services are built: what they tell has the port in it.
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        root = f"http://127.0.0.1:{port}"
        counters = Counters()
        services = Services(
            accounts=accounts,
            tokens=tokens,
            audit=Audit(db, clock, kept_days=1),
            catalog=catalog,
            rentals=rentals,
            statements=Statements(db),
            core=Routing(rentals, accounts, audit, clock, NAMESPACE, config.rentals, counters),
            metrics=Metrics(db, catalog, counters, Watchdog()),
            history=History(db, rentals),
            idempotency=Idempotency(db, clock),
            cluster=cluster,
            commands=Commands(db, clock, Executor(cluster), NAMESPACE),
            host_keys=HostKeys(state / "ssh_host_ed25519_key"),
            clock=clock,
            api_base=f"{root}/v1",
            ssh_host=SSH_HOST,
            ssh_port=SSH_PORT,
            namespace=NAMESPACE,
            default_image=config.images.default,
            http=config.http,
        )
        runner = Runner(build(services), shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listening).start()
        session = await stack.enter_async_context(aiohttp.ClientSession())
        return cls(db, accounts, tokens, cluster, rentals, services, Api(session, root), port)

    @property
    def ssh_access(self) -> dict[str, Any]:
        return {"ssh_host": SSH_HOST, "ssh_port": SSH_PORT, "ssh_user": "kgpu"}

    async def user(
        self,
        *,
        approved: bool = True,
        credits_left: int = 100_000,
        email: str | None = None,
    ) -> User:
        email = email or f"user{len(self._users)}@example.org"
        if email in self._users:
            return self._users[email]
        account = await self.accounts.add(email, "Test", who="test")
        if approved:
            await self.accounts.approve(email, "test")
            if credits_left != 100_000:
                await self.accounts.credit(email, credits_left - 100_000, who="test", note="test")
        token = await self.tokens.issue(account.account_id)
        self._users[email] = User(account.account_id, email, token)
        return self._users[email]

    async def rent(self, user: User, **body: Any) -> str:
        body.setdefault("gpu_count", 0)
        reply = await self.api.call("POST", "/v1/pods", token=user.token, body=body)
        assert reply.status == 200, reply.body
        return str(reply.body["pod_id"])

    async def show(self, user: User, pod_id: str) -> Any:
        return (await self.api.call("GET", f"/v1/pods/{pod_id}", token=user.token)).body

    async def ready(self, user: User, pod_id: str) -> Any:
        async with asyncio.timeout(10):
            while not (pod := await self.show(user, pod_id))["ready"]:
                assert pod["phase"] in ("Pending", "Running"), pod
                await asyncio.sleep(0.02)
        return pod

    async def exec(self, user: User, pod_id: str, cmd: list[str], **more: Any) -> Reply:
        body = {"cmd": cmd, **more}
        path = f"/v1/pods/{pod_id}/exec"
        return await self.api.call("POST", path, token=user.token, body=body)

    async def check_nothing_came_of_it(self, user: User, credits_left: int = 100_000) -> None:
        listed = await self.api.call("GET", "/v1/pods", token=user.token)
        assert listed.body == []
        balance = await self.api.call("GET", "/v1/balance", token=user.token)
        assert balance.body["credits"] == credits_left

    async def break_the_database(self) -> None:
        async with self.db.transaction() as tx:
            await tx.run("DROP TABLE tokens")

    async def clear_cluster(self) -> None:
        async with asyncio.timeout(10):
            while names := [p["metadata"]["name"] for p in (await self.cluster.list_pods()).items]:
                for name in names:
                    await self.cluster.delete_pod(name, 0)
                    await self.cluster.delete_secret(name)
                await asyncio.sleep(0.02)


async def _stopped(task: "asyncio.Task[None]") -> None:
    assert not task.done(), task
    task.cancel()
    await asyncio.wait([task])
