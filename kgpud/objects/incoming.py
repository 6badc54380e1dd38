"""One body on its way to disk: collected, written, and kept only once it is whole."""

import asyncio
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

from kgpud.objects.disk import Disk
from kgpud.objects.stores import StoreFull

R = TypeVar("R")

#: Written at once. What an upload holds in memory is this and what the socket's reader buffers.
BLOCK = 1 << 20
# How much is written between two looks at the free space.
_LOOK_BYTES = 64 << 20


class Stopped(Exception):
    """Another upload of the same, or the object's end, has taken this one's place."""


class Incoming:
    """Writes from `offset` on into the file at `path`; a `new` one it makes, and locks meanwhile.

    The lock tells what a crash left from what another process is still busy with. `room()` is how
    many bytes may still be written; what `written` counts is what has come.
    """

    def __init__(
        self,
        disk: Disk,
        path: Path,
        room: Callable[[], int],
        *,
        offset: int = 0,
        new: bool = False,
    ) -> None:
        self._disk = disk
        self._room = room
        self._at = offset
        self._flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if new else 0)
        self._new = new
        self._buffer = bytearray()
        self._unlooked = _LOOK_BYTES
        self._turn = asyncio.Lock()
        self._stopped = False
        self._kept = False
        self._descriptor = -1
        self.path = path
        self.written = 0

    async def __aenter__(self) -> Self:
        """Open the file. Raises StoreFailed."""
        try:
            await self._disk.do(self._open)
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()
        self._close()

    async def write(self, data: bytes) -> None:
        """Take some bytes. Raises StoreFull, StoreFailed, Stopped."""
        self.written += len(data)
        self._buffer += data
        if len(self._buffer) >= BLOCK:
            await self._flush()

    async def finish(self, keep: Callable[[], R]) -> R:
        """Bring all bytes to the disk and only then `keep` them; return what that returns."""
        await self._flush()

        def settle() -> R:
            os.fsync(self._descriptor)
            kept = keep()
            self._kept = True
            return kept

        return await self._in_turn(settle)

    async def stop(self) -> None:
        """Write no more: whatever is being written has been once this returns."""
        self._stopped = True
        async with self._turn:
            pass

    async def give_way(self) -> None:
        """Stop, and free what a new file took: its connection may linger for a while."""
        self._stopped = True
        async with self._turn:
            if self._new and not self._kept and self._descriptor >= 0:
                await self._disk.do(lambda: os.ftruncate(self._descriptor, 0))

    async def _flush(self) -> None:
        data, self._buffer = self._buffer, bytearray()
        await self._in_turn(lambda: self._write(data))

    async def _in_turn(self, work: Callable[[], R]) -> R:
        async with self._turn:
            if self._stopped:
                raise Stopped
            return await self._disk.do(work)

    def _open(self) -> None:
        self._descriptor = os.open(self.path, self._flags, 0o600)
        if self._new:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def _write(self, data: bytearray) -> None:
        self._unlooked += len(data)
        if self._unlooked >= _LOOK_BYTES:
            self._unlooked = 0
            if self._room() < len(data):
                raise StoreFull("the free space is at its floor")
        rest = memoryview(data)
        while rest:
            count = os.pwrite(self._descriptor, rest, self._at)
            self._at += count
            rest = rest[count:]

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
