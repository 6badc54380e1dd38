"""One command in a pod: start, stdin, output, resize, how it ended, and making it end."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Protocol

import structlog

from gateway import frames, link, wrapper
from gateway.buffers import Incoming
from gateway.protocols import ApiServerSource, PodRef
from gateway.refusal import explain, explain_refusal

log = structlog.get_logger()

# Under the idle limits of containerd (4 h; some set minutes) and of middleboxes.
KEEPALIVE_SECONDS = 15.0
HANGUP_GRACE_SECONDS = 5
_STDIN = bytes([frames.STDIN])
# The rest of a trailer follows its beginning at once: it was one write.
RELEASE_SECONDS = 0.1
# The end of the connection follows the status at once, unless a proxy keeps it.
END_SECONDS = 2.0
# Likewise a terminal's status follows its trailer, unless the runtime loses it with unread stdin.
STATUS_SECONDS = 5.0
_BESIDE_SECONDS = 30.0
# Those of a client's that sshd passes on (session.c, session_signal_req).
SIGNALS = frozenset({"HUP", "INT", "KILL", "QUIT", "TERM", "USR1", "USR2"})


class ExecRefused(Exception):
    """The command never began. The text is a sentence for the user."""


class ExecBroken(Exception):
    """The stream to the pod broke, so nobody knows how the command ended."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code, or why that is not known (`broken`, a sentence).

    `runs_on` says that the client is done with it, but something in the pod has to be ended yet.
    """

    exit_code: int | None
    broken: str | None = None
    runs_on: bool = False


class Sink(Protocol):
    """Who gets a command's output. Called on the event loop; `finished` is the last call."""

    def stdout(self, data: bytes) -> None:
        """Take output."""

    def stderr(self, data: bytes) -> None:
        """Take error output. Never called for a command with a tty."""

    def stdin_ready(self, *, ready: bool) -> None:
        """Hold further stdin back (False), or go on (True)."""

    def finished(self, outcome: Outcome) -> None:
        """Take note of the end. All output came before."""


