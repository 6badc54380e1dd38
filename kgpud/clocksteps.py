"""What becomes of running rentals when the machine's clock is set.

Two clocks decide. Times that are shown, and the cluster's, are of the time of day. How long a
container ran is the time of day less what it was *set* by meanwhile, known from a clock that nobody
sets. So NTP may correct an hour in either direction, while a daemon runs or between two, and no
minute is charged twice, early or not at all. Time in which the machine was suspended did pass, and
counts. So does, since it can't be told apart, what is set while the machine reboots.
"""

import structlog

from kgpud.clock import Clock, Moment
from store import clock as kept
from store import rentals
from store.clock import Reckoning
from store.db import Connection, Database

log = structlog.get_logger()

# Less than this is noise of two clocks that are not read at the same instant.
_LEAST_MS = 1_000


async def now(tx: Connection, clock: Clock) -> int:
    """Return the time of day; write down by how much it was set since this was last asked.

    A transaction that tells an age, or writes a time that one will be told from, asks this first:
    then its rows and its time are of the same clock, whoever else has seen that set.
    """
    moment = clock.moment()
    before = await kept.get(tx)
    if before is None or before.origin != moment.origin:
        await kept.save(tx, Reckoning(moment.origin, moment.ahead))
    elif abs(step := moment.ahead - before.ahead_ms) >= _LEAST_MS:
        await rentals.step(tx, step)
        await kept.save(tx, Reckoning(moment.origin, moment.ahead))
        log.warning("clock.stepped", seconds=step / 1000)
    return moment.now


class ClockSteps:
    """Lets rows that are only read be of the clock as it is set now, too."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._seen: Moment | None = None

    async def absorb(self) -> None:
        """Write down by how much the clock was set since the last time, if it was."""
        moment = self._clock.moment()
        if self._seen is not None and abs(moment.ahead - self._seen.ahead) < _LEAST_MS:
            return
        async with self._db.transaction() as tx:
            await now(tx, self._clock)
        self._seen = moment
