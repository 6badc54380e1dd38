"""What serves a session channel: the command itself, or an engine of ours that speaks for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from gateway import absent, scp, scp_serving
from gateway.beside import Fate
from gateway.executor import Executor
from gateway.outcome import Sink
from gateway.protocols import PodRef
from gateway.sftp import subsystem as sftp
from gateway.terminal import Terminal
from gateway.turns import Turns
from gateway.wrapper import Command, Kind


@dataclass(frozen=True)
class Request:
    """What a client asked for on a session channel (RFC 4254, 6.5). `command` is raw bytes.

    `environment` is what it sent, `connection` what sshd would say of where it comes from. Commands
    of the user's own get both, and bash reads ~/.bashrc by the latter; what speaks a protocol for
    us has no use for that.
    """

    kind: Literal["exec", "shell", "subsystem"] = "shell"
    command: bytes = b""
    tty: bool = False
    terminal: Terminal = field(default_factory=Terminal)
    environment: Mapping[str, str] = field(default_factory=dict)
    connection: Mapping[str, str] = field(default_factory=dict)


class Serving(Protocol):
    """What answers the client, through the `Sink` it was started with."""

    def write(self, data: bytes) -> None:
        """Take bytes from the client. Respect `Sink.stdin_ready`."""

    def end_stdin(self) -> None:
        """Take the client's end-of-file."""

    def resize(self, columns: int, rows: int) -> None:
        """Take the terminal's size."""

    def pause(self) -> None:
        """Hold output back."""

    def resume(self) -> None:
        """Let output flow again."""

    def mute(self) -> None:
        """Never call the sink again."""

    async def signal(self, name: str) -> None:
        """Take one of `exec.SIGNALS` from the client, or `exec.BROKEN_PIPE`."""

    async def hang_up(self) -> Fate:
        """End what still runs in the pod, and drop the stream to it."""


async def serve(
    executor: Executor,
    pod: PodRef,
    request: Request,
    sink: Sink,
    turns: Turns,
    *,
    scp_engine: bool = True,
) -> Serving:
    """Begin to serve a request; what an engine of ours has to do much of, it does in `turns`.

    Raises ExecRefused.

    Don't cancel it: the command may have begun already, and only what is returned can end it.
    """
    environment = request.environment
    if request.kind == "subsystem":  # sftp is the only one that a session grants
        return await sftp.start(executor, pod, environment, sink, turns)
    if request.kind == "exec" and sftp.is_server(request.command):
        return await sftp.start(executor, pod, environment, sink, turns, request.command)
    if scp_engine and request.kind == "exec" and not request.tty:
        asked = scp.recognise(request.command)
        speaks = asked and await scp_serving.start(executor, pod, asked, environment, sink, turns)
        if speaks:
            return speaks
    return await executor.start(pod, _command(request), sink)


def _command(request: Request) -> Command:
    if request.kind == "shell":
        kind, words = Kind.LOGIN, []
    else:
        kind = Kind.COMMAND
        words = [absent.explained(request.command)]
    return Command(
        kind,
        words,
        tty=request.tty,
        terminal=request.terminal,
        environment={**request.environment, **request.connection},
    )
