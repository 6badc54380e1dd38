"""How much one caller may ask for: calls a minute, and how much at the same time."""

import asyncio
import math
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from kgpud.errors import Code, UserError

_MOST_CALLERS = 65_536


class Rates:
    """A bucket for each caller that holds a minute's calls and fills as fast (GCRA).

    https://www.rfc-editor.org/rfc/rfc2697 has its idea; a bucket is one number, the time at which
    it would be full again.
    """

    def __init__(
        self, per_minute: int, now: Callable[[], float] = time.monotonic, most: int = _MOST_CALLERS
    ) -> None:
        self._step = 60.0 / per_minute if per_minute else 0.0
        self._now = now
        self._most = most
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, caller: str | None) -> None:
        """Count one call; None's are not counted. Raises RATE_LIMITED with when to come again."""
        if not self._step or caller is None:
            return
        now = self._now()
        full_at = max(self._full_at.get(caller, 0.0), now) + self._step
        wait = full_at - now - 60.0
        if wait > 1e-9:  # noqa: PLR2004 - what adding up many small steps may be off
            raise UserError(
                Code.RATE_LIMITED,
                f"that was too fast; come again in {math.ceil(wait)} s",
                retry_after=math.ceil(wait),
            )
        self._full_at[caller] = full_at
        self._full_at.move_to_end(caller)
        if len(self._full_at) > self._most:
            # Whoever has been quiet for the longest has the fullest bucket.
            self._full_at.popitem(last=False)


class Semaphores:
    """How many of each caller may do something at the same time; who comes too many waits."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._callers: dict[str | None, asyncio.Semaphore] = {}
        self._here: Counter[str | None] = Counter()

    @asynccontextmanager
    async def held(self, caller: str | None) -> AsyncIterator[None]:
        """Wait for the caller's and hold it while the block runs."""
        self._here[caller] += 1
        try:
            async with self._callers.setdefault(caller, asyncio.Semaphore(self._each)):
                yield
        finally:
            self._here[caller] -= 1
            if not self._here[caller]:
                del self._here[caller], self._callers[caller]


class Slots:
    """How many may be busy in one place at the same time.

    Who comes too many is told `code` and, behind their number, what they are: `busy`.
    """

    def __init__(self, each: int, code: Code, busy: str) -> None:
        self._each = each
        self._code = code
        self._told = f"{each} {busy}"
        self._taken: Counter[str] = Counter()

    def busy(self, place: str) -> int:
        """Return how many are busy there."""
        return self._taken[place]

    @contextmanager
    def taken(self, place: str) -> Iterator[None]:
        """Hold a slot while the block runs. Raises UserError if none is free."""
        if self._taken[place] >= self._each:
            raise UserError(self._code, self._told, retry_after=1)
        self._taken[place] += 1
        try:
            yield
        finally:
            self._taken[place] -= 1
            if not self._taken[place]:
                del self._taken[place]
