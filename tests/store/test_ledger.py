"""No way past the ledger: its triggers and checks hold whatever the code above does."""

import sqlite3

import pytest

from store import accounts, bills, check, keys, ledger, rentals
from store.db import Connection, Database
from store.ledger import Usage
from store.records import Account, Rental

ACCOUNT = Account("acct_1", "a@example.org", "A", "user", "approved", 4, 4, 0, 1, 1)
RENTAL = Rental(
    pod_id="gpu-rent-1-abcdef",
    account_id="acct_1",
    name="rent",
    image="i",
    gpu_model="rtx4090",
    gpu_count=1,
    cpu="2",
    memory="16Gi",
    ephemeral_storage_gib=100,
    price_per_hour=1000,
    created_at=1,
    last_activity_at=1,
)
HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
async def account(db: Database) -> None:
    async with db.transaction() as tx:
        await accounts.insert(tx, ACCOUNT)
        await rentals.insert(tx, RENTAL)
        await keys.pin(tx, RENTAL.pod_id, "SHA256:abc", "line", 1, 1)


async def top_up(tx: Connection, amount: int) -> None:
    await ledger.add(tx, "acct_1", amount, at=1, kind="topup", who="t", note="")


async def balance(db: Database) -> int:
    async with db.reading() as rx:
        found = await accounts.find(rx, "A@EXAMPLE.org")
        assert found is not None
        assert await check.disagreements(rx) == []
        return found.balance


async def test_a_line_moves_the_balance(db: Database) -> None:
    async with db.transaction() as tx:
        await top_up(tx, 100)
        line = await ledger.add(tx, "acct_1", -30, at=2, kind="correction", who="t", note="")
    assert line.balance_after == 70
    assert await balance(db) == 70


async def test_no_line_takes_a_balance_below_zero(db: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        async with db.transaction() as tx:
            await top_up(tx, 10)
            await top_up(tx, -11)
    assert await balance(db) == 0


async def test_a_usage_line_gains_minutes_and_nothing_else_changes(db: Database) -> None:
    async with db.transaction() as tx:
        await top_up(tx, 100)
        await tx.run("UPDATE rentals SET started_at = ?", (7 * HOUR_MS,))
        await bills.charge(tx, [bills.Charge(RENTAL.pod_id, 0, 3, 50)])
        await ledger.add_usage(tx, [Usage("acct_1", RENTAL.pod_id, 7, 1, -16, 84)], 5)
        await ledger.add_usage(tx, [Usage("acct_1", RENTAL.pod_id, 7, 2, -34, 50)], 6)
    assert await balance(db) == 50
    async with db.reading() as rx:
        usage, _ = await ledger.newest(rx, "acct_1", 10)
    assert (usage.minutes, usage.amount, usage.balance_after, usage.at) == (3, -50, 50, 6)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET amount = amount + 1",
        "UPDATE ledger SET note = 'x' WHERE kind = 'topup'",
        "UPDATE ledger SET amount = 0, minutes = 2 WHERE kind = 'usage'",
        "UPDATE ledger SET hour = 8 WHERE kind = 'usage'",
        "DELETE FROM ledger",
        "UPDATE rentals SET cost = 1",
        "UPDATE rentals SET ended_at = 1",
        "UPDATE rentals SET gone_at = 1",
    ],
)
async def test_history_is_not_rewritten(db: Database, statement: str) -> None:
    async with db.transaction() as tx:
        await top_up(tx, 100)
        await ledger.add_usage(tx, [Usage("acct_1", RENTAL.pod_id, 7, 1, -16, 84)], 5)
    with pytest.raises(sqlite3.IntegrityError):
        async with db.transaction() as tx:
            await tx.run(statement)


async def test_an_unexpected_bill_stops_the_charge(db: Database) -> None:
    with pytest.raises(RuntimeError):
        async with db.transaction() as tx:
            await tx.run("UPDATE rentals SET started_at = 1")
            await bills.charge(tx, [bills.Charge(RENTAL.pod_id, 1, 2, 33)])
