"""Floods of tiny packets: each turn of the event loop works on a slice of one, then on others."""

import asyncio
import itertools
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import link
from gateway.buffers import TURN
from gateway.fastpath import MAX_BEFORE_LOGIN
from gateway.outcome import Outcome
from gateway.turns import SLICE, SLOW, Turns
from gateway.wrapper import Command, Kind

from .doors import door
from .fake_api import BINARY, PING, POD, Call, Recorder, frame, serving
from .raw_client import (
    CHANNEL_CONFIRMED,
    CHANNEL_OPEN,
    CHANNEL_SUCCESS,
    GCM,
    IGNORE,
    RawClient,
    global_request,
    string,
)
from .through import cat, credit, data, endless, request, through

MANY = 3000


async def steps(count: Callable[[], int], until: int) -> list[int]:
    """Return how much a number grew in each turn of the loop, until it is so large."""
    seen = [count()]
    async with asyncio.timeout(20):
        while seen[-1] < until:
            await asyncio.sleep(0)
            seen.append(count())
    return [later - sooner for sooner, later in itertools.pairwise(seen)]


@pytest.mark.parametrize(
    ("packet", "share", "cipher"),
    [
        (global_request(b"keepalive@openssh.com"), SLICE // SLOW, GCM),
        (bytes([IGNORE]) + string(b""), SLICE // SLOW, GCM),
        (data(b"x"), SLICE, GCM),
        (credit(1), SLICE, GCM),
        (data(b"x"), SLICE // SLOW, "aes256-ctr"),
    ],
    ids=["request", "ignore", "data", "credit", "data without GCM"],
)
async def test_what_comes_has_a_share_of_each_turn(
    tmp_path: Path, packet: bytes, share: int, cipher: str
) -> None:
    async with through(tmp_path, cat) as bench, bench.raw(cipher=cipher) as client:
        connection = bench.connection
        for _ in range(MANY):
            client.put(packet)
        client.send_bare(bytes(client._unsent))
        client._unsent.clear()
        taken = await steps(lambda: connection._recv_seq, connection._recv_seq + MANY)
        assert max(taken) <= share + 1  # one may be half read
        assert not connection._held()
        assert not connection._holds


async def test_what_goes_in_tiny_packets_has_a_share_of_each_turn(tmp_path: Path) -> None:
    async with through(tmp_path, endless) as bench, bench.raw(run=False) as client:
        one_byte_a_packet = struct.pack(">III", 0, 2**31, 1)
        await client.send(bytes([CHANNEL_OPEN]) + string(b"session") + one_byte_a_packet)
        assert (await client.receive())[0] == CHANNEL_CONFIRMED
        await client.send(request(b"exec", string(b"cat")))
        assert (await client.receive())[0] == CHANNEL_SUCCESS
        connection = bench.connection
        sent = await steps(lambda: connection._send_seq, connection._send_seq + MANY)
        assert max(sent) < SLICE + TURN


async def test_what_a_pod_writes_in_tiny_pieces_has_a_share_of_each_turn() -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        call.writer.write(frame(BINARY, b"\1x") * MANY + frame(PING, b"") * MANY)
        await call.writer.drain()
        call.finish(3)

    async with serving(script) as api:
        sink = Recorder()
        running = await api.executor.start(POD, Command(Kind.COMMAND, [b"x"]), sink)
        came = await steps(lambda: len(sink.out), MANY)
        assert max(came) <= 2 * link.SLICE  # we may see the end of one and the begin of another
        running.pause()
        running.resume()
        assert await sink.ended() == Outcome(3)
        assert sink.out == b"x" * MANY
        assert not running._link._parser.rest


async def test_packets_before_login_have_a_limit(tmp_path: Path) -> None:
    async with door(tmp_path) as front, RawClient.ready(front.port) as client:
        for _ in range(MAX_BEFORE_LOGIN + 1):
            client.put(bytes([IGNORE]) + string(b""))
        await client.flush()
        assert await client.ends() == "Too many packets before authentication"


async def test_the_line_serves_one_a_turn_in_order() -> None:
    turns, served = Turns(), list[str]()

    def work(name: str) -> Callable[[], None]:
        def serve() -> None:
            served.append(name)
            if served.count(name) < 3:
                turns.join(serve)

        return serve

    for name in "abc":
        turns.join(work(name))
    assert await steps(lambda: len(served), 9) == [1] * 9
    assert "".join(served) == "abcabcabc"
