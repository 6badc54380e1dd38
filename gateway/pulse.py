"""A stream's pulse: what keeps it alive, and how a peer that has fallen silent is noticed."""

import asyncio
from collections.abc import Callable

from gateway.link import Link
from gateway.settings import Rhythm


class Pulse:
    """Beats until it is stopped.

    A ping that isn't answered proves little. The answer may wait behind output that we don't read;
    that stream is not judged. Or the API server doesn't read on since the command doesn't read its
    stdin: where stdin may be in a ping's way, only the peer's kernel can tell that nobody is there.
    """

    def __init__(
        self, link: Link, rhythm: Rhythm, nudge: Callable[[], None], silent: Callable[[str], None]
    ) -> None:
        self._link = link
        self._rhythm = rhythm
        self._nudge = nudge
        self._silent = silent
        self._pinged = self._missed = self._reads = 0
        self._stdin_behind = -1  # the ping that the last stdin came after
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(rhythm.seconds, self._next)

    def stdin_sent(self) -> None:
        """Take note that a command got something that it may not read."""
        self._stdin_behind = self._pinged

    def stop(self) -> None:
        """Stop."""
        self._timer.cancel()

    def beat(self) -> None:
        """Send what keeps the stream alive, and a ping."""
        self._nudge()
        self._pinged += 1
        self._link.ping(self._pinged)

    def _next(self) -> None:
        self._timer = self._loop.call_later(self._rhythm.seconds, self._next)
        self._judge()
        if self._missed >= self._rhythm.missed:
            seconds = self._rhythm.seconds * self._missed
            self._silent(f"the API server was silent for {seconds:.0f} s")
        elif self._link.unheard_seconds >= self._rhythm.vanished_seconds:
            self._silent("the API server can't be reached any more")
        else:
            self.beat()

    def _judge(self) -> None:
        """Count another ping as missed, or begin anew."""
        heard = self._reads != self._link.reads
        blocked = self._link.ponged <= self._stdin_behind
        self._reads = self._link.reads
        if heard or blocked or self._link.paused or not self._pinged:
            self._missed = 0
        else:
            self._missed += 1
