"""Notices when something has kept the event loop to itself, and everybody else waiting."""

import asyncio
import time

import structlog

log = structlog.get_logger()

TOO_LONG_SECONDS = 0.020
_LOOK_SECONDS = 0.05


class Watchdog:
    """Counts how often the loop was blocked for longer than 20 ms, and by how much at most.

    What counts is the loop's own processor time while its timer was late: a machine that is busy
    with something else is not our fault.
    """

    def __init__(self, look_seconds: float = _LOOK_SECONDS) -> None:
        self._look_seconds = look_seconds
        self.blocks = 0
        self.longest = 0.0

    async def run(self) -> None:
        """Look for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due, used = loop.time() + self._look_seconds, time.thread_time()
            await asyncio.sleep(self._look_seconds)
            self._judge(min(loop.time() - due, time.thread_time() - used))

    def _judge(self, blocked: float) -> None:
        self.longest = max(self.longest, blocked)
        if blocked > TOO_LONG_SECONDS:
            self.blocks += 1
            log.warning("loop_blocked", ms=round(blocked * 1000))
