"""What a client can make us hold, and for how long."""

import asyncio
import socket
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway import hostkeys
from gateway.buffers import READ
from gateway.channel import _MAX_VARIABLES
from gateway.fastpath import MAX_DEFERRED
from gateway.flow import FIRST_WINDOW, HIGH_WATER, WINDOW
from gateway.hostkeys import HostKeys
from gateway.outflow import UNREAD

from .fake_api import Call, eventually
from .raw_client import (
    CHANNEL_CONFIRMED,
    CHANNEL_DATA,
    CHANNEL_REFUSED,
    CHANNEL_SUCCESS,
    KEXINIT,
    REQUEST_FAILURE,
    REQUEST_SUCCESS,
    global_request,
    session_open,
    string,
    strings,
)
from .through import (
    CHANNEL_FAILURE,
    CLOSE,
    Starting,
    cat,
    credit,
    data,
    echoed,
    endless,
    request,
    start,
    through,
)

# What one more read may add to what is there when reading stops, and its book-keeping.
HELD = HIGH_WATER + READ + 100_000


async def test_replies_that_nobody_reads_stop_the_requests(tmp_path: Path) -> None:
    async with through(tmp_path, cat) as bench, bench.raw() as client:
        connection = bench.connection
        transport = connection._transport
        assert transport is not None
        # Little in the kernel, so that little is enough.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        theirs = client._writer.get_extra_info("socket")
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sent = 40_000
        for _ in range(sent):
            client.put(global_request(b"keepalive@openssh.com"))
        client.send_bare(bytes(client._unsent))
        client._unsent.clear()
        await eventually(lambda: connection.replies_unread)
        for _ in range(200):
            await asyncio.sleep(0)
        assert transport.get_write_buffer_size() < UNREAD + 1000
        for _ in range(sent):
            assert (await client.receive())[0] == REQUEST_SUCCESS
        await client.send(data(b"fine"))
        assert await echoed(client, 4) == b"fine"


async def test_requests_during_a_key_exchange_have_a_limit(tmp_path: Path) -> None:
    async with through(tmp_path, cat) as bench, bench.raw() as client:
        bench.connection._rekey_bytes = 0
        await client.send(data(b"x"))
        assert (await client.receive())[0] == KEXINIT
        for _ in range(MAX_DEFERRED + 2):
            client.put(request(b"env", string(b"A") + string(b"b")))
        await client.flush()
        assert "Too many requests during a key exchange" in await client.ends()


async def test_a_key_exchange_has_a_time_limit(tmp_path: Path) -> None:
    async with through(tmp_path, cat) as bench, bench.raw() as client:
        bench.connection.kex_seconds = 0.05
        bench.connection._rekey_bytes = 0
        await client.send(data(b"x"))
        assert (await client.receive())[0] == KEXINIT
        assert await client.ends() == "Key exchange not finished in time"


async def test_output_waits_for_the_end_of_a_key_exchange(tmp_path: Path) -> None:
    async with through(tmp_path, endless) as bench, bench.raw(run=False) as client:
        bench.connection._rekey_bytes = 200_000
        await start(client)
        await eventually(lambda: not bench.connection._kex_complete)
        await eventually(lambda: bench.channel._send_paused)
        assert bench.channel._send_buf_len <= HELD
        assert not bench.connection._deferred_packets


async def test_output_waits_for_a_connection_that_is_not_read(tmp_path: Path) -> None:
    async with through(tmp_path, endless) as bench, bench.raw(run=False) as client:
        await start(client)
        await client.send(credit(2**31))
        client._reader._transport.pause_reading()  # type: ignore[attr-defined]
        transport = bench.connection._transport
        assert transport is not None
        await eventually(lambda: bench.channel._send_paused)
        assert bench.channel._send_buf_len <= HELD
        assert transport.get_write_buffer_size() <= HELD


async def test_little_is_held_of_what_comes_before_the_pod_is_ready(tmp_path: Path) -> None:
    core = Starting()
    async with through(tmp_path, cat, core) as bench, bench.raw(run=False) as client:
        await client.send(session_open())
        opened = await client.receive()
        assert (opened[0], opened[9:13]) == (CHANNEL_CONFIRMED, struct.pack(">I", FIRST_WINDOW))
        await client.send(request(b"exec", string(b"cat")))
        assert (await client.receive())[0] == CHANNEL_SUCCESS
        await client.send(data(bytes(30_000)))
        await eventually(lambda: bench.channel._recv_window == FIRST_WINDOW - 30_000)
        core.go.set()
        # Somebody takes it now: there is room for a fast copy.
        more = WINDOW - FIRST_WINDOW + 30_000
        assert (await client.receive())[1:] == bytes(4) + struct.pack(">I", more)
        assert len(await echoed(client, 30_000)) == 30_000


