"""Warns of, looks into and releases the rentals that nobody uses."""

import asyncio
from collections.abc import Callable

import structlog

from gateway import capture
from gateway.executor import Executor
from gateway.outcome import ExecBroken, ExecRefused
from gateway.protocols import PodRef
from kgpud import busy, idle
from kgpud.clock import Clock
from kgpud.cluster.errors import ClusterError
from kgpud.cluster.pods import CONTAINER
from kgpud.life_settings import Life
from kgpud.reasons import AUTO_IDLE
from kgpud.rentals import Rentals
from store import events
from store import rentals as rows
from store.db import Database, StoreUnavailable
from store.records import Rental

log = structlog.get_logger()

_SWEEP_SECONDS = 2.0
_LOOKS_AT_ONCE = 8
# Beyond the seconds that it measures: a loaded pod is slow, and a look that is slow says nothing.
_PATIENCE_SECONDS = 25.0
_LONGEST_ANSWER = 4 << 20
_MINUTE_MS = 60_000


class Idling:
    """Watches the idle clocks. `fresh` says whether the cluster answers; else nobody is released.

    A rental is released only after a look into its pod that found nothing at work. A look that
    fails, is slow or can't tell releases nobody.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        rentals: Rentals,
        executor: Executor,
        namespace: str,
        life: Life,
        *,
        fresh: Callable[[], bool],
    ) -> None:
        self._db = db
        self._clock = clock
        self._rentals = rentals
        self._executor = executor
        self._namespace = namespace
        self._life = life
        self._fresh = fresh
        self._looked: dict[str, int] = {}
        self._limit = asyncio.Semaphore(_LOOKS_AT_ONCE)

    async def run(self) -> None:
        """Never returns. A database that can't be written just now is tried again."""
        while True:
            await self._clock.sleep(_SWEEP_SECONDS)
            if self._fresh():
                try:
                    await self.sweep()
                except* StoreUnavailable as errors:
                    error = str(errors.exceptions[0])
                    log.error("idling.store_unavailable", error=error)  # noqa: TRY400

    async def sweep(self) -> None:
        """Look into every pod that has been idle for long and was not looked into lately."""
        now, passed = self._clock.now_ms(), self._clock.moment().passed
        async with self._db.reading() as rx:
            found = await rows.unused(rx, now - self._life.idle_warning_ms)
        current = [self._rentals.activity.laid_over(rental) for rental in found]
        idlers = [rental for rental in current if idle.warns(rental, now, self._life)]
        names = {rental.pod_id for rental in idlers}
        self._looked = {name: at for name, at in self._looked.items() if name in names}
        async with asyncio.TaskGroup() as group:
            for rental in idlers:
                if self._is_due(rental, passed):
                    self._looked[rental.pod_id] = passed
                    group.create_task(self._attend_to(rental))

    def _is_due(self, rental: Rental, passed: int) -> bool:
        last = self._looked.get(rental.pod_id)
        return last is None or passed - last >= self._life.idle_look_every_seconds * 1000

    async def _attend_to(self, rental: Rental) -> None:
        async with self._limit:
            works = await self._works(rental)
        pod_id = rental.pod_id
        if works:
            log.info("idling.at_work", pod_id=pod_id)
            await self._rentals.activity.note(pod_id)
            return
        # Never in one go: a clock that leapt would leave nobody the time to answer.
        if await self._was_warned(pod_id) and works is not None:
            # Somebody may have come back while we looked.
            await self._rentals.end(pod_id, AUTO_IDLE, still=self._is_over)

    async def _works(self, rental: Rental) -> bool | None:
        seconds = self._life.idle_look_seconds
        pod = PodRef(self._namespace, rental.pod_id, CONTAINER)
        try:
            done = await capture.run(
                self._executor,
                pod,
                busy.command(seconds),
                output_limit=_LONGEST_ANSWER,
                timeout=seconds + _PATIENCE_SECONDS,
            )
        except (ExecRefused, ExecBroken, ClusterError) as error:
            log.warning("idling.look_failed", pod_id=rental.pod_id, error=str(error))
            return None
        # Megabytes, if a pod likes: not on the loop.
        return await asyncio.to_thread(busy.is_busy, done.stdout, gpus=rental.gpu_count)

    async def _was_warned(self, pod_id: str) -> bool:
        """Tell of a rental's idleness, once for each time that it began; return if it was told."""
        rental = await self._rentals.get(None, pod_id)
        now = self._clock.now_ms()
        if not idle.warns(rental, now, self._life):
            return False
        minutes = idle.idle_ms(rental, now) // _MINUTE_MS
        async with self._db.transaction() as tx:
            last = await events.last(tx, pod_id, "idle_warning")
            if last is not None and last.at > now - idle.idle_ms(rental, now):
                return True
            await events.add(tx, [(pod_id, now, "idle_warning", str(minutes))])
        self._rentals.changes.tell(pod_id)
        log.info("rental.idle_warning", pod_id=pod_id, minutes=minutes)
        return False

    def _is_over(self, rental: Rental, now: int) -> bool:
        return idle.is_over(self._rentals.activity.laid_over(rental), now, self._life)
