"""One SFTP session: one exec, in which the image's sftp-server runs, or in its absence our agent.

Which one it is shows in the first bytes that it says, so nothing waits for the answer: what the
client sends meanwhile goes to an sftp-server, and is kept for the case that there is none.
"""

import re
from collections.abc import Callable, Mapping

from gateway.beside import Fate
from gateway.exec import Exec
from gateway.executor import Executor
from gateway.outcome import Outcome, Sink
from gateway.protocols import PodRef
from gateway.sftp import agent
from gateway.sftp.server import Server
from gateway.turns import Turns
from gateway.wrapper import Command, Kind

# Where distributions keep it.
_SERVERS = (
    b"/usr/lib/openssh/sftp-server",
    b"/usr/libexec/openssh/sftp-server",
    b"/usr/lib/ssh/sftp-server",
    b"/usr/libexec/sftp-server",
)
_PATH = re.compile(rb"/[\w./-]+/sftp-server")
_INIT = b"\0\0\0\5\1"
# A client says 9 bytes and waits for the answer; one that says more than this can wait too.
_MAX_UNDECIDED = 64 * 1024


def is_server(command: bytes) -> bool:
    """Whether a command is an sftp-server by its path, as in `sshfs -o sftp_server=PATH`."""
    return _PATH.fullmatch(command) is not None


async def start(
    executor: Executor,
    pod: PodRef,
    environment: Mapping[str, str],
    sink: Sink,
    turns: Turns,
    server: bytes | None = None,
) -> "Subsystem":
    """Begin a session; `server` is an sftp-server to look for first. Raises ExecRefused.

    Don't cancel it: the exec may have begun already.
    """
    session = Subsystem(sink, turns)
    text = agent.bootstrap((server, *_SERVERS) if server else _SERVERS)
    command = Command(Kind.COMMAND, [text], environment=environment)
    session.attach(await executor.start(pod, command, session))
    return session


class Subsystem:
    """Serves the client, and is the sink of the exec. Made by `start`."""

    def __init__(self, sink: Sink, turns: Turns) -> None:
        self._sink = sink
        self._turns = turns
        self._exec: Exec | None = None
        self._early: list[Callable[[], None]] = []
        self._heard = b""
        self._said: list[bytes] = []
        self._decided = False
        self._server: Server | None = None
        self._link_ready, self._paused, self._ended = True, False, False

    def attach(self, running: Exec) -> None:
        """Take the exec. What it said before `Executor.start` returned counts now."""
        self._exec = running
        early, self._early = self._early, []
        for call in early:
            call()

    # What the client does.

    def write(self, data: bytes) -> None:
        """Take the client's bytes."""
        if self._server:
            self._server.write(data)
            return
        self._running.write(data)
        if not self._decided:
            self._said.append(data)
            self._balance()

    def end_stdin(self) -> None:
        """Take the client's end-of-file."""
        self._ended = True
        if self._server:
            self._server.end_stdin()
        elif self._decided or not b"".join(self._said).startswith(_INIT):
            self._running.end_stdin()
        # else what answers INIT is about to say which it is, and ours must be sent to the pod yet.

    def resize(self, columns: int, rows: int) -> None:
        """There is no terminal, even if the client asked for one."""

    def pause(self) -> None:
        """Hold output back."""
        self._paused = True
        self._running.pause()
        if self._server:
            self._server.pause()

    def resume(self) -> None:
        """Let output flow again."""
        self._paused = False
        self._running.resume()
        if self._server:
            self._server.resume()

    def mute(self) -> None:
        """Never call the sink again."""
        self._running.mute()
        if self._server:
            self._server.mute()

    async def signal(self, name: str) -> None:
        """Give what runs in the pod a signal."""
        await self._running.signal(name)

    async def hang_up(self) -> Fate:
        """End what still runs in the pod, and drop the stream to it."""
        return await self._running.hang_up()

    # What the exec says.

    def stdout(self, data: bytes) -> None:
        """Take an sftp-server's output, or the agent's."""
        if self._exec is None:
            self._early.append(lambda: self.stdout(data))
        elif self._server:
            self._server.hear(data)
        elif self._decided:
            self._sink.stdout(data)
        else:
            self._decide(data)

    def stderr(self, data: bytes) -> None:
        """Pass it on."""
        self._sink.stderr(data)

    def stdin_ready(self, *, ready: bool) -> None:
        """Take note of the pressure of the link to the pod."""
        self._link_ready = ready
        if self._server:
            self._server.stdin_ready(ready=ready)
        else:
            self._balance()

    def finished(self, outcome: Outcome) -> None:
        """End the session."""
        if self._exec is None:
            self._early.append(lambda: self.finished(outcome))
        elif self._server:
            self._server.finished(outcome)
        else:
            if self._heard:
                self._sink.stdout(self._heard)
            self._sink.finished(outcome)

    # The parts.

    @property
    def _running(self) -> Exec:
        assert self._exec, "it serves after `attach`"
        return self._exec

    def _decide(self, data: bytes) -> None:
        self._heard += data
        if len(self._heard) < len(agent.NO_SERVER) and agent.NO_SERVER.startswith(self._heard):
            return
        heard, self._heard = self._heard, b""
        self._decided = True
        if heard.startswith(agent.NO_SERVER):
            self._become_server(heard.removeprefix(agent.NO_SERVER))
        else:
            self._said.clear()
            self._sink.stdout(heard)
            self._running.hold_nothing()
            self._balance()
            if self._ended:
                self._running.end_stdin()

    def _become_server(self, heard: bytes) -> None:
        said, self._said = b"".join(self._said), []
        self._balance()
        self._server = server = Server(self._running, self._sink, self._turns)
        server.stdin_ready(ready=self._link_ready)
        if self._paused:
            server.pause()
        server.hear(heard)
        server.write(said)
        if self._ended:
            server.end_stdin()

    def _balance(self) -> None:
        fits = sum(map(len, self._said)) <= _MAX_UNDECIDED
        self._sink.stdin_ready(ready=self._link_ready and fits)
