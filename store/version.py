"""What changes with every commit to the database, ours and other processes', told in no time."""

import sqlite3
import time
from collections.abc import Callable

# For so long another process's commit may go unseen; ours are seen at once.
_LOOK_SECONDS = 0.001


class Version:
    """Asks SQLite, on the event loop: that reads shared memory, and no disk.

    https://www.sqlite.org/pragma.html#pragma_data_version. `watcher` is a connection of its own,
    for nothing else.
    """

    def __init__(
        self, watcher: sqlite3.Connection, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._watcher = watcher
        self._now = now
        self._looked_at = float("-inf")
        self._version: int | None = None

    def now(self) -> int | None:
        """Return a number that is another one after each commit; None: it can't be told."""
        now = self._now()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._version, self._looked_at = self._look(), now
        return self._version

    def committed(self) -> None:
        """Look again before anything is told: we have written."""
        self._looked_at = float("-inf")

    def _look(self) -> int | None:
        try:
            # All of them: a statement that is not over would stay at what it has seen.
            [(version,)] = self._watcher.execute("PRAGMA data_version").fetchall()
        except sqlite3.Error:
            return None
        return int(version)
