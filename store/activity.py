"""When rentals were last used: what their idleness is told from."""

from collections.abc import Iterable

from store.db import Connection


async def save(conn: Connection, seen: Iterable[tuple[str, int]]) -> None:
    """Move rentals' last use forward: pairs of id and time."""
    await conn.run_many(
        "UPDATE rentals SET last_activity_at = max(last_activity_at, ?2) WHERE pod_id = ?1",
        seen,
    )


async def excuse(conn: Connection, missed: Iterable[tuple[str, int]], now: int) -> None:
    """Take so many milliseconds, up to now, for time in which a rental could not be used."""
    await conn.run_many(
        "UPDATE rentals SET last_activity_at = max(last_activity_at,"
        " min(?3, max(last_activity_at, ran_since) + ?2)) WHERE pod_id = ?1",
        [(pod_id, ms, now) for pod_id, ms in missed],
    )
