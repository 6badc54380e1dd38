"""The proof fails where any one number is wrong, whatever the triggers would have prevented."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from store import accounts, bills, check, keys, ledger, migrate, rentals
from store.db import Connection, Database
from store.ledger import Usage
from store.records import Account, Rental

HOUR_MS = 3_600_000
START = 7 * HOUR_MS - 60_000  # a minute before hour 7
ACCOUNT = Account("acct_1", "a@example.org", "A", "user", "approved", 4, 4, 0, 1, 1)


def rental(pod_id: str) -> Rental:
    return Rental(pod_id, "acct_1", "r", "i", "v100", 2, "1", "1Gi", 1, 500, START, START)


async def bill(tx: Connection, pod_id: str, balance: int) -> int:
    """Charge 3 minutes of a rental at 1000 an hour: 16 + 17 + 17, the first in hour 6."""
    await rentals.insert(tx, rental(pod_id))
    await keys.pin(tx, pod_id, f"SHA256:{pod_id}", "line", 1, START)
    await tx.run("UPDATE rentals SET started_at = ? WHERE pod_id = ?", (START, pod_id))
    await bills.charge(tx, [bills.Charge(pod_id, 0, 3, 50)])
    lines = [
        Usage("acct_1", pod_id, 6, 1, -16, balance - 16),
        Usage("acct_1", pod_id, 7, 2, -34, balance - 50),
    ]
    await ledger.add_usage(tx, lines, START + 130_000)
    return balance - 50


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A store with a live, a returned and a lost rental, all in order."""
    store = tmp_path / "kgpud.sqlite3"
    async with Database.open(store) as db, db.transaction() as tx:
        await accounts.insert(tx, ACCOUNT)
        await accounts.insert(tx, Account("acct_2", "b", "B", "user", "pending", 4, 4, 0, 1, None))
        await tx.run("UPDATE accounts SET approved_at = 1 WHERE account_id = 'acct_1'")
        await ledger.add(tx, "acct_1", 1000, at=1, kind="trial", who="t", note="")
        left = await bill(tx, "live", 1000)
        left = await bill(tx, "back", left)
        left = await bill(tx, "lost", left)
        await ledger.add(
            tx, "acct_1", 17, at=1, kind="refund", who="t", note="", pod_id="lost", minutes=1
        )
        await bills.charge(tx, [bills.Charge("lost", 3, 2, 33)])
        at = START + 130_000
        await rentals.end(tx, [rentals.End("back", at, "returned")], at)
        await rentals.end(tx, [rentals.End("lost", at, "node_lost")], at)
    return store


async def said(path: Path) -> list[str]:
    async with Database.snapshot(path) as rx:
        return await check.damage(rx) + await check.disagreements(rx)


async def test_what_is_in_order_agrees(path: Path) -> None:
    assert await said(path) == []
    async with Database.snapshot(path) as rx:
        assert await check.extent(rx) == "2 accounts, 3 rentals, 8 ledger lines"


