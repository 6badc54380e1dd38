"""A command run to its end, with its output collected up to a limit and its time bounded."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.beside import ExecLost, Fate
from gateway.exec import Exec
from gateway.executor import Executor
from gateway.outcome import ExecBroken, ExecUnreachable, Outcome
from gateway.protocols import PodRef
from gateway.wrapper import Command, Kind

TIMED_OUT_CODE = 124  # as coreutils' timeout says it


@dataclass(frozen=True)
class Completed:
    """What a command left. `exit_code` is 124 when it was killed for its time."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    truncated: bool
    timed_out: bool


class _Collector:
    """A sink that keeps the first `limit` bytes of both streams together."""

    def __init__(self, limit: int) -> None:
        self.out, self.err = bytearray(), bytearray()
        self.truncated = False
        self.writable = asyncio.Event()
        self.writable.set()
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._limit = limit

    def stdout(self, data: bytes) -> None:
        """Keep what fits."""
        self._keep(self.out, data)

    def stderr(self, data: bytes) -> None:
        """Keep what fits."""
        self._keep(self.err, data)

    def stdin_ready(self, *, ready: bool) -> None:
        """Hold stdin back or let it go on."""
        if ready:
            self.writable.set()
        else:
            self.writable.clear()

    def finished(self, outcome: Outcome) -> None:
        """Wake who waits."""
        self.writable.set()
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def _keep(self, kept: bytearray, data: bytes) -> None:
        room = self._limit - len(self.out) - len(self.err)
        self.truncated |= len(data) > room
        kept += data[:room]


async def run(
    executor: Executor,
    pod: PodRef,
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    output_limit: int,
    timeout: float,  # noqa: ASYNC109 - past it the partial output is returned, not an exception
    left: Callable[[], None] = lambda: None,
) -> Completed:
    """Run `argv` in the pod and return what came of it.

    After `timeout` seconds the whole session is killed in the pod, those that ignore SIGHUP
    included; so it is when this is cancelled or the stream breaks. Where that fails, so that
    it may run on, `left` is called. Output past `output_limit` bytes is read and dropped.

    Raises ExecRefused if it never began, ExecBroken if the stream broke.
    """
    collector = _Collector(output_limit)
    # Halves of characters, which JSON can spell, become bytes that are refused as not UTF-8.
    words = [word.encode(errors="surrogatepass") for word in argv]
    command = Command(Kind.ARGV, words)
    starting = asyncio.get_running_loop().time()
    try:
        running = await _started(executor, pod, command, collector)
    except ExecLost as lost:
        fate = await _over(lost.hang_up(), left)
        raise ExecUnreachable(fate.after(str(lost))) from None
    try:
        async with asyncio.timeout_at(starting + timeout):
            await _feed(running, stdin, collector.writable)
            outcome = await collector.outcome
    except TimeoutError:
        await _over(running.hang_up(spare=False), left)
        return _partial(collector)
    except asyncio.CancelledError:
        await _over(running.hang_up(spare=False), left)
        raise
    finally:
        running.leave()
    if outcome.broken and outcome.runs_on:
        fate = await _over(running.hang_up(spare=False), left)
        raise ExecBroken(fate.after(outcome.broken))
    return _completed(collector, outcome)


async def _over(hang_up: Coroutine[Any, Any, Fate], left: Callable[[], None]) -> Fate:
    fate = await asyncio.shield(hang_up)
    if fate is Fate.UNKNOWN:
        left()
    return fate


async def _started(executor: Executor, pod: PodRef, command: Command, sink: _Collector) -> Exec:
    """Start a command; when cancelled meanwhile, end it once it has begun."""
    # Not a TaskGroup's: that would cancel its task with us. This one is awaited right here.
    start = asyncio.get_running_loop().create_task(executor.start(pod, command, sink))
    try:
        await asyncio.wait([start])
    except asyncio.CancelledError:
        await asyncio.wait([start])
        error = start.exception()
        if isinstance(error, ExecLost):
            await error.hang_up()
        elif error is None:
            await start.result().hang_up(spare=False)
            start.result().leave()
        raise
    return start.result()


async def _feed(running: Exec, stdin: bytes, writable: asyncio.Event) -> None:
    for start in range(0, len(stdin), 65536):
        await writable.wait()
        running.write(stdin[start : start + 65536])
    running.end_stdin()


def _completed(collector: _Collector, outcome: Outcome) -> Completed:
    if outcome.exit_code is None:
        raise ExecBroken(outcome.broken)
    return Completed(
        outcome.exit_code,
        bytes(collector.out),
        bytes(collector.err),
        truncated=collector.truncated,
        timed_out=False,
    )


def _partial(collector: _Collector) -> Completed:
    return Completed(
        TIMED_OUT_CODE,
        bytes(collector.out),
        bytes(collector.err),
        truncated=collector.truncated,
        timed_out=True,
    )
