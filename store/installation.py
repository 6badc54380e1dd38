"""Which installation this is. Written on the cluster's objects, so that ours are told apart."""

import secrets

from store.db import Connection


async def identify(conn: Connection, now: int) -> str:
    """Return this store's installation id (12 hex digits), made on the first call."""
    await conn.run(
        "INSERT OR IGNORE INTO installation (only_row, id, created_at) VALUES (1, ?, ?)",
        (secrets.token_hex(6), now),
    )
    row = await conn.row("SELECT id FROM installation")
    assert row is not None
    return str(row["id"])
