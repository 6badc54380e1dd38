"""The elder's side: the successor's core, asked over the wire, and what that says by itself."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Protocol

import structlog

from gateway.protocols import Route, SessionClosed, SessionOpened
from kgpud.handover import messages
from kgpud.handover.wire import Message, Wire, WireClosed

log = structlog.get_logger()

# So many names fit into one packet.
_NAMES_AT_ONCE = 1000


class Sessions(Protocol):
    """The elder's bastion, as far as its successor has to do with it."""

    def cut(self, rental: str, reason: str, sentence: str) -> None:
        """End a rental's sessions."""

    def notify(self, rental: str, sentence: str) -> None:
        """Tell a rental's terminals a line."""

    def open_sessions(self) -> Sequence[str]:
        """Return the names of the open sessions."""
        ...


class CoreFailed(Exception):
    """The owner failed at a call; the text names its error, and its log has the rest."""


class CoreLost(Exception):
    """The owner is gone, so a question stays without an answer."""


class RemoteCore:
    """Implements `gateway.protocols.Core` by the core at the other end. `run` must run meanwhile.

    A successor may itself be succeeded: then a new owner speaks at the other end, and is asked
    again what the last one hasn't answered. Every question may be asked twice.

    `serving` is set once the owner serves, `lost` once there is none any more; `failure` is then
    what it said last. `asked_to_stop` is called with the seconds that sessions may go on.
    """

    def __init__(
        self, wire: Wire, sessions: Sessions, asked_to_stop: Callable[[float], None]
    ) -> None:
        self._wire = wire
        self._sessions = sessions
        self._asked_to_stop = asked_to_stop
        self._asked = 0
        self._waiting: dict[int, tuple[Message, asyncio.Future[Message]]] = {}
        self.serving = asyncio.Event()
        self.lost = asyncio.Event()
        self.failure: str | None = None

    async def run(self) -> None:
        """Take what the owner says. Returns when it is gone; what was asked then fails."""
        try:
            while True:
                await self._take(await self._wire.receive())
        except WireClosed:
            self.lost.set()
            for _, answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(WireClosed())

    async def resolve(self, fingerprint: str) -> Route | None:
        """Ask the owner."""
        return messages.route((await self._ask("resolve", fingerprint=fingerprint))["value"])

    async def moved_on(self, fingerprint: str, route: Route) -> Route | None:
        """Ask the owner, until it knows."""
        while True:
            answer = await self._ask("moved_on", fingerprint=fingerprint, route=asdict(route))
            if not answer.get("again"):
                return messages.route(answer["value"])

    async def welcome(self, rental: str) -> str:
        """Ask the owner."""
        return str((await self._ask("welcome", rental=rental))["value"])

    async def opened(self, session: SessionOpened) -> None:
        """Tell the owner."""
        await self._tell("opened", session=asdict(session))

    async def activity(self, rental: str, bytes_in: int, bytes_out: int) -> None:
        """Tell the owner."""
        await self._tell("activity", rental=rental, bytes_in=bytes_in, bytes_out=bytes_out)

    async def closed(self, session: SessionClosed) -> None:
        """Tell the owner."""
        await self._tell("closed", session=asdict(session))

    async def _tell(self, name: str, **arguments: object) -> None:
        try:
            await self._ask(name, **arguments)
        except CoreLost:
            # The sessions end because of it; no more can be done than to leave a trace.
            log.warning("handover.untold", call=name, **arguments)

    async def _ask(self, name: str, **arguments: object) -> Message:
        self._asked += 1
        number = self._asked
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        call = {"call": number, "name": name, "with": arguments}
        self._waiting[number] = call, answer
        try:
            if self.lost.is_set():
                raise CoreLost
            await self._wire.send(call)
            return await answer
        except WireClosed:
            raise CoreLost from None
        finally:
            del self._waiting[number]

    async def _take(self, message: Message) -> None:
        if "answer" in message:
            self._answer(message)
        elif "cut" in message:
            self._sessions.cut(*message["cut"])
        elif "notify" in message:
            self._sessions.notify(*message["notify"])
        elif "stop" in message:
            self._asked_to_stop(message["stop"])
        elif "owner" in message:
            await self._greet()
        elif "serving" in message:
            self.serving.set()
        elif "failed" in message:
            self.failure = message["failed"]

    def _answer(self, message: Message) -> None:
        _, answer = self._waiting.get(message["answer"], (None, None))
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(CoreFailed(message["error"]))
        else:
            answer.set_result(message)

    async def _greet(self) -> None:
        """Tell a new owner which sessions are open here, and ask it what is still unanswered."""
        names = list(self._sessions.open_sessions())
        while len(names) > _NAMES_AT_ONCE:
            await self._wire.send({"sessions": names[:_NAMES_AT_ONCE], "more": True})
            del names[:_NAMES_AT_ONCE]
        await self._wire.send({"sessions": names})
        for call, _ in list(self._waiting.values()):
            await self._wire.send(call)
