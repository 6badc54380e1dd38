"""What becomes of running rentals when the machine's clock is set.

Two clocks decide. Times that are shown, and the cluster's, are of the time of day. How long a
container ran is the time of day less what it was *set* by meanwhile, which `Clock.stepped_ms` knows
from a clock that nobody sets. So NTP may correct an hour in either direction, and no minute is
charged twice, early or not at all. Time in which the machine was suspended did pass, and counts.
So does, since it can't be told apart, what was set while no daemon ran.
"""

import structlog

from kgpud.clock import Clock
from store import rentals
from store.db import Database

log = structlog.get_logger()

# Less than this is noise of two clocks that are not read at the same instant.
_LEAST_MS = 1_000


class ClockSteps:
    """Keeps live rentals' ages right. `absorb` comes before whatever tells an age by the clock."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._absorbed = clock.stepped_ms()

    async def absorb(self) -> None:
        """Write down by how much the clock was set since the last time, if it was."""
        if abs(self._clock.stepped_ms() - self._absorbed) < _LEAST_MS:
            return
        async with self._db.transaction() as tx:
            step = self._clock.stepped_ms() - self._absorbed
            await rentals.step(tx, step)
        # No await since the commit: whoever waited for it sees that it is done.
        self._absorbed += step
        log.warning("clock.stepped", seconds=step / 1000)
