"""A bastion between real SSH clients and pods that are scripts."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncssh

from gateway.admission import Limits
from gateway.bastion import Bastion
from gateway.beside import SECONDS
from gateway.connection import Connection
from gateway.executor import Executor
from gateway.flow import Flow
from gateway.hostkeys import HostKeys
from gateway.protocols import PodRef, Route

from .doors import Table, make_key, signed
from .fake_api import Call, FakeApi, Script, serving
from .raw_client import (
    CHANNEL_CONFIRMED,
    CHANNEL_DATA,
    CHANNEL_REQUEST,
    CHANNEL_SUCCESS,
    GCM,
    USERAUTH_SUCCESS,
    RawClient,
    session_open,
    string,
)

FAST = "aes256-gcm@openssh.com"  # RawClient has aes128
SLOW = ["chacha20-poly1305@openssh.com", "aes256-ctr"]


class Ready(Table):
    """Everybody's pod is there."""

    async def resolve(self, fingerprint: str) -> Route | None:
        del fingerprint
        return Route("r1", 1, PodRef("kgpu", "r1", "main"))


class Starting(Ready):
    """Everybody's pod is there once `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def resolve(self, fingerprint: str) -> Route | None:
        ready = await super().resolve(fingerprint)
        assert ready
        return ready if self.go.is_set() else replace(ready, waits_for="pulling")

    async def moved_on(self, fingerprint: str, route: Route) -> Route | None:
        del route
        await self.go.wait()
        return await self.resolve(fingerprint)


WINDOW_ADJUST, EOF, CLOSE, CHANNEL_FAILURE = 93, 96, 97, 100


@dataclass
class Bench:
    port: int
    bastion: Bastion
    api: FakeApi
    core: Table
    key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-rsa"))

    @property
    def connection(self) -> Connection:
        """The one connection that there is."""
        (connection,) = [one for one in self.bastion._connections if one._transport]
        return connection

    @property
    def channel(self) -> Flow:
        (channel,) = self.connection._channels.values()
        assert isinstance(channel, Flow)
        return channel

    @asynccontextmanager
    async def client(
        self, cipher: str, **options: Any
    ) -> AsyncIterator[asyncssh.SSHClientConnection]:
        async with asyncssh.connect(
            "127.0.0.1",
            self.port,
            username="kgpu",
            client_keys=[self.key],
            known_hosts=None,
            config=None,
            agent_path=None,
            encryption_algs=[cipher],
            **options,
        ) as connection:
            yield connection

    @asynccontextmanager
    async def raw(self, *, run: bool = True, cipher: str = GCM) -> AsyncIterator[RawClient]:
        """A client that says what a test wants, with channel 0 open and a command running."""
        async with RawClient.ready(self.port, cipher=cipher) as client:
            await client.send(signed(client, make_key()))
            assert (await client.receive())[0] == USERAUTH_SUCCESS
            if run:
                await start(client)
            yield client


async def cat(call: Call) -> None:
    """Be ``cat; exit 3``. Who hangs up is answered, and a stream that is dropped ends it."""
    if call.is_hangup:
        call.hung_up()
        return
    call.upgrade()
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while (message := (await call.receive())[1]) != b"\xff\0":
            call.stdout(message[1:])
            await call.writer.drain()
        call.finish(3)


async def endless(call: Call) -> None:
    """Be ``cat /dev/zero``, until the stream is dropped."""
    if call.is_hangup:
        call.hung_up()
        return
    call.upgrade()
    with suppress(ConnectionError):
        while True:
            call.stdout(bytes(32768))
            await call.writer.drain()


async def start(client: RawClient, number: int = 0) -> None:
    """Open a channel and run a command in it, until it takes what comes."""
    await client.send(session_open(number))
    assert (await client.receive())[0] == CHANNEL_CONFIRMED
    await client.send(request(b"exec", string(b"cat"), number))
    assert (await client.receive())[0] == CHANNEL_SUCCESS
    while (await client.receive())[0] != WINDOW_ADJUST:
        pass


def request(name: bytes, rest: bytes, number: int = 0) -> bytes:
    """Return a channel request that wants a reply."""
    return bytes([CHANNEL_REQUEST]) + number.to_bytes(4, "big") + string(name) + b"\1" + rest


@asynccontextmanager
async def through(
    folder: Path, script: Script, core: Table | None = None, patience: float = SECONDS
) -> AsyncIterator[Bench]:
    """Run a bastion whose pods do what `script` says; to end a command it has some patience."""
    async with serving(script) as api:
        core = core or Ready()
        executor = Executor(api, beside_seconds=patience)
        bastion = Bastion(core, executor, HostKeys(folder / "host_key"), Limits())
        sock = socket.create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        async with bastion.listening(sock) as listener:
            listener.open()
            yield Bench(port, bastion, api, core)


def data(payload: bytes, number: int = 0) -> bytes:
    return bytes([CHANNEL_DATA]) + struct.pack(">I", number) + string(payload)


def credit(size: int, number: int = 0) -> bytes:
    return bytes([WINDOW_ADJUST]) + struct.pack(">II", number, size)


async def echoed(client: RawClient, size: int) -> bytes:
    out = b""
    while len(out) < size:
        answer = await client.receive()
        if answer[0] == CHANNEL_DATA:
            out += answer[9:]
    return out
