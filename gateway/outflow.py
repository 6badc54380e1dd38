"""What a connection sends: channels' data in turns, in few writes, and never more than fits.

It leans on private parts of asyncssh 2.24.1: `_force_close`, `_send`, `_send_seq`,
`_send_encryption`, `_send_kexinit`, `send_newkeys`, `_kexinit_sent`, `_kex_complete`,
`_auth_complete`, `_rekey_bytes`, `_rekey_bytes_sent`, `_rekey_seconds`, `_rekey_time`,
`_compressor`, `_transport`.
`tests/gateway/test_pinned.py` tells when they are gone.
"""

import asyncio
import os
import time
from struct import Struct

import asyncssh
import structlog
from asyncssh.constants import (
    DISC_KEY_EXCHANGE_FAILED,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_IGNORE,
)
from asyncssh.misc import ConnectionLost
from asyncssh.packet import SSHPacketLogger, String, UInt32

from gateway.buffers import FLUSH, READ, TURN, Buffers
from gateway.cipher import Gcm
from gateway.flow import HIGH_WATER, LOW_WATER, Flow, Outgoing
from gateway.turns import SLICE, Turns

log = structlog.get_logger()

KEX_SECONDS = 60.0
UNREAD = 1024 * 1024  # bytes in the transport past which the client's requests wait

# Padding, type, channel, for extended data its type, size.
_DATA, _EXTENDED = Struct(">BBII"), Struct(">BBIII")
_BLOCK, _MIN_PADDING = 16, 4


