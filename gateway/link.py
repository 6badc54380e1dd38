"""One websocket to the API server: the upgrade's answer, messages both ways, flow control."""

import asyncio
import socket
import sys
from contextlib import suppress
from email.message import Message
from struct import Struct
from typing import Protocol

from gateway import websocket
from gateway.answer import Answer
from gateway.buffers import Incoming
from gateway.frames import V4, V5

HIGH_WATER, LOW_WATER = 256 * 1024, 64 * 1024
# The body of a refusal may have no length and no end.
REFUSAL_SECONDS = 1.0
# Messages that one turn of the loop works on: a program may write a megabyte of single bytes.
SLICE = 256
_SWITCHING_PROTOCOLS = 101
_DATA = (websocket.BINARY, websocket.TEXT)
_LAST_ACK = Struct("@56xI")  # tcpi_last_ack_recv, in milliseconds


class LinkRefused(Exception):
    """The API server did not upgrade. `status` is its HTTP status, 0 if it was not reached."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}" if status else body)
        self.status = status
        self.body = body


class Receiver(Protocol):
    """Who gets what a link receives. Called on the event loop, never re-entered."""

    def messages(self, payloads: list[memoryview]) -> None:
        """Take the whole messages that one read brought, in their order; none is empty.

        They are views of memory that is used again afterwards.
        """

    def writable(self, *, ready: bool) -> None:
        """Take note that the link's write buffer went over (False) or under (True) its limits."""

    def lost(self, reason: str) -> None:
        """Take note that the link is gone; the last call. An orderly close has reason ''."""


