"""The parser: any split, any garbage, lengths that lie."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sftp import packets
from gateway.sftp.attributes import Attributes, Entry
from gateway.sftp.fields import Malformed

from .client import EXTENDED, MKDIR, OPEN, READ, RENAME, SETSTAT, STAT, WRITE, packet

uint32 = st.integers(0, 2**32 - 1)
path = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b""))
attributes = st.fixed_dictionaries(
    {},
    optional={"size": st.integers(0, 2**64 - 1), "mode": uint32},
).flatmap(
    lambda some: st.sampled_from(
        [some, {**some, "uid": 5, "gid": 6}, {**some, "atime": 7, "mtime": 2**32 - 1}]
    )
)


def split(stream: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(stream[:size])
        stream = stream[size:]
    return [*pieces, stream]


def taken(pieces: list[bytes]) -> list[bytes]:
    splitter, found = packets.Splitter(), []
    for piece in pieces:
        splitter.feed(piece)
        while (one := splitter.take()) is not None:
            found.append(one)
    assert not splitter.held
    return found


@given(st.lists(st.binary(min_size=1, max_size=300)), st.lists(st.integers(0, 20)))
def test_however_a_stream_is_split(bodies: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(struct.pack(">I", len(body)) + body for body in bodies)
    assert taken(split(stream, sizes)) == bodies


@pytest.mark.parametrize("length", [0, packets.MAX_PACKET + 1, 2**32 - 1])
def test_a_length_that_no_packet_has(length: int) -> None:
    splitter = packets.Splitter()
    splitter.feed(struct.pack(">I", length))
    with pytest.raises(Malformed):
        splitter.take()


@given(st.binary(max_size=200), st.sampled_from([*range(1, 21), 200]))
def test_garbage_is_a_request_or_malformed(body: bytes, kind: int) -> None:
    for garbage in (body, bytes([kind]) + body):
        try:
            request = packets.parse(garbage)
        except Malformed:
            continue
        assert request.kind == garbage[0]


@given(path, path, st.binary(max_size=8), uint32, st.integers(0, 2**64 - 1), attributes)
def test_what_a_client_says_is_what_is_read(
    one: bytes, two: bytes, handle: bytes, number: int, offset: int, about: dict[str, int]
) -> None:
    given = Attributes(
        about.get("size"),
        (about["uid"], about["gid"]) if "uid" in about else None,
        about.get("mode"),
        (about["atime"], about["mtime"]) if "atime" in about else None,
    )
    requests = [
        (OPEN, (one, number, about), {"path": one, "flags": number, "attributes": given}),
        (SETSTAT, (one, about), {"path": one, "attributes": given}),
        (READ, (handle, (offset,), number), {"handle": handle, "offset": offset, "length": number}),
        (WRITE, (handle, (offset,), two), {"handle": handle, "offset": offset, "data": two}),
        (RENAME, (one, two), {"path": one, "other": two}),
        (EXTENDED, (b"fsync@openssh.com", handle), {"name": packets.FSYNC, "handle": handle}),
        (EXTENDED, (b"what@example.com", one), {"name": b"what@example.com"}),
        (99, (one,), {}),
    ]
    for kind, fields, meant in requests:
        [body] = taken([packet(kind, number, *fields)])
        assert packets.parse(body) == packets.Request(kind, number, **meant)  # type: ignore[arg-type]
        for cut in range(5, len(body)):
            if kind in {READ, WRITE, RENAME}:
                with pytest.raises(Malformed):
                    packets.parse(body[:cut])


def test_extended_attributes_are_skipped_and_their_count_can_lie() -> None:
    body = packet(MKDIR, 1, b"d")[4:]
    pair = struct.pack(">I", 1) + b"x" + struct.pack(">I", 0)
    assert packets.parse(body + struct.pack(">II", 1 << 31, 1) + pair).path == b"d"
    with pytest.raises(Malformed):
        packets.parse(body + struct.pack(">II", 1 << 31, 2**32 - 1) + pair * 3)


def test_a_path_with_a_nul() -> None:
    with pytest.raises(Malformed):
        packets.parse(packet(STAT, 1, b"a\0b")[4:])


@pytest.mark.parametrize(
    ("when", "shown"),
    [(2**31, b"Jan 19  2038"), (86400 * 365, b"Jan  1 00:00"), (0, b"Jan  1  1970")],
)
def test_the_line_that_ls_shows(when: int, shown: bytes) -> None:
    about = Attributes(5_000_000_000, (0, 7), 0o100644, (0, when))
    entry = Entry(b"a\xff b", about, b"1", b"root", b"7").encode(now=86400 * 366)
    assert b"-rw-r--r--   1 root     7        5000000000 " + shown + b" a\xff b" in entry


def test_numbers_that_do_not_fit_their_fields() -> None:
    about = Attributes(-1, (2**40, 0), 0o100644, (-5, 2**33))
    fields = packets.parse(bytes([SETSTAT]) + bytes(8) + about.encode()).attributes
    assert fields == Attributes(0, (2**32 - 1, 0), 0o100644, (0, 2**32 - 1))
