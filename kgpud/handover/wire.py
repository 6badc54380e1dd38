"""Messages between two daemons on one machine: JSON, one a packet."""

import asyncio
import json
import socket
from typing import Any

Message = dict[str, Any]

_MAX_BYTES = 128 * 1024  # a packet must fit the socket's send buffer, whose default is 208 KiB


class WireClosed(Exception):
    """The other daemon is gone."""

    def __str__(self) -> str:
        return "the other daemon is gone"


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a wire: packets come whole and in order, or not at all."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def packed(message: Message) -> bytes:
    """Return a message as a packet."""
    packet = json.dumps(message).encode()
    assert len(packet) <= _MAX_BYTES, "a message of ours never grows like this"
    return packet


class Wire:
    """One end of a wire. What nobody has received yet waits in the kernel for the next owner."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        # asyncio lets one coroutine at a time wait for a socket to take more.
        self._sending = asyncio.Lock()

    def fileno(self) -> int:
        """Return the descriptor, to pass it on."""
        return self._sock.fileno()

    async def send(self, message: Message) -> None:
        """Send one message; wait while the other side doesn't read. Raises WireClosed."""
        packet = packed(message)
        try:
            async with self._sending:
                await self._loop.sock_sendall(self._sock, packet)
        except OSError as error:
            raise WireClosed from error

    async def receive(self) -> Message:
        """Return the next message, for one caller at a time. Raises WireClosed."""
        try:
            packet = await self._loop.sock_recv(self._sock, _MAX_BYTES)
        except OSError as error:
            raise WireClosed from error
        if not packet:
            raise WireClosed
        message: Message = json.loads(packet)
        return message

    def close(self) -> None:
        """Close our end."""
        self._sock.close()
