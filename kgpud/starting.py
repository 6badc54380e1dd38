"""Gives up the rentals that don't start, uncharged; their place in the quota is free at once."""

import structlog

from kgpud.clock import Clock
from kgpud.cluster.client import Cluster
from kgpud.cluster.errors import ClusterError
from kgpud.cluster.pods import PULLING, STAGES, STARTING
from kgpud.cluster.pulls import is_pulling
from kgpud.cluster.view import ClusterView
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
        view: ClusterView,
        rentals: Rentals,
        life: Life,
    ) -> None:
        self._db = db
        self._clock = clock
        self._cluster = cluster
        self._view = view
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
            if rental.create_acked_at is None and rental.pod_id not in self._view.pods:
                await self._rentals.end(rental.pod_id, INTERRUPTED)
            elif await self._had_its_time(rental, now):
                why = (rental.pending_reason or STARTING).partition(":")[0]
                reason = "timeout" if why in STAGES else why
                await self._rentals.end(rental.pod_id, START_FAILED + reason)

    async def _had_its_time(self, rental: Rental, now: int) -> bool:
        waited = now - rental.made_at
        if waited <= self._life.start_seconds * 1000:
            return False
        # Kubelets before 1.29 don't tell a pull from what comes before it.
        pulling = rental.pending_reason in (PULLING, STARTING)
        in_time = waited <= self._life.pull_seconds * 1000
        return not (pulling and in_time and await self._pulls(rental, now))

    async def _pulls(self, rental: Rental, now: int) -> bool:
        pod_id = rental.pod_id
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