class Link(asyncio.BufferedProtocol):
    """A websocket to the API server, in the client's role. Made by `dialling.connect`."""

    def __init__(self, head: bytes, accept: str, incoming: Incoming) -> None:
        self._head_to_send = head
        self._accept = accept
        self._incoming = incoming
        self._answer = Answer()
        self._refusal: asyncio.TimerHandle | None = None
        self._parser = websocket.Parser()
        self._transport: asyncio.Transport
        self._receiver: Receiver | None = None
        self._early: list[memoryview] = []
        self._most = SLICE
        self._over = self._ended = self._planned = False
        self._reason = ""
        #: How many reads brought something, the last ping that was answered, and whether we read.
        self.reads = self.ponged = 0
        self.paused = False
        self.upgraded: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    # What the owner does.

    def start(self, receiver: Receiver) -> None:
        """Deliver what has come and what comes from now on to `receiver`."""
        self._receiver = receiver
        self.resume_reading()
        early, self._early = self._early, []
        receiver.messages(early)
        if self._over:
            self._lose(self._reason)

    def send(self, *pieces: bytes | memoryview) -> None:
        """Send one binary message. Dropped if the link is gone: `lost` says so."""
        if not self._over:
            self._transport.write(websocket.encode(websocket.BINARY, *pieces))

    def ping(self, number: int) -> None:
        """Send a ping; `ponged` is `number` once it is answered."""
        if not self._over:
            self._transport.write(websocket.encode(websocket.PING, number.to_bytes(8, "big")))

    def pause_reading(self) -> None:
        """Stop receiving: what is on its way stays with the peer."""
        self.paused = True
        if not self._over:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Receive again."""
        self.paused = False
        if not self._over:
            self._go_on()

    @property
    def unheard_seconds(self) -> float:
        """How long the peer's kernel has acknowledged nothing (linux/tcp.h, tcp_info)."""
        sock = self._transport.get_extra_info("socket")
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_ACK.size)
        return float(_LAST_ACK.unpack(info)[0]) / 1000

    def close(self) -> None:
        """Leave at once. `lost` is not called any more."""
        self._over = True
        self._receiver = None
        if self._refusal:
            self._refusal.cancel()
        if not self._ended:  # asyncio's abort raises on a transport that drained and ended
            self._transport.abort()

    # What the event loop does.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        _keep_alive(transport.get_extra_info("socket"))
        self._incoming.trim(transport)
        transport.write(self._head_to_send)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give the shared memory to receive into."""
        del sizehint
        return self._incoming.lend(self)

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes: the answer's head first, then frames."""
        self.reads += 1
        data = self._incoming.filled(self, nbytes)
        if not self.upgraded.done():
            data = memoryview(self._take_answer(bytes(data)))
        if data and self.upgraded.done() and not self._over:
            self._take_frames(data)
            self._parser.rest = memoryview(bytes(self._parser.rest))  # the memory is used again

    def pause_writing(self) -> None:
        """Pass on that the write buffer is over its limit."""
        if self._receiver:
            self._receiver.writable(ready=False)

    def resume_writing(self) -> None:
        """Pass on that the write buffer has drained."""
        if self._receiver:
            self._receiver.writable(ready=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """End, by the peer's doing."""
        self._ended, self._most = True, sys.maxsize
        self._take_rest()
        if exc and not self._over:
            self._take_what_came()
        if not self.upgraded.done():
            self._refuse_with_what_came()
        self._lose(f"the connection to the API server broke ({exc})" if exc else "it closed early")

    # The parts.

    def _take_what_came(self) -> None:
        """Read what the kernel still holds: asyncio drops it when it was a write that failed.

        An API server that throws unread stdin away with the link has said before how the command
        ended. What came before the reset is all there: nothing is waited for.
        """
        if self._transport.get_extra_info("sslcontext"):
            return
        with suppress(OSError), self._transport.get_extra_info("socket").dup() as sock:
            while not self._over and (size := sock.recv_into(self.get_buffer(-1))):
                self.buffer_updated(size)

    def _take_answer(self, data: bytes) -> bytes:
        """Take the answer to the upgrade; return what came after it."""
        answer = self._answer
        answer.feed(data)
        if answer.status == _SWITCHING_PROTOCOLS:
            self._check(answer.headers)
            return answer.rest
        if answer.too_long:
            self._fail("its answer has no end")
        elif answer.whole:
            self._refuse(answer.status, answer.body)
        elif answer.status and self._refusal is None:
            loop = asyncio.get_running_loop()
            self._refusal = loop.call_later(REFUSAL_SECONDS, self._refuse_with_what_came)
        return b""

    def _check(self, headers: Message) -> None:
        chosen = headers.get("Sec-WebSocket-Protocol", "")
        if headers.get("Sec-WebSocket-Accept") != self._accept or chosen not in {V5, V4}:
            self._fail("its upgrade answer is not ours")
        elif not self.upgraded.cancelled():
            self.upgraded.set_result(chosen)
            self._transport.pause_reading()

    def _refuse_with_what_came(self) -> None:
        if not self._answer.end():
            self._fail("it closed the connection without an answer")
        elif self._answer.status == _SWITCHING_PROTOCOLS:
            self._fail("it closed the connection in the midst of its answer")
        else:
            self._refuse(self._answer.status, self._answer.body)

    def _refuse(self, status: int, body: str) -> None:
        if not self.upgraded.done():
            self.upgraded.set_exception(LinkRefused(status, body))
        self.close()

    def _fail(self, reason: str) -> None:
        self._refuse(0, reason)

    def _take_frames(self, data: memoryview) -> None:
        broken = ""
        try:
            messages = self._parser.feed(data, self._most)
        except websocket.FrameError as error:
            messages, broken = error.before, f"the API server sent {error}"
        run: list[memoryview] = []
        for opcode, payload in messages:
            if opcode in _DATA:
                if payload:
                    run.append(payload)
                continue
            self._deliver(run)
            run = []
            if not self._over:
                self._take_control(opcode, payload)
        self._deliver(run)
        if broken and not self._over:
            self._transport.abort()
            self._lose(broken)
        if self._parser.rest:
            self._go_on()

    def _go_on(self) -> None:
        """Work on what is left in a later turn, and read on once nothing is."""
        if self._planned or self._over or self._receiver is None or self.paused:
            return
        if self._parser.rest:
            self._planned = True
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._take_planned)
        else:
            self._transport.resume_reading()

    def _take_planned(self) -> None:
        self._planned = False
        if not self.paused:
            self._take_rest()
            self._go_on()

    def _take_rest(self) -> None:
        if self._parser.rest and not self._over:
            self._take_frames(self._parser.rest)

    def _deliver(self, run: list[memoryview]) -> None:
        if self._over or not run:
            return
        if self._receiver is None:
            self._early += [memoryview(bytes(payload)) for payload in run]
        else:
            self._receiver.messages(run)

    def _take_control(self, opcode: int, payload: memoryview) -> None:
        if opcode == websocket.PING:
            self._transport.write(websocket.encode(websocket.PONG, payload))
        elif opcode == websocket.PONG:
            self.ponged = int.from_bytes(payload, "big")
        elif opcode == websocket.CLOSE:
            self._answer_close(payload[:2])
            self._lose("")

    def _answer_close(self, code: memoryview) -> None:
        """Close as RFC 6455 wants it, unless there is stdin left that nobody will read."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.write(websocket.encode(websocket.CLOSE, code))
            self._transport.close()

    def _lose(self, reason: str) -> None:
        if not self._over:
            self._over, self._reason = True, reason
        receiver, self._receiver = self._receiver, None
        if receiver:
            receiver.lost(self._reason)


def _keep_alive(sock: socket.socket) -> None:
    """Find a peer that vanished without a word: within 2 minutes, by the kernel's own probes."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
