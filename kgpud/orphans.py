"""Ends what sessions left running in their pods: those of a daemon that died, and of a pod away."""

import asyncio
from collections.abc import Callable

import structlog

from gateway.beside import Fate
from gateway.executor import Executor
from gateway.protocols import PodRef
from kgpud.audit import DAEMON_LOST
from kgpud.clock import Clock
from kgpud.cluster.pods import CONTAINER
from store import sessions
from store.db import Database, StoreUnavailable

log = structlog.get_logger()

_AT_ONCE = 8
# At a start the cluster answers in a moment; what goes on failing is not worth a hurry.
_FIRST_DELAY = 0.2
_LONGEST_DELAY = 5.0
_DAY_MS = 86_400_000


class Orphans:
    """Hangs up for clients that were cut off with their daemon, as sshd would have.

    What is to be done is read from the audit trail, and doing it twice does no harm: a daemon that
    dies over it leaves it to the next. Those whose pods could not be reached when they ended are
    forgotten with the daemon. `fresh` says whether the cluster answers.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        executor: Executor,
        namespace: str,
        *,
        fresh: Callable[[], bool],
    ) -> None:
        self._db = db
        self._clock = clock
        self._executor = executor
        self._namespace = namespace
        self._fresh = fresh
        self._left: dict[str, str] = {}
        self._done: set[str] = set()
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._wanted = asyncio.Event()
        self._wanted.set()

    def look(self) -> None:
        """Take note that sessions were lost with a daemon."""
        self._wanted.set()

    def left(self, session: str, pod_id: str) -> None:
        """Take note of a session that ended, and what it ran may not have."""
        self._left[session] = pod_id
        self.look()

    async def run(self) -> None:
        """Never returns. What fails for now is tried again."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            delay = _FIRST_DELAY
            while not await self._sweep():
                await self._clock.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY)

    async def _sweep(self) -> bool:
        """Hang up for every lost session of a live rental; return whether none is left."""
        if not self._fresh():
            return False
        try:
            async with self._db.reading() as rx:
                lost = await sessions.lost(rx, DAEMON_LOST, self._clock.now_ms() - _DAY_MS)
        except StoreUnavailable as error:
            log.warning("orphans.store_unavailable", error=str(error))
            return False
        lost |= self._left
        self._done &= lost.keys()
        async with asyncio.TaskGroup() as group:
            for session in lost.keys() - self._done:
                group.create_task(self._hang_up(session, lost[session]))
        for session in self._done & self._left.keys():
            del self._left[session]
        return self._done == lost.keys()

    async def _hang_up(self, session: str, pod_id: str) -> None:
        async with self._limit:
            pod = PodRef(self._namespace, pod_id, CONTAINER)
            fate = await self._executor.hang_up_lost(pod, session)
        if fate is not Fate.UNKNOWN:
            self._done.add(session)
        log.info("orphans.hung_up", session=session, pod_id=pod_id, fate=fate.name.lower())
