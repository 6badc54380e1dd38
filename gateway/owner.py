"""What a connection may open: sessions, and no forwarding of any kind."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import NoReturn

import asyncssh

from gateway.channel import Channel
from gateway.connection import Connection


class Owner(asyncssh.SSHServer):
    """asyncssh's questions about one connection, answered. What is not here is refused."""

    def __init__(
        self, make_session: Callable[[Connection], asyncssh.SSHServerSession[bytes]]
    ) -> None:
        self._make_session = make_session
        self._connection: Connection

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Remember whose questions these are."""
        assert isinstance(conn, Connection)
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the connection out."""
        del exc
        self._connection.left()

    def session_requested(
        self,
    ) -> tuple[Channel, Awaitable[asyncssh.SSHServerSession[bytes]]] | bool:
        """Open a session channel when its turn comes, while there may be one more."""
        if self._connection.route is None:
            return False
        place = self._connection.open_session()
        if isinstance(place, str):
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, place)
        channel = Channel(self._connection, self._connection, place)
        return channel, self._in_turn(self._connection.session_delay())

    async def _in_turn(self, delay: float) -> asyncssh.SSHServerSession[bytes]:
        if delay:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._connection.wait_closed()
        return self._make_session(self._connection)

    def connection_requested(self, *_: object) -> NoReturn:
        """Refuse -L, -D and -W."""
        raise _no_forwarding()

    def unix_connection_requested(self, dest_path: str) -> NoReturn:
        """Refuse -L to a socket's path."""
        del dest_path
        raise _no_forwarding()

    def tun_requested(self, unit: int | None) -> NoReturn:
        """Refuse -w."""
        del unit
        raise _no_forwarding()

    def tap_requested(self, unit: int | None) -> NoReturn:
        """Refuse -w with Tunnel=ethernet."""
        del unit
        raise _no_forwarding()


def _no_forwarding() -> asyncssh.ChannelOpenError:
    reason = "forwarding is disabled here"
    return asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, reason)
