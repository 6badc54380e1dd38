"""A connection's data path: data and window packets under AES-GCM without asyncssh's help.

Everything else, and everything that is not exactly as it should be, goes through asyncssh's own
receive path, which judges and answers it; so does all data under other ciphers and during a key
exchange. Both paths keep the same state: sequence numbers, bytes until the next key, windows.

It leans on private parts of asyncssh 2.24.1: the receive loop (`_inpbuf`, `_recv_data`,
`_recv_handler`, `_recv_pkthdr`, `_recv_packet`, `_finish_recv_packet`, `_packet`, `_pktlen`,
`_recv_seq`, `_recv_blocksize`, `_recv_encryption`, `_next_recv_encryption`, `_max_recv_pktlen`),
the key exchange (`_kex`, `_kex_complete`, `_auth_complete`, `_deferred_packets`) and `_channels`.
`tests/gateway/test_pinned.py` tells when they are gone.
"""

import asyncio
from struct import Struct

import asyncssh
from asyncssh.constants import MSG_CHANNEL_DATA, MSG_CHANNEL_WINDOW_ADJUST
from asyncssh.misc import ProtocolError

from gateway.buffers import Buffers
from gateway.cipher import TAG, Gcm
from gateway.flow import Flow
from gateway.outflow import Outflow
from gateway.turns import SLICE, SLOW, Turns

MAX_DEFERRED = 1000  # packets of ours that wait for the end of a key exchange
MAX_BEFORE_LOGIN = 100  # packets; a client with ten keys sends some thirty
_SLOW_READ = 32 * 1024  # asyncssh copies all it holds for every packet
_MAX_HELD = 512 * 1024  # bytes that wait for a packet in work

_LENGTH = Struct(">I")
_DATA = Struct(">BBII")  # padding, type, channel, size; the data and the padding follow
_MIN_PADDING = 4
_SMALLEST = 16  # bytes in a packet under a block cipher


