"""One SSH channel as asyncssh and the engine see it: it copies bytes, nothing else."""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import asyncssh

from gateway.channel import Channel
from gateway.connection import Connection
from gateway.cuts import Cut, Gone
from gateway.exec import BROKEN_PIPE, SIGNALS
from gateway.outcome import Outcome
from gateway.serving import Request, Serving
from gateway.terminal import Terminal

FAILED = 255  # what ssh itself says when the connection, not the command, failed
_SIGNALS_WAITING = 16
# What is typed while a pod starts waits for it, up to so much.
_TYPED_AHEAD = 1024
_INTERRUPT = b"\x03"  # ^C
_INTERRUPTED = Cut("interrupted", "interrupted; the pod still starts, and its rental goes on")
# Writers come one after the other, too; one who ignores every signal is let write.
_BROKEN_PIPES = 5
# What was under way when the last one died is nobody's writing on.
_BROKEN_PIPE_SECONDS = 0.5
# A killed command's end, as by an eviction, is here before the word that its pod ended, and why.
_NEWS_SECONDS = 2.0


class Session(asyncssh.SSHServerSession[bytes]):
    """A session channel, from its request to its exit status. Also the sink of what serves it.

    `live` is the session's life after its request, run as one of `tasks`. `over` is set once,
    with how the session ends.
    """

    def __init__(
        self,
        connection: Connection,
        tasks: asyncio.TaskGroup,
        live: Callable[["Session"], Coroutine[Any, Any, None]],
    ) -> None:
        self.name = secrets.token_hex(8)
        self.connection = connection
        self.channel: Channel
        self.request = Request()
        self.moved_in = self.moved_out = 0
        self.over: asyncio.Future[Outcome | Cut | Gone]
        self.over = asyncio.get_running_loop().create_future()
        self._tasks = tasks
        self._live = live
        self._serving: Serving | None = None
        self._early: list[bytes] = []
        self._eof = False
        self._channel_full = False
        self._killed: asyncio.TimerHandle | None = None
        #: Whether there is no pod yet to take an interrupt.
        self.waits = False
        self._pod_takes = True
        self._signals: deque[str] = deque()
        self._broken_pipes = 0

    # What the client asks for.

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """Take the channel."""
        assert isinstance(chan, Channel)
        self.channel = chan

    def pty_requested(
        self,
        term_type: str,
        term_size: tuple[int, int, int, int],
        term_modes: Mapping[int, int],
    ) -> bool:
        """Grant a terminal."""
        terminal = Terminal(*term_size[:2], dict(term_modes))
        self.request = replace(self.request, tty=True, terminal=terminal)
        if term_type:
            self.channel.accepted_environment["TERM"] = term_type
        return True

    def shell_requested(self) -> bool:
        """Grant a login shell."""
        return True

    def exec_requested(self, command: str) -> bool:
        """Grant a command."""
        raw = command.encode(errors="surrogateescape")
        self.request = replace(self.request, kind="exec", command=raw)
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """Grant sftp."""
        self.request = replace(self.request, kind="subsystem", command=subsystem.encode())
        return subsystem == "sftp"

    def session_started(self) -> None:
        """Begin."""
        environment = dict(self.channel.accepted_environment)
        connection = self.connection.variables
        self.request = replace(self.request, environment=environment, connection=connection)
        self._tasks.create_task(self._lived(), name=f"session-{self.name}")
        self.channel.place.hold()

    async def _lived(self) -> None:
        try:
            await self._live(self)
        finally:
            self.channel.place.release()

    # Bytes from the client.

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Pass stdin on; before the exec is there, hold one small window of it at most.

        Who waits for a pod at a terminal can give up as one does there.
        """
        del datatype
        self.moved_in += len(data)
        if self.over.done() or self._killed:
            return
        if self._serving:
            self._serving.write(data)
        elif self.waits and self.request.tty and _INTERRUPT in data:
            self.cut(_INTERRUPTED)
        else:
            self._early.append(data)
            if not self.request.tty or sum(map(len, self._early)) > _TYPED_AHEAD:
                self.channel.pause_reading()

    def eof_received(self) -> bool:
        """Pass the end of stdin on; the other direction stays open."""
        self._eof = True
        if self._serving:
            self._serving.end_stdin()
        return True

    def terminal_size_changed(self, width: int, height: int, *_: int) -> None:
        """Pass the terminal's size on."""
        if self._serving:
            self._serving.resize(width, height)

    def signal_received(self, signal: str) -> None:
        """Pass a signal on, as sshd does; each takes an exec, so they wait for each other."""
        if signal in SIGNALS:
            self._queue_signal(signal)

    def _queue_signal(self, signal: str) -> None:
        if len(self._signals) >= _SIGNALS_WAITING:
            return
        self._signals.append(signal)
        if self._serving and len(self._signals) == 1:
            self._tasks.create_task(self._pass_signals(self._serving))

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the client closed the channel or vanished."""
        del exc
        self._end(Gone.CLIENT)

    # Bytes from the pod.

    def stdout(self, data: bytes) -> None:
        """Pass output on, unless nobody reads it: who writes it is told then, as by a pipe."""
        self.moved_out += len(data)
        if self.channel.reader_left:
            self._break_pipe()
        elif not self.channel.is_closing():
            self.channel.write(data)

    def _break_pipe(self) -> None:
        if self._broken_pipes < _BROKEN_PIPES and BROKEN_PIPE not in self._signals:
            self._broken_pipes += 1
            self._queue_signal(BROKEN_PIPE)

    def stderr(self, data: bytes) -> None:
        """Pass error output on."""
        self.moved_out += len(data)
        if not self.channel.is_closing():
            self.channel.write_stderr(data)

    def stdin_ready(self, *, ready: bool) -> None:
        """Withhold window credit from the client while the link to the pod is full."""
        self._pod_takes = ready
        if ready:
            self.channel.resume_reading()
        else:
            self.channel.pause_reading()

    def finished(self, outcome: Outcome) -> None:
        """Take the command's end; if it was killed, wait a moment for news that its pod ended."""
        if outcome.killed:
            end = partial(self._end, outcome)
            self._killed = asyncio.get_running_loop().call_later(_NEWS_SECONDS, end)
        else:
            self._end(outcome)

    # Pressure: the link is not read while the channel is full, as it is while the transport is.

    def pause_writing(self) -> None:
        """Stop the pod's output: the channel is full."""
        self._channel_full = True
        self._throttle()

    def resume_writing(self) -> None:
        """Let output flow: the channel has drained."""
        self._channel_full = False
        self._throttle()

    def _throttle(self) -> None:
        if self._serving is None:
            return
        if self._channel_full:
            self._serving.pause()
        else:
            self._serving.resume()

    # What the session's life does with it.

    def serve(self, serving: Serving) -> None:
        """Give what came so far to what serves the session from now on."""
        self._serving = serving
        columns, rows, *_ = self.channel.get_terminal_size()
        serving.resize(columns, rows)
        early, self._early = self._early, []
        for data in early:
            serving.write(data)
        if self._eof:
            serving.end_stdin()
        if self._signals:
            self._tasks.create_task(self._pass_signals(serving))
        self._throttle()
        self.channel.widen()
        self.stdin_ready(ready=self._pod_takes)

    def cut(self, how: Cut) -> None:
        """End now, and tell the client why, even while the command is still being started."""
        self._end(how)
        if self._serving is None:
            self.fail(how.sentence)

    def fail(self, sentence: str) -> None:
        """End without a command's exit status: 255, and the sentence on stderr."""
        self.say(sentence)
        self.channel.finish(FAILED)

    def notify(self, sentence: str) -> None:
        """Tell a line of ours to a terminal alone."""
        if self.request.tty:
            self.say(sentence)

    def say(self, sentence: str) -> None:
        """Tell the client a line of ours on stderr; on a terminal, wherever its cursor stands."""
        if not self.channel.is_closing():
            end = "\r\n" if self.request.tty else "\n"
            start = end if self.request.tty and self._serving else ""
            self.channel.write_stderr(f"{start}kgpud: {sentence}{end}".encode())

    def _end(self, how: Outcome | Cut | Gone) -> None:
        if not self.over.done():
            self.over.set_result(how)
            if self._killed:
                self._killed.cancel()

    async def _pass_signals(self, serving: Serving) -> None:
        while self._signals:
            if not self.over.done():
                await serving.signal(self._signals[0])
                if self._signals[0] == BROKEN_PIPE:
                    await asyncio.wait([self.over], timeout=_BROKEN_PIPE_SECONDS)
            self._signals.popleft()
