"""When each rental was last used: kept in memory, written to the store now and then."""

from dataclasses import replace

import structlog

from kgpud import clocksteps
from kgpud.clock import Clock
from store import activity
from store.db import Database, StoreUnavailable
from store.records import Rental

log = structlog.get_logger()

_FLUSH_MS = 1_000


class Activity:
    """The last use of every rental since it was last written, by the clock that nobody sets."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._last: dict[str, int] = {}
        #: Counts what was noted.
        self.noted = 0
        self._flushed_at = 0

    async def note(self, pod_id: str) -> None:
        """Note that a rental is used. Written to the store at most once a second."""
        passed = self._clock.moment().passed
        self._last[pod_id] = passed
        self.noted += 1
        if passed - self._flushed_at >= _FLUSH_MS:
            await self.flush()

    async def flush(self) -> None:
        """Write what `note` was told since the last time."""
        self._flushed_at = self._clock.moment().passed
        written = dict(self._last)
        if not written:
            return
        try:
            async with self._db.transaction() as tx:
                ahead = await clocksteps.now(tx, self._clock) - self._clock.moment().passed
                await activity.save(tx, [(p, at + ahead) for p, at in written.items()])
        except StoreUnavailable as error:
            # No session ends because of it: it is written with what comes next.
            log.warning("rental.activity_unsaved", error=str(error))
            return
        # Only now: whoever reads a rental meanwhile must not find it idle.
        for pod_id, at in written.items():
            if self._last.get(pod_id) == at:
                del self._last[pod_id]

    def laid_over(self, rental: Rental) -> Rental:
        """Return the rental with what was not written yet."""
        passed = self._last.get(rental.pod_id)
        if passed is None:
            return rental
        at = passed + self._clock.moment().ahead
        return replace(rental, last_activity_at=max(at, rental.last_activity_at))
