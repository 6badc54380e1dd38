"""The cluster's ends of a command's pipes or terminal, without threads and without copies kept."""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Self

READ_BYTES = 32768
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

    `feed` never waits; who feeds must `await room()` after it, which bounds what waits to
    `high_water` bytes and one message. Closes the descriptor when `run` ends, if it is ours.
    """

    def __init__(self, fd: int, high_water: int, *, is_terminal: bool) -> None:
        self._fd = fd
        self._high_water = high_water
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
        if self._size > self._high_water:
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
        if self._size <= self._high_water:
            self._room.set()

    def _give_up(self) -> None:
        self._broken = True
        self._waiting.clear()
        self._size = 0
        self._room.set()


class Pipes:
    """A command's standard streams: `theirs` are its three ends, the others are ours.

    Ours don't block, and are None where the client did not ask for the stream: there the command
    has /dev/null. Leaving the with-statement closes what has not been closed or taken.
    """

    def __init__(self, *, stdin: bool, stdout: bool, stderr: bool) -> None:
        self.theirs: list[int] = []
        self._ours: list[int] = []
        try:
            self._stdin = self._open(stdin, writes=True)
            self.stdout = self._open(stdout)
            self.stderr = self._open(stderr)
        except OSError:
            self._close()
            raise

    def _open(self, wanted: bool, *, writes: bool = False) -> int | None:
        if not wanted:
            self.theirs.append(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
            return None
        reading, writing = os.pipe2(os.O_CLOEXEC)
        theirs, ours = (reading, writing) if writes else (writing, reading)
        self.theirs.append(theirs)
        self._ours.append(ours)
        os.set_blocking(ours, False)
        return ours

    def close_theirs(self) -> None:
        """Close the command's ends, which it has by now."""
        _close_all(self.theirs)

    def take_stdin(self) -> int | None:
        """Return our end of stdin, which is the caller's to close from here on."""
        if self._stdin is not None:
            self._ours.remove(self._stdin)
        return self._stdin

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_args: object) -> None:
        self._close()

    def _close(self) -> None:
        _close_all(self.theirs)
        _close_all(self._ours)


def _close_all(fds: list[int]) -> None:
    while fds:
        with contextlib.suppress(OSError):
            os.close(fds.pop())
