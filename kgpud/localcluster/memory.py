"""A memory limit where no cgroup can hold it: look now and then, and kill as the kernel would.

What a pod keeps in memory without being mapped (files in /dev/shm) is not seen this way, and
pages that processes share count for each of them.
"""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Sampler:
    """Watches the processes below one helper. `kills` counts what it has killed."""

    def __init__(self, helper: int, limit: int, every: float) -> None:
        self.kills = 0
        self._helper = helper
        self._limit = limit
        self._every = every

    async def run(self) -> None:
        """Look every `every` seconds until cancelled, and kill the largest when it is too much."""
        while True:
            await asyncio.sleep(self._every)
            used = resident(self._helper)
            if sum(used.values()) > self._limit:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(max(used, key=lambda pid: used[pid]), signal.SIGKILL)
                    self.kills += 1


def resident(helper: int) -> dict[int, int]:
    """Return the resident bytes of every process below `helper`, by pid."""
    found: dict[int, int] = {}
    waiting = _children(helper)
    while waiting:
        pid = waiting.pop()
        with contextlib.suppress(OSError):
            found[pid] = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
            waiting += _children(pid)
    return found


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        threads = Path(f"/proc/{pid}/task").iterdir()
        return [int(one) for path in threads for one in (path / "children").read_text().split()]
    return []
