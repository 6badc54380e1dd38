"""The inline parser against a client that says whatever it likes."""

import asyncio
import itertools
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .fake_api import Call, eventually
from .raw_ciphers import MAKE
from .raw_client import CHANNEL_DATA, IGNORE, RawClient, string
from .through import EOF, cat, credit, data, echoed, through

# Whole packets in any pieces.


def packets(draw: st.DrawFn) -> list[bytes]:
    kinds = [
        st.binary(max_size=400).map(data),
        st.integers(0, 3000).map(lambda size: data(os.urandom(size))),
        st.integers(0, 2**32 - 1).map(credit),
        st.binary(max_size=50).map(lambda junk: bytes([IGNORE]) + string(junk)),
    ]
    return draw(st.lists(st.one_of(kinds), min_size=1, max_size=12))


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.composite(packets)(), st.lists(st.integers(0, 1 << 20), max_size=10))
def test_any_split_of_the_stream_gives_the_same(
    tmp_path: Path, sent: list[bytes], cuts: list[int]
) -> None:
    async def check() -> None:
        async with through(tmp_path, cat) as bench, bench.raw() as client:
            for packet in [*sent, data(b"end")]:
                client.put(packet)
            stream = bytes(client._unsent)
            client._unsent.clear()
            edges = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
            for start_at, end in itertools.pairwise(edges):
                client.send_bare(stream[start_at:end])
                for _ in range(5):  # so that it is likely a read of its own
                    await asyncio.sleep(0)
            expected = b"".join(packet[9:] for packet in sent if packet[0] == CHANNEL_DATA)
            assert await echoed(client, len(expected) + 3) == expected + b"end"

    asyncio.run(check())


async def test_sequence_numbers_count_both_paths_packets(tmp_path: Path) -> None:
    """The server names the packet that it doesn't know (RFC 4253, 11.4)."""
    unknown, unimplemented = bytes([150]), 3
    async with through(tmp_path, cat) as bench, bench.raw() as client:

        async def number() -> int:
            await client.send(unknown)
            while (answer := await client.receive())[0] != unimplemented:
                pass
            return int.from_bytes(answer[1:5], "big")

        first = await number()
        for packet in [data(b"x"), credit(1), data(b"y" * 3000), data(b""), credit(5)]:
            client.put(packet)
        assert await number() == first + 6
        bench.connection._recv_seq = 2**32 - 2
        for _ in range(4):
            client.put(data(b"z"))
        assert await number() == 2


