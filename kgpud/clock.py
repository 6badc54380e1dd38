"""The one clock. Everything that acts on the time of day or waits for it takes a `Clock`."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time in whole milliseconds since the Unix epoch, and waiting for it to pass."""

    def now_ms(self) -> int:
        """Return the time of day."""
        ...

    def stepped_ms(self) -> int:
        """Return how far the time of day was set forward (negative: back) since some moment.

        What passes is no step, be the machine asleep or awake.
        """
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once that many seconds have passed on this clock, however it is set."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        """Return the time of day."""
        return time.time_ns() // 1_000_000

    def stepped_ms(self) -> int:
        """Compare with CLOCK_BOOTTIME: nobody sets it, and it goes on in a suspended machine.

        NTP's slewing moves both alike (clock_gettime(2)).
        """
        return self.now_ms() - time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop's monotonic clock."""
        await asyncio.sleep(seconds)


def rfc3339(ms: int) -> str:
    """Format milliseconds since the epoch as RFC 3339 UTC, e.g. ``2026-11-23T09:10:11.250Z``."""
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_rfc3339(text: str) -> int:
    """Read a Kubernetes timestamp (``2026-11-23T09:10:11Z``) as milliseconds since the epoch.

    Raises ValueError for anything else.
    """
    return int(datetime.fromisoformat(text).timestamp() * 1000)
