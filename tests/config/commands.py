"""What tests of commands share: a rental in the store, and what a token opens."""

from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from kgpud.clock import SystemClock
from kgpud.tokens import Tokens, load_or_create_secret
from store import keys, rentals
from store.db import Database
from store.records import Rental

Kgpud = Callable[..., Result]
POD = "gpu-rent-1779745883-ab12cd"


async def add_rental(state: Path, email: str) -> None:
    now = SystemClock().now_ms()
    async with Database.open(state / "kgpud.sqlite3") as db, db.transaction() as tx:
        row = await tx.row("SELECT account_id FROM accounts WHERE email = ?", (email,))
        assert row is not None
        rental = Rental(
            pod_id=POD,
            account_id=row["account_id"],
            name="rent",
            image="kgpu-pytorch:latest",
            gpu_model="rtx4090",
            gpu_count=1,
            cpu="2",
            memory="16Gi",
            ephemeral_storage_gib=100,
            price_per_hour=1000,
            created_at=now - 120_000,
            last_activity_at=now - 120_000,
            started_at=now - 90_000,
        )
        await rentals.insert(tx, rental)
        await rentals.save_observed(tx, [rental])
        await keys.pin(tx, POD, "SHA256:abc", "ssh-ed25519 AAAA", 1, now)


async def whose(state: Path, token: str) -> str:
    secret = load_or_create_secret(state / "secret.key")
    async with Database.open(state / "kgpud.sqlite3") as db:
        return (await Tokens(db, SystemClock(), secret=secret).authenticate(token)).account.email
