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


@dataclass(frozen=True)
class Days:
    """Which days of usage a list is of, counted since the epoch, both included; None for any.

    `before` is a day and rental that the list goes on after.
    """

    since: int | None
    until: int | None
    before: tuple[int, str] | None
    limit: int


@dataclass(frozen=True)
class DayUsage:
    """What a rental used on one UTC day, counted since the epoch.

    A minute belongs to the day in which it began, a refund to the day on which it was given.
    """

    day: int
    pod_id: str
    name: str
    gpu_model: str
    gpu_count: int
    minutes: int
    credits: int
    refunded_minutes: int
    refunded_credits: int


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


async def newest(
    conn: Connection, account_id: str, limit: int, before: int | None = None
) -> list[LedgerLine]:
    """Return the account's lines, newest first; those older than line `before` if that is given.

    Ids never change: a usage line that gains minutes keeps its place.
    """
    rows = await conn.rows(
        "SELECT * FROM ledger WHERE account_id = ?1 AND (?2 IS NULL OR id < ?2)"
        " ORDER BY id DESC LIMIT ?3",
        (account_id, before, limit),
    )
    return [from_row(row) for row in rows]


async def decided(conn: Connection, limit: int) -> list[tuple[LedgerLine, str]]:
    """Return the newest lines that people are behind, each with its account's e-mail address.

    They are among the last 100,000 of all: no index leads to them.
    """
    rows = await conn.rows(
        "SELECT l.*, a.email FROM ledger l JOIN accounts a USING (account_id)"
        " WHERE l.id > (SELECT max(id) FROM ledger) - 100000"
        " AND l.kind IN ('trial', 'topup', 'correction') ORDER BY l.id DESC LIMIT ?",
        (limit,),
    )
    return [(from_row(row), row["email"]) for row in rows]


async def daily(conn: Connection, account_id: str, which: Days) -> list[DayUsage]:
    """Return what each rental used on each UTC day: newest day first, then by id, descending."""
    rows = await conn.rows(
        "SELECT u.day, u.pod_id, r.name, r.gpu_model, r.gpu_count, u.minutes, u.credits,"
        " u.refunded_minutes, u.refunded_credits FROM ("
        " SELECT CASE kind WHEN 'usage' THEN hour / 24 ELSE at / 86400000 END AS day, pod_id,"
        " sum(CASE kind WHEN 'usage' THEN minutes ELSE 0 END) AS minutes,"
        " sum(CASE kind WHEN 'usage' THEN -amount ELSE 0 END) AS credits,"
        " sum(CASE kind WHEN 'refund' THEN minutes ELSE 0 END) AS refunded_minutes,"
        " sum(CASE kind WHEN 'refund' THEN amount ELSE 0 END) AS refunded_credits"
        " FROM ledger WHERE account_id = ?1 AND kind IN ('usage', 'refund')"
        " GROUP BY day, pod_id) u JOIN rentals r USING (pod_id)"
        " WHERE (?2 IS NULL OR u.day >= ?2) AND (?3 IS NULL OR u.day <= ?3)"
        " AND (?4 IS NULL OR (u.day, u.pod_id) < (?4, ?5))"
        " ORDER BY u.day DESC, u.pod_id DESC LIMIT ?6",
        (account_id, which.since, which.until, *(which.before or (None, None)), which.limit),
    )
    return [DayUsage(*row) for row in rows]


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