LINE = (
    "INSERT INTO ledger (account_id, at, kind, amount, balance_after, pod_id, hour, minutes, who,"
)
LINE += " note) VALUES "
ACTION = "INSERT INTO actions (at, who, action, account_id, pod_id, detail) VALUES "


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("UPDATE accounts SET balance = balance + 1", "account acct_1: balance 868, ledger 867"),
        ("UPDATE accounts SET balance = balance - 868", "account acct_1: balance -1, ledger 867"),
        (
            "UPDATE ledger SET balance_after = 9999 WHERE kind = 'refund'",
            "account acct_1: balance 867, but no ledger line says so",
        ),
        (LINE + "('acct_2', 1, 'trial', 5, 5, NULL, NULL, NULL, '', '')", "never approved"),
        (LINE + "('acct_1', 1, 'trial', 5, 872, NULL, NULL, NULL, '', '')", "2 trial lines"),
        (
            "UPDATE ledger SET account_id = 'acct_2' WHERE id = 2",
            "ledger line 2: of account acct_2, but rental live is of acct_1",
        ),
        (
            "UPDATE rentals SET cost = 51 WHERE pod_id = 'live'",
            "rental live: cost 51 for 3 min, ledger 50 for 3 min, at 1000 an hour",
        ),
        (
            "UPDATE rentals SET charged_minutes = 4, cost = 66 WHERE pod_id = 'live'",
            "rental live: cost 66 for 4 min, ledger 50 for 3 min",
        ),
        (
            "UPDATE ledger SET minutes = minutes + 1 - 2 * (hour - 6) WHERE pod_id = 'live'",
            "ledger line 2: 2 min for 16 of rental live, should be 1 min for 16",
        ),
        (
            "UPDATE ledger SET amount = amount - 1 + 2 * (hour - 6) WHERE pod_id = 'live'",
            "ledger line 3: 2 min for 33 of rental live, should be 2 min for 34",
        ),
        (
            "UPDATE ledger SET hour = hour - 1 WHERE pod_id = 'live'",
            "ledger line 2: 1 min for 16 of rental live, should be 0 min for 0",
        ),
        ("UPDATE rentals SET started_at = NULL WHERE pod_id = 'live'", "which never ran"),
        (
            "UPDATE rentals SET ended_at = ended_at + 60000 WHERE pod_id = 'back'",
            "rental back: charged 3 min of 4 (returned)",
        ),
        (
            "UPDATE rentals SET end_reason = 'out_of_credits' WHERE pod_id = 'back'",
            "rental back: charged 3 min of 3 (out_of_credits)",
        ),
        (
            "UPDATE rentals SET end_reason = 'returned' WHERE pod_id = 'lost'",
            "rental lost: charged 2 min of 3 (returned)",
        ),
        (
            "UPDATE rentals SET finished_at = started_at - 1 WHERE pod_id = 'live'",
            "rental live: created at",
        ),
        ("UPDATE keys SET retired_at = 1", "rental live: 0 live keys, of generation -"),
        ("UPDATE keys SET retired_at = NULL", "rental back: 1 live keys"),
        (
            "UPDATE rentals SET key_generation = 2 WHERE pod_id = 'live'",
            "rental live: 1 live keys, of generation 1, should be 2",
        ),
        (
            ACTION + "(1, 't', 'released', 'acct_2', 'back', '')",
            "action 1: released rental back of acct_2, which is of acct_1",
        ),
        (
            ACTION + "(1, 't', 'released', 'acct_1', 'live', '')",
            "action 1: released rental live of acct_1, which is of acct_1 and live",
        ),
        ("UPDATE keys SET pod_id = 'nobody' WHERE pod_id = 'back'", "keys row 2: refers to no row"),
    ],
)
async def test_any_wrong_number_is_found(path: Path, damage: str, sentence: str) -> None:
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA ignore_check_constraints = ON")
        raw.execute("DROP INDEX ledger_one_trial")
        for trigger in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            raw.execute(f"DROP TRIGGER {trigger[0]}")
        raw.execute(damage)
        raw.commit()
    wrong = await said(path)
    assert any(sentence in line for line in wrong), wrong


async def test_a_broken_page_is_found(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-4096, 2)
        file.write(b"\xff" * 4096)
    async with Database.snapshot(path) as rx:
        assert await check.damage(rx) != []


async def test_a_snapshot_stands_still_and_changes_nothing(path: Path) -> None:
    async with Database.open(path) as db, Database.snapshot(path) as rx:
        async with db.transaction() as tx:
            await ledger.add(tx, "acct_1", 1, at=1, kind="topup", who="t", note="")
        assert await check.extent(rx) == "2 accounts, 3 rentals, 8 ledger lines"
        with pytest.raises(Exception, match="readonly"):
            await rx.run("DELETE FROM accounts")


async def test_only_a_store_of_this_version_is_proven(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite3"
    for version, refusal in ((1, migrate.TooOld), (999, migrate.TooNew)):
        with closing(sqlite3.connect(path)) as raw:
            raw.execute(f"PRAGMA user_version = {version}")
        with pytest.raises(refusal):
            async with Database.snapshot(path):
                pass
