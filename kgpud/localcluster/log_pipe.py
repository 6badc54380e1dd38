"""Reading what a container writes, without letting it have the loop for itself."""

import asyncio
import os

from kgpud.localcluster.container_log import ContainerLog

_CHUNK = 64 * 1024
# The part of the loop's time that one container's log may take: more, and the container waits.
_SHARE = 0.1


class LogPipe:
    """Feeds a log from the pipe `fd`, which `close` closes."""

    def __init__(self, fd: int, log: ContainerLog) -> None:
        self._fd = fd
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._readable)

    def _readable(self) -> None:
        self._loop.remove_reader(self._fd)
        began = self._loop.time()
        if self._read() != b"":
            pause = (self._loop.time() - began) / _SHARE
            self._again = self._loop.call_later(
                pause, self._loop.add_reader, self._fd, self._readable
            )

    def _read(self) -> bytes | None:
        """Take what is there, up to a chunk, and return it; None if there is nothing yet."""
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return None
        self._log.feed(data)
        return data

    def close(self) -> None:
        """Take what is still there."""
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._fd)
        while self._read():
            pass
        os.close(self._fd)
