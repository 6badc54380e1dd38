"""Rows of SSH keys: at most one live key per rental, and one live rental per key."""

from store.db import Connection


async def pin(
    conn: Connection, pod_id: str, fingerprint: str, public_key: str, generation: int, now: int
) -> None:
    """Retire the rental's live key, if any, and make this one its live key."""
    await retire(conn, pod_id, now)
    await conn.run(
        "INSERT INTO keys (pod_id, fingerprint, public_key, generation, added_at)"
        " VALUES (?, ?, ?, ?, ?)",
        (pod_id, fingerprint, public_key, generation, now),
    )


async def retire(conn: Connection, pod_id: str, now: int) -> None:
    """Make the rental's live key, if any, a former one."""
    await conn.run(
        "UPDATE keys SET retired_at = ? WHERE pod_id = ? AND retired_at IS NULL", (now, pod_id)
    )


async def live_rental(conn: Connection, fingerprint: str) -> str | None:
    """Return the id of the rental that this fingerprint is pinned to."""
    row = await conn.row(
        "SELECT pod_id FROM keys WHERE fingerprint = ? AND retired_at IS NULL", (fingerprint,)
    )
    return None if row is None else str(row["pod_id"])
