"""What the bastion takes for the platform: whichever core there is at the moment."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog

from gateway.protocols import Core, Route, SessionClosed, SessionOpened

log = structlog.get_logger()

T = TypeVar("T")


class Switch:
    """Implements `gateway.protocols.Core` by the core in use; without one, callers wait."""

    def __init__(self) -> None:
        self._core: asyncio.Future[Core] = asyncio.get_running_loop().create_future()
        self._held = asyncio.Event()
        self._asking = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def use(self, core: Core) -> None:
        """Ask this core from now on."""
        if self._core.done():
            self._core = asyncio.get_running_loop().create_future()
        self._held.clear()
        self._core.set_result(core)

    async def hold(self) -> None:
        """Ask nobody any more; return once what was asked is answered."""
        if self._core.done():
            self._core = asyncio.get_running_loop().create_future()
        self._held.set()
        await self._idle.wait()

    async def resolve(self, fingerprint: str) -> Route | None:
        """Pass it on."""
        return await self._ask(lambda core: core.resolve(fingerprint))

    async def moved_on(self, fingerprint: str, route: Route) -> Route | None:
        """Pass it on; to the next core again if this one goes before it knows."""
        while True:
            core = await self._current()
            with self._counted():
                asked = await self._unless_held(core.moved_on(fingerprint, route))
            if asked is not None:
                return asked.result()

    async def welcome(self, rental: str) -> str:
        """Pass it on."""
        return await self._ask(lambda core: core.welcome(rental))

    async def opened(self, session: SessionOpened) -> None:
        """Pass it on."""
        await self._ask(lambda core: core.opened(session))

    async def activity(self, rental: str, bytes_in: int, bytes_out: int) -> None:
        """Pass it on."""
        await self._ask(lambda core: core.activity(rental, bytes_in, bytes_out))

    async def closed(self, session: SessionClosed) -> None:
        """Pass it on."""
        await self._ask(lambda core: core.closed(session))

    async def _ask(self, ask: Callable[[Core], Awaitable[T]]) -> T:
        core = await self._current()
        with self._counted():
            return await ask(core)

    async def _current(self) -> Core:
        while True:
            current = self._core
            core = await asyncio.shield(current)
            # It may have been put on hold between the answer and our turn.
            if current is self._core:
                return core

    async def _unless_held(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T] | None:
        """Return the work, done; None as soon as nobody is to be asked any more."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work)
            held = group.create_task(self._held.wait())
            await asyncio.wait([task, held], return_when=asyncio.FIRST_COMPLETED)
            done = task.done()
            task.cancel()
            held.cancel()
        return task if done else None

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._asking += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._asking -= 1
            if not self._asking:
                self._idle.set()


class Nobody:
    """Implements `gateway.protocols.Core` where no core will come: it only logs."""

    async def resolve(self, fingerprint: str) -> None:
        """Let nobody in."""
        del fingerprint

    async def moved_on(self, fingerprint: str, route: Route) -> None:
        """Let nobody in."""
        del fingerprint, route

    async def welcome(self, rental: str) -> str:
        """Say nothing."""
        del rental
        return ""

    async def opened(self, session: SessionOpened) -> None:
        """Let the log have it."""
        log.warning("session.unrecorded", session=session.session, pod_id=session.rental)

    async def activity(self, rental: str, bytes_in: int, bytes_out: int) -> None:
        """Drop it."""
        del rental, bytes_in, bytes_out

    async def closed(self, session: SessionClosed) -> None:
        """Let the log have it."""
        log.warning(
            "session.unrecorded",
            session=session.session,
            pod_id=session.rental,
            bytes_in=session.bytes_in,
            bytes_out=session.bytes_out,
            exit_status=session.exit_status,
            reason=session.reason,
        )
