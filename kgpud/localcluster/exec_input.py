"""What a command reads: written as far as its pipe or terminal takes it, the rest when it can."""

import asyncio
import os
from collections import deque

from kgpud.localcluster.exec_pipes import widen


class Input:
    """What waits to be written to a command's stdin, in order.

    `feed` never waits; who feeds must `await room()` after it said so, which bounds what waits to
    `high_water` bytes and one message. `close` closes the descriptor, unless it is a terminal's.
    """

    def __init__(self, fd: int, high_water: int, *, is_terminal: bool) -> None:
        self._fd = fd
        self._high_water = high_water
        self._is_terminal = is_terminal
        self._waiting: deque[memoryview] = deque()
        self._size = 0
        self._ended = self._blocked = self._closed = False
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()
        self._room.set()

    def feed(self, data: memoryview) -> bool:
        """Write bytes or queue them; return whether there is room for more.

        Those after the end, or for a command that reads no more, are dropped.
        """
        if data and not (self._ended or self._closed):
            self._waiting.append(data)
            self._size += len(data)
            if not self._blocked:
                self._write()
            if self._size > self._high_water:
                self._room.clear()
        return self._room.is_set()

    def end(self) -> None:
        """End stdin after what is queued. On a terminal it does nothing, as in Kubernetes."""
        if not self._is_terminal:
            self._ended = True
            if not self._waiting:
                self.close()

    async def room(self) -> None:
        """Wait until less than the high water is queued."""
        await self._room.wait()

    def close(self) -> None:
        """Drop what is queued and what still comes."""
        if self._closed:
            return
        self._closed = True
        self._unblock()
        self._waiting.clear()
        self._size = 0
        self._room.set()
        if not self._is_terminal:
            os.close(self._fd)

    def _write(self) -> None:
        """Write what the descriptor takes; wait for more room where that isn't all."""
        while self._waiting:
            data = self._waiting[0]
            try:
                written = os.write(self._fd, data)
            except BlockingIOError:
                written = 0
            except OSError:  # the command has closed its stdin
                self.close()
                return
            self._size -= written
            if written < len(data):
                self._waiting[0] = data[written:]
                self._block()
                break
            self._waiting.popleft()
        else:
            self._unblock()
            if self._ended:
                self.close()
        if self._size <= self._high_water:
            self._room.set()

    def _block(self) -> None:
        if not self._blocked:
            self._blocked = True
            widen(self._fd)
            self._loop.add_writer(self._fd, self._write)

    def _unblock(self) -> None:
        if self._blocked:
            self._blocked = False
            self._loop.remove_writer(self._fd)
