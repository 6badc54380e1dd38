"""What a client of an exec sees from its first message to the close; knows nothing of the pod."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from kgpud.localcluster import exec_status
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
        await self.output(self._first, b"")

    async def output(self, channel: int, data: bytes) -> bool:
        """Send output; false when no more of it is wanted, so that the command blocks on it.

        When its client has closed, a translator reads on and drops what it reads; the runtime
        doesn't, and neither do when the connection is lost.
        """
        try:
            await self._link.send(self._talk.encode(channel, data))
        except LinkEndedError:
            return self._protocol.translated and self._link.ended is Ended.CLOSED
        return True

    async def actions(self) -> AsyncIterator[Action]:
        """Yield what the client asks for, message by message, until it has left."""
        while (message := await self._link.receive()) is not None:
            action = self._talk.take(message)
            if isinstance(action, Leave):
                self._link.close()
            elif action is not None:
                yield action

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
            await self.output(ERROR, status)
        self._link.hang_up()
        await self._link.wait_closed()
