"""An SSH client that says whatever a test wants, in any order. Shares no code with asyncssh.

It speaks curve25519-sha256 (RFC 4253, 8731) and one cipher of `raw_ciphers`.
"""

import asyncio
import hashlib
import os
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .raw_ciphers import MAKE, TO_CLIENT, TO_SERVER, Guard

DISCONNECT, IGNORE, SERVICE_REQUEST, SERVICE_ACCEPT, EXT_INFO = 1, 2, 5, 6, 7
KEXINIT, NEWKEYS, ECDH_INIT, ECDH_REPLY = 20, 21, 30, 31
USERAUTH_REQUEST, USERAUTH_FAILURE, USERAUTH_SUCCESS, USERAUTH_PK_OK = 50, 51, 52, 60
USERAUTH_BANNER = 53
GLOBAL_REQUEST, REQUEST_SUCCESS, REQUEST_FAILURE = 80, 81, 82
CHANNEL_OPEN, CHANNEL_CONFIRMED, CHANNEL_REFUSED = 90, 91, 92
CHANNEL_DATA, CHANNEL_EXTENDED_DATA, CHANNEL_REQUEST, CHANNEL_SUCCESS = 94, 95, 98, 99
CHANNEL_CLOSE = 97

SECONDS = 20.0
GCM = "aes128-gcm@openssh.com"


class Closed(Exception):
    """The server hung up. The text is its parting words, if any."""


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def mpint(number: int) -> bytes:
    length = number.bit_length() // 8 + 1
    return string(number.to_bytes(length, "big", signed=True)) if number else string(b"")


def strings(data: bytes) -> list[bytes]:
    """Split data that is nothing but strings."""
    found = []
    while data:
        length = struct.unpack(">I", data[:4])[0]
        found.append(data[4 : 4 + length])
        data = data[4 + length :]
    return found


