"""The websocket connection of one exec: flow control, pings, the close, the idle timer."""

import asyncio
from collections import deque
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


class Link(asyncio.Protocol):
    """Frames over a connection that an HTTP server has handed over.

    `behind` is the server's own protocol, which still wants to know when the connection is lost.
    After `idle_seconds` without a message either way the connection is cut without a word; None
    is never.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        behind: asyncio.BaseProtocol,
        idle_seconds: float | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._behind = behind
        self._reader = exec_frames.Reader()
        self._frames: deque[Frame] = deque()
        self._unread = 0
        self._arrived = asyncio.Event()
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

    def data_received(self, data: bytes) -> None:
        """Queue the frames in `data`."""
        if self._hung_up:
            return
        for frame in self._reader.feed(data):
            self._frames.append(frame)
            self._unread += len(frame.payload) + _FRAME_COST
        if self._unread > _UNREAD_HIGH_WATER:
            self._transport.pause_reading()
        self._arrived.set()

    def eof_received(self) -> None:
        """Take the client's FIN for its leaving, as the runtime does."""
        if not self._hung_up:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits, and tell the HTTP server."""
        for timer in self._timers.values():
            timer.cancel()
        self._lost.set()
        self._arrived.set()
        self._room.set()
        self._behind.connection_lost(exc)

    def pause_writing(self) -> None:
        """Make senders wait."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Let senders go on."""
        self._room.set()

    async def receive(self) -> bytes | bytearray | None:
        """Return the next message, or None once the client has `ended`; answers its pings."""
        while self.ended is None:
            frame = await self._next()
            if frame is None:
                self.ended = Ended.LOST
            elif frame.opcode == CLOSE:
                self.close(bytes(frame.payload))
            elif frame.opcode == PING:
                self._write(exec_frames.encode(exec_frames.PONG, bytes(frame.payload)))
                await self._room.wait()
            elif frame.is_data:
                self._last = self._loop.time()
                return frame.payload
        return None

    async def _next(self) -> Frame | None:
        while not self._frames:
            if self._lost.is_set():
                return None
            self._arrived.clear()
            await self._arrived.wait()
        frame = self._frames.popleft()
        self._unread -= len(frame.payload) + _FRAME_COST
        if self._unread <= _UNREAD_HIGH_WATER:
            self._transport.resume_reading()
        return frame

    async def send(self, frame: bytes) -> None:
        """Send one frame and wait for room; raises LinkEndedError."""
        self._last = self._loop.time()
        self._write(frame)
        await self._room.wait()
        if self._hung_up or self._lost.is_set():
            raise LinkEndedError

    def _write(self, frame: bytes) -> None:
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