async def test_channels_opened_in_one_go_have_a_limit(tmp_path: Path) -> None:
    async with through(tmp_path, cat) as bench, bench.raw(run=False) as client:
        for number in range(200):
            client.put(session_open(number))
        await client.flush()
        answers = [(await client.receive())[0] for _ in range(200)]
        assert answers.count(CHANNEL_CONFIRMED) == 10
        assert answers.count(CHANNEL_REFUSED) == 190


async def test_variables_have_a_limit(tmp_path: Path) -> None:
    async with through(tmp_path, cat) as bench, bench.raw(run=False) as client:
        await client.send(session_open())
        assert (await client.receive())[0] == CHANNEL_CONFIRMED
        names = [b"LC_" + bytes([65 + at // 26, 65 + at % 26]) for at in range(100)]
        for name in names:
            client.put(request(b"env", string(name) + string(b"x")))
        await client.flush()
        answers = [(await client.receive())[0] for _ in names]
        assert answers == [CHANNEL_SUCCESS] * _MAX_VARIABLES + [CHANNEL_FAILURE] * (
            100 - _MAX_VARIABLES
        )


@pytest.mark.parametrize("name", [b"auth-agent-req@openssh.com", b"x11-req"])
async def test_requests_are_answered_as_fast_as_they_come(tmp_path: Path, name: bytes) -> None:
    rest = b"\0" + string(b"MIT") + string(b"00") + bytes(4) if name == b"x11-req" else b""
    async with through(tmp_path, cat) as bench, bench.raw() as client:
        for _ in range(3000):
            client.put(request(name, rest))
        await client.flush()
        most = 0
        for _ in range(3000):
            assert (await client.receive())[0] == CHANNEL_FAILURE
            most = max(most, len(bench.channel._request_queue))
        assert most <= 1


@pytest.mark.parametrize("name", [b"tcpip-forward", b"streamlocal-forward@openssh.com"])
async def test_forwarding_is_refused_as_fast_as_it_is_asked(tmp_path: Path, name: bytes) -> None:
    rest = string(b"x") + (bytes(4) if name == b"tcpip-forward" else b"")
    async with through(tmp_path, cat) as bench, bench.raw() as client:
        for _ in range(3000):
            client.put(global_request(name, rest))
        await client.flush()
        most = 0
        for _ in range(3000):
            assert (await client.receive())[0] == REQUEST_FAILURE
            most = max(most, len(bench.connection._global_request_queue))
        assert most <= 1


PROVE = b"hostkeys-prove-00@openssh.com"


async def test_host_keys_are_proved_a_few_times_each_once(tmp_path: Path) -> None:
    """Each proof is a signature, on the loop that everybody shares."""
    HostKeys(tmp_path / "host_key")
    hostkeys.announce(tmp_path / "host_key")
    async with through(tmp_path, cat) as bench, bench.raw() as client:
        old, new = bench.connection._all_server_host_keys
        for asked in ([old, old], [old, b""], [old] * 4000, [b"no key"]):
            await client.send(global_request(PROVE, *map(string, asked)))
            assert await client.receive() == bytes([REQUEST_FAILURE])
    async with through(tmp_path, cat) as bench, bench.raw() as client:
        for _ in range(1000):
            client.put(global_request(PROVE, string(old), string(new)))
        await client.flush()
        answers = [await client.receive() for _ in range(1000)]
    assert [answer[0] for answer in answers] == [REQUEST_SUCCESS] * 4 + [REQUEST_FAILURE] * 996
    signed = string(PROVE) + string(client.session_id)
    for key, proof in zip((old, new), strings(answers[3][1:]), strict=True):
        public = Ed25519PublicKey.from_public_bytes(strings(key)[1])
        public.verify(strings(proof)[1], signed + string(key))


async def test_sizes_wait_for_the_link_and_the_last_one_counts(tmp_path: Path) -> None:
    go = asyncio.Event()
    sizes: list[bytes] = []

    async def script(call: Call) -> None:
        if call.is_hangup:
            call.hung_up()
            return
        call.upgrade()
        await go.wait()
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                message = (await call.receive())[1]
                if message[0] == 4:
                    sizes.append(message)

    async with through(tmp_path, script) as bench, bench.raw(run=False) as client:
        await client.send(session_open())
        assert (await client.receive())[0] == CHANNEL_CONFIRMED
        terminal = string(b"xterm") + struct.pack(">IIII", 80, 24, 0, 0) + string(b"\0")
        await client.send(request(b"pty-req", terminal))
        await client.send(request(b"exec", string(b"cat")))
        for _ in range(2):
            assert (await client.receive())[0] == CHANNEL_SUCCESS
        await eventually(lambda: bench.channel._session._serving)  # type: ignore[attr-defined]
        stuck = 0
        while stuck < 50:
            stuck += 1
            if bench.channel._recv_window >= 30_000:
                await client.send(data(bytes(30_000)))
                stuck = 0
            await asyncio.sleep(0.002)
        transport = bench.channel._session._serving._link._transport  # type: ignore[attr-defined]
        held = transport.get_write_buffer_size()
        for rows in range(1, 3001):
            client.put(request(b"window-change", struct.pack(">IIII", 80, rows, 0, 0)))
        await client.flush()
        answers = 0
        while answers < 3000:
            answers += (await client.receive())[0] == CHANNEL_SUCCESS
        assert transport.get_write_buffer_size() == held
        go.set()
        await eventually(lambda: sizes and b"3000" in sizes[-1])
        assert len(sizes) <= 2


async def test_two_channels_share_a_slow_connection(tmp_path: Path) -> None:
    """One that never stops sending must not keep the other's few bytes back."""
    number = 0

    async def script(call: Call) -> None:
        nonlocal number
        number += 1
        await (endless(call) if number == 1 else cat(call))

    async with through(tmp_path, script) as bench, bench.raw(run=False) as client:
        await start(client)
        await client.send(credit(2**31))
        await client.send(session_open(1))
        while (await client.receive())[0] != CHANNEL_CONFIRMED:
            pass
        await client.send(request(b"exec", string(b"cat"), 1))
        await client.send(data(b"key", 1))
        while (answer := await client.receive())[:5] != bytes([CHANNEL_DATA]) + b"\0\0\0\1":
            assert bench.bastion
        assert answer[9:] == b"key"


async def test_a_client_that_closes_its_channel_has_left_whatever_it_sent(tmp_path: Path) -> None:
    async with through(tmp_path, cat, Starting()) as bench, bench.raw(run=False) as client:
        await client.send(session_open())
        assert (await client.receive())[0] == CHANNEL_CONFIRMED
        await client.send(request(b"exec", string(b"cat")))
        assert (await client.receive())[0] == CHANNEL_SUCCESS
        bench.channel.close_seconds = 0.01
        await client.send(data(b"first words"))
        await eventually(lambda: bench.channel._recv_paused is True)
        await client.send(data(b"nobody takes these"))
        await eventually(lambda: bench.channel._recv_buf)
        assert bench.bastion.open_sessions()
        await client.send(bytes([CLOSE]) + bytes(4))
        await eventually(lambda: not bench.bastion.open_sessions())


async def test_an_engine_holds_its_client_back_from_the_first_byte_on(tmp_path: Path) -> None:
    """A pod whose side of a copy never answers, and a client that waits for none."""

    async def script(call: Call) -> None:
        if call.is_hangup:
            call.hung_up()
            return
        call.upgrade()
        await go.wait()
        call.stdout(b"kgpud-scp folder 0022 - x\n")
        await call.gone()

    go = asyncio.Event()
    async with through(tmp_path, script) as bench, bench.raw(run=False) as client:
        await client.send(session_open())
        assert (await client.receive())[0] == CHANNEL_CONFIRMED
        await client.send(request(b"exec", string(b"scp -t x")))
        assert (await client.receive())[0] == CHANNEL_SUCCESS
        await client.send(data(b"C0644 5000000 x\n"))
        await eventually(lambda: bench.channel._recv_paused is True)
        go.set()
        await eventually(lambda: bench.channel._session._serving)  # type: ignore[attr-defined]
        for _ in range(4):
            await client.send(data(bytes(30_000)))
        await eventually(lambda: sum(len(piece) for piece, _ in bench.channel._recv_buf) == 120_000)


@pytest.mark.parametrize(("tty", "gives_up"), [(True, True), (False, False)])
async def test_an_interrupt_ends_the_wait_of_who_waits_at_a_terminal(
    tmp_path: Path, tty: bool, gives_up: bool
) -> None:
    core = Starting()
    async with through(tmp_path, cat, core) as bench, bench.raw(run=False) as client:
        await client.send(session_open())
        assert (await client.receive())[0] == CHANNEL_CONFIRMED
        terminal = string(b"xterm") + struct.pack(">IIII", 80, 24, 0, 0) + string(b"\0")
        if tty:
            await client.send(request(b"pty-req", terminal))
            assert (await client.receive())[0] == CHANNEL_SUCCESS
        await client.send(request(b"exec", string(b"cat")))
        assert (await client.receive())[0] == CHANNEL_SUCCESS
        session = bench.channel._session
        await eventually(lambda: session.waits)  # type: ignore[attr-defined]
        await client.send(data(b"typed ahead"))
        await client.send(data(b"\x03"))
        if gives_up:
            while b"kgpud: interrupted" not in (await client.receive()):
                pass
            await eventually(lambda: core.closed_by)
            assert (core.closed_by[0].exit_status, core.closed_by[0].reason) == (255, "interrupted")
        else:
            core.go.set()
            assert await echoed(client, 12) == b"typed ahead\x03"
