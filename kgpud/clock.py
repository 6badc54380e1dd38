"""The one clock. Everything that acts on the time of day or waits for it takes a `Clock`."""

import asyncio
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

# Two readings that lie further apart than this are not of one moment.
_APART_MS = 20
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_TIME_NAMESPACE = Path("/proc/self/ns/time")


@dataclass(frozen=True)
class Moment:
    """One moment by two clocks, in milliseconds: the time of day, and what passed since `origin`.

    Nobody sets the second one, and it goes on while the machine is suspended.
    """

    now: int
    passed: int
    origin: str

    @property
    def ahead(self) -> int:
        """How far the time of day is ahead of the clock that nobody sets."""
        return self.now - self.passed


class Clock(Protocol):
    """Wall-clock time in whole milliseconds since the Unix epoch, and waiting for it to pass."""

    def now_ms(self) -> int:
        """Return the time of day."""
        ...

    def moment(self) -> Moment:
        """Read both clocks at once."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once that many seconds have passed on this clock, however it is set."""
        ...


class SystemClock:
    """The machine's own clock."""

    def __init__(self) -> None:
        self._origin = _origin()

    def now_ms(self) -> int:
        """Return the time of day."""
        return time.time_ns() // 1_000_000

    def moment(self) -> Moment:
        """Compare with CLOCK_BOOTTIME; NTP's slewing moves both alike (clock_gettime(2))."""
        while True:
            before, now, after = _boottime_ms(), self.now_ms(), _boottime_ms()
            if after - before <= _APART_MS:
                return Moment(now, before, self._origin)

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop's monotonic clock."""
        await asyncio.sleep(seconds)


def _origin() -> str:
    """Return what CLOCK_BOOTTIME counts from: a boot, as a time namespace sees it."""
    try:
        return f"{_BOOT.read_text().strip()} {_TIME_NAMESPACE.readlink()}"
    except OSError:
        # A sandbox that doesn't tell: then nothing is known of other processes' clocks.
        return secrets.token_hex(8)


def _boottime_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def rfc3339(ms: int) -> str:
    """Format milliseconds since the epoch as RFC 3339 UTC, e.g. ``2026-11-23T09:10:11.250Z``."""
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_rfc3339(text: str) -> int:
    """Read a Kubernetes timestamp (``2026-11-23T09:10:11Z``) as milliseconds since the epoch.

    Raises ValueError for anything else.
    """
    return int(datetime.fromisoformat(text).timestamp() * 1000)
