"""Rows of the ledger. Writing a line is the only way to move a balance (see the triggers)."""

from dataclasses import dataclass

from store.db import Connection, Row
from store.records import LedgerKind, LedgerLine


@dataclass(frozen=True)
class Usage:
    """Minutes of one rental that began in one UTC hour; `amount` is what they cost, negated."""

    account_id: str
    pod_id: str
    hour: int
    minutes: int
    amount: int
    balance_after: int


async def add(
    conn: Connection,
    account_id: str,
    amount: int,
    *,
    at: int,
    kind: LedgerKind,
    who: str,
    note: str,
    pod_id: str | None = None,
    minutes: int | None = None,
) -> LedgerLine:
    """Append a line (anything but usage) and with it move the account's balance.

    The caller has seen to it, in the same transaction, that the balance stays at or above 0.
    """
    row = await conn.row(
        "INSERT INTO ledger"
        " (account_id, at, kind, amount, balance_after, pod_id, minutes, who, note)"
        " SELECT account_id, ?, ?, ?, balance + ?, ?, ?, ?, ? FROM accounts WHERE account_id = ?"
        " RETURNING *",
        (at, kind, amount, amount, pod_id, minutes, who, note, account_id),
    )
    assert row is not None, "the account was read in this transaction"
    return from_row(row)


async def add_usage(conn: Connection, usage: list[Usage], at: int) -> None:
    """Add minutes to their rentals' and hours' lines, in the order given."""
    await conn.run_many(
        "INSERT INTO ledger"
        " (account_id, at, kind, amount, balance_after, pod_id, hour, minutes, who, note)"
        " VALUES (?, ?, 'usage', ?, ?, ?, ?, ?, 'metering', '')"
        " ON CONFLICT (pod_id, hour) WHERE kind = 'usage' DO UPDATE SET at = excluded.at,"
        " amount = amount + excluded.amount, minutes = minutes + excluded.minutes,"
        " balance_after = excluded.balance_after",
        [(u.account_id, at, u.amount, u.balance_after, u.pod_id, u.hour, u.minutes) for u in usage],
    )


async def newest(conn: Connection, account_id: str, limit: int) -> list[LedgerLine]:
    """Return the account's lines, newest first."""
    rows = await conn.rows(
        "SELECT * FROM ledger WHERE account_id = ? ORDER BY id DESC LIMIT ?", (account_id, limit)
    )
    return [from_row(row) for row in rows]


def from_row(row: Row) -> LedgerLine:
    """Read a line from a row that has all its columns."""
    return LedgerLine(
        id=row["id"],
        account_id=row["account_id"],
        at=row["at"],
        kind=row["kind"],
        amount=row["amount"],
        balance_after=row["balance_after"],
        pod_id=row["pod_id"],
        hour=row["hour"],
        minutes=row["minutes"],
        who=row["who"],
        note=row["note"],
    )
