"""The websocket codec against RFC 6455: round trips, fragments, limits, refusals."""

import base64
import contextlib
import hashlib
import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import websocket
from gateway.websocket import BINARY, CLOSE, MAX_MESSAGE, PING, PONG, TEXT, FrameError, Parser

CONTINUATION = 0


def frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """Make a server's (unmasked) frame, with the shortest length form."""
    first = opcode | (0x80 if final else 0)
    if len(payload) < 126:
        return struct.pack("!BB", first, len(payload)) + payload
    if len(payload) < 65536:
        return struct.pack("!BBH", first, 126, len(payload)) + payload
    return struct.pack("!BBQ", first, 127, len(payload)) + payload


def unmasked(data: bytes | bytearray) -> tuple[int, int, bytes]:
    """Read one client frame the slow way; return its first byte, its length form, its payload."""
    assert data[1] & 0x80
    form = data[1] & 0x7F
    head = {126: 4, 127: 10}.get(form, 2)
    length = form if head == 2 else int.from_bytes(data[2:head], "big")
    mask, body = data[head : head + 4], data[head + 4 :]
    assert len(body) == length
    return data[0], form, bytes(byte ^ mask[at % 4] for at, byte in enumerate(body))


def fed(
    parser: Parser, stream: bytes, cuts: list[int], most: int = 1000
) -> list[tuple[int, bytes]]:
    messages = []
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(edges):
        parser.rest = memoryview(stream[start:end])
        while parser.rest:
            some = parser.feed(parser.rest, most)
            assert len(some) <= most
            messages += [(code, bytes(payload)) for code, payload in some]
    return messages


sizes = st.one_of(
    st.integers(0, 300), st.sampled_from([125, 126, 127, 65535, 65536, 65537]), st.just(32769)
)
messages = st.lists(
    st.tuples(st.sampled_from([TEXT, BINARY, CLOSE, PING, PONG]), sizes), min_size=1, max_size=6
)
cuts = st.lists(st.integers(0, 1 << 20), max_size=12)


@settings(deadline=None)
@given(messages, cuts, st.integers(1, 4))
def test_messages_come_out_as_they_went_in(
    sizes_of: list[tuple[int, int]], cuts: list[int], most: int
) -> None:
    sent = [
        (opcode, bytes(at & 0xFF for at in range(size if opcode < CLOSE else size % 126)))
        for opcode, size in sizes_of
    ]
    stream = b"".join(frame(opcode, payload) for opcode, payload in sent)
    assert fed(Parser(), stream, cuts, most) == sent


@settings(deadline=None)
@given(
    st.sampled_from([TEXT, BINARY]),
    st.lists(st.binary(max_size=200), min_size=2, max_size=8),
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from([PING, PONG])), max_size=4),
    cuts,
)
def test_fragments_are_joined_around_control_frames(
    opcode: int, parts: list[bytes], controls: list[tuple[int, int]], cuts: list[int]
) -> None:
    stream, expected = b"", []
    for at, part in enumerate(parts):
        for where, control in controls:
            if where == at:
                stream += frame(control, b"c")
                expected.append((control, b"c"))
        last = at == len(parts) - 1
        stream += frame(CONTINUATION if at else opcode, part, final=last)
    expected.append((opcode, b"".join(parts)))
    stream += frame(BINARY, b"after")
    expected.append((BINARY, b"after"))
    assert fed(Parser(), stream, cuts) == expected


def test_bytes_come_one_by_one() -> None:
    stream = frame(BINARY, b"a" * 130) + frame(PING, b"") + frame(BINARY, b"")
    assert fed(Parser(), stream, list(range(len(stream)))) == [
        (BINARY, b"a" * 130),
        (PING, b""),
        (BINARY, b""),
    ]


@pytest.mark.parametrize(
    "stream",
    [
        b"\x82\x80\0\0\0\0",  # masked
        b"\xc2\0",  # RSV1: compression that nobody agreed on
        b"\xa2\0",
        b"\x92\0",
        struct.pack("!BBQ", 0x82, 127, MAX_MESSAGE + 1),
        struct.pack("!BBQ", 0x82, 127, 1 << 63),
        frame(CONTINUATION, b"of nothing"),
        frame(CONTINUATION, b"of nothing", final=False),
        frame(BINARY, b"begun", final=False) + frame(BINARY, b"another"),
        frame(TEXT, b"begun", final=False) + frame(BINARY, b"another", final=False),
    ],
)
def test_what_breaks_the_rfc_is_refused(stream: bytes) -> None:
    with pytest.raises(FrameError):
        Parser().feed(stream)


def test_a_message_is_bounded_however_it_is_cut() -> None:
    parser = Parser()
    half = bytes(MAX_MESSAGE // 2)
    parser.feed(frame(BINARY, half, final=False))
    parser.feed(frame(CONTINUATION, half, final=False))
    with pytest.raises(FrameError):
        parser.feed(frame(CONTINUATION, b"x", final=False))


def test_the_largest_message_is_taken() -> None:
    [(opcode, payload)] = Parser().feed(frame(BINARY, bytes(MAX_MESSAGE)))
    assert (opcode, len(payload)) == (BINARY, MAX_MESSAGE)


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    with contextlib.suppress(FrameError):
        Parser().feed(data)


@pytest.mark.parametrize(
    ("size", "form"),
    [(0, 0), (1, 1), (125, 125), (126, 126), (65535, 126), (65536, 127), (100_001, 127)],
)
@pytest.mark.parametrize("opcode", [BINARY, CLOSE, PING])
def test_a_sent_frame_is_whole_and_masked(size: int, form: int, opcode: int) -> None:
    payload = bytes(at % 251 for at in range(size))
    sent = websocket.encode(opcode, payload)
    assert unmasked(sent) == (0x80 | opcode, form, payload)


@given(st.binary(max_size=1000))
def test_a_sent_payload_survives_its_mask(payload: bytes) -> None:
    assert unmasked(websocket.encode(BINARY, payload))[2] == payload


def test_masks_and_keys_are_fresh() -> None:
    assert len({bytes(websocket.encode(BINARY, b"")[2:6]) for _ in range(20)}) > 1
    fresh = {websocket.new_key() for _ in range(20)}
    assert len(fresh) == 20
    assert {len(base64.b64decode(key)) for key in fresh} == {16}


def test_the_accept_value_is_the_rfc_s() -> None:
    assert websocket.accept_for("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    key = websocket.new_key()
    salted = key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    expected = base64.b64encode(hashlib.sha1(salted.encode()).digest()).decode()
    assert websocket.accept_for(key) == expected
