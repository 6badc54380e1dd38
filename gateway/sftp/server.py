"""The engine with its two sides: a client's channel, and the exec that the agent runs in."""

from gateway.exec import Exec
from gateway.outcome import Outcome, Sink
from gateway.sftp.agent import Broken
from gateway.sftp.engine import Engine, Unfit
from gateway.sftp.fields import Malformed

_BAD_CLIENT, _BAD_AGENT, _UNFIT = 11, 1, 127  # 11 is what OpenSSH's server exits with


class Server:
    """Answers a client. Ends the agent when the client has ended and has all its answers."""

    def __init__(self, running: Exec, sink: Sink) -> None:
        self._exec = running
        self._sink = sink
        self._engine = Engine()
        self._link_ready, self._client_ready, self._paused = True, True, False
        self._client_ended = self._closing = False
        self._verdict = 0

    def write(self, data: bytes) -> None:
        """Take the client's bytes."""
        if not self._closing:
            try:
                self._engine.receive(data)
            except Malformed as error:
                self._close(_BAD_CLIENT, f"the SFTP client sent {error}")
        self._go_on()

    def end_stdin(self) -> None:
        """Take the client's end-of-file: what it asked before is still answered."""
        self._client_ended = True
        self._go_on()

    def pause(self) -> None:
        """Take no more requests."""
        self._paused = True
        self._go_on()

    def resume(self) -> None:
        """Take requests again."""
        self._paused = False
        self._go_on()

    def hear(self, data: bytes) -> None:
        """Take the agent's output."""
        if not self._closing:
            try:
                self._engine.hear(data)
            except Malformed as error:
                self._close(_BAD_CLIENT, f"the SFTP client sent {error}")
            except Broken as error:
                self._close(_BAD_AGENT, f"the helper in the pod sent {error}")
            except Unfit as error:
                lacks = f"this image has no sftp-server, and {error} for ours to work with"
                self._close(_UNFIT, f"{lacks}; install openssh-sftp-server, or use scp -O")
        self._go_on()

    def stdin_ready(self, *, ready: bool) -> None:
        """Take note of the pressure of the link to the pod."""
        self._link_ready = ready
        self._go_on()

    def finished(self, outcome: Outcome) -> None:
        """End the session. What has no answer yet has failed."""
        whole = self._client_ended and self._engine.idle
        self._engine.fail("the connection to the pod broke")
        self._answer()
        if outcome.exit_code is not None and self._closing:
            outcome = Outcome(self._verdict)
        elif outcome.exit_code or (outcome.exit_code == 0 and not whole):
            self._say("the helper in the pod ended before the session did")
            outcome = Outcome(outcome.exit_code or _BAD_AGENT)
        self._sink.finished(outcome)

    # The parts.

    def _close(self, verdict: int, sentence: str) -> None:
        """End the session with a line: the agent first, then with its end the channel."""
        self._engine.fail("the session ended")
        self._closing, self._verdict = True, verdict
        self._say(sentence)

    def _say(self, sentence: str) -> None:
        self._sink.stderr(f"kgpud: {sentence}\n".encode())

    def _go_on(self) -> None:
        self._answer()
        lines = self._engine.lines
        if lines and self._link_ready and not self._closing:
            self._exec.write(bytes(lines))
            lines.clear()
        if self._closing or (self._client_ended and self._engine.idle):
            self._exec.end_stdin()
        ready = self._link_ready and not self._paused and not self._engine.full
        if ready != self._client_ready:
            self._client_ready = ready
            self._sink.stdin_ready(ready=ready)

    def _answer(self) -> None:
        answers = self._engine.answers
        if answers:
            self._sink.stdout(bytes(answers))
            answers.clear()
