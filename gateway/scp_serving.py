"""The thin shell around the SCP conversations: one channel, one exec in the pod."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from gateway.beside import ExecLost, Fate
from gateway.exec import Exec
from gateway.executor import Executor
from gateway.outcome import ExecRefused, Outcome, Sink
from gateway.protocols import PodRef
from gateway.scp import SCRIPT, ScpCommand
from gateway.scp_place import Place
from gateway.scp_receive import Receiving
from gateway.scp_records import Outbox, warning
from gateway.scp_send import Sending
from gateway.turns import Turns
from gateway.wrapper import Command, Kind, script

_GREETING = b"kgpud-scp"
_GREETING_SECONDS = 30.0
_MAX_GREETING = 64 * 1024
_SCRIPTS = {"t": script("scp-receive.sh"), "f": script("scp-send.sh")}


class Conversation(Protocol):
    """One of the two: `Receiving` and `Sending`. What it says goes to its outbox.

    It works on `STEPS` records or answers in one go; `more` says that there are more to `go_on`
    with, in another turn of the loop.
    """

    exit_code: int | None
    more: bool

    @property
    def holds_client(self) -> bool:
        """Whether the client has to wait."""

    @property
    def holds_pod(self) -> bool:
        """Whether the pod has to wait."""

    def from_client(self, data: bytes) -> None:
        """Take bytes from the client."""

    def client_ended(self) -> None:
        """Take the client's end-of-file."""

    def from_pod(self, data: bytes) -> None:
        """Take what the pod's side wrote to stdout."""

    def pod_complained(self, data: bytes) -> None:
        """Take what it wrote to stderr."""

    def pod_ended(self, code: int) -> None:
        """Take its end."""

    def go_on(self) -> None:
        """Work on what is left."""