class Exec:
    """A running command. Made by `Executor.start`."""

    def __init__(
        self,
        executor: "Executor",
        pod: PodRef,
        websocket: link.Link,
        nonce: str,
        protocol: str,
        sink: Sink,
        *,
        tty: bool,
    ) -> None:
        self.pod = pod
        self.nonce = nonce
        self.tty = tty
        self._executor = executor
        self._link = websocket
        self._sink: Sink | None = sink
        self._protocol = protocol
        self._out = wrapper.TrailerFilter(nonce)
        self._err = wrapper.TrailerFilter(nonce)
        self._status: frames.Status | None = None
        self._garbage = False
        self._stdin_open = True
        self._loop = asyncio.get_running_loop()
        self._keepalive = self._loop.call_later(KEEPALIVE_SECONDS, self._keep_alive)
        self._release: asyncio.TimerHandle | None = None
        self._end: asyncio.TimerHandle | None = None
        self._paused = self._full = False
        self._late_size: bytes | None = None

    # What the owner does.

    def write(self, data: bytes) -> None:
        """Send stdin. Respect `Sink.stdin_ready`, or it piles up here."""
        if self._stdin_open:
            view = memoryview(data)
            for start in range(0, len(data), frames.MAX_STDIN):
                self._link.send(_STDIN, view[start : start + frames.MAX_STDIN])

    def end_stdin(self) -> None:
        """Send end-of-file. With a tty it means nothing: there it is ^D."""
        if not self._stdin_open or self.tty:
            return
        self._stdin_open = False
        if self._protocol == frames.V5:
            self._link.send(frames.END_OF_STDIN)
        else:
            log.warning("exec_cannot_end_stdin", protocol=self._protocol)

    def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal's size; the last one only, where they come faster than they go.

        Without a tty nothing is sent: it could wedge the stream.
        """
        if self.tty and columns and rows:
            self._late_size = frames.resize(columns, rows)
            self._send_late_size()

    def _send_late_size(self) -> None:
        if self._late_size and not self._full:
            self._link.send(self._late_size)
            self._late_size = None

    def pause(self) -> None:
        """Hold output back, so that in the end the command itself has to wait."""
        self._paused = True
        self._link.pause_reading()
        self._cancel_release()

    def resume(self) -> None:
        """Let output flow again."""
        self._paused = False
        self._link.resume_reading()
        self._plan_release()

    def leave(self) -> None:
        """Drop the stream. The command runs on in the pod (`hang_up` ends it)."""
        self._cancel_timers()
        self._sink = None
        self._link.close()

    async def hang_up(self) -> None:
        """End the command as sshd does when its client goes: SIGHUP, then SIGKILL.

        What ignores SIGHUP or left the session stays. Failures are logged: the pod may be gone.
        """
        await self._executor.hang_up(self)

    async def signal(self, name: str) -> None:
        """Give the command a signal of `SIGNALS`, as sshd gives a client's. Failures are logged."""
        await self._executor.signal(self, name)

    # What the link does.

    def messages(self, payloads: list[memoryview]) -> None:
        """Take messages: a channel byte and data. A run of one channel is passed on as one."""
        for channel, run in groupby(payloads, itemgetter(0)):
            if self._sink is None:
                return
            if channel == frames.STDOUT:
                self._pass(self._sink.stdout, self._out.feed(_joined(run)))
            elif channel == frames.STDERR:
                self._pass(self._sink.stderr, self._err.feed(_joined(run)))
            elif channel == frames.ERROR:
                for payload in run:
                    self._take_status(bytes(payload[1:]))
        if self._sink:
            self._plan_release()
            self._plan_end()

    def writable(self, *, ready: bool) -> None:
        """Pass backpressure on."""
        self._full = not ready
        if self._sink:
            self._send_late_size()
            self._sink.stdin_ready(ready=ready)

    def lost(self, reason: str) -> None:
        """Decide how the command ended."""
        self._cancel_timers()
        sink, self._sink = self._sink, None
        if sink is None:
            return
        self._pass(sink.stdout, self._out.flush())
        self._pass(sink.stderr, self._err.flush())
        sink.finished(self._verdict(reason))

    # The parts.

    @staticmethod
    def _pass(take: Callable[[bytes], None], data: bytes) -> None:
        if data:
            take(data)

    def _plan_release(self) -> None:
        """Give up what a filter holds if nothing follows it, unless we don't read ourselves."""
        self._cancel_release()
        if not self._paused and (self._out.may_release or self._err.may_release):
            self._release = self._loop.call_later(RELEASE_SECONDS, self._release_held)

    def _release_held(self) -> None:
        self._release = None
        if self._sink and self._out.may_release:
            self._pass(self._sink.stdout, self._out.release())
        if self._sink and self._err.may_release:
            self._pass(self._sink.stderr, self._err.release())

    def _cancel_release(self) -> None:
        if self._release:
            self._release.cancel()
            self._release = None

    def _cancel_timers(self) -> None:
        self._keepalive.cancel()
        self._cancel_release()
        if self._end:
            self._end.cancel()

    def _take_status(self, document: bytes) -> None:
        if not document:  # how a channel may begin
            return
        try:
            self._status = frames.parse_status(document)
        except ValueError:
            self._garbage = True

    def _plan_end(self) -> None:
        """Bound the wait for what follows at once.

        Without a terminal the status may take its time after the trailer: it waits for background
        jobs that hold the output. A terminal is taken from them when its command ends.
        """
        if self._end is not None:
            return
        if self._status or self._garbage:
            self._end = self._loop.call_later(END_SECONDS, self._end_now)
        elif self.tty and self._out.code is not None:
            self._end = self._loop.call_later(STATUS_SECONDS, self._end_now)

    def _end_now(self) -> None:
        """End though the connection does not."""
        self._link.close()
        self.lost("")

    def _verdict(self, reason: str) -> Outcome:
        """Believe the trailer and the status together; a success only by both."""
        status = self._status
        if status is None or self._garbage:
            why = reason or "it closed without saying how the command ended"
            return Outcome(None, f"the connection to the pod broke: {why}")
        if status.exit_code is None:
            return Outcome(None, explain(status.message))
        if self._out.code is not None and (self.tty or self._err.code is not None):
            return Outcome(self._out.code)
        if status.exit_code:
            return Outcome(status.exit_code)
        return Outcome(None, "the connection to the pod broke: the end of the output is missing")

    def _keep_alive(self) -> None:
        """Send what resets the runtime's idle timer: pings don't, an empty stdin frame does."""
        if self._stdin_open:
            self._link.send(_STDIN)
        else:
            self._link.ping()
        self._keepalive = self._loop.call_later(KEEPALIVE_SECONDS, self._keep_alive)