class Outflow(asyncssh.SSHServerConnection):
    """The sending half of an SSH server connection, and when to stop receiving because of it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: asyncssh.SSHServerConnectionOptions,
        buffers: Buffers,
        turns: Turns,
    ) -> None:
        super().__init__(loop, options)
        self._buffers = buffers
        self._turns = turns
        self._waiting: dict[Flow, None] = {}
        # Random, as RFC 4253 section 6 wants, but once: GCM hides and guards it in any case.
        self._padding = os.urandom(_MIN_PADDING + _BLOCK)
        self._planned = self._pressed = False
        self._slice_sent = 0  # packets of data
        self._holds: set[str] = set()
        self._replies: list[bytes] = []
        self._kex_limit: asyncio.TimerHandle | None = None
        self.kex_seconds = KEX_SECONDS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, with limits on what the transport may hold."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        super().connection_made(transport)

    # Pressure. asyncssh does nothing about it.

    def pause_writing(self) -> None:
        """Leave data in the channels, whose sessions then stop reading from their pods."""
        self._pressed = True

    def resume_writing(self) -> None:
        """Go on sending."""
        self._pressed = False
        self.release_reading("replies unread")
        self._plan()

    @property
    def replies_unread(self) -> bool:
        """Whether the client's requests wait, since it doesn't read what it is answered."""
        return "replies unread" in self._holds

    def hold_reading(self, why: str) -> None:
        """Receive nothing more from the client until every hold is released."""
        if self._transport and not self._holds:
            self._transport.pause_reading()
        self._holds.add(why)

    def release_reading(self, why: str) -> None:
        """Release one hold."""
        if why in self._holds:
            self._holds.discard(why)
            if self._transport and not self._holds:
                self._transport.resume_reading()

    # Replies, and whatever else asyncssh sends: all of one turn of the loop in one write. From
    # Python 3.12 on a transport adds up all it holds at each, so that 30,000 small ones that a
    # client leaves unread would keep the loop for a minute.

    def _send(self, data: bytes) -> None:
        if self._transport:
            if not self._replies:
                self._loop.call_soon(self._send_replies)
            self._replies.append(data)

    def _send_replies(self) -> None:
        replies, self._replies = self._replies, []
        if self._transport and replies:
            self._transport.write(b"".join(replies))
            # Data stays far below this; only replies that the client doesn't read come here.
            if self._transport.get_write_buffer_size() > UNREAD:
                self.hold_reading("replies unread")

    def _force_close(self, exc: Exception | None) -> None:
        self._send_replies()
        super()._force_close(exc)

    # Channels' data.

    def flush_soon(self, channel: Flow) -> None:
        """Send what the channel has, in its turn: all that one read brought goes in one write."""
        self._waiting[channel] = None
        if self._pressed or not self._kex_complete:
            channel.settle()  # nothing goes out now, so the session may have to pause
        else:
            self._plan()

    def _plan(self) -> None:
        if self._waiting and not self._planned and not self._pressed and self._kex_complete:
            self._planned = True
            if self._slice_sent < SLICE:
                self._loop.call_soon(self._flush)
            else:
                self._turns.join(self._flush)

    def _flush(self) -> None:
        self._planned = False
        self._slice_sent = 0
        if self._transport is None:
            self._waiting.clear()
        elif not self._pressed and self._kex_complete:
            try:
                self._send_rounds()
            except Exception:  # one connection's bug must not end everybody's
                log.exception("connection_crashed")
                self.internal_error()
            self._plan()

    def _send_rounds(self) -> None:
        """Send what one read brought, unless the transport is full before, or packets are tiny."""
        for _ in range(READ // FLUSH):
            if self._waiting and not self._pressed and self._kex_complete:
                self._send_turns()

    def _send_turns(self) -> None:
        """Let the waiting channels send in turn, up to a limit; write it all at once."""
        if self._rekey_due():
            self._send_kexinit()
            self._kexinit_sent = True
            return
        served: dict[Flow, None] = {}
        size = 0
        while self._waiting and size < FLUSH and self._slice_sent < SLICE and self._kex_complete:
            channel = next(iter(self._waiting))
            del self._waiting[channel]
            served[channel] = None
            if channel.sendable:
                pieces = channel.next_pieces(TURN)
                size = self._send_pieces(channel, pieces, size)
                self._slice_sent += len(pieces)
            if channel.sendable:
                self._waiting[channel] = None
        self._write_sealed(size)
        for channel in served:
            channel.settle()

    def _send_pieces(self, channel: Flow, pieces: list[Outgoing], size: int) -> int:
        """Seal packets into the shared memory from `size` on, or have asyncssh send them.

        Return `size` and what it came to.
        """
        if isinstance(self._send_encryption, Gcm) and self._compressor is None:
            return self._seal(self._send_encryption, channel.send_number, pieces, size)
        for data, datatype in pieces:
            if datatype is None:
                channel.send_packet(MSG_CHANNEL_DATA, String(bytes(data)))
            else:
                body = UInt32(datatype) + String(bytes(data))
                channel.send_packet(MSG_CHANNEL_EXTENDED_DATA, body)
            size += len(data)
        return size

    def _seal(self, cipher: Gcm, number: int, pieces: list[Outgoing], at: int) -> int:
        bodies = []
        for data, datatype in pieces:
            size = len(data)
            bare = _DATA.size if datatype is None else _EXTENDED.size
            padding = -(bare + size + _MIN_PADDING) % _BLOCK + _MIN_PADDING
            if datatype is None:
                head = _DATA.pack(padding, MSG_CHANNEL_DATA, number, size)
            else:
                head = _EXTENDED.pack(padding, MSG_CHANNEL_EXTENDED_DATA, number, datatype, size)
            bodies.append(b"".join((head, data, self._padding[:padding])))
        self._send_seq = (self._send_seq + len(bodies)) & 0xFFFFFFFF
        self._rekey_bytes_sent += sum(map(len, bodies))
        return cipher.seal_into(self._buffers.outgoing, at, bodies)

    def _write_sealed(self, size: int) -> None:
        transport = self._transport
        if not size or transport is None or not isinstance(self._send_encryption, Gcm):
            return
        self._send_replies()
        sealed = self._buffers.outgoing[:size]
        if transport.get_write_buffer_size():
            transport.write(bytes(sealed))
            return
        transport.write(sealed)
        if transport.get_write_buffer_size():
            self._buffers.replace_outgoing()

    # Key exchange.

    def _rekey_due(self) -> bool:
        """Say whether asyncssh would begin a key exchange before the next packet."""
        if self._rekey_bytes_sent >= self._rekey_bytes:
            return True
        return bool(self._rekey_seconds) and time.monotonic() >= self._rekey_time

    def _send_kexinit(self) -> None:
        super()._send_kexinit()
        if self._auth_complete and self._kex_limit is None:
            self._kex_limit = self._loop.call_later(self.kex_seconds, self._kex_took_too_long)

    def send_newkeys(self, k: bytes, h: bytes) -> None:
        """Finish a key exchange; then let the channels send again, with faster ciphers."""
        super().send_newkeys(k, h)
        self._stop_kex_limit()
        self._send_encryption = Gcm.instead_of(self._send_encryption)
        self._next_recv_encryption = Gcm.instead_of(self._next_recv_encryption)
        self._plan()

    def _kex_took_too_long(self) -> None:
        self._kex_limit = None
        reason = "Key exchange not finished in time"
        self._send_disconnect(DISC_KEY_EXCHANGE_FAILED, reason, "")
        self._force_close(ConnectionLost(reason))

    def _stop_kex_limit(self) -> None:
        if self._kex_limit:
            self._kex_limit.cancel()
            self._kex_limit = None

    def _cleanup(self, exc: Exception | None) -> None:
        self._stop_kex_limit()
        super()._cleanup(exc)

    # What asyncssh does for each packet, and we don't.

    def send_packet(
        self, pkttype: int, *args: bytes, handler: SSHPacketLogger | None = None
    ) -> None:
        """Leave out the MSG_IGNORE that asyncssh puts before every packet.

        It guards CBC's chained vectors, and no cipher here is CBC.
        """
        if pkttype != MSG_IGNORE:
            super().send_packet(pkttype, *args, handler=handler)

    def log_sent_packet(self, *_: object, **__: object) -> None:
        """Make no text of it."""

    def log_received_packet(self, *_: object, **__: object) -> None:
        """Make no text of it."""
