"""A whole platform in one process: real store, real client, a cluster, a clock set by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from kgpud.accounts import Accounts
from kgpud.catalog import Catalog
from kgpud.clock import Clock
from kgpud.cluster.client import Cluster
from kgpud.cluster.manifests import Installation
from kgpud.cluster.view import ClusterView
from kgpud.life_settings import Life
from kgpud.metering import Metering
from kgpud.reconcile import Reconcile
from kgpud.rentals import Rentals, RentRequest, RentSettings
from kgpud.tokens import Tokens, load_or_create_secret
from store import check, installation
from store.db import Database
from store.records import Account, Rental


@dataclass(frozen=True)
class Price:
    price_per_hour: int
    hardware: str = ""


CLASSES = {"rtx4090": Price(1000), "v100": Price(600), "titan": Price(100)}


def allowed(image: str) -> bool:
    return not image.startswith("evil.example/")


@dataclass
class World:
    db: Database
    clock: Clock
    cluster: Cluster
    view: ClusterView
    catalog: Catalog
    tokens: Tokens
    accounts: Accounts
    rentals: Rentals
    metering: Metering
    reconcile: Reconcile
    cuts: list[tuple[str, str]]

    async def account(self, email: str = "a@example.org", credits_: int = 100_000) -> Account:
        """Return a new approved account with so many credits."""
        account = await self.accounts.add(email, email, who="test")
        await self.accounts.approve(account.account_id, "test")
        change = credits_ - 100_000
        if change:
            await self.accounts.credit(account.account_id, change, who="test", note="")
        return await self.accounts.find(account.account_id)

    async def row(self, pod_id: str) -> Rental:
        """Return a rental, whoever's."""
        async with self.db.reading() as rx:
            rows = await rx.rows("SELECT account_id FROM rentals WHERE pod_id = ?", (pod_id,))
        return await self.rentals.get(rows[0]["account_id"], pod_id)

    async def sound(self) -> None:
        """Assert that every balance and bill agrees with the ledger."""
        async with self.db.reading() as rx:
            assert await check.disagreements(rx) == []


def wish(
    *,
    gpu_model: str = "rtx4090",
    gpu_count: int = 1,
    image: str = "kgpu-pytorch:latest",
    env: dict[str, str] | None = None,
    ssh_pubkey: str | None = None,
) -> RentRequest:
    return RentRequest(
        "rent", image, gpu_model, gpu_count, "1", "1Gi", 1, env=env, ssh_pubkey=ssh_pubkey
    )


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    """Let everything else run until something is true."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - what it waits for is the code under test's own
            await asyncio.sleep(0.001)


@asynccontextmanager
async def platform(
    state: Path,
    kubeconfig: Path,
    clock: Clock,
    *,
    lost_reason: str = "pod_lost",
    life: Life = Life(),
) -> AsyncIterator[World]:
    """Build everything as the daemon does; nothing runs by itself yet."""
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Database.open(state / "kgpud.sqlite3"))
        cluster = await stack.enter_async_context(Cluster.connect(kubeconfig, "kgpu"))
        async with db.transaction() as tx:
            name = await installation.identify(tx, clock.now_ms())
        view = ClusterView()
        catalog = Catalog(view, CLASSES)
        tokens = Tokens(db, clock, secret=load_or_create_secret(state / "secret.key"))
        cuts: list[tuple[str, str]] = []
        preloaded = ("kgpu-pytorch:latest", "bare:latest")
        ours = Installation(name, "http://127.0.0.1:1/v1", 1, preloaded)
        rentals = Rentals(
            db,
            clock,
            cluster,
            catalog,
            tokens,
            RentSettings(ours, allowed),
            lambda pod_id, reason: cuts.append((pod_id, reason)),
        )
        yield World(
            db=db,
            clock=clock,
            cluster=cluster,
            view=view,
            catalog=catalog,
            tokens=tokens,
            accounts=Accounts(db, clock, trial_credits=100_000, quota_gpus=4, quota_cpu_pods=4),
            rentals=rentals,
            metering=Metering(
                db, clock, rentals.on_ended, steps=rentals.steps, may_charge=lambda: view.connected
            ),
            reconcile=Reconcile(
                db,
                clock,
                cluster,
                view,
                rentals,
                installation=name,
                delete_grace_seconds=1,
                lost_reason=lost_reason,
                life=life,
            ),
            cuts=cuts,
        )


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    """Run reconcile meanwhile, from after its first list on."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(world.reconcile.run())
        try:
            async with asyncio.timeout(5):
                await world.reconcile.wait_ready()
            yield world
        finally:
            task.cancel()
