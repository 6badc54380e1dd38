"""The short second execs beside a command, which give it a signal or end it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from enum import Enum
from typing import Any, Protocol

import structlog

from gateway.outcome import ExecRefused, ExecUnreachable, Outcome, Sink
from gateway.refusal import NOT_RUNNING, POD_GONE

log = structlog.get_logger()

# With the drain before it, it stays under systemd's patience (TimeoutStopSec).
SECONDS = 20.0
# Whoever took the stream away may be back in a moment.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 4.0
_LONGEST_WORD = 64


class Fate(Enum):
    """What became of a command that was hung up."""

    ENDED = "the command was ended"
    NOT_FOUND = "it was over already"
    NO_POD = "its container is gone"
    UNKNOWN = "the command may still be running"

    def after(self, sentence: str) -> str:
        """Return a sentence on a broken stream with what its user has to know besides."""
        worth = self in {Fate.ENDED, Fate.UNKNOWN}
        return f"{sentence}; {self.value}" if worth else sentence


HangUp = Callable[[], Coroutine[Any, Any, Fate]]


class ExecLost(ExecUnreachable):
    """The API server was asked, and no answer came, nor a word of the command: it may run, unseen.

    `hang_up` ends it, so that whoever asks again runs it once.
    """

    def __init__(self, why: str, hang_up: HangUp) -> None:
        super().__init__(why)
        self.hang_up = hang_up


class Started(Protocol):
    """A started exec."""

    def leave(self) -> None:
        """Drop it."""


# Starts words, without a terminal. Raises ExecRefused.
Start = Callable[[list[str], Sink], Awaitable[Started]]


class Beside:
    """What runs in one container beside a command, and takes so many `seconds` at most.

    Nothing here raises: failures are logged.
    """

    def __init__(self, pod: str, start: Start, seconds: float) -> None:
        self._pod = pod
        self._start = start
        self._seconds = seconds

    async def signal(self, argv: list[str]) -> None:
        """Run what gives the command a signal."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._run(argv)
        except (ExecRefused, TimeoutError) as error:
            log.warning("signal_failed", pod=self._pod, why=str(error) or "timeout")
        except Exception:
            log.exception("signal_failed", pod=self._pod)

    async def hang_up(self, argv: list[str]) -> Fate:
        """Run what ends the command; in several attempts if need be, since it is not forgotten."""
        pause, why = _FIRST_PAUSE_SECONDS, "timeout"
        try:
            async with asyncio.timeout(self._seconds):
                while True:
                    fate, why = await self._attempt(argv)
                    if fate is not None:
                        return fate
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        except TimeoutError:
            log.warning("hang_up_failed", pod=self._pod, why=why)
        except Exception:
            log.exception("hang_up_failed", pod=self._pod)
        return Fate.UNKNOWN

    async def _attempt(self, argv: list[str]) -> tuple[Fate | None, str]:
        """Return what became of the command; None where another attempt may help, and why."""
        try:
            said, outcome = await self._run(argv)
        except ExecRefused as refused:
            said, why = b"", str(refused)
        else:
            why = outcome.broken or "no answer"
        if said.startswith(b"ended"):
            return Fate.ENDED, ""
        if said.startswith(b"gone"):
            return Fate.NOT_FOUND, ""
        return (Fate.NO_POD if why in {POD_GONE, NOT_RUNNING} else None), why

    async def _run(self, argv: list[str]) -> tuple[bytes, Outcome]:
        """Run to the end; return what it said first, and how it ended."""
        sink = _Heard()
        second = await self._start(argv, sink)
        try:
            outcome = await sink.ended
        finally:
            second.leave()
        return bytes(sink.said), outcome


class _Heard:
    """A sink for one word."""

    def __init__(self) -> None:
        self.said = bytearray()
        self.ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def stdout(self, data: bytes) -> None:
        """Keep the beginning."""
        self.said += data[: _LONGEST_WORD - len(self.said)]

    def stderr(self, data: bytes) -> None:
        """Drop it."""

    def stdin_ready(self, *, ready: bool) -> None:
        """Nothing is written."""

    def finished(self, outcome: Outcome) -> None:
        """Wake who waits."""
        if not self.ended.done():
            self.ended.set_result(outcome)
