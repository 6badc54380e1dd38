"""A download's stream from the pod: any split, any garbage, sizes and times that lie."""

import contextlib
import tarfile
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.scp import ScpCommand
from gateway.scp_read import Broken, Closed, Content, Event, Header, Opened, Reader
from gateway.scp_records import Entry, Outbox, Times
from gateway.scp_send import Sending

names = st.binary(min_size=1, max_size=180).filter(lambda name: not set(name) & set(b"/\0"))
members = st.dictionaries(names, st.binary(max_size=1500), max_size=4)
Spelling = Literal[1, 2]
formats = st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
sizes = st.lists(st.integers(0, 1200), max_size=20)


def member(
    name: bytes, size: int, mtime: int = 5, kind: bytes = tarfile.REGTYPE
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name.decode(errors="surrogateescape"))
    info.size, info.type, info.mtime = size, kind, mtime
    return info


def header(info: tarfile.TarInfo, spelling: Spelling = tarfile.GNU_FORMAT) -> bytes:
    return info.tobuf(spelling, "utf-8", "surrogateescape")


def pax(body: bytes) -> bytes:
    """Spell what a file's header says of the next one."""
    said = header(member(b"x", len(body), kind=tarfile.XHDTYPE))
    return said + body + bytes(-len(body) % 512)


def archive(files: dict[bytes, bytes], spelling: Spelling, top: bytes = b"") -> bytes:
    """Spell an archive of files, or of a folder with them."""
    said = header(member(top, 0, kind=tarfile.DIRTYPE), spelling) if top else b""
    for name, data in files.items():
        path = top + b"/" + name if top else name
        said += header(member(path, len(data)), spelling) + data + bytes(-len(data) % 512)
    return said + bytes(10240)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    found = []
    for size in cuts:
        found.append(stream[:size])
        stream = stream[size:]
    return [*found, stream]


def read(stream: bytes, cuts: list[int]) -> list[Event]:
    """Return the events; Content that follows Content is one."""
    reader, found = Reader(), list[Event]()
    for piece in pieces(stream, cuts):
        reader.feed(piece)
        while event := reader.next():
            if isinstance(event, Header):
                continue
            if isinstance(event, Content) and found and isinstance(found[-1], Content):
                event = Content(found.pop().data + event.data)  # type: ignore[union-attr]
            found.append(event)
    return found


def told(stream: bytes, cuts: list[int], order: list[bool], acks: bytes) -> tuple[bytes, object]:
    """Let the pod's pieces and the client's answers come in some order; return what is said."""
    out = Outbox()
    talk = Sending(ScpCommand("f", b"x", recursive=True, preserve=True), out)
    coming = pieces(stream, cuts)
    answers = [acks[at : at + 1] for at in range(len(acks))]
    for pods_turn in order:
        if pods_turn and coming:
            talk.from_pod(coming.pop(0))
        elif answers:
            talk.from_client(answers.pop(0))
    for piece in coming:
        talk.from_pod(piece)
    talk.pod_ended(0)
    for answer in answers:
        talk.from_client(answer)
    talk.client_ended()
    while talk.more:
        talk.go_on()
    return b"".join(out.client), talk.exit_code


@given(members, formats, sizes)
def test_any_split_reads_the_same(
    files: dict[bytes, bytes], spelling: Spelling, cuts: list[int]
) -> None:
    stream = b"f\0" + archive(files, spelling) + b"t/a/top\0" + archive(files, spelling, b"/a/top")
    events = read(stream, cuts)
    assert events == read(stream, [])
    opened = [event.entry for event in events if isinstance(event, Opened)]
    there = [Entry(False, 0o644, len(data), name) for name, data in files.items()]
    assert opened == [*there, Entry(True, 0o644, 0, b"top"), *there]
    got = [event.data for event in events if isinstance(event, Content)]
    assert got == [data for data in files.values() if data] * 2


@given(members, sizes, st.lists(st.booleans(), max_size=40), st.binary(max_size=60))
def test_any_order_says_the_same(
    files: dict[bytes, bytes], cuts: list[int], order: list[bool], odd: bytes
) -> None:
    stream = b"t/a/top\0" + archive(files, tarfile.GNU_FORMAT, b"/a/top") + b"!x: no\0"
    for acks in (bytes(100), odd, bytes(4) + b"\x01no\n" + bytes(100)):
        once = told(stream, cuts, order, acks)
        assert once == told(stream, [], [], acks)
        assert once[1] == 1  # an error was said, or the client was no scp


