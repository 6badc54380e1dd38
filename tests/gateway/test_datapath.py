"""The same behaviour on both data paths: AES-GCM takes ours, other ciphers asyncssh's."""

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from gateway.buffers import READ
from gateway.cipher import Gcm
from gateway.flow import HIGH_WATER, WINDOW

from .fake_api import Call, eventually
from .through import FAST, SLOW, Bench, cat, endless, through

pytestmark = pytest.mark.parametrize("cipher", [FAST, *SLOW])

MIB = 1024 * 1024


class Client(asyncssh.SSHClientSession[bytes]):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.out, self.err = bytearray(), bytearray()
        self.order: list[str] = []
        self.closed = asyncio.Event()
        self.status: int | None = None

    def data_received(self, data: bytes, datatype: int | None) -> None:
        (self.err if datatype else self.out).extend(data)

    def eof_received(self) -> bool:
        self.order.append("eof")
        return True

    def exit_status_received(self, status: int) -> None:
        self.order.append("status")
        self.status = status

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.order.append("closed")
        self.closed.set()


async def run(
    connection: asyncssh.SSHClientConnection, **options: Any
) -> tuple[asyncssh.SSHClientChannel[bytes], Client]:
    chan, session = await connection.create_session(Client, "cat", encoding=None, **options)
    assert isinstance(session, Client)
    return chan, session


async def echo(connection: asyncssh.SSHClientConnection, data: bytes, **options: Any) -> None:
    """Send data through a pod and back, and check all about it."""
    chan, session = await run(connection, **options)
    chan.write(data)
    chan.write_eof()
    async with asyncio.timeout(60):
        await session.closed.wait()
    assert hashlib.sha256(session.out).digest() == hashlib.sha256(data).digest()
    assert session.status == 3
    assert session.order == ["status", "eof", "closed"]


def paths(bench: Bench) -> tuple[bool, bool]:
    """Say whether the connection sends and receives with our own cipher."""
    connection = bench.connection
    return isinstance(connection._send_encryption, Gcm), connection._fast_cipher() is not None


async def test_bytes_come_back_as_they_went(tmp_path: Path, cipher: str) -> None:
    async with through(tmp_path, cat) as bench, bench.client(cipher) as client:
        await echo(client, b"")
        await echo(client, b"x")
        await echo(client, os.urandom(5 * MIB + 17))
        assert paths(bench) == (cipher == FAST, cipher == FAST)


async def test_many_channels_at_once(tmp_path: Path, cipher: str) -> None:
    async with through(tmp_path, cat) as bench, bench.client(cipher) as client:
        await asyncio.gather(*(echo(client, os.urandom(200_000 + number)) for number in range(10)))


async def test_new_keys_in_mid_transfer_whoever_asks(tmp_path: Path, cipher: str) -> None:
    async with through(tmp_path, cat) as bench, bench.client(cipher, rekey_bytes=900_000) as client:
        connection = bench.connection
        connection._rekey_bytes = 700_000
        first = connection._send_encryption, connection._recv_encryption
        await echo(client, os.urandom(3 * MIB))
        assert connection._send_encryption is not first[0]
        assert connection._recv_encryption is not first[1]
        await eventually(lambda: connection._kex_complete)
        assert paths(bench) == (cipher == FAST, cipher == FAST)


async def test_a_tiny_window_is_respected(tmp_path: Path, cipher: str) -> None:
    """asyncssh ends a connection that sends more than the window lets it."""
    async with through(tmp_path, cat) as bench, bench.client(cipher) as client:
        await echo(client, os.urandom(20_000), window=1000, max_pktsize=100)
        await echo(client, os.urandom(2_000), window=1, max_pktsize=1)


async def test_stdout_and_stderr_stay_apart(tmp_path: Path, cipher: str) -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        for number in range(2000):
            call.stdout(b"%d\n" % number)
            call.stderr(b"-%d\n" % number)
        call.finish(0)
        await call.gone()

    async with through(tmp_path, script) as bench, bench.client(cipher) as client:
        _, session = await run(client)
        await session.closed.wait()
        assert session.out == b"".join(b"%d\n" % number for number in range(2000))
        assert session.err == b"".join(b"-%d\n" % number for number in range(2000))


async def test_a_slow_reader_holds_the_pod_back(tmp_path: Path, cipher: str) -> None:
    chunk = os.urandom(32768)
    sent = 0

    async def script(call: Call) -> None:
        nonlocal sent
        call.upgrade()
        for _ in range(1500):
            call.stdout(chunk)
            await call.writer.drain()
            sent += len(chunk)
        call.finish(0)
        await call.gone()

    async with through(tmp_path, script) as bench, bench.client(cipher) as client:
        chan, session = await run(client)
        chan.pause_reading()
        await eventually(lambda: bench.connection._channels and bench.channel._send_paused)
        held = bench.channel._send_buf_len
        assert held <= HIGH_WATER + READ + 100_000
        assert sent < 1500 * len(chunk)
        chan.resume_reading()
        async with asyncio.timeout(60):
            await session.closed.wait()
        assert len(session.out) == 1500 * len(chunk)
        assert session.out[-len(chunk) :] == chunk
        assert session.status == 0


async def test_a_slow_pod_holds_the_client_back(tmp_path: Path, cipher: str) -> None:
    """Credit is given for what was passed on; asyncssh gives a window's for its first piece."""
    most = 0
    data = os.urandom(24 * MIB)

    async def script(call: Call) -> None:
        nonlocal most
        call.upgrade()
        digest = hashlib.sha256()
        await eventually(lambda: bench.channel._recv_window == 0)
        while (message := (await call.receive())[1]) != b"\xff\0":
            digest.update(message[1:])
            channel = bench.channel
            held = sum(len(piece) for piece, _ in channel._recv_buf)
            assert held + channel._uncredited + channel._recv_window == WINDOW
            most = max(most, held)
            await asyncio.sleep(0)
        call.stdout(digest.hexdigest().encode())
        call.finish(0)
        await call.gone()

    async with through(tmp_path, script) as bench, bench.client(cipher) as client:
        chan, session = await run(client)
        chan.write(data)
        chan.write_eof()
        async with asyncio.timeout(60):
            await session.closed.wait()
        assert session.out == hashlib.sha256(data).hexdigest().encode()
        assert most <= WINDOW


async def test_a_client_that_vanishes_in_mid_transfer(tmp_path: Path, cipher: str) -> None:
    async with through(tmp_path, endless) as bench:
        async with bench.client(cipher) as client:
            _, session = await run(client)
            await eventually(lambda: len(session.out) > MIB)
            client.abort()
        await eventually(lambda: bench.core.closed_by)
        assert bench.core.closed_by[0].reason == "client_gone"
