"""The pure halves of an exec: frames from any bytes, and what messages mean in any order."""

import os
import struct

from hypothesis import given
from hypothesis import strategies as st

from gateway.websocket import Parser
from kgpud.localcluster import exec_protocol
from kgpud.localcluster.exec_frames import (
    BINARY,
    CLOSE,
    MAX_PAYLOAD,
    PING,
    Batch,
    Frame,
    Reader,
    encode,
)
from kgpud.localcluster.exec_protocol import EndStdin, Leave, Protocol, Resize, Stdin, Stuck, Talk

V4, V5 = (exec_protocol.choose([f"{one}.channel.k8s.io"]) for one in ("v4", "v5"))
opcodes = st.sampled_from([0x0, 0x1, 0x2, 0x3, PING, 0xA])
frames = st.lists(st.tuples(opcodes, st.binary(max_size=300)), max_size=8)


def masked(opcode: int, payload: bytes) -> bytes:
    head = encode(opcode, b"")[:1]
    length = len(payload)
    if length < 126:
        head += bytes((0x80 | length,))
    elif length < 65536:
        head += struct.pack("!BH", 0x80 | 126, length)
    else:
        head += struct.pack("!BQ", 0x80 | 127, length)
    mask = os.urandom(4)
    return head + mask + bytes(one ^ mask[at % 4] for at, one in enumerate(payload))


def read(data: bytes, sizes: list[int]) -> list[Frame]:
    reader, found = Reader(), []
    for size in [*sizes, len(data)]:
        found += reader.feed(data[:size])
        data = data[size:]
    return [Frame(one.opcode, bytes(one.payload)) for one in found]


@given(frames, st.lists(st.integers(1, 40), max_size=30))
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    sent: list[tuple[int, bytes]], sizes: list[int]
) -> None:
    data = b"".join(masked(*one) for one in sent)
    controls = (PING, 0xA)
    wanted = [Frame(one, body[:125] if one in controls else body) for one, body in sent]
    assert read(data, sizes) == wanted


@given(st.binary(max_size=200), st.lists(st.integers(1, 20), max_size=20))
def test_any_bytes_are_frames_until_one_ends_the_connection(data: bytes, sizes: list[int]) -> None:
    found = read(data, sizes)
    assert found == read(data, [])
    assert [one.opcode for one in found[:-1]].count(CLOSE) == 0


def test_what_cant_be_read_on_is_a_close() -> None:
    too_long = struct.pack("!BBQ", 0x82, 0xFF, MAX_PAYLOAD + 1) + b"mask"
    assert read(too_long + masked(BINARY, b"more"), []) == [Frame(CLOSE, b"\x03\xe8")]
    assert read(encode(BINARY, b"unmasked"), []) == [Frame(CLOSE, b"\x03\xea")]
    assert read(masked(CLOSE, b"\x0b\xb8why") + masked(BINARY, b"x"), []) == [
        Frame(CLOSE, b"\x03\xe8")
    ]


@given(st.integers(1, 5), st.integers(126, 300), st.data())
def test_what_one_read_brought_goes_out_as_many_messages(
    count: int, size: int, data: st.DataObject
) -> None:
    batch = Batch(count, size)
    for channel in (1, 2, 1):
        sent = data.draw(st.binary(min_size=1, max_size=count * size))
        for at, gap in enumerate(batch.gaps):
            piece = sent[at * size : (at + 1) * size]
            gap[: len(piece)] = piece
        assert b"".join(batch.payloads(len(sent))) == sent
        messages = Parser().feed(batch.framed(BINARY, channel, len(sent)))
        assert {(opcode, body[0]) for opcode, body in messages} == {(BINARY, channel)}
        assert b"".join(body[1:] for _, body in messages) == sent
        assert max(len(body) for _, body in messages) <= size + 1


names = st.sampled_from(
    ["v5.channel.k8s.io", "v4.channel.k8s.io", "base64.channel.k8s.io", "channel.k8s.io", ""]
)
sizes = [b"\x04" + one for one in (b"garbage", b'{"Width":8,"Height":9}', b'{"Width":-1}', b"[]")]
messages = st.lists(st.one_of(st.binary(max_size=20), st.sampled_from(sizes)), max_size=20)


@given(names, st.booleans(), st.booleans(), messages)
def test_any_messages_mean_something_that_was_asked_for(
    name: str, stdin: bool, tty: bool, sent: list[bytes]
) -> None:
    protocol = exec_protocol.choose([name] if name else [])
    assert protocol is not None
    talk = Talk(protocol, stdin=stdin, tty=tty)
    for message in sent:
        action = talk.take(message)
        if isinstance(action, Stdin | EndStdin):
            assert stdin
        if isinstance(action, Resize):
            assert 0 < action.rows < 65536
            assert 0 < action.columns < 65536
        if isinstance(action, EndStdin | Leave):
            assert protocol.translated


def _sizes_taken(protocol: Protocol | None, *, tty: bool, garbage: bool) -> int:
    assert protocol is not None
    talk = Talk(protocol, stdin=True, tty=tty)
    body = b"garbage" if garbage else b'{"Width":8,"Height":9}'
    for count in range(5):
        if isinstance(talk.take(b"\x04" + body), Stuck):
            return count
    return 5


def test_which_sizes_wedge_a_stream() -> None:
    assert _sizes_taken(V5, tty=True, garbage=False) == 5
    assert _sizes_taken(V4, tty=True, garbage=False) == 5
    assert _sizes_taken(V4, tty=False, garbage=False) == 5
    assert _sizes_taken(V5, tty=False, garbage=False) == 1
    assert _sizes_taken(V5, tty=True, garbage=True) == 1
    assert _sizes_taken(V4, tty=False, garbage=True) == 1


def test_which_protocol_is_spoken() -> None:
    for offered, spoken in (
        (["v4.channel.k8s.io", "v5.channel.k8s.io"], "v5.channel.k8s.io"),
        (["foo", "base64.channel.k8s.io", "v4.channel.k8s.io"], "base64.channel.k8s.io"),
        ([], ""),
    ):
        chosen = exec_protocol.choose(offered)
        assert chosen is not None
        assert chosen.name == spoken
    assert exec_protocol.choose(["v3.channel.k8s.io", "SPDY"]) is None