def _joined(run: Iterator[memoryview]) -> bytes:
    return b"".join([payload[1:] for payload in run])


class Executor:
    """Starts commands in pods, and ends them."""

    def __init__(self, source: ApiServerSource) -> None:
        self._source = source
        self._incoming = Incoming()

    async def start(self, pod: PodRef, command: wrapper.Command, sink: Sink) -> Exec:
        """Begin `command`; its output goes to `sink`. Raises ExecRefused.

        Don't cancel it: the command may have begun already, and only its nonce can end it.
        """
        nonce = wrapper.new_nonce()
        try:
            argv = wrapper.wrapped(command, nonce)
        except wrapper.CommandRefused as error:
            raise ExecRefused(str(error)) from None
        return await self._start(pod, argv, nonce, sink, tty=command.tty)

    async def hang_up(self, running: Exec) -> None:
        """Do what `Exec.hang_up` says."""
        argv = wrapper.hangup(running.nonce, tty=running.tty, grace_seconds=HANGUP_GRACE_SECONDS)
        await self._run_beside(running.pod, argv, "hang_up_failed")

    async def signal(self, running: Exec, name: str) -> None:
        """Do what `Exec.signal` says."""
        assert name in SIGNALS
        await self._run_beside(running.pod, wrapper.signal(running.nonce, name), "signal_failed")

    async def _run_beside(self, pod: PodRef, argv: list[str], failure: str) -> None:
        sink = _Ended()
        try:
            async with asyncio.timeout(_BESIDE_SECONDS):
                second = await self._start(pod, argv, wrapper.new_nonce(), sink, tty=False)
                try:
                    await sink.ended
                finally:
                    second.leave()
        except (ExecRefused, TimeoutError) as error:
            log.warning(failure, pod=pod.name, why=str(error) or "timeout")

    async def _start(
        self, pod: PodRef, argv: list[str], nonce: str, sink: Sink, *, tty: bool
    ) -> Exec:
        query = [("container", pod.container), ("stdin", "true"), ("stdout", "true")]
        query.append(("tty", "true") if tty else ("stderr", "true"))
        query += [("command", word) for word in argv]
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/exec"
        try:
            server = await self._source.api_server()
            websocket, protocol = await link.connect(server, path, query, self._incoming)
        except link.LinkRefused as error:
            raise ExecRefused(explain_refusal(error.status, error.body)) from None
        running = Exec(self, pod, websocket, nonce, protocol, sink, tty=tty)
        websocket.start(running)
        return running


class _Ended:
    """A sink that only waits for the end."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def stdout(self, data: bytes) -> None:
        """Drop it."""

    def stderr(self, data: bytes) -> None:
        """Drop it."""

    def stdin_ready(self, *, ready: bool) -> None:
        """Nothing is written."""

    def finished(self, outcome: Outcome) -> None:
        """Wake who waits."""
        if not self.ended.done():
            self.ended.set_result(outcome)
