"""A session's life after its request: to the pod, through the command, to the exit status."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from gateway.cuts import Cut, Cuts, Gone
from gateway.executor import Executor
from gateway.outcome import ExecRefused, Outcome
from gateway.protocols import Core, Route, SessionClosed, SessionOpened
from gateway.serving import Serving, serve
from gateway.session import FAILED, Session

log = structlog.get_logger()

ACTIVITY_SECONDS = 10.0
READY_SECONDS = 300.0
_CLOSE_SECONDS = 1.0

# The exit status that the client was told, if any, and why the session ended.
_Ending = tuple[int | None, str]


@dataclass(frozen=True)
class Surroundings:
    """What every session works with. `ready_seconds` bounds the wait for a pod that starts."""

    core: Core
    executor: Executor
    cuts: Cuts
    ready_seconds: float = READY_SECONDS
    scp_engine: bool = True


class Life:
    """One session's life. Run once."""

    def __init__(self, around: Surroundings, session: Session) -> None:
        self._around = around
        self._session = session
        self._serving: Serving | None = None

    async def run(self) -> None:
        """Live it. One session's bug must not end everybody's, so it is logged, never raised."""
        session = self._session
        try:
            await self._enter()
        except Exception:
            log.exception("session_crashed", session=session.name)
            session.fail("something went wrong on our side; the operator's log says what")
            if self._serving:
                self._serving.leave()

    async def _enter(self) -> None:
        session, core = self._session, self._around.core
        pinned, key = session.connection.route, session.connection.fingerprint
        assert pinned is not None
        assert key is not None
        # Registered before the key is looked at again, or a rotation slips between.
        with self._around.cuts.registered(pinned.rental, session):
            await core.opened(self._opened(pinned, key))
            status: int | None = None
            reason = "crashed"
            try:
                status, reason = await self._admit(pinned, key)
            finally:
                moved = (session.moved_in, session.moved_out)
                await core.closed(
                    SessionClosed(session.name, pinned.rental, *moved, status, reason)
                )

    def _opened(self, pinned: Route, key: str) -> SessionOpened:
        session = self._session
        return SessionOpened(
            session.name,
            pinned.rental,
            pinned.generation,
            session.request.kind,
            session.connection.peer,
            session.connection.client,
            key,
        )

    async def _admit(self, pinned: Route, key: str) -> _Ending:
        session = self._session
        route = await self._around.core.resolve(key)
        if route is not None and route.waits_for and _same(route, pinned):
            route = await self._when_ready(key, route)
        if session.over.done():
            return _left(session.over.result())
        if route is None or not _same(route, pinned):
            session.fail("this key no longer opens the rental")
            return FAILED, "key_refused"
        if route.waits_for:
            session.fail(f"the pod is not ready yet ({route.waits_for}); try again in a moment")
            return FAILED, "not_ready"
        if session.request.kind == "shell" and session.request.tty:
            await self._welcome(route)
        return await self._run_in(route)

    async def _when_ready(self, key: str, route: Route) -> Route | None:
        """Wait until the pod can be entered, but not for ever; a terminal sees for what."""
        deadline = asyncio.get_running_loop().time() + self._around.ready_seconds
        waiting: Route | None = route
        while waiting is not None and waiting.waits_for and _same(waiting, route):
            if self._session.request.tty:
                self._session.say(f"waiting for the pod: {waiting.waits_for}")
            try:
                async with asyncio.timeout_at(deadline):
                    waiting = await self._unless_over(self._around.core.moved_on(key, waiting))
            except TimeoutError:
                break
        return waiting

    async def _unless_over(self, work: Coroutine[Any, Any, Route | None]) -> Route | None:
        """Return what `work` returns; None as soon as the session is over."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work)
            either: list[asyncio.Future[Any]] = [task, self._session.over]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            task.cancel()
        return None

    async def _welcome(self, route: Route) -> None:
        line = await self._around.core.welcome(route.rental)
        if line and not self._session.channel.is_closing():
            self._session.channel.write(f"{line}\r\n".encode())

    async def _run_in(self, route: Route) -> _Ending:
        session = self._session
        try:
            around = self._around
            serving = await serve(
                around.executor, route.pod, session.request, session, scp_engine=around.scp_engine
            )
        except ExecRefused as error:
            session.fail(str(error))
            return FAILED, "refused"
        self._serving = serving
        session.serve(serving)
        await self._report_activity_until_over(route.rental)
        how = session.over.result()
        if isinstance(how, Outcome):
            ending = self._conclude(how)
            if how.runs_on:
                serving.leave()
                await serving.hang_up()
            return ending
        serving.leave()
        if isinstance(how, Cut):
            session.fail(how.sentence)
            await self._close_soon()
        await serving.hang_up()
        return _left(how)

    async def _report_activity_until_over(self, rental: str) -> None:
        session = self._session
        told_in = told_out = 0
        while True:
            await asyncio.wait([session.over], timeout=ACTIVITY_SECONDS)
            moved_in, moved_out = session.moved_in, session.moved_out
            if (moved_in, moved_out) != (told_in, told_out):
                await self._around.core.activity(rental, moved_in - told_in, moved_out - told_out)
                told_in, told_out = moved_in, moved_out
            if session.over.done():
                return

    def _conclude(self, outcome: Outcome) -> _Ending:
        if outcome.exit_code is None:
            self._session.fail(f"{outcome.broken}; the command may still be running")
            return FAILED, "broken"
        self._session.channel.finish(outcome.exit_code)
        return outcome.exit_code, "exit"

    async def _close_soon(self) -> None:
        """Give a client that reads a second to take the farewell; drop one that doesn't."""
        try:
            await asyncio.wait_for(self._session.channel.wait_closed(), _CLOSE_SECONDS)
        except TimeoutError:
            self._session.channel.abort()


def _same(one: Route, other: Route) -> bool:
    return (one.rental, one.generation) == (other.rental, other.generation)


def _left(how: Outcome | Cut | Gone) -> _Ending:
    assert not isinstance(how, Outcome)
    return (None, how.value) if isinstance(how, Gone) else (FAILED, how.reason)
