"""What `check.sql` finds: rows that contradict each other."""

import sqlite3
from importlib import resources

from store.db import Connection
from store.migrate import statements


async def disagreements(conn: Connection) -> list[str]:
    """Return a sentence for every account, rental and ledger line that others contradict."""
    script = (resources.files("store") / "check.sql").read_text(encoding="utf-8")
    found: list[str] = []
    for query in statements(script):
        found += [str(row[0]) for row in await conn.rows(query)]
    return found


async def damage(conn: Connection) -> list[str]:
    """Return what SQLite itself finds wrong with the file, all of which it reads."""
    try:
        pages = [str(row[0]) for row in await conn.rows("PRAGMA integrity_check")]
    except sqlite3.DatabaseError as error:
        pages = [str(error)]
    if pages != ["ok"]:
        return [f"file: {line}" for line in pages]
    broken = await conn.rows("PRAGMA foreign_key_check")
    return [
        f"{row['table']} row {row['rowid']}: refers to no row of {row['parent']}" for row in broken
    ]


async def extent(conn: Connection) -> str:
    """Return how much there is, as ``3 accounts, 12 rentals, 80 ledger lines``."""
    row = await conn.row(
        "SELECT (SELECT count(*) FROM accounts) || ' accounts, ' || (SELECT count(*) FROM rentals)"
        " || ' rentals, ' || (SELECT count(*) FROM ledger) || ' ledger lines'"
    )
    assert row is not None, "a count is always there"
    return str(row[0])
