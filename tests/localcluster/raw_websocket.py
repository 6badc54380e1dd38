"""A websocket client that does what a well-behaved one can't: fragments, FIN, RST, not reading."""

import asyncio
import base64
import contextlib
import hashlib
import os
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from aiohttp._websocket.helpers import websocket_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_CHUNK = 1 << 20


def _accept(key: str) -> str:
    guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1((key + guid).encode()).digest()).decode()


@dataclass(frozen=True)
class Answer:
    """What an HTTP request was answered with; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class RawWebsocket:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(
        cls,
        url: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        tls: ssl.SSLContext | None = None,
    ) -> tuple[Answer, Self]:
        """Send a request; `headers` may hold an empty value, which leaves a header out."""
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=tls)
        upgrade = {
            "Host": parts.netloc,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        }
        lines = [f"{name}: {value}" for name, value in {**upgrade, **headers}.items() if value]
        writer.write("\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        given = dict(line.split(": ", 1) for line in head[1:] if line)
        given = {name.lower(): value for name, value in given.items()}
        body = await reader.readexactly(int(given.get("content-length", 0)))
        if head[0].split()[1] == "101":
            assert given["sec-websocket-accept"] == _accept(upgrade["Sec-WebSocket-Key"])
        return Answer(int(head[0].split()[1]), given, body), cls(reader, writer)

    def send(self, opcode: int, payload: bytes, *, final: bool = True) -> None:
        length = len(payload)
        first = (0x80 if final else 0) | opcode
        if length < 126:
            head = struct.pack("!BB", first, 0x80 | length)
        elif length < 65536:
            head = struct.pack("!BBH", first, 0x80 | 126, length)
        else:
            head = struct.pack("!BBQ", first, 0x80 | 127, length)
        mask = os.urandom(4)
        masked = bytearray(payload)
        websocket_mask(mask, masked)
        self._writer.write(head + mask)
        for start in range(0, length, _CHUNK):
            self._writer.write(bytes(masked[start : start + _CHUNK]))

    async def drain(self) -> None:
        await self._writer.drain()

    async def receive(self) -> tuple[int, bytes] | None:
        """Return the next frame, or None at the end of the connection."""
        try:
            first, length = await self._reader.readexactly(2)
            if length >= 126:
                more = await self._reader.readexactly(2 if length == 126 else 8)
                length = int.from_bytes(more, "big")
            return first & 0x0F, await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def close(self) -> None:
        """Leave with a FIN."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def reset(self) -> None:
        """Leave with an RST."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):  # closed already
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        await self.close()
