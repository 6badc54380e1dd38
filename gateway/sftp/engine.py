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
from gateway.sftp.packets import Kind, Splitter

# What is on its way to the agent at once hides its distance. Of what moves bytes only two, so that
# the next ones gather meanwhile and become one.
_MAX_SENT, _MAX_HEAVY = 16, 2
_MAX_WAITING = 128


class Unfit(Exception):
    """The image lacks what the agent needs; the text says what."""


class Engine:
    """One session. `answers` is for the client, `lines` for the agent: who sends them clears them.

    The agent works on one line at a time, so requests take effect in the order they came.
    """

    def __init__(self) -> None:
        self._talk = agent.Talk()
        self._splitter = Splitter()
        self._greeted = False
        self._operations: Operations | None = None
        self._hello = b""
        self._waiting: deque[Job] = deque()
        self._sent: deque[Job] = deque()
        self.answers = bytearray()
        self.lines = bytearray(self._talk.start() + agent.line("hello"))

    @property
    def full(self) -> bool:
        """Whether so much waits that the client should not send more for now."""
        weight = sum(job.weight for job in self._waiting)
        return len(self._waiting) >= _MAX_WAITING or weight >= 2 * MAX_BATCH

    @property
    def idle(self) -> bool:
        """Whether every whole request has its answer."""
        begun = self._operations is not None or not self._splitter.held
        return begun and not self._waiting and not self._sent

    def receive(self, data: bytes) -> None:
        """Take bytes from the client. Raises Malformed."""
        self._splitter.feed(data)
        self._take_requests()

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
        self._take_requests()

    def fail(self, reason: str) -> None:
        """Answer what has no answer yet: it failed, as far as anybody knows."""
        for job in (*self._sent, *self._waiting):
            self.answers += job.fail(reason)
        self._sent.clear()
        self._waiting.clear()

    def _greet(self, event: bytes | agent.Ended) -> None:
        if isinstance(event, bytes):
            self._hello += event
        elif event.code:
            raise Unfit(event.complaint.decode(errors="replace"))
        else:
            self._operations = Operations(int(self._hello, 8), self._talk.mark)

    def _take_requests(self) -> None:
        """Begin what has come, up to the limit; what is sent makes room for more."""
        while self._operations and not self.full:
            packet = self._splitter.take()
            if packet:
                self._take(packets.parse(packet), self._operations)
            if self.full or not packet:
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
