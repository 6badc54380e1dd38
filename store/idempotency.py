"""Rows of requests that carried an Idempotency-Key, and of what was answered."""

from dataclasses import dataclass

from store.db import Connection


@dataclass(frozen=True)
class Kept:
    """What was asked under a key (a hash), and what was answered."""

    request: bytes
    answer: str


async def find(conn: Connection, account_id: str, key: str, since: int) -> Kept | None:
    """Return what the account did under this key, unless that was before `since`."""
    row = await conn.row(
        "SELECT request, answer FROM idempotency WHERE account_id = ? AND key = ? AND made_at >= ?",
        (account_id, key, since),
    )
    return None if row is None else Kept(row["request"], row["answer"])


async def keep(conn: Connection, account_id: str, key: str, kept: Kept, now: int) -> None:
    """Remember it, in the transaction that does it."""
    await conn.run(
        "INSERT INTO idempotency (account_id, key, request, answer, made_at)"
        " VALUES (?, ?, ?, ?, ?)",
        (account_id, key, kept.request, kept.answer, now),
    )


async def drop(conn: Connection, account_id: str, key: str) -> None:
    """Forget one."""
    await conn.run("DELETE FROM idempotency WHERE account_id = ? AND key = ?", (account_id, key))


async def forget(conn: Connection, before: int) -> None:
    """Forget everybody's from before a time."""
    await conn.run("DELETE FROM idempotency WHERE made_at < ?", (before,))
