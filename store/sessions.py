"""Rows of SSH sessions, for whoever must answer later who was in which pod."""

import json
from collections.abc import Iterable, Sequence

from store.conditions import where
from store.db import Connection, Row
from store.records import Session, SessionEnd


async def insert(conn: Connection, sessions: Iterable[Session]) -> None:
    """Add sessions that began. One that is there already stays as it is."""
    await conn.run_many(
        "INSERT OR IGNORE INTO sessions (session_id, pod_id, generation, fingerprint, peer,"
        " client, kind, opened_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                s.session_id,
                s.pod_id,
                s.generation,
                s.fingerprint,
                s.peer,
                s.client,
                s.kind,
                s.opened_at,
            )
            for s in sessions
        ],
    )


async def close(conn: Connection, ends: Iterable[SessionEnd]) -> None:
    """Write how sessions ended. What is closed already stays as it is."""
    await conn.run_many(
        "UPDATE sessions SET closed_at = max(opened_at, ?), bytes_in = ?, bytes_out = ?,"
        " exit_status = ?, reason = ? WHERE session_id = ? AND closed_at IS NULL",
        [
            (e.closed_at, e.bytes_in, e.bytes_out, e.exit_status, e.reason, e.session_id)
            for e in ends
        ],
    )


async def pods_of(conn: Connection, session_ids: Iterable[str]) -> list[str]:
    """Return the ids of the rentals that these sessions are of."""
    rows = await conn.rows(
        "SELECT DISTINCT pod_id FROM sessions WHERE session_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(session_ids)),),
    )
    return [str(row["pod_id"]) for row in rows]


async def open_ones(conn: Connection) -> set[str]:
    """Return the ids of those that are open."""
    rows = await conn.rows("SELECT session_id FROM sessions WHERE closed_at IS NULL")
    return {str(row["session_id"]) for row in rows}


async def lost(conn: Connection, reason: str, since: int) -> dict[str, str]:
    """Return the sessions of live rentals that ended so since a time, each with its rental's id."""
    rows = await conn.rows(
        "SELECT s.session_id, s.pod_id FROM rentals r CROSS JOIN sessions s USING (pod_id)"
        " WHERE r.ended_at IS NULL AND s.reason = ? AND s.closed_at >= ?",
        (reason, since),
    )
    return {str(row["session_id"]): str(row["pod_id"]) for row in rows}


async def forget(conn: Connection, before: int, limit: int) -> int:
    """Delete up to `limit` closed sessions that began before a time; return how many."""
    return await conn.run(
        "DELETE FROM sessions WHERE session_id IN (SELECT session_id FROM sessions"
        " WHERE opened_at < ? AND closed_at IS NOT NULL LIMIT ?)",
        (before, limit),
    )


async def newest(
    conn: Connection,
    limit: int,
    *,
    pod_id: str | None = None,
    account_id: str | None = None,
    only_open: bool = False,
    before: tuple[int, str] | None = None,
) -> Sequence[tuple[Session, str]]:
    """Return sessions, newest first, each with its account's e-mail address.

    `before` is the opening time and id of the session that they come after in the list.
    """
    asked, values = where(
        {
            "s.pod_id = ?": (pod_id,),
            "r.account_id = ?": (account_id,),
            "s.closed_at IS NULL": () if only_open else (None,),
            "(s.opened_at, s.session_id) < (?, ?)": before or (None,),
        }
    )
    # Few are open, however many there are.
    among = "sessions s INDEXED BY sessions_open" if only_open else "sessions s"
    rows = await conn.rows(
        f"SELECT s.*, a.email FROM {among}"  # noqa: S608 - no value is in it
        f" JOIN rentals r USING (pod_id) JOIN accounts a USING (account_id){asked}"
        " ORDER BY s.opened_at DESC, s.session_id DESC LIMIT ?",
        [*values, limit],
    )
    return [(_session(row), str(row["email"])) for row in rows]


async def count_open(conn: Connection) -> int:
    """Return how many sessions are open."""
    row = await conn.row("SELECT count(*) AS open FROM sessions WHERE closed_at IS NULL")
    assert row is not None
    return int(row["open"])


async def peers(conn: Connection, since: int, limit: int) -> Sequence[tuple[str, int]]:
    """Return where sessions since a time came from, and when the last one did; oldest first."""
    rows = await conn.rows(
        "SELECT peer, max(opened_at) AS at FROM sessions WHERE opened_at >= ?"
        " GROUP BY peer ORDER BY at DESC LIMIT ?",
        (since, limit),
    )
    return [(str(row["peer"]), int(row["at"])) for row in reversed(rows)]


def _session(row: Row) -> Session:
    return Session(
        session_id=row["session_id"],
        pod_id=row["pod_id"],
        generation=row["generation"],
        fingerprint=row["fingerprint"],
        peer=row["peer"],
        client=row["client"],
        kind=row["kind"],
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
        bytes_in=row["bytes_in"],
        bytes_out=row["bytes_out"],
        exit_status=row["exit_status"],
        reason=row["reason"],
    )
