"""Rows of what happened to rentals. Most are written by triggers, with the row that says so."""

from collections.abc import Iterable, Sequence

from store.db import Connection
from store.records import Event, EventKind


async def add(conn: Connection, events: Iterable[tuple[str, int, EventKind, str]]) -> None:
    """Append events that no other row tells of: pod id, time, kind and detail of each."""
    await conn.run_many(
        "INSERT INTO events (pod_id, seq, at, kind, detail)"
        " SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3, ?4 FROM events WHERE pod_id = ?1",
        events,
    )


async def after(conn: Connection, pod_id: str, seq: int, limit: int) -> Sequence[Event]:
    """Return up to `limit` events of a rental that follow number `seq`, oldest first."""
    rows = await conn.rows(
        "SELECT pod_id, seq, at, kind, detail, session_id FROM events"
        " WHERE pod_id = ? AND seq > ? ORDER BY seq LIMIT ?",
        (pod_id, seq, limit),
    )
    return [Event(*row) for row in rows]


async def last(conn: Connection, pod_id: str, kind: EventKind) -> Event | None:
    """Return a rental's newest event of a kind."""
    row = await conn.row(
        "SELECT pod_id, seq, at, kind, detail, session_id FROM events"
        " WHERE pod_id = ? AND kind = ? ORDER BY seq DESC LIMIT 1",
        (pod_id, kind),
    )
    return None if row is None else Event(*row)


async def newest(conn: Connection, pod_id: str, limit: int) -> Sequence[Event]:
    """Return a rental's last events, newest first."""
    rows = await conn.rows(
        "SELECT pod_id, seq, at, kind, detail, session_id FROM events"
        " WHERE pod_id = ? ORDER BY seq DESC LIMIT ?",
        (pod_id, limit),
    )
    return [Event(*row) for row in rows]


async def mark(conn: Connection, account_id: str) -> int:
    """Return a number that grows with every event of the account's live rentals."""
    row = await conn.row(
        "SELECT coalesce(sum((SELECT max(seq) FROM events e WHERE e.pod_id = r.pod_id)), 0) AS mark"
        " FROM rentals r WHERE account_id = ? AND ended_at IS NULL",
        (account_id,),
    )
    assert row is not None
    return int(row["mark"])


async def forget(conn: Connection, before: int, limit: int) -> int:
    """Delete up to `limit` events of rentals that ended before a time; return how many.

    How a rental began and ended stays.
    """
    # By rental: old ones have two events left each, the others have most of all.
    return await conn.run(
        "DELETE FROM events WHERE (pod_id, seq) IN (SELECT pod_id, seq FROM rentals"
        " CROSS JOIN events USING (pod_id)"
        " WHERE ended_at < ? AND kind NOT IN ('created', 'ended') LIMIT ?)",
        (before, limit),
    )
