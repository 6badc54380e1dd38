"""The bytes of one SSH channel: what may come in, what waits to go out.

asyncssh's channel with its own book-keeping replaced: credit is given for what was passed on (not
for what still waits), what waits is kept in few pieces, and sending is left to the connection,
which takes turns between its channels.

It leans on private parts of asyncssh 2.24.1: the `_send_*` and `_recv_*` attributes of
`SSHChannel`, `_accept_data`, `_deliver_data`, `_discard_recv`, `_flush_send_buf`,
`_packet_handlers`, `_pause_resume_writing`, `_process_close`.
`tests/gateway/test_pinned.py` tells when they are gone.
"""

from collections import deque
from typing import Protocol

import asyncssh
from asyncssh.constants import MSG_CHANNEL_CLOSE, MSG_CHANNEL_WINDOW_ADJUST
from asyncssh.packet import SSHPacket, UInt32

from gateway.buffers import PIECE

WINDOW = 2 * 1024 * 1024
# Until somebody takes what comes: hundreds of sessions may wait for a pod that never starts.
FIRST_WINDOW = 128 * 1024
HIGH_WATER, LOW_WATER = 256 * 1024, 64 * 1024
# How long what came before a client's close may still be taken.
CLOSE_SECONDS = 3.0
_PACKET = 32 * 1024
_SMALL = 16 * 1024  # smaller pieces are put together
_ENTRY = 128  # what a piece costs besides its bytes: a million of one byte must count, too

Outgoing = tuple[memoryview, int | None]  # data, and its type if it is extended data


class Sender(Protocol):
    """The connection, as a channel sees it."""

    def flush_soon(self, channel: "Flow") -> None:
        """Send what the channel has, in its turn."""


