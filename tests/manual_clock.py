"""A clock that moves only when a test says so."""

import asyncio

from kgpud.clock import Moment

START_MS = 1_795_424_400_000  # 2026-11-23T09:00:00Z, on a UTC hour


class ManualClock:
    """Implements kgpud.clock.Clock. `sleep` returns once `advance` has passed its time."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self._now = now_ms
        self._stepped = 0
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now - self._stepped + round(seconds * 1000), future))
        await future

    def moment(self) -> Moment:
        return Moment(self._now, self._now - self._stepped, "by hand")

    def step(self, seconds: float) -> None:
        """Set the time of day, as NTP does: no time passes."""
        self._now += round(seconds * 1000)
        self._stepped += round(seconds * 1000)

    @property
    def sleeping(self) -> int:
        """How many are asleep."""
        return sum(not future.done() for _, future in self._sleepers)

    def advance(self, seconds: float) -> None:
        """Move on (or back) and wake those whose time has come."""
        self._now += round(seconds * 1000)
        passed = self._now - self._stepped
        awake = [(at, future) for at, future in self._sleepers if at <= passed]
        self._sleepers = [(at, f) for at, f in self._sleepers if at > passed and not f.done()]
        for _, future in sorted(awake, key=lambda sleeper: sleeper[0]):
            if not future.done():
                future.set_result(None)
