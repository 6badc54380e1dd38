"""Gives up the rentals that don't start, uncharged; their place in the quota is free at once."""

import structlog

from kgpud.clock import Clock
from kgpud.cluster.client import Cluster
from kgpud.cluster.errors import ClusterError
from kgpud.cluster.pods import PULLING, STAGES, STARTING
from kgpud.cluster.pulls import is_pulling
from kgpud.life_settings import Life
from kgpud.reasons import START_FAILED
from kgpud.rentals import Rentals
from store import rentals as rows
from store.db import Database
from store.records import Rental

log = structlog.get_logger()

# A creation that was not answered may still land for this long.
CREATE_DEADLINE_MS = 60_000
INTERRUPTED = START_FAILED + "create_interrupted"
# A pull that goes on is asked about once in so long.
_ASK_AGAIN_MS = 15_000


class Starting:
    """Looks at the rentals whose container has not run yet."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        cluster: Cluster,
        rentals: Rentals,
        life: Life,
    ) -> None:
        self._db = db
        self._clock = clock
        self._cluster = cluster
        self._rentals = rentals
        self._life = life
        self._asked: dict[str, int] = {}

    async def give_up(self) -> None:
        """End the rentals that had their time. For a cluster that answers."""
        now = self._clock.now_ms()
        async with self._db.reading() as rx:
            waiting = await rows.not_started(rx, now - CREATE_DEADLINE_MS)
        names = {rental.pod_id for rental in waiting}
        self._asked = {name: at for name, at in self._asked.items() if name in names}
        for rental in waiting:
            if self._was_cut_off(rental, now):
                await self._rentals.end(rental.pod_id, INTERRUPTED, still=self._was_cut_off)
            elif self._is_late(rental, now) and not await self._may_pull(rental, now):
                why = (rental.pending_reason or STARTING).partition(":")[0]
                reason = "timeout" if why in STAGES else why
                await self._rentals.end(rental.pod_id, START_FAILED + reason, still=self._is_late)

    def _was_cut_off(self, rental: Rental, now: int) -> bool:
        waited = now - rental.made_at
        return rental.create_acked_at is None and waited > CREATE_DEADLINE_MS

    def _is_late(self, rental: Rental, now: int) -> bool:
        late = now - rental.made_at > self._life.start_seconds * 1000
        return rental.started_at is None and late

    async def _may_pull(self, rental: Rental, now: int) -> bool:
        """Tell whether the image is still being pulled, for which there is more time."""
        # Kubelets before 1.29 don't tell a pull from what comes before it.
        pulling = rental.pending_reason in (PULLING, STARTING)
        in_time = now - rental.made_at <= self._life.pull_seconds * 1000
        return pulling and in_time and await self._pulls(rental)

    async def _pulls(self, rental: Rental) -> bool:
        pod_id, now = rental.pod_id, self._clock.moment().passed
        asked = self._asked.get(pod_id)
        if asked is not None and now - asked < _ASK_AGAIN_MS:
            return True
        self._asked[pod_id] = now
        try:
            return is_pulling(await self._cluster.pod_events(pod_id))
        except ClusterError as error:
            # Its sandbox stands and nothing complains: that is a pull as far as anybody knows.
            log.warning("starting.events_unreadable", pod_id=pod_id, error=str(error))
            return rental.pending_reason == PULLING
