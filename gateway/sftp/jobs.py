"""What the agent is asked to do for the client's requests, and the answers that come of it.

A job is one line to the agent. Neighbouring reads become one job, and so do neighbouring writes:
a client sends dozens of them at once, and a process for each would be slow.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from gateway.sftp import agent, packets
from gateway.sftp.packets import Request, Status

MAX_BATCH = 1024 * 1024
_BLOCK = 32768  # of `fetch` in agent.sh
_MAX_OUTPUT = 64 * 1024
_ENTRY = 128  # what a request costs at least: a million of one byte must count, too


class Job(Protocol):
    """One line to the agent. `weight` is about how many bytes it takes here."""

    weight: int

    def line(self) -> bytes:
        """Return the line, and the bytes that follow it."""

    def output(self, data: bytes) -> bytes:
        """Take output; return the answers that are whole by now."""

    def end(self, ended: agent.Ended) -> bytes:
        """Return the remaining answers."""

    def fail(self, reason: str) -> bytes:
        """Return the remaining answers: nobody knows what came of it."""


class Simple:
    """One request and one answer. `answer` makes it of the output, which is small."""

    weight = 0

    def __init__(
        self,
        request_id: int,
        line: bytes,
        answer: Callable[[bytes], bytes],
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._id = request_id
        self._line = line
        self._answer = answer
        self._failed = failed
        self._output = b""

    def line(self) -> bytes:
        """Return the line."""
        return self._line

    def output(self, data: bytes) -> bytes:
        """Keep it."""
        self._output = (self._output + data)[:_MAX_OUTPUT]
        return b""

    def end(self, ended: agent.Ended) -> bytes:
        """Answer."""
        if ended.code:
            self._failed()
            return packets.status(self._id, *agent.explain(ended.complaint))
        try:
            return self._answer(self._output)
        except ValueError:
            self._failed()
            return packets.status(
                self._id, Status.FAILURE, "the image's tools said what they can't"
            )

    def fail(self, reason: str) -> bytes:
        """Answer so."""
        return packets.status(self._id, Status.FAILURE, reason)


class Reading:
    """Neighbouring reads of one open file, in the order of their offsets."""

    def __init__(self, holder: int, request: Request) -> None:
        self._holder = holder
        self._begin = self._end = request.offset
        self._skip = request.offset % _BLOCK
        self._wanted: deque[tuple[int, int]] = deque()
        self._held = bytearray()
        self.weight = 0
        self.add(holder, request)

    def add(self, holder: int, request: Request) -> bool:
        """Take one more, if it begins where the last one ends and there is room."""
        length = min(request.length, packets.MAX_DATA)
        weight = max(length, _ENTRY)
        fits = self.weight + weight <= MAX_BATCH
        if (holder, request.offset) != (self._holder, self._end) or not fits:
            return False
        self._wanted.append((request.id, length))
        self._end += length
        self.weight += weight
        return True

    def line(self) -> bytes:
        """Ask for the blocks that they lie in."""
        first, last = self._begin // _BLOCK, -(-self._end // _BLOCK)
        return agent.line("fetch", self._holder, first, last - first)

    def output(self, data: bytes) -> bytes:
        """Answer each read that is whole."""
        dropped = min(self._skip, len(data))
        self._skip -= dropped
        self._held += memoryview(data)[dropped:]
        answers = []
        while self._wanted and len(self._held) >= self._wanted[0][1]:
            request_id, length = self._wanted.popleft()
            answers.append(packets.data(request_id, bytes(self._held[:length])))
            del self._held[:length]
        if not self._wanted:
            self._held.clear()
        return b"".join(answers)

    def end(self, ended: agent.Ended) -> bytes:
        """Answer what is left: the file's last bytes, then that it ends or why it can't be read."""
        answers = b""
        if self._wanted and self._held:
            answers = packets.data(self._wanted.popleft()[0], bytes(self._held))
        how = agent.explain(ended.complaint) if ended.code else (Status.EOF, "")
        return answers + b"".join(packets.status(name, *how) for name, _ in self._wanted)

    def fail(self, reason: str) -> bytes:
        """Answer so."""
        how = Status.FAILURE, reason
        return b"".join(packets.status(name, *how) for name, _ in self._wanted)


class Writing:
    """Neighbouring writes of one open file. Each is acknowledged once the last one is through."""

    def __init__(self, holder: int, request: Request, *, append: bool) -> None:
        self._holder = holder
        self._begin, self._size = request.offset, 0
        self._append = append
        self._ids: list[int] = []
        self._pieces: list[bytes] = []
        self.weight = 0
        self.add(holder, request)

    def add(self, holder: int, request: Request) -> bool:
        """Take one more, if it goes where the last one ends and there is room."""
        follows = self._append or request.offset == self._begin + self._size
        weight = max(len(request.data), _ENTRY)
        fits = self.weight + weight <= MAX_BATCH
        if holder != self._holder or not follows or not fits:
            return False
        self._ids.append(request.id)
        self._pieces.append(request.data)
        self._size += len(request.data)
        self.weight += weight
        return True

    def line(self) -> bytes:
        """Hand the bytes over, and keep none."""
        where = "end" if self._append else self._begin
        pieces, self._pieces = self._pieces, []
        return b"".join([agent.line("store", self._holder, self._size, where), *pieces])

    def output(self, data: bytes) -> bytes:
        """There is none."""
        del data
        return b""

    def end(self, ended: agent.Ended) -> bytes:
        """Acknowledge them all, or none."""
        how = agent.explain(ended.complaint) if ended.code else (Status.OK, "")
        return b"".join(packets.status(name, *how) for name in self._ids)

    def fail(self, reason: str) -> bytes:
        """Answer so."""
        return b"".join(packets.status(name, Status.FAILURE, reason) for name in self._ids)
