"""The websocket connection of one exec: flow control, pings, the close, the idle timer."""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum

from kgpud.localcluster import exec_frames
from kgpud.localcluster.exec_frames import CLOSE, PING, Frame

_CLOSE_SECONDS = 2.0
_UNREAD_HIGH_WATER = 256 * 1024
_FRAME_COST = 64


class Ended(Enum):
    """How the client's side ended."""

    CLOSED = "closed"  # with a close frame, or with one that the server could not read on after
    LOST = "lost"  # the connection itself


class LinkEndedError(Exception):
    """Nothing can be sent any more."""


class Link(asyncio.BufferedProtocol):
    """Frames over a connection that an HTTP server has handed over.

    `behind` is the server's own protocol, which still wants to know when the connection is lost.
    `memory` is what all links receive into: each read has been worked on before the next one.
    After `idle_seconds` without a message either way the connection is cut without a word; None
    is never.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        behind: asyncio.BaseProtocol,
        memory: memoryview,
        idle_seconds: float | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._behind = behind
        self._memory = memory
        self._reader = exec_frames.Reader()
        self._frames: deque[Frame] = deque()
        self._unread = 0
        self._taker: Callable[[bytes | bytearray], bool] | None = None
        self._stopped: asyncio.Future[bool]
        self._answering = False
        self._room = asyncio.Event()
        self._room.set()
        self._hung_up = False
        self._lost = asyncio.Event()
        self._last = self._loop.time()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.ended: Ended | None = None
        transport.set_protocol(self)
        # What `send` has sent, the kernel has; not 0, which stops writing for ever over TLS.
        transport.set_write_buffer_limits(high=1)
        transport.resume_reading()
        if idle_seconds is not None:
            self._watch_idleness(idle_seconds)

    def _watch_idleness(self, seconds: float) -> None:
        due = self._last + seconds
        if due <= self._loop.time():
            self._transport.abort()
        else:
            self._timers["idle"] = self._loop.call_at(due, self._watch_idleness, seconds)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give the shared memory to receive into."""
        del sizehint
        return self._memory

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on the frames in what was received, or queue them."""
        if self._hung_up:
            return
        for frame in self._reader.feed(self._memory[:nbytes]):
            self._frames.append(frame)
            self._unread += len(frame.payload) + _FRAME_COST
        self._hand_on()
        if self._unread > _UNREAD_HIGH_WATER:
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """Take the client's FIN for its leaving, as the runtime does."""
        if not self._hung_up:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits, and tell the HTTP server."""
        for timer in self._timers.values():
            timer.cancel()
        self._lost.set()
        self.resume_writing()
        self._behind.connection_lost(exc)

    def pause_writing(self) -> None:
        """Make senders wait."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Let senders go on, and messages that came behind a ping."""
        self._room.set()
        self._answering = False
        self._hand_on()

    async def flow(self, take: Callable[[bytes | bytearray], bool]) -> bool:
        """Give messages to `take` until it wants no more; return False once the client has gone.

        How it went is in `ended` then. Its pings are answered in their turn.
        """
        self._taker, self._stopped = take, self._loop.create_future()
        self._hand_on()
        try:
            return await self._stopped
        finally:
            self._taker = None

    def _hand_on(self) -> None:
        """Give what is queued to who takes it, as far as that goes."""
        while self._taker and self._frames and not self._answering:
            frame = self._frames.popleft()
            self._unread -= len(frame.payload) + _FRAME_COST
            if frame.opcode == CLOSE:
                self.close(bytes(frame.payload))
            elif frame.opcode == PING:
                self._write(exec_frames.encode(exec_frames.PONG, bytes(frame.payload)))
                self._answering = not self._room.is_set()
            elif frame.is_data:
                self._last = self._loop.time()
                if not self._taker(frame.payload):
                    self._stop(more=True)
        if self._lost.is_set() and not self._frames:
            self.ended = self.ended or Ended.LOST
        if self.ended:
            self._stop(more=False)
        if self._unread <= _UNREAD_HIGH_WATER and not self._lost.is_set():
            # A transport over TLS can't be told that any more once it is lost.
            self._transport.resume_reading()

    def _stop(self, *, more: bool) -> None:
        if self._taker and not self._stopped.done():
            self._stopped.set_result(more)
        self._taker = None

    def send(self, frames: bytes | memoryview) -> bool:
        """Send frames; return false where `room` must be awaited before the next ones."""
        self._last = self._loop.time()
        self._write(frames)
        return self._room.is_set() and not self._over

    async def room(self) -> None:
        """Wait until all that was sent has left; raises LinkEndedError."""
        await self._room.wait()
        if self._over:
            raise LinkEndedError

    @property
    def _over(self) -> bool:
        return self._hung_up or self._lost.is_set()

    def _write(self, frame: bytes | memoryview) -> None:
        if not (self._hung_up or self._transport.is_closing()):
            self._transport.write(frame)

    def close(self, why: bytes = exec_frames.NORMAL) -> None:
        """Answer the client's close, or end it as if the client had closed."""
        self.ended = self.ended or Ended.CLOSED
        self.hang_up(why)

    def hang_up(self, why: bytes = exec_frames.NORMAL) -> None:
        """Send a close frame, then drop what still comes until the client has closed too."""
        if self._hung_up or self._transport.is_closing():
            return
        self._transport.write(exec_frames.encode(CLOSE, why))
        self._hung_up = True
        self._room.set()
        self._frames.clear()
        self._transport.resume_reading()
        # Unread bytes at a close would make the kernel reset what the client has not read yet.
        if self._transport.can_write_eof():
            try:
                self._transport.write_eof()
            except OSError:  # the client has reset the connection meanwhile
                self._transport.abort()
        self._timers["close"] = self._loop.call_later(_CLOSE_SECONDS, self._transport.abort)

    def abort(self) -> None:
        """Cut the connection without a word, whatever is still to be sent."""
        self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone; after `hang_up` that takes 2 s at most."""
        await self._lost.wait()