async def test_bytes_until_the_next_key_are_counted_as_asyncssh_counts(tmp_path: Path) -> None:
    async with through(tmp_path, cat) as bench, bench.raw() as client:
        connection = bench.connection
        for size in [1, 10, 11, 12, 1000, 32768]:
            before = connection._rekey_bytes_sent
            await client.send(data(bytes(size)))
            await echoed(client, size)
            # Padding's length, type, channel, size; at least 4 of padding, to whole blocks.
            expected = -(-(1 + 1 + 4 + 4 + size + 4) // 16) * 16
            assert connection._rekey_bytes_sent - before == expected


@pytest.mark.parametrize("size", [1, 300, 30_000])
async def test_data_behind_a_key_exchange_s_first_packet(tmp_path: Path, size: int) -> None:
    """It waits for the exchange's turn, beside the fast path, and all of it comes through."""
    many = min(1_500_000 // size, 5000)
    sent = [os.urandom(size) for _ in range(many)]
    async with through(tmp_path, cat) as bench, bench.raw() as client:
        for _ in range(2):
            await client.exchange_keys(behind_kexinit=[data(piece) for piece in sent])
            assert await echoed(client, many * size) == b"".join(sent)
            await client.send(credit(many * size))
            assert bench.connection._fast_cipher()
            assert not bench.connection._held()


async def test_byte_by_byte(tmp_path: Path) -> None:
    async with through(tmp_path, cat) as bench, bench.raw() as client:
        client.put(data(b"slowly"))
        client.put(bytes([EOF]) + bytes(4))
        stream = bytes(client._unsent)
        client._unsent.clear()
        for at in range(len(stream)):
            client.send_bare(stream[at : at + 1])
            await asyncio.sleep(0.001)
        assert await echoed(client, 6) == b"slowly"


# What is wrong ends the connection, and no other.


def bad_tag(client: RawClient) -> None:
    client.put(data(b"x"))
    client._unsent[-1] ^= 1


def changed_data(client: RawClient) -> None:
    client.put(data(b"x" * 100))
    client._unsent[30] ^= 1


def replayed(client: RawClient) -> None:
    client.put(data(b"x"))
    client._unsent += bytes(client._unsent)


def too_long(client: RawClient) -> None:
    client.put_body(bytes(96), 1 << 20)


def too_short(client: RawClient) -> None:
    client.put_body(bytes(96), 8)


def of_no_length(client: RawClient) -> None:
    client.put_body(bytes(96), 0)


def of_an_odd_length(client: RawClient) -> None:
    client.put_body(bytes([4]) + data(b"x" * 10) + bytes(5))


def more_padding_than_packet(client: RawClient) -> None:
    client.put_body(bytes([255]) + data(b"x" * 17) + bytes(4))


def nothing_but_padding(client: RawClient) -> None:
    client.put_body(bytes([31]) + bytes(31))


def no_padding(client: RawClient) -> None:
    client.put_body(bytes([0]) + data(b"x" * 22))


def unknown_channel(client: RawClient) -> None:
    client.put(data(b"x", 7))


def after_eof(client: RawClient) -> None:
    client.put(bytes([EOF]) + bytes(4))
    client.put(data(b"x"))


def longer_than_the_packet(client: RawClient) -> None:
    client.put(bytes([CHANNEL_DATA]) + bytes(4) + struct.pack(">I", 100) + b"x" * 99)


def shorter_than_the_packet(client: RawClient) -> None:
    client.put(bytes([CHANNEL_DATA]) + bytes(4) + struct.pack(">I", 10) + b"x" * 99)


def no_length(client: RawClient) -> None:
    client.put(bytes([CHANNEL_DATA]) + bytes(2))


def extended_data(client: RawClient) -> None:
    client.put(bytes([95]) + bytes(4) + struct.pack(">I", 1) + string(b"x"))


def credit_for_nothing(client: RawClient) -> None:
    client.put(credit(1, 9))


def long_credit(client: RawClient) -> None:
    client.put(credit(1) + b"x")


@pytest.mark.parametrize("cipher", MAKE)
@pytest.mark.parametrize(
    "wrong",
    [
        bad_tag,
        changed_data,
        replayed,
        too_long,
        too_short,
        of_no_length,
        of_an_odd_length,
        more_padding_than_packet,
        nothing_but_padding,
        no_padding,
        unknown_channel,
        after_eof,
        longer_than_the_packet,
        shorter_than_the_packet,
        no_length,
        extended_data,
        credit_for_nothing,
        long_credit,
    ],
)
async def test_a_malformed_packet_ends_the_connection(
    tmp_path: Path, wrong: Callable[[RawClient], None], cipher: str
) -> None:
    async with through(tmp_path, cat) as bench, bench.raw() as other:
        async with bench.raw(cipher=cipher) as client:
            await client.send(data(b"well"))
            assert await echoed(client, 4) == b"well"
            wrong(client)
            await client.flush()
            await client.ends()
        await other.send(data(b"still here"))
        assert await echoed(other, 10) == b"still here"


async def test_data_beyond_the_window_ends_the_connection(tmp_path: Path) -> None:
    async def deaf(call: Call) -> None:
        if call.is_hangup:
            call.hung_up()
        else:
            call.upgrade()
            await eventually(lambda: len(bench.api.calls) > 1)

    async with through(tmp_path, deaf) as bench, bench.raw() as client:
        flood = asyncio.ensure_future(flooding(client, data(bytes(32_000))))  # noqa: TID251
        try:
            assert "Window exceeded" in await client.ends()
        finally:
            flood.cancel()


async def flooding(client: RawClient, packet: bytes) -> None:
    while True:
        await client.send(packet)
