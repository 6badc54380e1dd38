"""SIGTERM and Ctrl-C: once to stop in order, twice to hurry. SIGUSR2: to reload."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stop:
    """`asked` is set by the first signal, `hurry` by the second."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)

    def signalled(self) -> None:
        """Take a signal."""
        if self.asked.is_set():
            self.hurry.set()
        self.asked.set()


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Turn SIGINT and SIGTERM into a `Stop` while the block runs."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.signalled)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextmanager
def reload_signal(asked: Callable[[], None]) -> Iterator[None]:
    """Call `asked` at each SIGUSR2 while the block runs; without, it would end the process."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR2, asked)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGUSR2)
