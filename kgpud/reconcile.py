"""Keeps store and cluster of one mind: follows the cluster, and repairs what a crash left."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable

import structlog

from kgpud import billing
from kgpud.adopting import Adopting
from kgpud.clock import Clock
from kgpud.cluster.client import Cluster, Event, Listing, Object
from kgpud.cluster.errors import ClusterError
from kgpud.cluster.follow import Source, follow
from kgpud.cluster.nodes import derive_node
from kgpud.cluster.placing import Placement
from kgpud.cluster.pods import PodState, derive
from kgpud.cluster.view import ClusterView
from kgpud.life_settings import Life
from kgpud.nodeloss import NodeLoss
from kgpud.reasons import NODE_LOST, POD_LOST
from kgpud.rentals import Rentals
from kgpud.samecluster import SameCluster
from kgpud.starting import CREATE_DEADLINE_MS, INTERRUPTED, Starting
from store import rentals as rows
from store.db import Database, StoreUnavailable
from store.records import Rental

log = structlog.get_logger()

_SWEEP_SECONDS = 2.0
_NODES_SECONDS = 5.0
_DELETIONS_AT_ONCE = 8
# What kubelets have to report once a cluster that was away is back: of old, a pod may not run yet
# and its node be away.
_SETTLE_MS = 60_000

# What a pod says, and the whole of it where it is one of ours.
_Seen = tuple[PodState, Object | None]


class Reconcile:
    """Runs beside everything else, from start to end.

    `installation` tells our pods from others'. `lost_reason` is what a rental ends with whose
    pod the cluster does not have any more. `placement` tells the classes of nodes.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        cluster: Cluster,
        view: ClusterView,
        rentals: Rentals,
        *,
        installation: str,
        delete_grace_seconds: int = 5,
        lost_reason: str = POD_LOST,
        placement: Placement | None = None,
        life: Life = Life(),
    ) -> None:
        self._db = db
        self._clock = clock
        self._cluster = cluster
        self._view = view
        self._rentals = rentals
        self._installation = installation
        self._grace = delete_grace_seconds
        self._lost_reason = lost_reason
        self._placement = placement or Placement()
        self._node_loss = NodeLoss(db, clock, view, rentals, self._placement)
        self._starting = Starting(db, clock, cluster, rentals, life)
        self._adopting = Adopting(db, clock)
        self._same = SameCluster(db, cluster)
        # The pods whose news are being taken, and are not in the view yet.
        self._arriving: frozenset[str] = frozenset()
        self._pods_applied = asyncio.Event()
        self._nodes_applied = asyncio.Event()
        # By the clock that nobody sets.
        self._settled_at = 0

    async def run(self) -> None:
        """Never returns. What the cluster or a busy disk does is survived; a bug is raised."""
        cluster, lost = self._cluster, self._view.lost
        pods = Source(
            "pods", self._list, cluster.watch_pods, self._pods_listed, self._pod_event, lost
        )
        nodes = Source(
            "nodes",
            cluster.list_nodes,
            cluster.watch_nodes,
            self._nodes_listed,
            self._node_event,
            lost,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(pods, self._clock))
            group.create_task(follow(nodes, self._clock))
            group.create_task(self._tick())
            group.create_task(self._sweep_when_wanted())

    async def wait_ready(self) -> None:
        """Return once the cluster's pods and nodes were listed and taken in for the first time."""
        await self._pods_applied.wait()
        await self._nodes_applied.wait()

    async def sweep(self) -> None:
        """Give up what does not start, and delete the pods and Secrets of ended rentals."""
        await self._rentals.steps.absorb()
        await self._rentals.activity.flush()
        if self._is_settled():
            await self._starting.give_up()
            await self._node_loss.end_lost()
        async with self._db.reading() as rx:
            ended = await rows.unswept(rx)
        for rental in ended:
            # It may have been ended by another process, e.g. `kgpud pod release`.
            self._rentals.cut_ended(rental)
        if not self._view.connected:
            return
        limit = asyncio.Semaphore(_DELETIONS_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for rental in ended:
                group.create_task(self._delete(rental, limit))

    def _is_settled(self) -> bool:
        """Tell whether the cluster is there, and has been for long enough to be up to date."""
        passed = self._clock.moment().passed
        if not self._view.connected:
            self._settled_at = passed + _SETTLE_MS
        return passed >= self._settled_at

    async def _list(self) -> Listing[_Seen]:
        await self._patiently(self._same.check)
        return await self._cluster.read_pods(self._see)

    def _see(self, item: Object, *, deleted: bool = False) -> _Seen:
        """Read a pod; keep all of it only if it is ours, since it may have to be adopted."""
        pod = derive(item, deleted=deleted)
        return pod, item if pod.installation == self._installation else None

    async def _pods_listed(self, listing: Listing[_Seen], began: int) -> None:
        pods = [pod for pod, _ in listing.items]
        # The store first: in between, a pod that went counts twice rather than not at all.
        await self._take(listing.items)
        await self._patiently(lambda: self._settle_podless({pod.name for pod in pods}, began))
        self._view.list_pods(pods)
        if not self._pods_applied.is_set():
            log.info("cluster.listed", pods=len(pods))
        self._pods_applied.set()

    async def _pod_event(self, event: Event) -> None:
        seen = self._see(event.object, deleted=event.kind == "DELETED")
        await self._take([seen])
        self._view.see_pod(seen[0])

    async def _nodes_listed(self, listing: Listing, _began: int) -> None:
        self._view.list_nodes(derive_node(item, self._placement) for item in listing.items)
        self._nodes_applied.set()

    async def _node_event(self, event: Event) -> None:
        node = derive_node(event.object, self._placement)
        self._view.see_node(node, deleted=event.kind == "DELETED")

    async def _take(self, pods: Iterable[_Seen]) -> None:
        ours = [(pod, item) for pod, item in pods if item is not None]
        self._arriving = frozenset(pod.name for pod, _ in ours if not pod.deleted)
        await self._patiently(lambda: self._adopting.adopt(ours))
        states = [self._node_loss.dated(pod) for pod, _ in ours]
        await self._patiently(lambda: self._rentals.observe(states))

    async def _patiently(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do a step that writes to the store, as often as it takes for the disk to allow it."""
        while True:
            try:
                await step()
            except StoreUnavailable as error:
                log.error("reconcile.store_unavailable", error=str(error))  # noqa: TRY400
                await self._clock.sleep(_SWEEP_SECONDS)
            else:
                return

    async def _settle_podless(self, names: set[str], began: int) -> None:
        """End the rentals whose pods a list does not have and should."""

        def still(rental: Rental, now: int) -> bool:
            return self._should_be_there(rental, now - (self._clock.moment().passed - began))

        await self._rentals.steps.absorb()
        async with self._db.reading() as rx:
            missing = await rows.some(rx, await rows.not_gone(rx) - names)
        podless = [r for r in missing if still(r, self._clock.now_ms())]
        if podless:
            # Why they went depends on the nodes, which are listed at the same time.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_NODES_SECONDS):
                    await self._nodes_applied.wait()
        for rental in podless:
            if rental.ended_at is None:
                never = rental.create_acked_at is None and rental.started_at is None
                reason = INTERRUPTED if never else self._why_lost(rental)
                await self._rentals.end(rental.pod_id, reason, still=still, at=_last_known)
        if podless:
            async with self._db.transaction() as tx:
                now = self._clock.now_ms()
                await rows.save_gone(tx, [rental.pod_id for rental in podless], now)

    def _why_lost(self, rental: Rental) -> str:
        """Tell a pod that went with its machine, whose object was swept up behind our back."""
        gone = self._nodes_applied.is_set() and rental.node not in {None, *self._view.nodes}
        return NODE_LOST if gone and self._lost_reason == POD_LOST else self._lost_reason

    @staticmethod
    def _should_be_there(rental: Rental, began: int) -> bool:
        if rental.started_at is not None:
            return True
        if rental.create_acked_at is not None:
            return rental.create_acked_at < began
        return rental.made_at < began - CREATE_DEADLINE_MS

    async def _delete(self, rental: Rental, limit: asyncio.Semaphore) -> None:
        try:
            async with limit:
                there = await self._cluster.delete_pod(rental.pod_id, self._grace)
                await self._cluster.delete_secret(rental.pod_id)
        except ClusterError as error:
            log.warning("reconcile.delete_failed", pod_id=rental.pod_id, error=str(error))
            return
        now = self._clock.now_ms()
        unanswered = rental.create_acked_at is None and rental.started_at is None
        if not there and unanswered and now - rental.made_at < CREATE_DEADLINE_MS:
            # The creation may still land: ask again.
            return
        async with self._db.transaction() as tx:
            await rows.save_swept(tx, rental.pod_id, now)
            if not there:
                await rows.save_gone(tx, [rental.pod_id], now)
        if not there and (rental.pod_id in self._arriving or rental.pod_id in self._view.pods):
            # It landed right after we asked, and was looked at before this was written.
            async with self._db.transaction() as tx:
                await rows.save_risen(tx, [rental.pod_id])

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(_SWEEP_SECONDS)
            self._rentals.sweep_wanted.set()

    async def _sweep_when_wanted(self) -> None:
        await self.wait_ready()
        while True:
            await self._rentals.sweep_wanted.wait()
            self._rentals.sweep_wanted.clear()
            try:
                await self.sweep()
            except* StoreUnavailable as errors:
                # Its deletions run side by side, so one or several may have met a full disk.
                error = str(errors.exceptions[0])
                log.error("reconcile.store_unavailable", error=error)  # noqa: TRY400 - no traceback


def _last_known(rental: Rental, now: int) -> int:
    """Return the end of the last paid minute: what came after it is not known to have run."""
    if rental.ran_since is None:
        return now
    end = billing.begins(rental.ran_since, rental.charged_minutes + 1) - 1
    return max(rental.made_at, min(now, end))
