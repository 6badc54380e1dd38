"""What a client of an exec sees from its first message to the close; knows nothing of the pod."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kgpud.localcluster import exec_status
from kgpud.localcluster.exec_frames import Batch
from kgpud.localcluster.exec_link import Ended, Link, LinkEndedError
from kgpud.localcluster.exec_protocol import ERROR, STDERR, STDOUT, Action, Leave, Protocol, Talk


@dataclass(frozen=True)
class Asked:
    """What the client asked for."""

    argv: Sequence[str]
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool
    protocol: Protocol

    @property
    def first_channel(self) -> int:
        """The channel whose empty message says that the stream is there."""
        return STDOUT if self.stdout else STDERR if self.stderr else ERROR


class Stream:
    """One exec's messages over its link."""

    def __init__(self, link: Link, asked: Asked) -> None:
        self._link = link
        self._protocol = asked.protocol
        self._first = asked.first_channel
        self._talk = Talk(asked.protocol, stdin=asked.stdin, tty=asked.tty)

    async def begin(self) -> None:
        """Say that the stream is there."""
        await self._say(self._first, b"")

    def output(self, channel: int, batch: Batch, size: int) -> bool:
        """Send the `size` bytes of output in `batch`; false where `wanted` must be asked first."""
        return self._link.send(self._talk.frames(channel, batch, size))

    async def wanted(self) -> bool:
        """Wait for room; false when no more output is wanted, so that the command blocks on it.

        When its client has closed, a translator reads on and drops what it reads; the runtime
        doesn't, and neither do when the connection is lost.
        """
        try:
            await self._link.room()
        except LinkEndedError:
            return self._protocol.translated and self._link.ended is Ended.CLOSED
        return True

    async def _say(self, channel: int, data: bytes) -> None:
        self._link.send(self._talk.encode(channel, data))
        await self.wanted()

    async def flow(self, act: Callable[[Action], bool]) -> bool:
        """Pass what is asked for to `act` until that wants no more; return False if it has left."""

        def take(message: bytes | bytearray) -> bool:
            action = self._talk.take(message)
            if isinstance(action, Leave):
                self._link.close()
            return action is None or act(action)

        return await self._link.flow(take)

    @property
    def kills(self) -> bool:
        """Whether the client's leaving kills the command.

        Nobody but the runtime notices that a connection was lost without a close frame: reading
        it fails, which cancels the request that the command runs for.
        """
        return self._link.ended is Ended.LOST and not self._protocol.translated

    async def refuse(self, words: str) -> None:
        """Say that there is no stream, as an API server does that answered 101 already."""
        await self.begin()
        cause = f"unable to upgrade connection: {words}"
        await self.end(exec_status.internal(self._protocol, cause))

    async def end(self, status: bytes) -> None:
        """Send the status, if there is one, and close; returns when the connection is gone."""
        if status:
            await self._say(ERROR, status)
        self._link.hang_up()
        await self._link.wait_closed()