class Scp:
    """Speaks SCP with a client, and with a script in the pod. Made by `start`."""

    def __init__(self, command: ScpCommand, sink: Sink, turns: Turns) -> None:
        self.greeting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._command = command
        self._sink = sink
        self._turns = turns
        self._out = Outbox()
        self._exec: Exec
        self._begun = b""
        self._conversation: Conversation | None = None
        self._outcome: Outcome | None = None
        self._over = self._in_line = False
        self._paused = self._link_full = False
        self._held_client = self._held_pod = False

    def begin(self, running: Exec, greeting: bytes) -> None:
        """Begin to speak with the client. Raises ValueError if the greeting is none."""
        self._exec = running
        word, _, text = greeting.partition(b" ")
        if word == b"error":
            self._out.client.append(warning(text))
            self._over = True
            self._settle()
            self._sink.finished(Outcome(1))
        elif word != _GREETING:
            raise ValueError(greeting)
        elif self._command.role == "t":
            self._speak(Receiving(self._command, Place.read(greeting), self._out))
        else:
            self._speak(Sending(self._command, self._out))

    @property
    def outcome(self) -> Outcome | None:
        """How the script ended, if it has."""
        return self._outcome

    def _speak(self, conversation: Conversation) -> None:
        self._conversation = conversation
        begun, self._begun = self._begun, b""
        if begun:
            conversation.from_pod(begun)
        if self._outcome:
            self._pod_ended(self._outcome)
        self._settle()

    # What the client does.

    def write(self, data: bytes) -> None:
        """Take bytes from the client."""
        self._do(lambda conversation: conversation.from_client(data))

    def end_stdin(self) -> None:
        """Take the client's end-of-file."""
        self._do(lambda conversation: conversation.client_ended())

    def resize(self, columns: int, rows: int) -> None:
        """Ignore it: there is no terminal."""

    def pause(self) -> None:
        """Hold output back."""
        self._paused = True
        self._press()

    def resume(self) -> None:
        """Let output flow again."""
        self._paused = False
        self._press()
        self._plan_the_rest()

    def mute(self) -> None:
        """Never call the sink again."""
        self._over = True
        self._exec.mute()

    async def signal(self, name: str) -> None:
        """Take one of `exec.SIGNALS` from the client, or `exec.BROKEN_PIPE`."""
        await self._exec.signal(name)

    async def hang_up(self) -> Fate:
        """End what still runs in the pod, and drop the stream to it."""
        return await self._exec.hang_up()

    # What the pod's side does.

    def stdout(self, data: bytes) -> None:
        """Take what the script says: first of all its greeting."""
        if self._conversation:
            self._do(lambda conversation: conversation.from_pod(data))
            return
        self._begun += data
        line, newline, rest = self._begun.partition(b"\n")
        if not self.greeting.done() and (newline or len(self._begun) > _MAX_GREETING):
            self.greeting.set_result(line)
            self._begun = rest

    def stderr(self, data: bytes) -> None:
        """Take what the script's tools complain about."""
        if self._conversation:
            self._do(lambda conversation: conversation.pod_complained(data))
        else:
            self._sink.stderr(data)

    def stdin_ready(self, *, ready: bool) -> None:
        """Hold the client back while the link to the pod is full."""
        self._link_full = not ready
        self._press()
        self._plan_the_rest()

    def finished(self, outcome: Outcome) -> None:
        """Take the end of the script."""
        self._outcome = outcome
        if self._conversation:
            self._pod_ended(outcome)
        elif not self.greeting.done():
            self.greeting.set_result(b"")

    def _pod_ended(self, outcome: Outcome) -> None:
        code = outcome.exit_code
        if code is not None:
            self._do(lambda conversation: conversation.pod_ended(code))
        elif not self._over:
            self._over = True
            self._sink.finished(outcome)

    # The parts.

    def _do(self, step: Callable[[Conversation], None]) -> None:
        if self._conversation and not self._over:
            step(self._conversation)
            self._settle()

    def _settle(self) -> None:
        """Pass on what the conversation said. What this causes may come back here in between."""
        out = self._out.take()
        if out.pod and not self._outcome:
            self._exec.write(b"".join(out.pod))
        if out.stderr:
            self._sink.stderr(b"".join(out.stderr))
        if out.client:
            self._sink.stdout(b"".join(out.client))
        self._press()
        self._plan_the_rest()
        conversation = self._conversation
        if conversation and conversation.exit_code is not None and not self._over:
            self._over = True
            self._sink.finished(Outcome(conversation.exit_code, runs_on=self._outcome is None))

    def _press(self) -> None:
        """Hold back whoever would otherwise fill our memory."""
        conversation = self._conversation
        if self._over or conversation is None:
            return
        held = self._link_full or conversation.holds_client or conversation.more
        if held != self._held_client:
            self._held_client = held
            self._sink.stdin_ready(ready=not held)
        held = self._paused or conversation.holds_pod or conversation.more
        if held != self._held_pod and not self._outcome:
            self._held_pod = held
            if held:
                self._exec.pause()
            else:
                self._exec.resume()

    def _plan_the_rest(self) -> None:
        """Stand in line with what is left, unless what comes of it would have to wait."""
        waits = self._over or self._in_line or self._link_full or self._paused
        if self._conversation and self._conversation.more and not waits:
            self._in_line = True
            self._turns.join(self._go_on)

    def _go_on(self) -> None:
        self._in_line = False
        self._do(lambda conversation: conversation.go_on())


async def start(
    executor: Executor,
    pod: PodRef,
    command: ScpCommand,
    environment: Mapping[str, str],
    sink: Sink,
    turns: Turns,
) -> Scp | None:
    """Begin to speak for a pod's scp; None if its own one should. Raises ExecRefused.

    Don't cancel it: see `Executor.start`.
    """
    given = {**environment, SCRIPT: _SCRIPTS[command.role]}
    scp = Scp(command, sink, turns)
    running = await executor.start(
        pod, Command(Kind.COMMAND, [command.text()], environment=given), scp
    )
    try:
        async with asyncio.timeout(_GREETING_SECONDS):
            greeting = await scp.greeting
    except TimeoutError:
        await running.hang_up()
        raise ExecRefused("the pod did not begin to copy in time") from None
    return await _begin(scp, running, greeting)


async def _begin(scp: Scp, running: Exec, greeting: bytes) -> Scp | None:
    try:
        scp.begin(running, greeting)
    except ValueError:
        ended = scp.outcome
        if ended and ended.broken and ended.runs_on:
            raise ExecLost(ended.broken, running.hang_up) from None
        running.leave()
        word, _, text = greeting.partition(b" ")
        if word == b"none":
            why = f"this image has no scp, and {text.decode(errors='replace')}"
            raise ExecRefused(why) from None
        if ended and ended.broken:
            raise ExecRefused(ended.broken) from None
        if word != b"pass" and not ended:  # the shell's start files spoke; the script waits
            await running.hang_up()
        return None
    return scp
