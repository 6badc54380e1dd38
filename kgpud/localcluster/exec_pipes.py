"""The cluster's ends of a command's pipes or terminal, without threads and without copies kept."""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable

READ_BYTES = 32768
_STDIN_HIGH_WATER = 4 << 20
_YIELD_EVERY = 32


async def _once(fd: int, add: Callable[..., None], remove: Callable[[int], bool]) -> None:
    ready = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    add(fd, wake)
    try:
        await ready
    finally:
        remove(fd)


async def chunks(fd: int) -> AsyncIterator[bytes]:
    """Read a non-blocking descriptor to its end, at most 32 KiB at a time."""
    loop = asyncio.get_running_loop()
    count = 0
    while True:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            await _once(fd, loop.add_reader, loop.remove_reader)
            continue
        except OSError:  # EIO: the last user of the terminal is gone
            return
        if not data:
            return
        yield data
        count += 1
        if count % _YIELD_EVERY == 0:
            await asyncio.sleep(0)


class Input:
    """What waits to be written to a command's stdin, in order.

    `feed` never waits; who feeds must `await room()` after it, which bounds what waits to the
    high water and one message. Closes the descriptor when `run` ends, if it is ours.
    """

    def __init__(self, fd: int, *, is_terminal: bool) -> None:
        self._fd = fd
        self._is_terminal = is_terminal
        self._waiting: deque[memoryview] = deque()
        self._size = 0
        self._ended = False
        self._broken = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def feed(self, data: memoryview) -> None:
        """Queue bytes; those after the end, or for a command that reads no more, are dropped."""
        if self._ended or self._broken or not data:
            return
        self._waiting.append(data)
        self._size += len(data)
        if self._size > _STDIN_HIGH_WATER:
            self._room.clear()
        self._changed.set()

    def end(self) -> None:
        """End stdin after what is queued. On a terminal it does nothing, as in Kubernetes."""
        if not self._is_terminal:
            self._ended = True
            self._changed.set()

    async def room(self) -> None:
        """Wait until less than the high water is queued."""
        await self._room.wait()

    async def run(self) -> None:
        """Write what is fed until the end, or until the command has closed its stdin."""
        try:
            while not self._broken and (self._waiting or not self._ended):
                if self._waiting:
                    await self._write()
                else:
                    self._changed.clear()
                    await self._changed.wait()
        finally:
            self._give_up()
            if not self._is_terminal:
                os.close(self._fd)

    async def _write(self) -> None:
        data = self._waiting[0]
        try:
            written = os.write(self._fd, data)
        except BlockingIOError:
            loop = asyncio.get_running_loop()
            await _once(self._fd, loop.add_writer, loop.remove_writer)
            return
        except OSError:
            self._give_up()
            return
        self._size -= written
        if written == len(data):
            self._waiting.popleft()
        else:
            self._waiting[0] = data[written:]
        if self._size <= _STDIN_HIGH_WATER:
            self._room.set()

    def _give_up(self) -> None:
        self._broken = True
        self._waiting.clear()
        self._size = 0
        self._room.set()


def pipe_in() -> tuple[int, int]:
    """Return (the command's end, our non-blocking end) of a pipe that we write to."""
    theirs, ours = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(ours, False)
    return theirs, ours


def pipe_out() -> tuple[int, int]:
    """Return (the command's end, our non-blocking end) of a pipe that we read from."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(ours, False)
    return theirs, ours


def nothing() -> int:
    """Return /dev/null, for a stream that the client did not ask for."""
    return os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)


def close_all(fds: list[int]) -> None:
    """Close descriptors, whatever becomes of each."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
