"""Wakes those who wait for something to become of a rental."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Changes:
    """Who waits for which rental, by pod id.

    `told` counts the changes. `closed` says that we stop: nobody need wait for anything any more.
    """

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._watching: set[asyncio.Event] = set()
        self.closed = False
        self.told = 0

    @contextmanager
    def of(self, pod_id: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set at each change. Clear it, then look, then wait for it."""
        changed = asyncio.Event()
        self._waiting[pod_id].add(changed)
        try:
            yield changed
        finally:
            self._waiting[pod_id].discard(changed)
            if not self._waiting[pod_id]:
                del self._waiting[pod_id]

    @contextmanager
    def any(self) -> Iterator[asyncio.Event]:
        """Yield an event that is set at each change of any rental."""
        changed = asyncio.Event()
        self._watching.add(changed)
        try:
            yield changed
        finally:
            self._watching.discard(changed)

    def tell(self, pod_id: str) -> None:
        """Wake who waits for this rental: its row has changed, and the change is written."""
        self.told += 1
        for changed in (*self._waiting.get(pod_id, ()), *self._watching):
            changed.set()

    def close(self) -> None:
        """Wake everybody: we stop."""
        self.closed = True
        for waiting in (*self._waiting.values(), self._watching):
            for changed in waiting:
                changed.set()
