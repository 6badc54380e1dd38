"""How a command ends, and who is told: plain values, and the sink that a command's output has."""

from dataclasses import dataclass
from typing import Protocol

from gateway import frames
from gateway.refusal import NO_SH, NOT_RUNNING, explain

_BROKE = "the connection to the pod broke"
_KILLED = 128 + 9  # SIGKILL


class ExecRefused(Exception):
    """The command never began. The text is a sentence for the user."""


class ExecUnreachable(ExecRefused):
    """The API server did not answer. Nothing began, as far as anybody knows."""


class ExecBroken(Exception):
    """The stream to the pod broke, so nobody knows how the command ended."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code, or why that is not known (`broken`, a sentence).

    `runs_on` says that something of it may run in the pod yet, which has to be ended. `killed` says
    that the wrapper was killed too, perhaps with its pod.
    """

    exit_code: int | None
    broken: str | None = None
    runs_on: bool = False
    killed: bool = False


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


class Verdict:
    """What the runtime says of a command's end, and what is to be believed of it."""

    def __init__(self) -> None:
        self._status: frames.Status | None = None
        self._garbage = False

    @property
    def told(self) -> bool:
        """Whether the runtime has said anything."""
        return self._garbage or self._status is not None

    def take_status(self, document: bytes) -> None:
        """Take what came on channel 3."""
        if not document:  # how a channel may begin
            return
        try:
            self._status = frames.parse_status(document)
        except ValueError:
            self._garbage = True

    def outcome(self, trailers: int | None, reason: str) -> Outcome:
        """Judge. `trailers` is the code that all of them told, `reason` why the link was lost.

        A success is believed by the trailers and the status together.
        """
        status = self._status
        if status is None or self._garbage:
            why = reason or "it closed without saying how the command ended"
            return Outcome(None, f"{_BROKE}: {why}", runs_on=True)
        if status.exit_code is None:
            why = explain(status.message)
            return Outcome(None, why, runs_on=why not in {NO_SH, NOT_RUNNING})
        if trailers is not None:
            return Outcome(trailers)
        if status.exit_code:
            return Outcome(status.exit_code, killed=status.exit_code == _KILLED)
        return Outcome(None, f"{_BROKE}: the end of the output is missing", runs_on=True)
