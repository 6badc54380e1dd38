"""The successor's side: elders that still have sessions, answered by the core that is here now."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import structlog

from gateway.protocols import Core
from kgpud.handover import messages
from kgpud.handover.wire import Message, Wire, WireClosed

log = structlog.get_logger()

# Whoever is given up loses its sessions, so it may be slow: a machine that swaps.
_GREETING_SECONDS = 30.0
# After their drain: a farewell to their clients, and the hanging up of what runs in the pods.
_FAREWELL_SECONDS = 40.0


class Elder:
    """One daemon before us. `sessions` are its open ones."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.sessions: set[str] = set()
        # What it is to be told; a rental's cut is repeated until its pod is gone.
        self._news: dict[str, Message] = {}
        self._told = asyncio.Event()

    def tell(self, topic: str, message: Message) -> None:
        """Have it told something, soon; once, where it is the same topic again meanwhile."""
        self._news[topic] = message
        self._told.set()

    async def greet(self) -> None:
        """Say who owns the core now; learn which sessions are open there. Raises WireClosed."""
        await self.wire.send({"owner": True})
        self.sessions.clear()
        more = True
        while more:
            message = await self.wire.receive()
            # Calls that came before are asked again.
            if "sessions" in message:
                self.sessions.update(message["sessions"])
                more = message.get("more", False)

    async def serve(self, core: Core) -> None:
        """Answer it until it is gone, and tell it the news."""
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(self._tell_news())
            with contextlib.suppress(WireClosed):
                while True:
                    message = await self.wire.receive()
                    if "call" in message:
                        group.create_task(self._answer(core, message))
            telling.cancel()

    async def _tell_news(self) -> None:
        with contextlib.suppress(WireClosed):
            while True:
                await self._told.wait()
                self._told.clear()
                news, self._news = self._news, {}
                for message in news.values():
                    await self.wire.send(message)

    async def _answer(self, core: Core, call: Message) -> None:
        try:
            answer = await messages.answered(core, call["name"], call["with"])
        except Exception as error:
            # As in one process: it is that session's failure, not everybody's.
            log.exception("handover.call_failed", call=call["name"])
            answer = {"error": type(error).__name__}
        self._follow(call)
        with contextlib.suppress(WireClosed):
            await self.wire.send({"answer": call["call"], **answer})

    def _follow(self, call: Message) -> None:
        if call["name"] == "opened":
            self.sessions.add(call["with"]["session"]["session"])
        elif call["name"] == "closed":
            self.sessions.discard(call["with"]["session"]["session"])


class Elders:
    """The daemons before us that live on for their sessions' sake. `gone` is set without any."""

    def __init__(self, wires: Iterable[socket.socket] = ()) -> None:
        self._elders = [Elder(Wire(wire)) for wire in wires]
        self.gone = asyncio.Event()
        self._look()

    def filenos(self) -> Sequence[int]:
        """Return the descriptors of the wires to those that are left, to pass them on."""
        return [elder.wire.fileno() for elder in self._elders]

    async def greet(self) -> list[str]:
        """Say who owns the core now; return the names of the sessions that are open elsewhere."""
        async with asyncio.TaskGroup() as group:
            for elder in list(self._elders):
                group.create_task(self._greet(elder))
        return [name for elder in self._elders for name in elder.sessions]

    @asynccontextmanager
    async def served(
        self, core: Core, lost: Callable[[Iterable[str]], None]
    ) -> AsyncIterator[None]:
        """Answer the elders from this core while the block runs.

        `lost` is told the sessions of one that ends without having ended them.
        """
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._serve(elder, core, lost)) for elder in self._elders]
            yield
            for task in tasks:
                task.cancel()

    def cut(self, rental: str, reason: str, sentence: str) -> None:
        """Have a rental's sessions ended wherever they are."""
        for elder in self._elders:
            elder.tell(f"cut {rental}", {"cut": [rental, reason, sentence]})

    def notify(self, rental: str, sentence: str) -> None:
        """Have a rental's terminals told a line of ours wherever they are."""
        for elder in self._elders:
            elder.tell(f"notify {rental}", {"notify": [rental, sentence]})

    async def drain(self, seconds: float, hurry: asyncio.Event) -> None:
        """Have them drain as we do; return when they are gone, or should have been long ago."""
        for elder in self._elders:
            elder.tell("stop", {"stop": seconds})
        async with asyncio.TaskGroup() as waits:
            ends = [waits.create_task(event.wait()) for event in (self.gone, hurry)]
            await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in ends:
                task.cancel()
        for elder in self._elders:
            elder.tell("hurry", {"stop": 0})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self.gone.wait()

    def close(self) -> None:
        """Leave them to whom they were passed on; without such they end their sessions."""
        for elder in self._elders:
            elder.wire.close()
        self._elders.clear()

    async def _greet(self, elder: Elder) -> None:
        try:
            async with asyncio.timeout(_GREETING_SECONDS):
                await elder.greet()
        except WireClosed:
            # It ended while we started, with the last of its sessions.
            self._drop(elder)
        except TimeoutError:
            log.warning("handover.elder_silent")
            self._drop(elder)

    async def _serve(self, elder: Elder, core: Core, lost: Callable[[Iterable[str]], None]) -> None:
        await elder.serve(core)
        if elder.sessions:
            log.warning("handover.elder_lost", sessions=len(elder.sessions))
            lost(elder.sessions)
        self._drop(elder)

    def _drop(self, elder: Elder) -> None:
        self._elders.remove(elder)
        elder.wire.close()
        log.info("handover.elder_gone", left=len(self._elders))
        self._look()

    def _look(self) -> None:
        if not self._elders:
            self.gone.set()
