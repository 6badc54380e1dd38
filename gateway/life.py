"""A session's life after its request: to the pod, through the command, to the exit status."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from gateway.asking import CoreAway, ask, tell
from gateway.beside import ExecLost, Fate, HangUp
from gateway.cuts import Cut, Cuts, Gone
from gateway.executor import Executor
from gateway.outcome import ExecRefused, Outcome
from gateway.protocols import Core, Route, SessionClosed, SessionOpened
from gateway.serving import Serving, serve
from gateway.session import FAILED, Session
from gateway.turns import Turns

log = structlog.get_logger()

ACTIVITY_SECONDS = 10.0
READY_SECONDS = 300.0
_WELCOME_SECONDS = 2.0
_CLOSE_SECONDS = 1.0
# How long a client waits to be told what became of its command. The attempts go on after that.
_FATE_SECONDS = 2.0

_NO_LONGER = "this key no longer opens the rental"

# The exit status that the client was told, if any, and why the session ended.
_Ending = tuple[int | None, str]


@dataclass(frozen=True)
class Surroundings:
    """What every session works with. `ready_seconds` bounds the wait for a pod that starts."""

    core: Core
    executor: Executor
    cuts: Cuts
    turns: Turns
    ready_seconds: float = READY_SECONDS
    scp_engine: bool = True


class Life:
    """One session's life. Run once."""

    def __init__(self, around: Surroundings, session: Session) -> None:
        self._around = around
        self._session = session
        self._serving: Serving | None = None
        self._told = (0, 0)
        self._runs_on = False

    async def run(self) -> None:
        """Live it. One session's bug must not end everybody's, so it is logged, never raised."""
        session = self._session
        try:
            await self._enter()
        except Exception:
            log.exception("session_crashed", session=session.name)
            session.fail("something went wrong on our side; the operator's log says what")
            if self._serving:
                self._serving.mute()
                await self._serving.hang_up()

    async def _enter(self) -> None:
        session, core = self._session, self._around.core
        pinned, key = session.connection.route, session.connection.fingerprint
        assert pinned is not None
        assert key is not None
        # Registered before the key is looked at again, or a rotation slips between.
        with self._around.cuts.registered(pinned.rental, session):
            status, reason = None, "crashed"
            try:
                await ask("opened", core.opened(self._opened(pinned, key)))
                status, reason = await self._admit(pinned, key)
            except CoreAway:
                session.fail("the platform does not answer just now; try again in a moment")
                status, reason = FAILED, "core_away"
            finally:
                moved = (session.moved_in, session.moved_out)
                end = SessionClosed(
                    session.name, pinned.rental, *moved, status, reason, self._runs_on
                )
                await tell("closed", core.closed(end))

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
        route = await ask("resolve", self._around.core.resolve(key))
        if route is not None and route.waits_for and _same(route, pinned):
            session.waits = True
            route = await self._when_ready(key, route)
            session.waits = False
        if session.over.done():
            return _left(session.over.result())
        if route is None or not _same(route, pinned):
            session.fail(_NO_LONGER)
            # A rotation that came while it logged in didn't know it yet.
            session.connection.dismiss(_NO_LONGER)
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
            except ExceptionGroup:
                log.exception("core_did_not_answer", asked="moved_on")
                raise CoreAway from None
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
        try:
            welcome = self._around.core.welcome(route.rental)
            line = await ask("welcome", welcome, _WELCOME_SECONDS)
        except CoreAway:  # whoever comes in can do without
            return
        if line and not self._session.channel.is_closing():
            self._session.channel.write(f"{line}\r\n".encode())

    async def _run_in(self, route: Route) -> _Ending:
        session = self._session
        try:
            around = self._around
            executor = around.executor.of(session.name)
            serving = await serve(
                executor,
                route.pod,
                session.request,
                session,
                around.turns,
                scp_engine=around.scp_engine,
            )
        except ExecLost as lost:
            await self._tell_fate(lost.hang_up, str(lost))
            return FAILED, "broken"
        except ExecRefused as error:
            session.fail(str(error))
            return FAILED, "refused"
        self._serving = serving
        session.serve(serving)
        async with asyncio.TaskGroup() as group:
            reporting = group.create_task(self._report_activity(route.rental))
            await asyncio.wait([session.over])
            reporting.cancel()
        ending = await self._end(serving, session.over.result())
        await self._tell_activity(route.rental)
        return ending

    async def _report_activity(self, rental: str) -> None:
        while True:
            await asyncio.sleep(ACTIVITY_SECONDS)
            await self._tell_activity(rental)

    async def _tell_activity(self, rental: str) -> None:
        session = self._session
        moved = session.moved_in, session.moved_out
        if moved != self._told:
            more = moved[0] - self._told[0], moved[1] - self._told[1]
            self._told = moved
            await tell("activity", self._around.core.activity(rental, *more))

    async def _end(self, serving: Serving, how: Outcome | Cut | Gone) -> _Ending:
        """Tell the client how it ended, if it is there, and leave nothing behind in the pod."""
        session = self._session
        if isinstance(how, Outcome) and how.broken:
            await self._break(serving, how)
            return FAILED, "broken"
        if isinstance(how, Outcome):
            assert how.exit_code is not None
            session.channel.finish(how.exit_code)
            if how.runs_on:
                serving.mute()
                await self._hang_up(serving.hang_up)
            return how.exit_code, "exit"
        serving.mute()
        if isinstance(how, Cut):
            session.fail(how.sentence)
            await self._close_soon()
        await self._hang_up(serving.hang_up)
        return _left(how)

    async def _hang_up(self, hang_up: HangUp) -> Fate:
        """End what runs in the pod; remember whether it may run on."""
        fate = await hang_up()
        self._runs_on = fate is Fate.UNKNOWN
        return fate

    async def _break(self, serving: Serving, how: Outcome) -> None:
        assert how.broken is not None
        if how.runs_on:
            await self._tell_fate(serving.hang_up, how.broken)
        else:
            self._session.fail(how.broken)

    async def _tell_fate(self, hang_up: HangUp, why: str) -> None:
        """Say what broke, and what became of the command if that is soon known."""
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(self._hang_up(hang_up))
            await asyncio.wait([ending], timeout=_FATE_SECONDS)
            fate = ending.result() if ending.done() else Fate.UNKNOWN
            self._session.fail(fate.after(why))

    async def _close_soon(self) -> None:
        """Give a client that reads a second to take the farewell; drop one that doesn't."""
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._session.channel.wait_closed()
        except TimeoutError:
            self._session.channel.abort()


def _same(one: Route, other: Route) -> bool:
    return (one.rental, one.generation) == (other.rental, other.generation)


def _left(how: Outcome | Cut | Gone) -> _Ending:
    assert not isinstance(how, Outcome)
    return (None, how.value) if isinstance(how, Gone) else (FAILED, how.reason)
