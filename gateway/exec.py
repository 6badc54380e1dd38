"""A command that runs in a pod: its stdin, output, size, how it ended, and making it end."""

import asyncio
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

import structlog

from gateway import frames, wrapper
from gateway.beside import Beside, Fate
from gateway.link import Link
from gateway.outcome import Sink, Verdict
from gateway.output import Output
from gateway.pulse import Pulse
from gateway.settings import Rhythm

log = structlog.get_logger()

HANGUP_GRACE_SECONDS = 5
KILL_GRACE_SECONDS = 1
_STDIN = bytes([frames.STDIN])
# The end of the connection follows the status at once, unless a proxy keeps it.
END_SECONDS = 2.0
# Likewise a terminal's status follows its trailer, unless the runtime loses it with unread stdin.
STATUS_SECONDS = 5.0
# Those of a client's that sshd passes on (session.c, session_signal_req).
SIGNALS = frozenset({"HUP", "INT", "KILL", "QUIT", "TERM", "USR1", "USR2"})
# No client's, but what its not reading any more means to those who write (serverloop.c, eow).
BROKEN_PIPE = "PIPE"


def hangup(nonce: str, *, tty: bool, spare: bool) -> list[str]:
    """Return the argv that ends a command; what may not be spared is not waited for as long."""
    grace = HANGUP_GRACE_SECONDS if spare else KILL_GRACE_SECONDS
    return wrapper.hangup(nonce, tty=tty, grace_seconds=grace, spare=spare)


class Exec:
    """A running command. Made by `Executor.start`."""

    def __init__(
        self,
        link: Link,
        beside: Beside,
        rhythm: Rhythm,
        nonce: str,
        protocol: str,
        sink: Sink,
        *,
        tty: bool,
    ) -> None:
        self.nonce = nonce
        self.tty = tty
        self._link = link
        self._beside = beside
        self._protocol = protocol
        self._sink: Sink | None = sink
        self._output = Output(nonce, sink, tty=tty)
        self._verdict = Verdict()
        self._stdin_open = True
        self._loop = asyncio.get_running_loop()
        self._pulse = Pulse(link, rhythm, self._nudge, self._end_now)
        self._end: asyncio.TimerHandle | None = None
        self._full = False
        self._late_size: bytes | None = None

    # What the owner does.

    def write(self, data: bytes) -> None:
        """Send stdin. Respect `Sink.stdin_ready`, or it piles up here."""
        if self._stdin_open and data:
            self._pulse.stdin_sent()
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
        self._link.pause_reading()
        self._output.pause()

    def resume(self) -> None:
        """Let output flow again."""
        if self._sink:
            self._link.resume_reading()
            self._output.resume()

    def hold_nothing(self) -> None:
        """Pass all output on at once, at the price of stray bytes behind its end in rare cases."""
        self._output.hold_nothing()

    def mute(self) -> None:
        """Pass nothing on any more, either way, while the stream stays for `hang_up`."""
        self._quieten()
        self._output.close()
        self._sink = None
        self._stdin_open = False
        self._link.pause_reading()

    def leave(self) -> None:
        """Drop the stream. The command runs on in the pod."""
        self.mute()
        self._link.close()

    async def hang_up(self, *, spare: bool = True) -> Fate:
        """End the command as sshd does when its client goes: SIGHUP, then SIGKILL. Drop the stream.

        What ignores SIGHUP stays unless it isn't to be spared; what left the session stays anyway.
        The stream goes last: a runtime that loses it may kill the wrapper, always so in v4. Without
        a terminal its children live on then, and nobody finds them.
        """
        fate = await self._beside.hang_up(hangup(self.nonce, tty=self.tty, spare=spare))
        self.leave()
        orphaned = fate is Fate.NOT_FOUND and not self.tty
        return Fate.UNKNOWN if orphaned else fate

    async def signal(self, name: str) -> None:
        """Give the command a signal of `SIGNALS`, as sshd gives a client's. Failures are logged.

        `BROKEN_PIPE` goes to whoever has the command's output open.
        """
        assert name in SIGNALS | {BROKEN_PIPE}
        pipe = name == BROKEN_PIPE
        argv = wrapper.broken_pipe(self.nonce) if pipe else wrapper.signal(self.nonce, name)
        await self._beside.signal(argv)

    # What the link does.

    def messages(self, payloads: list[memoryview]) -> None:
        """Take messages: a channel byte and data. A run of one channel is passed on as one."""
        for channel, run in groupby(payloads, itemgetter(0)):
            if channel == frames.STDOUT:
                self._output.stdout(_joined(run))
            elif channel == frames.STDERR:
                self._output.stderr(_joined(run))
            elif channel == frames.ERROR:
                for payload in run:
                    self._verdict.take_status(bytes(payload[1:]))
        self._output.taken()
        self._plan_end()

    def writable(self, *, ready: bool) -> None:
        """Pass backpressure on."""
        self._full = not ready
        if self._sink:
            self._send_late_size()
            self._sink.stdin_ready(ready=ready)

    def lost(self, reason: str) -> None:
        """Decide how the command ended."""
        self._quieten()
        self._output.flush()
        self._output.close()
        sink, self._sink = self._sink, None
        if sink:
            sink.finished(self._verdict.outcome(self._trailers, reason))

    # The parts.

    @property
    def _trailers(self) -> int | None:
        """The exit code, once every stream has told it."""
        ended = self.tty or self._output.err_code is not None
        return self._output.out_code if ended else None

    def _plan_end(self) -> None:
        """Bound the wait for what follows at once.

        Without a terminal the status may take its time after the trailer: it waits for background
        jobs that hold the output. A terminal is taken from them when its command ends.
        """
        if self._end is not None or self._sink is None:
            return
        if self._verdict.told:
            self._end = self._loop.call_later(END_SECONDS, self._end_now)
        elif self.tty and self._output.out_code is not None:
            self._end = self._loop.call_later(STATUS_SECONDS, self._end_now)

    def _end_now(self, reason: str = "") -> None:
        """End though the connection does not."""
        self._link.close()
        self.lost(reason)

    def _quieten(self) -> None:
        self._pulse.stop()
        if self._end:
            self._end.cancel()

    def _nudge(self) -> None:
        """Send what resets the runtime's idle timer: pings don't, an empty stdin frame does."""
        if self._stdin_open:
            self._link.send(_STDIN)


def _joined(run: Iterator[memoryview]) -> bytes:
    return b"".join([payload[1:] for payload in run])
