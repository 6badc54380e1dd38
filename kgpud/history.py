"""What happened to a rental: read back, waited for, followed. Nobody who waits asks the store."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence

from kgpud.rentals import Rentals
from store import events
from store.db import Database
from store.records import Event, Rental

# At most this many of a rental's events are in memory for one reader.
_AT_ONCE = 100


class History:
    """The events of rentals. `changes` says when there are more."""

    def __init__(self, db: Database, rentals: Rentals) -> None:
        self._db = db
        self._rentals = rentals
        self._changes = rentals.changes

    async def after(self, pod_id: str, seq: int, limit: int) -> Sequence[Event]:
        """Return up to `limit` events that follow number `seq`, oldest first."""
        async with self._db.reading() as rx:
            return await events.after(rx, pod_id, seq, limit)

    async def newest(self, pod_id: str, limit: int) -> Sequence[Event]:
        """Return a rental's last events, newest first."""
        async with self._db.reading() as rx:
            return await events.newest(rx, pod_id, limit)

    async def mark(self, account_id: str) -> int:
        """Return a number that changes with every event of the account's live rentals."""
        async with self._db.reading() as rx:
            return await events.mark(rx, account_id)

    async def until(
        self, account_id: str, pod_id: str, reached: Callable[[Rental], bool], seconds: float
    ) -> Rental:
        """Return a rental once it is what somebody waits for, has ended, or time is up."""
        with self._changes.of(pod_id) as changed, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    changed.clear()
                    rental = await self._rentals.get(account_id, pod_id)
                    over = rental.ended_at is not None or self._changes.closed
                    if over or reached(rental):
                        return rental
                    await changed.wait()
        return await self._rentals.get(account_id, pod_id)

    async def follow(
        self, account_id: str, pod_id: str, seq: int, beat_seconds: float
    ) -> AsyncGenerator[Sequence[Event], None]:
        """Yield the events after number `seq` as they come, up to the rental's end.

        Yields none whenever `beat_seconds` passed without one.
        """
        with self._changes.of(pod_id) as changed:
            while not self._changes.closed:
                changed.clear()
                # Read before the events: an end that is seen here has its event by then.
                rental = await self._rentals.get(account_id, pod_id)
                found = await self.after(pod_id, seq, _AT_ONCE)
                if found:
                    seq = found[-1].seq
                    yield found
                elif rental.ended_at is not None:
                    return
                else:
                    try:
                        async with asyncio.timeout(beat_seconds):
                            await changed.wait()
                    except TimeoutError:
                        yield ()
