"""What a command writes: read as soon as there is some, as long as somebody takes it."""

import asyncio
import os
from collections.abc import Callable, Sequence

from kgpud.localcluster.exec_pipes import SMALL_PIPE, widen


class Output:
    """A non-blocking descriptor, read without waking a task for what it brings.

    Each read fills `places` from the first on; `take` gets how many bytes that were and says
    whether it wants more just now.
    """

    def __init__(self, fd: int, places: Sequence[memoryview], take: Callable[[int], bool]) -> None:
        self._fd = fd
        self._places = places
        self._take = take
        self._small = True
        self._finishing = False
        self._left = 0
        self._look: Callable[[], None] | None = None

    async def flow(self) -> bool:
        """Read until no more is wanted; return False at the end."""
        loop = asyncio.get_running_loop()
        stopped: asyncio.Future[bool] = loop.create_future()

        def readable() -> None:
            while not stopped.done():
                size = self._read()
                if size is not None and not (size and self._take(size)):
                    stopped.set_result(bool(size))
                elif not self._finishing:
                    return

        loop.add_reader(self._fd, readable)
        self._look = readable
        try:
            if self._finishing:
                readable()
            return await stopped
        finally:
            self._look = None
            loop.remove_reader(self._fd)

    def finish(self) -> None:
        """Take what there is already for all that will come, however fast somebody writes on."""
        self._finishing = True
        self._left = SMALL_PIPE
        if self._look:
            self._look()

    def _read(self) -> int | None:
        """Read once; return how much came, 0 at the end, None if there is nothing yet.

        (A terminal's read looks for what is still between its two sides before it says that.)
        """
        if self._finishing and self._left <= 0:
            return 0
        try:
            size = os.readv(self._fd, self._places)
        except BlockingIOError:
            return 0 if self._finishing else None
        except OSError:  # EIO: the last user of the terminal is gone
            return 0
        self._left -= size
        if self._small and size >= SMALL_PIPE:
            self._small = False
            widen(self._fd)
        return size
