"""The row that says which clock live rentals' times are of."""

from dataclasses import dataclass

from store.db import Connection


@dataclass(frozen=True)
class Reckoning:
    """The time of day is `ahead_ms` ahead of a clock from `origin` on that nobody sets.

    Those of different origins can't be compared.
    """

    origin: str
    ahead_ms: int


async def get(conn: Connection) -> Reckoning | None:
    """Return what times are of; None in a store that has not met a clock yet."""
    row = await conn.row("SELECT origin, ahead_ms FROM clock")
    return None if row is None else Reckoning(row["origin"], row["ahead_ms"])


async def save(conn: Connection, reckoning: Reckoning) -> None:
    """Write what times are of from now on; `rentals.step` has moved them."""
    await conn.run(
        "INSERT OR REPLACE INTO clock (only_row, origin, ahead_ms) VALUES (1, ?, ?)",
        (reckoning.origin, reckoning.ahead_ms),
    )
