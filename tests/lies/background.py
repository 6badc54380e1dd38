"""A server in a thread with a loop of its own, for tests that wait for real clients."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_WITHIN = 60.0


class Thread:
    """Runs coroutines in its loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Run it there and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_WITHIN)

    def stop(self) -> None:
        """End the loop, when all it served has ended."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_WITHIN)
        self._loop.close()

    @contextmanager
    def serving(self, make: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
        """Run a server while the block runs."""

        async def enter() -> tuple[AbstractAsyncContextManager[T], T]:
            manager = make()
            return manager, await manager.__aenter__()

        manager, server = self.run(enter())
        try:
            yield server
        finally:
            self.run(_left(manager))


async def _left(manager: AbstractAsyncContextManager[Any]) -> None:
    await manager.__aexit__(None, None, None)


@contextmanager
def thread() -> Iterator[Thread]:
    """Run a thread with a loop while the block runs."""
    started = Thread()
    try:
        yield started
    finally:
        started.stop()
