"""The engine with its two sides: a client's channel, and the exec that the agent runs in."""

from collections.abc import Callable

from gateway.exec import Exec
from gateway.outcome import Outcome, Sink
from gateway.sftp.agent import Broken
from gateway.sftp.engine import Engine, Unfit
from gateway.sftp.fields import Malformed
from gateway.turns import Turns

_BAD_CLIENT, _BAD_AGENT, _UNFIT = 11, 1, 127  # 11 is what OpenSSH's server exits with


class Server:
    """Answers a client. Ends the agent when the client has ended and has all its answers."""

    def __init__(self, running: Exec, sink: Sink, turns: Turns) -> None:
        self._exec = running
        self._sink = sink
        self._turns = turns
        self._engine = Engine()
        self._link_ready, self._client_ready, self._paused = True, True, False
        self._client_ended = self._over = self._in_line = False

    def write(self, data: bytes) -> None:
        """Take the client's bytes."""
        self._do(lambda: self._engine.receive(data))

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
        self._do(lambda: self._engine.hear(data))

    def stdin_ready(self, *, ready: bool) -> None:
        """Take note of the pressure of the link to the pod."""
        self._link_ready = ready
        self._go_on()

    def finished(self, outcome: Outcome) -> None:
        """End the session. What has no answer yet has failed."""
        if self._over:
            return
        whole = self._client_ended and self._engine.idle
        self._engine.fail("the connection to the pod broke")
        self._answer()
        if outcome.exit_code or (outcome.exit_code == 0 and not whole):
            self._say("the helper in the pod ended before the session did")
            outcome = Outcome(outcome.exit_code or _BAD_AGENT)
        self._over = True
        self._sink.finished(outcome)

    def mute(self) -> None:
        """Never call the sink again."""
        self._over = True

    # The parts.

    def _do(self, work: Callable[[], None]) -> None:
        if not self._over:
            try:
                work()
            except Malformed as error:
                self._close(_BAD_CLIENT, f"the SFTP client sent {error}")
            except Broken as error:
                self._close(_BAD_AGENT, f"the helper in the pod sent {error}")
            except Unfit as error:
                lacks = f"this image has no sftp-server, and {error} for ours to work with"
                self._close(_UNFIT, f"{lacks}; install openssh-sftp-server, or use scp -O")
        self._go_on()

    def _close(self, verdict: int, sentence: str) -> None:
        """End the session with a line. Who knows whether the agent ends when it is told to."""
        self._engine.fail("the session ended")
        self._over = True
        self._answer()
        self._say(sentence)
        self._exec.end_stdin()
        self._sink.finished(Outcome(verdict, runs_on=True))

    def _say(self, sentence: str) -> None:
        self._sink.stderr(f"kgpud: {sentence}\n".encode())

    def _go_on(self) -> None:
        if self._over:
            return
        self._answer()
        lines = self._engine.lines
        if lines and self._link_ready:
            self._exec.write(bytes(lines))
            lines.clear()
        if self._client_ended and self._engine.idle:
            self._exec.end_stdin()
        ready = self._link_ready and not self._paused and not self._engine.full
        if ready != self._client_ready:
            self._client_ready = ready
            self._sink.stdin_ready(ready=ready)
        self._plan_the_rest()

    def _plan_the_rest(self) -> None:
        """Stand in line with what is left, unless what comes of it would have to wait."""
        waits = self._in_line or self._paused or not self._link_ready
        if self._engine.more and not waits:
            self._in_line = True
            self._turns.join(self._take_more)

    def _take_more(self) -> None:
        self._in_line = False
        self._do(self._engine.go_on)

    def _answer(self) -> None:
        answers = self._engine.answers
        if answers:
            self._sink.stdout(bytes(answers))
            answers.clear()