@given(members, sizes, st.lists(st.booleans(), max_size=40))
def test_all_that_was_acknowledged_is_a_success(
    files: dict[bytes, bytes], cuts: list[int], order: list[bool]
) -> None:
    stream = b"t/a/top\0" + archive(files, tarfile.GNU_FORMAT, b"/a/top")
    # One to begin, two for the folder, one to leave it; three for each file.
    assert told(stream, cuts, order, bytes(4 + 3 * len(files)))[1] == 0
    assert told(stream, cuts, order, bytes(3 + 3 * len(files)))[1] == 1


@given(members.filter(bool), st.data())
def test_a_stream_that_ends_early_is_a_failure(
    files: dict[bytes, bytes], data: st.DataObject
) -> None:
    stream = b"f\0" + archive(files, tarfile.GNU_FORMAT)
    # Two of the blocks of zeros end it; one is what GNU tar takes for the end, too.
    stream = stream[: data.draw(st.integers(1, len(stream) - 10240))]
    assert told(stream, [], [], bytes(100))[1] == 1


@given(
    st.lists(
        st.one_of(st.binary(max_size=700), st.sampled_from([b"f\0", b"t/x\0", b"F81a4 3 ", b"E\0"]))
    )
)
def test_garbage(said: list[bytes]) -> None:
    with contextlib.suppress(Broken):
        read(b"".join(said), [])
    told(b"".join(said), [], [], bytes(50))


@given(members, formats, st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 255)), max_size=5))
def test_a_damaged_archive(
    files: dict[bytes, bytes], spelling: Spelling, damage: list[tuple[int, int]]
) -> None:
    stream = bytearray(b"t/a/top\0" + archive(files, spelling, b"/a/top"))
    for at, byte in damage:
        if at < len(stream):
            stream[at] = byte
    _, code = told(bytes(stream), [], [], bytes(100))
    assert code is not None


@pytest.mark.parametrize("size", [2**33, 2**40 + 1, 2**63 - 1])
@pytest.mark.parametrize("spelling", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_size_beyond_8_gib(size: int, spelling: Spelling) -> None:
    events = read(b"f\0" + header(member(b"big", size), spelling) + b"xyz", [])
    assert events == [Opened(Entry(False, 0o644, size, b"big"), Times(5, 5)), Content(b"xyz")]
    assert read(b"F81a4 %d 5 5 big\0xyz" % size, []) == events


def test_a_time_before_1970() -> None:
    stream = b"f\0" + header(member(b"old", 0, mtime=-100)) + bytes(1024)
    said, code = told(stream, [], [], bytes(10))
    assert (said, code) == (b"T0 0 0 0\nC0644 0 old\n\0", 0)


@pytest.mark.parametrize(
    "record",
    [
        *(b"F81a4 -5 1 1 x\0abcdefgh", b"Fzz 1 1 1 x\0", b"F1 1 1\0", b"?\0"),
        *(b"F1 %s 1 1 x\0" % (b"9" * 5000), b"F1 1 1 1 %s\0" % (b"\n" * 1024)),
        # Names that none has, and headers that would keep everybody waiting.
        b"f\0" + header(member(b"d/" + b"n" * 1024, 0)),
        *(b"f\0" + pax(body) for body in (b"9" * 5000, b"0 ", b"7 a=b\n", b"4 a=" * 65)),
    ],
)
def test_a_record_that_lies(record: bytes) -> None:
    with pytest.raises(Broken):
        read(record, [])


def test_a_header_of_as_many_lines_as_any_has() -> None:
    stream = b"f\0" + pax(b"11 path=ab\n" + b"6 a=b\n" * 62) + header(member(b"x", 0))
    assert read(stream, [])[0] == Opened(Entry(False, 0o644, 0, b"ab"), Times(5, 5))


def test_a_file_that_shrank_is_no_success() -> None:
    stream = b"F81a4 3 5 5 x\0\0\0\0!x: file shrank while it was read\0"
    assert Closed(b"x: file shrank while it was read") in read(stream, [])
    said, code = told(stream, [], [], bytes(10))
    assert said.endswith(b"\0\0\0\x01scp: x: file shrank while it was read\n")
    assert code == 1
