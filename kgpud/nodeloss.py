"""Ends the rentals whose machine stays away. It may come back for a while: people's work is on it.

Kubernetes itself deletes such pods after the toleration that their manifest states; a kubelet that
is dead never confirms it, so the object may stay. Whichever is noticed first ends the rental.
"""

from dataclasses import replace

from kgpud.clock import Clock
from kgpud.cluster.placing import Placement
from kgpud.cluster.pods import PodState
from kgpud.cluster.view import ClusterView
from kgpud.reasons import NODE_LOST
from kgpud.rentals import Rentals
from store import rentals as rows
from store.db import Database


class NodeLoss:
    """Looks at the machines of live rentals. `placement` says how long one may be away."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        view: ClusterView,
        rentals: Rentals,
        placement: Placement,
    ) -> None:
        self._db = db
        self._clock = clock
        self._view = view
        self._rentals = rentals
        self._bound_ms = placement.unreachable_seconds * 1000
        # When we first saw a node away, by the clock that nobody sets.
        self._away: dict[str, int] = {}

    async def end_lost(self) -> None:
        """End the rentals whose machine was away for too long, as of when it went away."""
        async with self._db.reading() as rx:
            placed = await rows.placed(rx)
        moment = self._clock.moment()
        since = {node: self._view.away_since(node, moment.now) for _, node in placed}
        # The cluster's own clock says as of when; it is not asked for how long: it may be wrong.
        self._away = {
            node: self._away.get(node, moment.passed)
            for node, at in since.items()
            if at is not None
        }
        for pod_id, node in placed:
            away = self._away.get(node)
            if away is not None and moment.passed - away >= self._bound_ms:
                await self._rentals.end(pod_id, NODE_LOST, finished_at=since[node])

    def dated(self, pod: PodState) -> PodState:
        """Return a pod that went with its machine as finished when that was last heard of."""
        if pod.failure != NODE_LOST or pod.finished_at is not None or pod.node is None:
            return pod
        return replace(pod, finished_at=self._view.away_since(pod.node, self._clock.now_ms()))
