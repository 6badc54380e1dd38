"""Blocking work on files, on threads of its own: a slow fsync holds up nobody else."""

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from kgpud.objects.stores import StoreFailed, StoreFull

R = TypeVar("R")

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_THREADS = 8


class Disk:
    """Runs blocking functions, one after another for whoever awaits them."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="objects")

    async def do(self, work: Callable[[], R]) -> R:
        """Return what `work` returns; a cancel is let through only once `work` is over.

        So no descriptor is closed under a thread that writes to it. Raises StoreFull where there
        is no room, StoreFailed where the disk fails.
        """
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        cancelled: asyncio.CancelledError | None = None
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled from future.exception()
        try:
            return future.result()
        except OSError as error:
            if error.errno in _FULL:
                raise StoreFull("the disk is full") from error
            raise StoreFailed("failed", f"the folder: {error.strerror}") from error

    def close(self) -> None:
        """End the threads; those that work finish first."""
        self._pool.shutdown()
