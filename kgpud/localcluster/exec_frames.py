"""Websocket frames (RFC 6455), the server's side, as Kubernetes takes them. Pure: no I/O.

Its library (Go's x/net/websocket) hands on every data frame as a message of its own, so a
fragmented message arrives as several, and nothing is refused but what can't be read on: a frame
over the limit or an unmasked one ends the connection.
"""

import base64
import hashlib
import struct
from collections.abc import Iterator
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
_BATCH_HEAD = 4 + 1  # a frame's head for what fills a gap, and each message's first byte
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
    return _head(opcode, len(payload)) + payload


def _head(opcode: int, length: int) -> bytes:
    if length < 126:  # noqa: PLR2004  (the three length forms of section 5.2)
        return struct.pack("!BB", 0x80 | opcode, length)
    if length < 65536:  # noqa: PLR2004
        return struct.pack("!BBH", 0x80 | opcode, 126, length)
    return struct.pack("!BBQ", 0x80 | opcode, 127, length)


class Batch:
    """Memory that one read fills with many messages, and one write empties.

    `gaps` are where to read to, `size` bytes each; in front of each is room for a frame's head and
    for the byte that every message begins with. What is never used of it costs no memory.
    """

    def __init__(self, count: int, size: int) -> None:
        self._gap = size
        self._slot = _BATCH_HEAD + size
        self._memory = memoryview(bytearray(count * self._slot))
        starts = range(_BATCH_HEAD, len(self._memory), self._slot)
        self.gaps = [self._memory[start : start + size] for start in starts]

    def payloads(self, size: int) -> Iterator[memoryview]:
        """Return the `size` bytes that were read, as they lie in the gaps."""
        for start in range(0, size, self._gap):
            yield self.gaps[start // self._gap][: size - start]

    def framed(self, opcode: int, first: int, size: int) -> memoryview:
        """Return the `size` bytes that were read as frames. Valid until the next read."""
        whole, rest = divmod(size, self._gap)
        end = whole * self._slot
        head = _head(opcode, 1 + self._gap) + bytes((first,))
        for start in range(0, end, self._slot):
            self._memory[start : start + _BATCH_HEAD] = head
        if rest:
            last = encode(opcode, bytes((first,)) + self.gaps[whole][:rest])
            self._memory[end : end + len(last)] = last
            end += len(last)
        return self._memory[:end]


class Reader:
    """Turns the client's bytes into frames, up to and including a CLOSE frame."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._ended = False

    def feed(self, data: bytes | memoryview) -> list[Frame]:
        """Take received bytes, return the whole frames in them.

        What can't be read on counts as a CLOSE frame; what follows one is dropped. Between calls
        it holds at most one frame.
        """
        frames: list[Frame] = []
        view = memoryview(data)
        at = self._complete_held(view, frames) if self._held else 0
        while not self._ended and len(view) - at >= (size := _needed(view[at:])):
            self._take(bytearray(view[at : at + size]), frames)
            at += size
        if not self._ended:
            self._held += view[at:]
        return frames

    def _complete_held(self, view: memoryview, frames: list[Frame]) -> int:
        """Add what the held frame misses, no more; return how much of `view` that was."""
        at = 0
        while len(self._held) < (size := _needed(self._held)):
            if at == len(view):
                return at
            piece = view[at : at + size - len(self._held)]
            self._held += piece
            at += len(piece)
        held, self._held = self._held, bytearray()
        self._take(held, frames)
        return at

    def _take(self, frame: bytearray, frames: list[Frame]) -> None:
        """Make a payload of the memory that a frame lies in: more memory costs more than a copy."""
        opcode, head = frame[0] & 0x0F, _head_size(frame[1])
        if opcode == CLOSE or not frame[1] & _MASKED:
            self._end(NORMAL if opcode == CLOSE else PROTOCOL_ERROR, frames)
        elif _length(frame) > MAX_PAYLOAD:
            self._end(NORMAL, frames)
        else:
            mask = bytes(frame[head - 4 : head])
            del frame[:head]
            websocket_mask(mask, frame)
            if opcode in _CONTROLS:
                del frame[_MAX_CONTROL:]
            frames.append(Frame(opcode, frame))

    def _end(self, why: bytes, frames: list[Frame]) -> None:
        self._ended = True
        frames.append(Frame(CLOSE, why))


def _needed(start: bytearray | memoryview) -> int:
    """Return the size of the frame that begins here; of a part of its head if more isn't there.

    The head is all there is of a frame that ends the connection.
    """
    if len(start) < 2:  # noqa: PLR2004  (what says how long the head is)
        return 2
    if start[0] & 0x0F == CLOSE or not start[1] & _MASKED:
        return 2
    head = _head_size(start[1])
    if len(start) < head or (length := _length(start)) > MAX_PAYLOAD:
        return head
    return head + length


def _length(frame: bytearray | memoryview) -> int:
    length = frame[1] & 0x7F
    extended = _LENGTH_BYTES.get(length, 0)
    return int.from_bytes(frame[2 : 2 + extended], "big") if extended else length


def _head_size(length_byte: int) -> int:
    """Return the size of a masked frame's head."""
    return 2 + _LENGTH_BYTES.get(length_byte & 0x7F, 0) + 4