class FastPath(Outflow, asyncio.BufferedProtocol):
    """An SSH server connection that parses what carries data by itself."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: asyncssh.SSHServerConnectionOptions,
        buffers: Buffers,
        turns: Turns,
    ) -> None:
        super().__init__(loop, options, buffers, turns)
        self._later = memoryview(b"")  # what follows `_inpbuf`
        self._slice = SLICE  # what this turn may still cost
        self._in_line = False

    # What the event loop does.

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give the shared memory to receive into, behind what is left of the last read."""
        del sizehint
        return self._buffers.incoming.lend(self, self._inpbuf if self._fast_cipher() else b"")

    def buffer_updated(self, nbytes: int) -> None:
        """Work on what was received."""
        received = self._buffers.incoming.filled(self, nbytes)
        if self._fast_cipher():
            self._inpbuf = received  # type: ignore[assignment]
        else:
            self._later = memoryview(b"".join((self._later, received)))
        self._recv_data()

    def resume_writing(self) -> None:
        """Go on sending, and with what was received before the client stopped reading."""
        super().resume_writing()
        if self._held():
            self._recv_data()

    # What asyncssh's receive loop calls, between two packets.

    def _recv_data(self) -> None:
        """Work on what is there, a slice of it; the rest takes its turn among everybody's."""
        if self._in_line or self.replies_unread:
            return
        self._slice = SLICE
        super()._recv_data()
        while self._later and self._may_go_on():
            self._inpbuf += self._later[:_SLOW_READ]
            self._later = self._later[_SLOW_READ:]
            super()._recv_data()
        self._plan_the_rest()

    def _plan_the_rest(self) -> None:
        """Stand in line with what is left, and read no more meanwhile."""
        waits = self._packet_in_work() or self.replies_unread
        if self._slice <= 0 and self._held() and self._transport and not waits:
            self._in_line = True
            self._turns.join(self._go_on)
        if self._in_line or (waits and self._held() > _MAX_HELD):
            self.hold_reading("packets to work on")
        else:
            self.release_reading("packets to work on")

    def _may_go_on(self) -> bool:
        return self._slice > 0 and self._transport is not None and not self._packet_in_work()

    def _go_on(self) -> None:
        self._in_line = False
        self._recv_data()

    def _recv_pkthdr(self) -> bool:
        if self._slice <= 0 or self.replies_unread:
            return False
        if len(self._deferred_packets) > MAX_DEFERRED:
            raise ProtocolError("Too many requests during a key exchange")
        if self._recv_seq > MAX_BEFORE_LOGIN and not self._auth_complete:
            raise ProtocolError("Too many packets before authentication")
        if self._fast_cipher() is None:
            self._slice -= SLOW
            return super()._recv_pkthdr()
        received = memoryview(self._inpbuf)
        if self._later:
            received = memoryview(b"".join((received, self._later)))
        self._inpbuf, self._later = b"", memoryview(b"")
        rest = received[self._parse(received) :]
        if self._fast_cipher():
            self._inpbuf = bytes(rest)
        elif self._transport:
            self._later = memoryview(bytes(rest))
        return False

    def _finish_recv_packet(
        self,
        pkttype: int,
        seq: int,
        _task: asyncio.Task[None] | None = None,
        is_async: bool = False,
    ) -> None:
        super()._finish_recv_packet(pkttype, seq, _task, is_async)
        if is_async:
            self._recv_data()

    def _held(self) -> int:
        return len(self._inpbuf) + len(self._later)

    def _packet_in_work(self) -> bool:
        """Whether asyncssh is on a packet asynchronously: its handler is no method then."""
        return getattr(self._recv_handler, "__self__", None) is not self

    def _fast_cipher(self) -> Gcm | None:
        """Return the cipher to receive with if the fast path may work now."""
        cipher = self._recv_encryption
        ready = (
            isinstance(cipher, Gcm)
            and self._auth_complete
            and self._kex_complete
            and self._kex is None
            and self._decompressor is None
            and self._recv_handler == self._recv_pkthdr
            and self._transport is not None
        )
        return cipher if ready and isinstance(cipher, Gcm) else None

    # The parser.

    def _parse(self, received: memoryview) -> int:
        """Work on whole packets while the fast path may; return where the rest begins."""
        at, end = 0, len(received)
        touched: dict[Flow, None] = {}
        cipher = self._fast_cipher()
        try:
            while cipher and self._slice > 0 and end - at >= _LENGTH.size:
                (size,) = _LENGTH.unpack_from(received, at)
                if not _SMALLEST <= size <= self._max_recv_pktlen:
                    raise ProtocolError("Bad packet size")
                stop = at + 4 + size + TAG
                if stop > end:
                    break
                plain = cipher.open(received[at : at + 4], received[at + 4 : stop])
                if self._take(plain, touched):
                    self._slice -= 1
                    self._recv_seq = (self._recv_seq + 1) & 0xFFFFFFFF
                else:
                    _deliver(touched)
                    cipher.give_back(plain)
                    self._pass_to_asyncssh(received[at:stop])
                    cipher = self._fast_cipher()
                at = stop
        finally:
            _deliver(touched)
        return at

    def _take(self, plain: bytes, touched: dict[Flow, None]) -> bool:
        """Take a well-formed packet of data or credit for an open channel."""
        padding, kind, number, size = _DATA.unpack_from(plain)
        channel = self._channels.get(number)
        if padding < _MIN_PADDING or not isinstance(channel, Flow):
            return False
        if kind == MSG_CHANNEL_DATA:
            touched[channel] = None
            whole = len(plain) == _DATA.size + size + padding
            return whole and channel.take(memoryview(plain)[_DATA.size : -padding])
        if kind == MSG_CHANNEL_WINDOW_ADJUST and len(plain) == _DATA.size + padding:
            return channel.add_credit(size)
        return False

    def _pass_to_asyncssh(self, packet: memoryview) -> None:
        """Let asyncssh work on one whole packet, which the cipher has opened already."""
        self._slice -= SLOW
        self._packet = bytes(packet[: self._recv_blocksize])
        self._pktlen = len(packet) - 4 - TAG
        self._inpbuf = bytes(packet[self._recv_blocksize :])
        self._recv_packet()


def _deliver(touched: dict[Flow, None]) -> None:
    for channel in touched:
        channel.deliver_taken()
    touched.clear()
