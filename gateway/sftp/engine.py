"""An SFTP server that has no files: it turns a client's requests into lines for an agent.

Pure, no I/O: bytes of either side go in, bytes for either side gather in `answers` and `lines`.
asyncssh's own SFTP server is not used: it runs each request as a task of its own, with no bound on
their number, so neither their order nor neighbouring reads and writes could be kept together.
"""

from collections import deque

from gateway.sftp import agent, packets
from gateway.sftp.fields import Malformed
from gateway.sftp.jobs import MAX_BATCH, Job
from gateway.sftp.operations import Operations
from gateway.sftp.packets import MAX_PACKET, Kind, Splitter

# What is on its way to the agent at once hides its distance. Of what moves bytes only two, so that
# the next ones gather meanwhile and become one.
_MAX_SENT, _MAX_HEAVY = 16, 2
_MAX_WAITING = 128
_LONGEST_HELLO = 64  # it is the umask
# What is taken, and answered at once, in one go, so that others have their turn: some milliseconds.
_TAKEN_AT_ONCE, _ANSWERED_AT_ONCE = 64, 64 * 1024


class Unfit(Exception):
    """The image lacks what the agent needs; the text says what."""


class Engine:
    """One session. `answers` is for the client, `lines` for the agent: who sends them clears them.

    The agent works on one line at a time, so requests take effect in the order they came. `more`
    says that there are some to `go_on` with, in another turn of the loop.
    """

    def __init__(self) -> None:
        self._talk = agent.Talk()
        self._splitter = Splitter()
        self._greeted = False
        self._operations: Operations | None = None
        self._hello = b""
        self._waiting: deque[Job] = deque()
        self._sent: deque[Job] = deque()
        self.more = False
        self.answers = bytearray()
        self.lines = bytearray(self._talk.start() + agent.line("hello"))

    @property
    def full(self) -> bool:
        """Whether so much waits that the client should not send more for now."""
        unheard = self._operations is None and self._splitter.held > MAX_PACKET
        return self._laden or self.more or unheard

    @property
    def _laden(self) -> bool:
        weight = sum(job.weight for job in self._waiting)
        return len(self._waiting) >= _MAX_WAITING or weight >= 2 * MAX_BATCH

    @property
    def idle(self) -> bool:
        """Whether every whole request has its answer."""
        begun = self._operations is not None or not self._splitter.held
        return begun and not self._waiting and not self._sent and not self.more

    def receive(self, data: bytes) -> None:
        """Take bytes from the client. Raises Malformed."""
        self._splitter.feed(data)
        self.go_on()

    def hear(self, data: bytes) -> None:
        """Take the agent's output. Raises Malformed, Broken, Unfit."""
        for event in self._talk.feed(data):
            if self._operations is None:
                self._greet(event)
            elif not self._sent:
                raise agent.Broken("output that nobody asked for")
            elif isinstance(event, bytes):
                self.answers += self._sent[0].output(event)
            else:
                self.answers += self._sent.popleft().end(event)
                self._send()
        self.go_on()

    def fail(self, reason: str) -> None:
        """Answer what has no answer yet: it failed, as far as anybody knows."""
        for job in (*self._sent, *self._waiting):
            self.answers += job.fail(reason)
        self._sent.clear()
        self._waiting.clear()

    def _greet(self, event: bytes | agent.Ended) -> None:
        if isinstance(event, bytes):
            self._hello += event
            if len(self._hello) > _LONGEST_HELLO:
                raise agent.Broken("a greeting without an end")
        elif event.code:
            raise Unfit(event.complaint.decode(errors="replace"))
        else:
            self._operations = Operations(_mask(self._hello), self._talk.mark)

    def go_on(self) -> None:
        """Begin what has come, up to the limits; what is sent makes room for more."""
        taken, enough = 0, len(self.answers) + _ANSWERED_AT_ONCE
        self.more = False
        while self._operations and not self._laden and not self.more:
            packet = self._splitter.take()
            if packet:
                self._take(packets.parse(packet), self._operations)
                taken += 1
            self.more = taken >= _TAKEN_AT_ONCE or len(self.answers) >= enough
            if self._laden or self.more or not packet:
                self._send()
            if not packet:
                return

    def _take(self, request: packets.Request, operations: Operations) -> None:
        if (request.kind == Kind.INIT) == self._greeted:
            raise Malformed("INIT comes first, and once")
        if request.kind == Kind.INIT:
            self._greeted = True
            self.answers += packets.version()
            return
        last = self._waiting[-1] if self._waiting else None
        begun = operations.begin(request, last)
        if isinstance(begun, bytes):
            self.answers += begun
        elif begun:
            self._waiting.append(begun)

    def _send(self) -> None:
        while self._waiting and len(self._sent) < _MAX_SENT:
            heavy = sum(1 for job in self._sent if job.weight)
            if self._waiting[0].weight and heavy >= _MAX_HEAVY:
                return
            job = self._waiting.popleft()
            self._sent.append(job)
            self.lines += job.line()


def _mask(hello: bytes) -> int:
    try:
        return int(hello, 8)
    except ValueError:
        raise agent.Broken("a greeting that is no umask") from None
