"""One SSH channel is one command in a pod: it copies bytes, nothing else."""

import asyncio
import secrets
from dataclasses import dataclass, replace

import asyncssh
import structlog

from gateway.channel import Channel
from gateway.connection import Connection
from gateway.cuts import Cut, Cuts, Gone
from gateway.exec import ExecRefused, Executor, Outcome
from gateway.protocols import Core, PodRef, Route, SessionClosed, SessionOpened
from gateway.serving import Request, Serving, serve

log = structlog.get_logger()

ACTIVITY_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
_FAILED = 255  # what ssh itself says when the connection, not the command, failed


@dataclass(frozen=True)
class Surroundings:
    """What every session works with."""

    core: Core
    executor: Executor
    cuts: Cuts
    tasks: asyncio.TaskGroup


class Session(asyncssh.SSHServerSession[bytes]):
    """A session channel, from its request to its exit status. Also the sink of its exec."""

    def __init__(self, around: Surroundings, connection: Connection) -> None:
        self.name = secrets.token_hex(8)
        self._around = around
        self._connection = connection
        self._channel: Channel
        self._request = Request()
        self._tty = False
        self._serving: Serving | None = None
        self._early: list[bytes] = []
        self._eof = False
        self._channel_full = self._transport_full = False
        self._moved_in = self._moved_out = 0
        self._over: asyncio.Future[Outcome | Cut | Gone]
        self._over = asyncio.get_running_loop().create_future()

    # What the client asks for.

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """Take the channel."""
        assert isinstance(chan, Channel)
        self._channel = chan
        self._connection.sessions.add(self)

    def pty_requested(
        self,
        term_type: str,
        term_size: tuple[int, int, int, int],
        term_modes: object,
    ) -> bool:
        """Grant a terminal."""
        del term_size, term_modes
        self._tty = True
        if term_type:
            self._channel.accepted_environment["TERM"] = term_type
        return True

    def shell_requested(self) -> bool:
        """Grant a login shell."""
        return True

    def exec_requested(self, command: str) -> bool:
        """Grant a command."""
        self._request = Request("exec", command.encode(errors="surrogateescape"))
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """Grant sftp."""
        self._request = Request("subsystem", subsystem.encode())
        return subsystem == "sftp"

    def session_started(self) -> None:
        """Begin."""
        environment = dict(self._channel.accepted_environment)
        self._request = replace(self._request, tty=self._tty, environment=environment)
        self._around.tasks.create_task(self._run(), name=f"session-{self.name}")

    # Bytes from the client.

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Pass stdin on; before the exec is there, hold one window of it at most."""
        del datatype
        self._moved_in += len(data)
        if self._serving:
            self._serving.write(data)
        else:
            self._early.append(data)
            self._channel.pause_reading()

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

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the client closed the channel or vanished."""
        del exc
        self._connection.sessions.discard(self)
        self._end(Gone.CLIENT)

    # Bytes from the pod.

    def stdout(self, data: bytes) -> None:
        """Pass output on."""
        self._moved_out += len(data)
        if not self._channel.is_closing():
            self._channel.write(data)

    def stderr(self, data: bytes) -> None:
        """Pass error output on."""
        self._moved_out += len(data)
        if not self._channel.is_closing():
            self._channel.write_stderr(data)

    def stdin_ready(self, *, ready: bool) -> None:
        """Withhold window credit from the client while the link to the pod is full."""
        if ready:
            self._channel.resume_reading()
        else:
            self._channel.pause_reading()

    def finished(self, outcome: Outcome) -> None:
        """Take the command's end."""
        self._end(outcome)

    # Pressure: the link is not read while the channel or the transport is full.

    def pause_writing(self) -> None:
        """Stop the pod's output: the channel is full."""
        self._channel_full = True
        self._throttle()

    def resume_writing(self) -> None:
        """Let output flow: the channel has drained."""
        self._channel_full = False
        self._throttle()

    def transport_pressed(self, *, pressed: bool) -> None:
        """Stop or resume the pod's output with the state of the connection's transport."""
        self._transport_full = pressed
        self._throttle()

    def _throttle(self) -> None:
        if self._serving is None:
            return
        if self._channel_full or self._transport_full:
            self._serving.pause()
        else:
            self._serving.resume()

    # The session's life.

    def cut(self, how: Cut) -> None:
        """End now, and tell the client why, even while the command is still being started."""
        self._end(how)
        if self._serving is None:
            self._fail(how.sentence)

    def _end(self, how: Outcome | Cut | Gone) -> None:
        if not self._over.done():
            self._over.set_result(how)

    async def _run(self) -> None:
        try:
            await self._serve()
        except Exception:  # one session's bug must not end everybody's
            log.exception("session_crashed", session=self.name)
            self._say("something went wrong on our side; the operator's log says what")
            self._channel.finish(_FAILED)
            if self._serving:
                self._serving.leave()

    async def _serve(self) -> None:
        pinned, key = self._connection.route, self._connection.fingerprint
        assert pinned is not None
        assert key is not None
        with self._around.cuts.registered(pinned.rental, self):
            await self._around.core.opened(self._opened(pinned, key))
            status: int | None = None
            reason = "crashed"
            try:
                status, reason = await self._admit(pinned, key)
            finally:
                await self._around.core.closed(
                    SessionClosed(
                        self.name, pinned.rental, self._moved_in, self._moved_out, status, reason
                    )
                )

    def _opened(self, pinned: Route, key: str) -> SessionOpened:
        return SessionOpened(
            self.name,
            pinned.rental,
            pinned.generation,
            self._request.kind,
            self._connection.peer,
            self._connection.client,
            key,
        )

    async def _admit(self, pinned: Route, key: str) -> tuple[int | None, str]:
        route = await self._around.core.resolve(key)
        if route is None or (route.rental, route.generation) != (pinned.rental, pinned.generation):
            self._fail("this key no longer opens the rental")
            return _FAILED, "key_refused"
        if route.not_ready:
            self._fail(route.not_ready)
            return _FAILED, "not_ready"
        return await self._run_in(route.rental, route.pod)

    async def _run_in(self, rental: str, pod: PodRef) -> tuple[int | None, str]:
        try:
            self._serving = await serve(self._around.executor, pod, self._request, self)
        except ExecRefused as error:
            self._fail(str(error))
            return _FAILED, "refused"
        self._begin_stdin(self._serving)
        await self._report_activity_until_over(rental)
        how = self._over.result()
        if isinstance(how, Outcome):
            return self._conclude(how)
        self._serving.leave()
        if isinstance(how, Cut):
            self._fail(how.sentence)
            await self._close_soon()
        await self._serving.hang_up()
        return (None, how.value) if isinstance(how, Gone) else (_FAILED, how.reason)

    def _begin_stdin(self, serving: Serving) -> None:
        columns, rows, *_ = self._channel.get_terminal_size()
        serving.resize(columns, rows)
        early, self._early = self._early, []
        for data in early:
            serving.write(data)
        if self._eof:
            serving.end_stdin()
        self._throttle()
        self._channel.resume_reading()

    async def _report_activity_until_over(self, rental: str) -> None:
        told_in = told_out = 0
        while True:
            await asyncio.wait([self._over], timeout=ACTIVITY_SECONDS)
            moved_in, moved_out = self._moved_in, self._moved_out
            if (moved_in, moved_out) != (told_in, told_out):
                await self._around.core.activity(rental, moved_in - told_in, moved_out - told_out)
                told_in, told_out = moved_in, moved_out
            if self._over.done():
                return

    def _conclude(self, outcome: Outcome) -> tuple[int, str]:
        if outcome.exit_code is None:
            self._fail(f"{outcome.broken}; the command may still be running")
            return _FAILED, "broken"
        self._channel.finish(outcome.exit_code)
        return outcome.exit_code, "exit"

    def _fail(self, sentence: str) -> None:
        self._say(sentence)
        self._channel.finish(_FAILED)

    def _say(self, sentence: str) -> None:
        if not self._channel.is_closing():
            end = "\r\n" if self._tty else "\n"
            self._channel.write_stderr(f"kgpud: {sentence}{end}".encode())

    async def _close_soon(self) -> None:
        """Give a client that reads a second to take the farewell; drop one that doesn't."""
        try:
            await asyncio.wait_for(self._channel.wait_closed(), _CLOSE_SECONDS)
        except TimeoutError:
            self._channel.abort()
