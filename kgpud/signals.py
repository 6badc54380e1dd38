"""SIGTERM, SIGHUP, Ctrl-C: once to stop in order, twice to hurry. SIGUSR2: to reload."""

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


def stopping() -> list[signal.Signals]:
    """Return the signals that mean to stop: not SIGHUP if it is ignored, as under nohup."""
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hangs_up else [])]


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Turn the signals that mean to stop into a `Stop` while the block runs."""
    stop, numbers = Stop(), stopping()
    loop = asyncio.get_running_loop()
    for number in numbers:
        loop.add_signal_handler(number, stop.signalled)
    try:
        yield stop
    finally:
        for number in numbers:
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
