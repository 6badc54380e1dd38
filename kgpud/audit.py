"""The audit trail: a row for every SSH session, and for all that maintainers do to accounts.

What is done is written with the deed. Sessions are written behind their backs: none waits for the
disk, and rows that come in while one transaction is written go together into the next one.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from kgpud.clock import Clock
from store import actions, events, sessions
from store.db import Database, StoreUnavailable
from store.records import Action, Session, SessionEnd

log = structlog.get_logger()

#: The reason of sessions whose daemon died before it could say how they ended.
DAEMON_LOST = "daemon_lost"

_RETRY_SECONDS = 5.0
# While the database is away. A row is some hundred bytes.
_MAX_WAITING = 100_000
_DAY_SECONDS = 86_400
_FORGET_AT_ONCE = 5_000
_MAX_PEERS = 65_536


class Audit:
    """Takes what sessions report and writes it. `run` must run meanwhile, `finish` comes last.

    `tell` is told each rental that something was written about, `on_lost` that sessions were lost
    with their daemon.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        *,
        kept_days: int,
        tell: Callable[[str], None] = lambda _pod_id: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._db = db
        self._clock = clock
        self._kept_ms = kept_days * _DAY_SECONDS * 1000
        self._opened: list[Session] = []
        self._closed: list[SessionEnd] = []
        self._tell = tell
        self._on_lost = on_lost
        self._wanted = asyncio.Event()

    async def close_lost(self, spared: Iterable[str] = ()) -> None:
        """Close the rows that a killed daemon left open. For the next one, before it serves.

        `spared` are sessions that are known to be open. Written as the others are, so that a full
        disk keeps nobody from starting.
        """
        async with self._db.reading() as rx:
            lost = await sessions.open_ones(rx) - set(spared)
        if lost:
            log.warning("audit.sessions_lost", sessions=len(lost))
            self.lost(lost)

    async def recent_peers(self, days: int) -> Sequence[tuple[str, float]]:
        """Return the addresses that sessions came from lately, with how many seconds ago."""
        now = self._clock.now_ms()
        async with self._db.reading() as rx:
            found = await sessions.peers(rx, now - days * _DAY_SECONDS * 1000, _MAX_PEERS)
        return [(address, max(0, now - at) / 1000) for address, at in found]

    def opened(self, session: Session) -> None:
        """Take note of a session that began."""
        if len(self._opened) + len(self._closed) >= _MAX_WAITING:
            log.error("audit.row_dropped", session=session.session_id, pod_id=session.pod_id)
            return
        self._opened.append(session)
        self._wanted.set()

    def closed(self, end: SessionEnd) -> None:
        """Take note of how a session ended."""
        if len(self._opened) + len(self._closed) >= _MAX_WAITING:
            log.error("audit.row_dropped", session=end.session_id)
            return
        self._closed.append(end)
        self._wanted.set()

    def lost(self, names: Iterable[str]) -> None:
        """Take note of sessions whose daemon died while this one had the store."""
        now = self._clock.now_ms()
        for name in names:
            self.closed(SessionEnd(name, now, None, None, None, DAEMON_LOST))

    async def run(self) -> None:
        """Write what comes in and forget what is too old, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write())
            tasks.create_task(self._forget_daily())

    async def newest(
        self,
        limit: int,
        *,
        pod_id: str | None = None,
        account_id: str | None = None,
        only_open: bool = False,
        before: tuple[int, str] | None = None,
    ) -> Sequence[tuple[Session, str]]:
        """Return sessions, newest first, each with its account's e-mail address."""
        async with self._db.reading() as rx:
            return await sessions.newest(
                rx,
                limit,
                pod_id=pod_id,
                account_id=account_id,
                only_open=only_open,
                before=before,
            )

    async def actions(
        self, limit: int, *, account_id: str | None = None, before: int | None = None
    ) -> Sequence[tuple[Action, str]]:
        """Return what was done to accounts and rentals, newest first, with the account's e-mail."""
        async with self._db.reading() as rx:
            return await actions.newest(rx, limit, account_id=account_id, before=before)

    async def finish(self) -> None:
        """Write what is waiting, for the last time."""
        try:
            await self.flush()
        except StoreUnavailable as error:
            lost = len(self._opened) + len(self._closed)
            # No traceback: it is the disk's failure, not ours.
            log.error("audit.rows_lost", rows=lost, error=str(error))  # noqa: TRY400

    async def flush(self) -> None:
        """Write what is waiting. Raises StoreUnavailable; then it still waits."""
        self._wanted.clear()
        opened, closed = self._opened[:], self._closed[:]
        if not opened and not closed:
            return
        async with self._db.transaction() as tx:
            await sessions.insert(tx, opened)
            await sessions.close(tx, closed)
            names = {row.session_id for row in opened} | {row.session_id for row in closed}
            about = await sessions.pods_of(tx, names)
        del self._opened[: len(opened)], self._closed[: len(closed)]
        for pod_id in about:
            self._tell(pod_id)
        if any(row.reason == DAEMON_LOST for row in closed):
            self._on_lost()

    async def _write(self) -> None:
        while True:
            await self._wanted.wait()
            try:
                await self.flush()
            except StoreUnavailable as error:
                waiting = len(self._opened) + len(self._closed)
                log.warning("audit.unsaved", rows=waiting, error=str(error))
                await self._clock.sleep(_RETRY_SECONDS)
                self._wanted.set()

    async def _forget_daily(self) -> None:
        while True:
            try:
                await self._forget()
            except StoreUnavailable as error:
                log.warning("audit.not_pruned", error=str(error))
            await self._clock.sleep(_DAY_SECONDS)

    async def _forget(self) -> None:
        before = self._clock.now_ms() - self._kept_ms
        gone = _FORGET_AT_ONCE
        while gone == _FORGET_AT_ONCE:
            async with self._db.transaction() as tx:
                gone = await sessions.forget(tx, before, _FORGET_AT_ONCE)
                gone = max(gone, await events.forget(tx, before, _FORGET_AT_ONCE))
