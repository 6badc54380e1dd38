"""Websocket frames (RFC 6455), the server's side, as Kubernetes takes them. Pure: no I/O.

Its library (Go's x/net/websocket) hands on every data frame as a message of its own, so a
fragmented message arrives as several, and nothing is refused but what can't be read on: a frame
over the limit or an unmasked one ends the connection.
"""

import base64
import hashlib
import struct
from typing import NamedTuple

# In C, a hundred times as fast as integers in Python; private, hence the bound on aiohttp.
from aiohttp._websocket.helpers import websocket_mask

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
MAX_PAYLOAD = 32 << 20
NORMAL, PROTOCOL_ERROR = struct.pack("!H", 1000), struct.pack("!H", 1002)

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_CONTROLS = (CLOSE, PING, PONG)
_MAX_CONTROL = 125
_MASKED = 0x80
_LENGTH_BYTES = {126: 2, 127: 8}


class Frame(NamedTuple):
    """One frame of the client's; a CLOSE frame's payload is what to answer with."""

    opcode: int
    payload: bytes | bytearray

    @property
    def is_data(self) -> bool:
        """Whether it is a message to the command: anything that is no control frame."""
        return self.opcode not in _CONTROLS


def accept_for(key: str) -> str:
    """Return the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key."""
    digest = hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def encode(opcode: int, payload: bytes) -> bytes:
    """Return one whole, unmasked frame."""
    length = len(payload)
    if length < 126:  # noqa: PLR2004  (the three length forms of section 5.2)
        head = struct.pack("!BB", 0x80 | opcode, length)
    elif length < 65536:  # noqa: PLR2004
        head = struct.pack("!BBH", 0x80 | opcode, 126, length)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 127, length)
    return head + payload


class Reader:
    """Turns the client's bytes into frames, up to and including a CLOSE frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._ended = False

    def feed(self, data: bytes) -> list[Frame]:
        """Take received bytes, return the whole frames in them.

        What can't be read on counts as a CLOSE frame; what follows one is dropped. Between calls
        it holds at most one frame.
        """
        if self._ended:
            return []
        self._buffer += data
        frames: list[Frame] = []
        start = 0
        while (found := self._frame_at(start)) is not None:
            frame, start = found
            frames.append(frame)
            if frame.opcode == CLOSE:
                self._ended = True
                start = len(self._buffer)
                break
        del self._buffer[:start]
        return frames

    def _frame_at(self, start: int) -> tuple[Frame, int] | None:
        buffer = self._buffer
        if len(buffer) < start + 2:
            return None
        opcode, length = buffer[start] & 0x0F, buffer[start + 1] & 0x7F
        if opcode == CLOSE or not buffer[start + 1] & _MASKED:
            return Frame(CLOSE, NORMAL if opcode == CLOSE else PROTOCOL_ERROR), start
        extended = _LENGTH_BYTES.get(length, 0)
        body = start + 2 + extended + 4
        if extended:
            length = int.from_bytes(buffer[start + 2 : start + 2 + extended], "big")
        if len(buffer) >= body and length > MAX_PAYLOAD:
            return Frame(CLOSE, NORMAL), start
        if len(buffer) < body or len(buffer) < body + length:
            return None
        payload = buffer[body : body + length]
        websocket_mask(bytes(buffer[body - 4 : body]), payload)
        if opcode in _CONTROLS:
            del payload[_MAX_CONTROL:]
        return Frame(opcode, payload), body + length
