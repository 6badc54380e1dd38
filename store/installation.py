"""Which installation this is, and which cluster it uses.

Its id is written on the cluster's objects, so that ours are told apart.
"""

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


async def cluster(conn: Connection) -> str | None:
    """Return the uid of the cluster's namespace, as `use` was last told; None if it never was."""
    row = await conn.row("SELECT cluster_uid FROM installation")
    return None if row is None else row["cluster_uid"]


async def use(conn: Connection, cluster_uid: str) -> None:
    """Note which cluster is used from now on. `identify` must have been called once."""
    await conn.run("UPDATE installation SET cluster_uid = ?", (cluster_uid,))