class Flow(asyncssh.SSHServerChannel[bytes]):
    """A session channel's data, both ways."""

    def __init__(self, connection: asyncssh.SSHServerConnection, sender: Sender) -> None:
        super().__init__(
            connection,
            connection._loop,  # noqa: SLF001 - as asyncssh makes its own
            allow_pty=True,
            line_editor=False,
            line_echo=False,
            line_history=0,
            max_line_length=0,
            encoding=None,
            errors="strict",
            window=FIRST_WINDOW,
            max_pktsize=_PACKET,
        )
        self._sender = sender
        self._send_buf: deque[tuple[bytes | bytearray | memoryview, int | None]] = deque()  # type: ignore[assignment]
        self._recv_buf: list[tuple[bytearray, None]] = []  # type: ignore[assignment]
        self._taken: list[memoryview] = []
        self._uncredited = 0
        self.close_seconds = CLOSE_SECONDS
        self.set_write_buffer_limits(HIGH_WATER, LOW_WATER)

    # From the client. The window, what is uncredited and what waits add up to WINDOW, once it is
    # widened.

    def widen(self) -> None:
        """Let the client send as much as a fast copy takes."""
        self._uncredited += WINDOW - FIRST_WINDOW
        self._give_credit()

    def take(self, piece: memoryview) -> bool:
        """Take data from the fast path; False if asyncssh should judge about it.

        It reaches the session with `deliver_taken`.
        """
        size = len(piece)
        if self._recv_state != "open" or self._send_state in {"close_pending", "closed"}:
            return False
        if not 0 < size <= self._recv_window:
            return False
        self._recv_window -= size
        self._taken.append(piece)
        return True

    def deliver_taken(self) -> None:
        """Pass on what `take` took, as one piece."""
        pieces, self._taken = self._taken, []
        if pieces:
            self._take_in(b"".join(pieces))

    def add_credit(self, size: int) -> bool:
        """Let `size` bytes more be sent; False if asyncssh should judge about it."""
        if self._recv_state not in {"open", "eof_pending", "eof"}:
            return False
        self._send_window += size
        self._flush_send_buf()
        return True

    def resume_reading(self) -> None:
        """Deliver what waits, and give credit again."""
        super().resume_reading()
        self._give_credit()

    def _accept_data(self, data: bytes, datatype: int | None = None) -> None:
        del datatype  # a server is sent none
        if data and self._send_state not in {"close_pending", "closed"}:
            self._recv_window -= len(data)
            self._take_in(data)

    def _take_in(self, data: bytes) -> None:
        if not self._recv_paused:
            self._deliver_data(data, None)
        elif self._recv_buf:
            self._recv_buf[0][0].extend(data)
        else:
            self._recv_buf.append((bytearray(data), None))

    def _deliver_data(self, data: bytes | bytearray, datatype: int | None) -> None:
        self._uncredited += len(data)
        if self._session is not None:
            self._session.data_received(bytes(data), datatype)
        self._give_credit()

    def _process_close(self, _pkttype: int, _pktid: int, packet: SSHPacket) -> None:
        """Tell the session that the client has left, though nobody should take its last words.

        asyncssh waits for that. A command that reads no stdin would run on unseen.
        """
        super()._process_close(_pkttype, _pktid, packet)
        if self._recv_buf:
            self._loop.call_later(self.close_seconds, self._discard_recv)

    def _give_credit(self) -> None:
        due = self._uncredited
        takes = self._session is not None and self._recv_state == "open" and not self._recv_paused
        if takes and due >= WINDOW // 2:
            self._uncredited = 0
            self._recv_window += due
            self.send_packet(MSG_CHANNEL_WINDOW_ADJUST, UInt32(due))

    # To the client.

    @property
    def send_number(self) -> int:
        """The channel's number at the client."""
        assert self._send_chan is not None
        return self._send_chan

    @property
    def sendable(self) -> bool:
        """Whether there is data and window for it."""
        return bool(self._send_buf and self._send_window)

    def write(self, data: bytes, datatype: int | None = None) -> None:
        """Queue data (RFC 4254: extended data with a `datatype`). Raises OSError if closed."""
        if self._send_state != "open":
            raise BrokenPipeError("Channel not open for sending")
        if not data:
            return
        last, kind = self._send_buf[-1] if self._send_buf else (b"", None)
        if isinstance(last, bytearray) and kind == datatype and len(last) + len(data) <= _PACKET:
            last += data
        else:
            small = len(data) < _SMALL
            self._send_buf.append((bytearray(data) if small else data, datatype))
            self._send_buf_len += _ENTRY
        self._send_buf_len += len(data)
        self._sender.flush_soon(self)

    def next_pieces(self, limit: int) -> list[Outgoing]:
        """Take off the queue what the window lets go, `limit` packets at most."""
        pieces: list[Outgoing] = []
        room = min(self._send_pktsize, PIECE)
        while self._send_buf and self._send_window and len(pieces) < limit:
            data, datatype = self._send_buf.popleft()
            self._send_buf_len -= _ENTRY
            view, at = memoryview(data), 0
            while at < len(data) and self._send_window and len(pieces) < limit:
                piece = view[at : at + min(room, self._send_window)]
                pieces.append((piece, datatype))
                at += len(piece)
                self._send_window -= len(piece)
            self._send_buf_len -= at
            if at < len(data):
                self._send_buf.appendleft((view[at:], datatype))
                self._send_buf_len += _ENTRY
        return pieces

    def drop_queued(self, *, stderr: bool = False) -> None:
        """Forget stdout that waits to go out, and stderr too if told so: nobody would read it."""
        kept = [] if stderr else [piece for piece in self._send_buf if piece[1] is not None]
        self._send_buf = deque(kept)
        self._send_buf_len = sum(len(data) + _ENTRY for data, _ in kept)
        self._flush_send_buf()

    def settle(self) -> None:
        """Do what was to follow the data: resume the session, send EOF or close."""
        if self._session is None:  # the channel ended meanwhile
            return
        if self._send_buf:
            self._pause_resume_writing()
        else:
            super()._flush_send_buf()

    def _flush_send_buf(self) -> None:
        if self._send_buf:
            self._sender.flush_soon(self)
        else:
            self.settle()

    _packet_handlers = {  # noqa: RUF012 - never changed
        **asyncssh.SSHServerChannel._packet_handlers,  # noqa: SLF001 - as asyncssh extends its own
        MSG_CHANNEL_CLOSE: _process_close,
    }

    # asyncssh makes a text of each packet, whether anybody logs it or not.

    def log_sent_packet(self, *_: object, **__: object) -> None:
        """Skip it."""

    def log_received_packet(self, *_: object, **__: object) -> None:
        """Skip it."""
