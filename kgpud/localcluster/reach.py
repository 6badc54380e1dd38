"""The only way out of a pod: bytes between a listener in its network and one address outside."""

import asyncio
import contextlib
import socket
from dataclasses import dataclass

from kgpud.localcluster.errors import StartError

_CHUNK = 256 * 1024
_CONNECT_SECONDS = 10
_CONNECTIONS = 256
_AGAIN_SECONDS = 0.1


@dataclass(frozen=True)
class Address:
    """An address that pods may reach: as it was written, and as a number."""

    host: str
    ip: str
    port: int


def parse(text: str) -> Address:
    """Read HOST:PORT; StartError when it is none or has no address."""
    host, colon, port = text.rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise StartError(f"--reach {text}: HOST:PORT is wanted, like 127.0.0.1:8080")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise StartError(f"--reach {text}: {error}") from None
    found.sort(key=lambda one: one[0] != socket.AF_INET)
    return Address(host, str(found[0][4][0]), int(port))


async def forward(listener: socket.socket, address: Address) -> None:
    """Accept connections in the pod and join each to `address`, until cancelled."""
    loop = asyncio.get_running_loop()
    room = asyncio.Semaphore(_CONNECTIONS)
    async with asyncio.TaskGroup() as group:
        while True:
            await room.acquire()
            try:
                inside, _peer = await loop.sock_accept(listener)
            except OSError:  # out of descriptors, or the connection went before we took it
                room.release()
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            inside.setblocking(False)
            task = group.create_task(_join(inside, address))
            task.add_done_callback(lambda _task: room.release())


async def _join(inside: socket.socket, address: Address) -> None:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address.ip else socket.AF_INET
    with inside, contextlib.suppress(OSError), socket.socket(family) as outside:
        outside.setblocking(False)
        async with asyncio.timeout(_CONNECT_SECONDS):
            await loop.sock_connect(outside, (address.ip, address.port))
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(inside, outside))
            group.create_task(_copy(outside, inside))


async def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until the end of `source`, then end `target`'s reading side; a reset ends both."""
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(source, _CHUNK):
            await loop.sock_sendall(target, data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