class RawClient:
    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        version: bytes,
        cipher: str,
    ) -> None:
        self._cipher = cipher
        self._reader, self._writer = reader, writer
        self._version = version
        self._server_version = b""
        self._send_guard: Guard | None = None
        self._receive_guard: Guard | None = None
        self._unsent = bytearray()
        self.session_id = b""
        self.offers: list[list[str]] = []
        self.extensions: dict[bytes, bytes] = {}
        self.banners: list[bytes] = []
        self.kex = b"curve25519-sha256,ext-info-c,kex-strict-c-v00@openssh.com"

    @classmethod
    @asynccontextmanager
    async def connected(
        cls,
        port: int,
        version: bytes = b"SSH-2.0-raw",
        *,
        source: str = "127.0.0.1",
        cipher: str = GCM,
    ) -> AsyncIterator["RawClient"]:
        """Connect and exchange versions, no more."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        try:
            client = cls(reader, writer, version, cipher)
            writer.write(version + b"\r\n")
            try:
                async with asyncio.timeout(SECONDS):
                    client._server_version = (await reader.readuntil(b"\r\n"))[:-2]
            except (asyncio.IncompleteReadError, ConnectionError):
                raise Closed from None
            yield client
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)

    @classmethod
    @asynccontextmanager
    async def ready(
        cls,
        port: int,
        version: bytes = b"SSH-2.0-raw",
        *,
        source: str = "127.0.0.1",
        cipher: str = GCM,
    ) -> AsyncIterator["RawClient"]:
        """Connect up to where authentication begins."""
        async with cls.connected(port, version, source=source, cipher=cipher) as client:
            await client.exchange_keys()
            await client.ask_for(b"ssh-userauth")
            yield client

    def put(self, payload: bytes) -> None:
        """Add a packet to what `flush` sends in one piece."""
        self._unsent += self._packed(payload)

    async def flush(self) -> None:
        self._writer.write(bytes(self._unsent))
        self._unsent.clear()
        try:
            await self._writer.drain()
        except ConnectionError:
            raise Closed from None

    async def send(self, payload: bytes) -> None:
        self.put(payload)
        await self.flush()

    def send_bare(self, data: bytes) -> None:
        """Send bytes that are no packet."""
        self._writer.write(data)

    async def receive(self) -> bytes:
        """Return the next payload that isn't small talk. Raises Closed."""
        while True:
            payload = await self._receive()
            if payload[0] == EXT_INFO:
                pairs = strings(payload[5:])
                self.extensions = dict(zip(pairs[::2], pairs[1::2], strict=True))
            elif payload[0] == USERAUTH_BANNER:
                self.banners.append(strings(payload[1:])[0])
            elif payload[0] == DISCONNECT:
                raise Closed(strings(payload[5:])[0].decode())
            elif payload[0] not in (IGNORE, GLOBAL_REQUEST):
                return payload

    async def ends(self) -> str:
        """Wait for the server to hang up, and return its parting words."""
        try:
            while True:
                await self.receive()
        except Closed as closed:
            return str(closed)

    async def exchange_keys(
        self, *, before_newkeys: bytes = b"", behind_kexinit: Sequence[bytes] = ()
    ) -> None:
        mine = self.kexinit()
        self.put(mine)
        for payload in behind_kexinit:
            self.put(payload)
        await self.flush()
        theirs = await self.receive()
        assert theirs[0] == KEXINIT
        self.offers = _name_lists(theirs[17:])
        key = X25519PrivateKey.generate()
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        await self.send(bytes([ECDH_INIT]) + string(public))
        reply = await self.receive()
        assert reply[0] == ECDH_REPLY
        host_key, point, signature = strings(reply[1:])
        shared = mpint(
            int.from_bytes(key.exchange(X25519PublicKey.from_public_bytes(point)), "big")
        )
        parts = [self._version, self._server_version, mine, theirs, host_key, public, point]
        digest = hashlib.sha256(b"".join(map(string, parts)) + shared).digest()
        Ed25519PublicKey.from_public_bytes(strings(host_key)[1]).verify(
            strings(signature)[1], digest
        )
        self.session_id = self.session_id or digest

        def derived(letter: bytes, size: int) -> bytes:
            key = hashlib.sha256(shared + digest + letter + self.session_id).digest()
            while len(key) < size:
                key += hashlib.sha256(shared + digest + key).digest()
            return key[:size]

        if before_newkeys:
            self.put(before_newkeys)
        await self.send(bytes([NEWKEYS]))
        assert (await self.receive())[0] == NEWKEYS
        self._send_guard = MAKE[self._cipher](derived, TO_SERVER)
        self._receive_guard = MAKE[self._cipher](derived, TO_CLIENT)

    def kexinit(self) -> bytes:
        cipher, mac = self._cipher.encode(), b"hmac-sha2-256-etm@openssh.com"
        lists = [self.kex, b"ssh-ed25519", cipher, cipher, mac, mac, b"none", b"none", b"", b""]
        return bytes([KEXINIT]) + os.urandom(16) + b"".join(map(string, lists)) + bytes(5)

    async def ask_for(self, service: bytes) -> None:
        await self.send(bytes([SERVICE_REQUEST]) + string(service))
        assert (await self.receive()) == bytes([SERVICE_ACCEPT]) + string(service)

    async def open_session(self) -> bytes:
        """Open a channel and run a command; return what comes on stderr first."""
        await self.send(session_open())
        answer = await self.receive()
        assert answer[0] == CHANNEL_CONFIRMED, answer
        theirs = answer[5:9]
        await self.send(
            bytes([CHANNEL_REQUEST]) + theirs + string(b"exec") + b"\1" + string(b"true")
        )
        while (payload := await self.receive())[0] != CHANNEL_EXTENDED_DATA:
            assert payload[0] not in (USERAUTH_FAILURE, CHANNEL_REFUSED), payload
        return strings(payload[9:])[0]

    def put_body(self, body: bytes, size: int | None = None) -> None:
        """Add a packet of padding length, payload and padding, whose length may be a lie."""
        assert self._send_guard
        self._unsent += self._send_guard.seal(len(body) if size is None else size, body)

    def _packed(self, payload: bytes) -> bytes:
        guard = self._send_guard
        padding = -(len(payload) + (1 if guard else 5)) % 16
        padding += 16 if padding < 4 else 0
        plain = bytes([padding]) + payload + bytes(padding)
        if guard is None:
            return struct.pack(">I", len(plain)) + plain
        return guard.seal(len(plain), plain)

    async def _receive(self) -> bytes:
        try:
            async with asyncio.timeout(SECONDS):
                head, guard = await self._reader.readexactly(4), self._receive_guard
                size = guard.size(head) + guard.tag if guard else struct.unpack(">I", head)[0]
                body = await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Closed from None
        if guard:
            body = guard.open(head, body)
        return body[1 : -body[0]]


def session_open(number: int = 0) -> bytes:
    numbers = struct.pack(">III", number, 2**21, 2**15)
    return bytes([CHANNEL_OPEN]) + string(b"session") + numbers


def channel_open(kind: bytes, *rest: bytes) -> bytes:
    numbers = struct.pack(">III", 0, 2**21, 2**15)
    return bytes([CHANNEL_OPEN]) + string(kind) + numbers + b"".join(rest)


def global_request(name: bytes, *rest: bytes) -> bytes:
    return bytes([GLOBAL_REQUEST]) + string(name) + b"\1" + b"".join(rest)


def _name_lists(data: bytes) -> list[list[str]]:
    found = []
    for _ in range(10):
        length = struct.unpack(">I", data[:4])[0]
        found.append(data[4 : 4 + length].decode().split(","))
        data = data[4 + length :]
    return found
