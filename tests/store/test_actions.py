"""No way to change what is on record."""

import sqlite3

import pytest

from store import accounts, actions
from store.db import Database
from store.records import Account, Action

ADD = "INSERT INTO actions (at, who, action, account_id, detail) VALUES "


@pytest.fixture(autouse=True)
async def recorded(db: Database) -> None:
    async with db.transaction() as tx:
        account = Account("acct_1", "a@example.org", "A", "user", "approved", 4, 4, 0, 1, 1)
        await accounts.insert(tx, account)
        await actions.add(tx, "suspended", "cli:root", "acct_1", "x", at=5)


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE actions SET who = 'cli:somebody'",
        "UPDATE actions SET detail = detail",
        "DELETE FROM actions",
        ADD + "(1, 't', 'looked', 'acct_1', '')",
        ADD + "(1, '', 'added', 'acct_1', '')",
        ADD + "(1, 't', 'released', 'acct_1', '')",
        ADD + "(1, 't', 'added', 'nobody', '')",
    ],
)
async def test_a_row_stays_as_it_was_written(db: Database, tampering: str) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        async with db.transaction() as tx:
            await tx.run(tampering)
    async with db.reading() as rx:
        assert await actions.newest(rx, 10) == [
            (Action(1, 5, "cli:root", "suspended", "acct_1", None, "x"), "a@example.org")
        ]
