"""What can happen to a connection, where in its stream, and the choice of it by a seed. Pure."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class How(Enum):
    """What is done to the connection."""

    END = "end"  # an orderly FIN, with half a message sent
    RESET = "reset"
    STALL = "stall"  # nothing moves for a while, then all goes on


class Where(Enum):
    """In which part of its stream."""

    HEAD = "head"
    FRAME_HEAD = "frame head"
    FRAME = "frame"
    BETWEEN = "between frames"


@dataclass(frozen=True)
class Fault:
    """One fault: in the stream `down` from the server or up to it, at its frame number `frame`.

    `part` says how far into the part it comes, from 0 to 1. `seconds` is how long a stall lasts.
    """

    how: How
    where: Where
    down: bool = True
    frame: int = 1
    part: float = 0.5
    seconds: float = 0.0

    def __str__(self) -> str:
        way = "down" if self.down else "up"
        return f"{self.how.value} in {self.where.value}, frame {self.frame}, {way}"


def drawn(seed: int, number: int, rate: float) -> Fault | None:
    """Choose what happens to connection `number`: always the same for the same seed."""
    chance = random.Random(f"{seed}/{number}")
    if chance.random() >= rate:
        return None
    # Most streams are a handful of frames long, some are thousands.
    return Fault(
        chance.choice([How.END, How.RESET, How.STALL]),
        chance.choice(list(Where)),
        down=chance.random() < 0.75,
        frame=chance.choice([1, 2, 3, 4, 5, 8, 20, 100]),
        part=chance.random(),
        seconds=chance.choice([0.05, 0.5, 2.0]),
    )


class Parts:
    """Cuts one direction of a connection into its parts: an HTTP head, then frames (RFC 6455).

    What follows a head that did not upgrade is taken for frames all the same: any place in it is
    as good as another.
    """

    def __init__(self) -> None:
        self._last = b""
        self._frame_head = b""
        self._left = 0
        self.frame = 0
        self.size = 0

    def feed(self, data: bytes) -> Iterator[tuple[Where, bytes]]:
        """Take bytes, yield them again piece by piece; `frame` and `size` are the piece's own."""
        while data:
            if self._last != b"\r\n\r\n":
                where, piece = Where.HEAD, self._head_piece(data)
            elif self._left:
                where, piece = Where.FRAME, data[: self._left]
                self._left -= len(piece)
            else:
                where, piece = Where.FRAME_HEAD, self._frame_head_piece(data)
            yield where, piece
            data = data[len(piece) :]

    def _head_piece(self, data: bytes) -> bytes:
        for end in range(1, len(data) + 1):
            self._last = (self._last + data[end - 1 : end])[-4:]
            if self._last == b"\r\n\r\n":
                return data[:end]
        return data

    def _frame_head_piece(self, data: bytes) -> bytes:
        if not self._frame_head:
            self.frame += 1
        self._frame_head += data[:1]
        size = _frame_size(self._frame_head)
        if size is not None:
            self._frame_head, self._left, self.size = b"", size, size
        return data[:1]


class Cutter:
    """Finds the place of a fault in one direction of a connection."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._parts = Parts()
        self._part: tuple[Where, int] | None = None
        self._seen = 0
        self.hit = False

    def feed(self, data: bytes) -> int:
        """Take bytes; return how many of them come before the fault, which is then `hit`."""
        passed = 0
        for where, piece in self._parts.feed(data) if not self.hit else ():
            if (where, self._parts.frame) != self._part:
                self._part, self._seen = (where, self._parts.frame), 0
            place = self._place()
            if place is not None and place < self._seen + len(piece):
                self.hit = True
                return passed + max(0, place - self._seen)
            self._seen += len(piece)
            passed += len(piece)
        return len(data)

    def _place(self) -> int | None:
        """Return how far into the present part the fault comes, if it comes in this part."""
        fault, frame = self._fault, self._parts.frame
        if self._part == (Where.HEAD, 0):
            return int(100 * fault.part) if fault.where is Where.HEAD else None
        if self._part == (Where.FRAME, fault.frame) and fault.where is Where.FRAME:
            return int(self._parts.size * fault.part)
        if self._part == (Where.FRAME_HEAD, frame):
            here = {Where.FRAME_HEAD: (fault.frame, 1), Where.BETWEEN: (fault.frame + 1, 0)}
            wanted, place = here.get(fault.where, (0, 0))
            return place if wanted == frame else None
        return None


def _frame_size(head: bytes) -> int | None:
    """Return how many bytes, masks included, follow a frame's head; None while it isn't whole."""
    if len(head) < 2:
        return None
    masked = 4 if head[1] & 0x80 else 0
    more = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
    if len(head) < 2 + more:
        return None
    return masked + (int.from_bytes(head[2:], "big") if more else head[1] & 0x7F)
