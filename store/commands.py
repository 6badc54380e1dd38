"""Rows of the REST API's commands, from their begin to their end."""

import json
from collections.abc import Iterable

from store.db import Connection
from store.records import RunningCommand


async def insert(conn: Connection, commands: Iterable[RunningCommand]) -> None:
    """Add commands that began."""
    await conn.run_many(
        "INSERT INTO commands (name, pod_id, seconds) VALUES (?, ?, ?)",
        [(one.name, one.pod_id, one.seconds) for one in commands],
    )


async def delete(conn: Connection, names: Iterable[str]) -> None:
    """Forget commands that are over. One that isn't there is no error."""
    await conn.run(
        "DELETE FROM commands WHERE name IN (SELECT value FROM json_each(?))",
        (json.dumps(list(names)),),
    )


async def every(conn: Connection) -> list[RunningCommand]:
    """Return all that there are."""
    rows = await conn.rows("SELECT name, pod_id, seconds FROM commands")
    return [RunningCommand(row["name"], row["pod_id"], row["seconds"]) for row in rows]
