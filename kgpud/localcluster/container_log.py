"""What a container has written lately, line by line with the time of each."""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import AsyncGenerator
from typing import NamedTuple

_MOST_BYTES = 256 * 1024
# A line costs memory and time of its own, however short it is.
_MOST_LINES = 8 * 1024
# As long as containerd lets a line get before it breaks it.
_LONGEST_LINE = 16 * 1024


class Line(NamedTuple):
    """One line, with its newline, and when it was written, in ns since the epoch."""

    moment: int
    text: bytes


class ContainerLog:
    """The last 256 KiB or 8,192 lines of one run of a container; any number may follow it.

    A line is told when it is whole, or when the container has ended.
    """

    def __init__(self) -> None:
        self._lines: deque[Line] = deque()
        self._size = 0
        self._dropped = 0
        self._rest = b""
        self._ended = False
        self._news = asyncio.Event()

    def feed(self, data: bytes) -> None:
        """Take what the container wrote."""
        moment = time.time_ns()
        *whole, self._rest = (self._rest + data).split(b"\n")
        self._dropped += max(0, len(whole) - _MOST_LINES)
        for text in whole[-_MOST_LINES:]:
            self._add(Line(moment, text + b"\n"))
        while len(self._rest) >= _LONGEST_LINE:
            self._add(Line(moment, self._rest[:_LONGEST_LINE]))
            self._rest = self._rest[_LONGEST_LINE:]
        self._wake()

    def end(self) -> None:
        """Take that the container has ended: no more will come."""
        if self._rest:
            self._add(Line(time.time_ns(), self._rest))
            self._rest = b""
        self._ended = True
        self._wake()

    def _add(self, line: Line) -> None:
        self._lines.append(line)
        self._size += len(line.text)
        while self._size > _MOST_BYTES or len(self._lines) > _MOST_LINES:
            self._size -= len(self._lines.popleft().text)
            self._dropped += 1

    def _wake(self) -> None:
        woken, self._news = self._news, asyncio.Event()
        woken.set()

    def lines(self, tail: int | None = None) -> list[Line]:
        """Return what there is, or the last `tail` lines of it."""
        found = list(self._lines)
        return found if tail is None else found[len(found) - min(tail, len(found)) :]

    async def follow(self, tail: int | None = None) -> AsyncGenerator[list[Line], None]:
        """Yield the lines there are and then those that come, until the container has ended.

        Who reads too slowly misses lines.
        """
        count = len(self.lines(tail))
        at = self._dropped + len(self._lines) - count
        while True:
            at = max(at, self._dropped)
            lines = list(itertools.islice(self._lines, at - self._dropped, None))
            if not lines:
                if self._ended:
                    return
                await self._news.wait()
            else:
                yield lines
            at += len(lines)
