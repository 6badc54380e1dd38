"""Bills: what running rentals owe and were charged. What changes one runs in a transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from store.db import Connection

_RUNNING = (
    "SELECT r.pod_id, r.account_id, r.price_per_hour * max(1, r.gpu_count), r.ran_since,"
    " r.charged_minutes, 0, a.balance, r.ran_since - r.started_at"
    " FROM rentals r JOIN accounts a USING (account_id)"
    " WHERE r.ended_at IS NULL AND r.started_at IS NOT NULL AND r.finished_at IS NULL"
)
_DUE = (
    "SELECT r.pod_id, r.account_id, r.price_per_hour * max(1, r.gpu_count), r.ran_since,"
    " r.charged_minutes, min(?1, coalesce(r.finished_at, ?1)), a.balance,"
    " r.ran_since - r.started_at FROM rentals r JOIN accounts a USING (account_id)"
    " WHERE r.ended_at IS NULL AND r.started_at IS NOT NULL"
    " AND r.ran_since + r.charged_minutes * 60000 <= min(?1, coalesce(r.finished_at, ?1))"
)
_SHORT = (
    "SELECT s.account_id FROM rentals s JOIN accounts b USING (account_id)"
    " WHERE s.ended_at IS NULL AND s.started_at IS NOT NULL AND s.finished_at IS NULL"
    " GROUP BY s.account_id HAVING count(s.low_balance_minutes) > 0"
    " OR b.balance * 60 <= ? * sum(s.price_per_hour * max(1, s.gpu_count))"
)


@dataclass(frozen=True, slots=True)
class Due:
    """A running rental some of whose minutes began, by `limit`, without being charged yet.

    `started_at` is on the clock as it is set now; `stepped_ms` is how far that was set since, so
    that the hours of the ledger's lines stay those of the clock as it was set then.
    """

    pod_id: str
    account_id: str
    rate_per_hour: int
    started_at: int
    charged_minutes: int
    limit: int
    balance: int
    stepped_ms: int = 0


@dataclass(frozen=True, slots=True)
class Charge:
    """A rental's charged minutes and cost as they become; `minutes_before` is compared first."""

    pod_id: str
    minutes_before: int
    minutes: int
    cost: int


async def burn_per_hour(conn: Connection, account_id: str) -> int:
    """Return what the account's running rentals cost per hour together."""
    return sum(one.rate_per_hour for one in await running(conn, account_id))


async def running(conn: Connection, account_id: str | None = None) -> list[Due]:
    """Return an account's running rentals, everybody's if None, however much of them is charged.

    Their `limit` means nothing.
    """
    # Not `? IS NULL OR …`, which would use no index.
    whose, values = ("", ()) if account_id is None else (" AND r.account_id = ?", (account_id,))
    return [Due(*row) for row in await conn.rows(_RUNNING + whose, values)]


async def short(conn: Connection, minutes: int) -> list[Due]:
    """Return the running rentals of accounts that can't pay all of theirs for so much longer.

    And of those that were told so before. Their `limit` means nothing.
    """
    sql = f"{_RUNNING} AND r.account_id IN ({_SHORT})"
    return [Due(*row) for row in await conn.rows(sql, (minutes,))]


async def low_balances(conn: Connection) -> dict[str, int]:
    """Return of each live rental that was told of a low balance, how many minutes it was told."""
    rows = await conn.rows(
        "SELECT pod_id, low_balance_minutes FROM rentals"
        " WHERE ended_at IS NULL AND low_balance_minutes IS NOT NULL"
    )
    return {row["pod_id"]: row["low_balance_minutes"] for row in rows}


async def save_low_balance(conn: Connection, told: Iterable[tuple[str, int | None]]) -> None:
    """Note what rentals are told of their balance: pairs of id and minutes."""
    await conn.run_many("UPDATE rentals SET low_balance_minutes = ?2 WHERE pod_id = ?1", told)


async def next_due(conn: Connection) -> int | None:
    """Return when the first minute begins, or began, that no live rental was charged for yet."""
    row = await conn.row(
        "SELECT min(r.ran_since + r.charged_minutes * 60000) AS at FROM rentals r"
        " WHERE r.ended_at IS NULL AND r.started_at IS NOT NULL"
        " AND r.ran_since + r.charged_minutes * 60000 <= coalesce(r.finished_at, 1 << 62)"
    )
    assert row is not None
    return None if row["at"] is None else int(row["at"])


async def due(conn: Connection, now: int, pod_id: str | None = None) -> list[Due]:
    """Return every live rental, or the one named, with minutes begun by `now` and not charged."""
    which, values = ("", (now,)) if pod_id is None else (" AND r.pod_id = ?2", (now, pod_id))
    return [Due(*row) for row in await conn.rows(_DUE + which, values)]


async def charge(conn: Connection, charges: Sequence[Charge]) -> None:
    """Write bills by compare-and-set; an ended rental's only shrinks.

    Raises RuntimeError where a bill was not as expected.
    """
    changed = await conn.run_many(
        "UPDATE rentals SET charged_minutes = ?1, cost = ?2 WHERE pod_id = ?3"
        " AND charged_minutes = ?4 AND (ended_at IS NULL OR ?1 < charged_minutes)",
        [(c.minutes, c.cost, c.pod_id, c.minutes_before) for c in charges],
    )
    if charges and changed != len(charges):
        raise RuntimeError(f"{len(charges) - changed} bills changed under a transaction")
