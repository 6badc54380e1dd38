"""More work than one turn of the event loop may take: a slice at a time, in turn with others.

A client may send a megabyte of tiny packets in one go. Worked off in one go, too, one such client,
not even logged in, would keep everybody else's keystrokes waiting for half a second each time.
"""

import asyncio
from collections import deque
from collections.abc import Callable

SLICE = 128  # what one slice may cost, about a millisecond: an inline packet counts one
SLOW = 8  # and a packet that asyncssh works on so much


class Turns:
    """One line for all connections. Each turn of the loop serves the first in it."""

    def __init__(self) -> None:
        self._line: deque[Callable[[], None]] = deque()

    def join(self, work: Callable[[], None]) -> None:
        """Have `work` called once, behind all who are in the line."""
        self._line.append(work)
        if len(self._line) == 1:
            self._plan()

    def _next(self) -> None:
        work = self._line.popleft()
        if self._line:
            self._plan()
        work()

    def _plan(self) -> None:
        asyncio.get_running_loop().call_soon(self._next)
