"""The engine with an agent that may say anything: one answer to each request, nothing piles up."""

import re
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sftp.agent import Broken, Ended, Talk, explain
from gateway.sftp.engine import Engine, Unfit
from gateway.sftp.fields import Malformed
from gateway.sftp.handles import MAX_HANDLES, MAX_LISTED, Folder, Handles
from gateway.sftp.jobs import MAX_BATCH
from gateway.sftp.packets import MAX_PACKET, Status

from .client import (
    CLOSE,
    DATA,
    EXTENDED,
    FAILURE,
    FSETSTAT,
    FSTAT,
    HANDLE,
    LSTAT,
    MKDIR,
    NAME,
    OK,
    OPEN,
    OPENDIR,
    READ,
    READDIR,
    READLINK,
    REALPATH,
    REMOVE,
    RENAME,
    RMDIR,
    SETSTAT,
    STAT,
    STATUS,
    SYMLINK,
    WRITE,
    R,
    W,
    packet,
)
from .scripted import Scripted
from .test_packets import split

INIT = struct.pack(">IBI", 5, 1, 3)


def answers(engine: Engine) -> list[tuple[int, int, bytes]]:
    """Take the answers: kind, id and the rest of each."""
    data, found = bytes(engine.answers), []
    engine.answers.clear()
    while data:
        (length,) = struct.unpack(">I", data[:4])
        kind, name = struct.unpack(">BI", data[4:9])
        found.append((kind, name, data[9 : 4 + length]))
        data = data[4 + length :]
    return found


def lines(engine: Engine, agent: Scripted) -> list[list[bytes]]:
    sent = bytes(engine.lines)
    engine.lines.clear()
    return list(agent.lines(sent))


def greeted() -> tuple[Engine, Scripted]:
    engine, agent = Engine(), Scripted()
    assert [words[0] for words in lines(engine, agent)] == [b"hello"]
    engine.hear(agent.say(b"0022\n"))
    engine.receive(INIT)
    [(kind, version, _)] = answers(engine)
    assert (kind, version) == (2, 3)
    return engine, agent


def finish(engine: Engine, agent: Scripted) -> list[tuple[int, int, bytes]]:
    """Let the agent do all that it is asked."""
    found = answers(engine)
    while not engine.idle:
        for words in lines(engine, agent):
            engine.hear(agent.usual(words))
        engine.go_on()
        found += answers(engine)
    return found


word = st.binary(max_size=20).map(lambda data: data.replace(b"\0", b""))
number = st.integers(0, 2**32 - 1)
wide = st.tuples(st.integers(0, 2**64 - 1))
handle = st.sampled_from([bytes(4), b"\0\0\0\1", b"", b"nothing"])
about = st.sampled_from(
    [{}, {"size": 5, "mode": 0o444, "uid": 1, "gid": 2, "atime": 3, "mtime": 4}]
)
request = st.one_of(
    st.tuples(st.just(OPEN), word, number, about),
    st.tuples(st.sampled_from([CLOSE, FSTAT, READDIR]), handle),
    st.tuples(st.just(READ), handle, wide, number),
    st.tuples(st.just(WRITE), handle, wide, word),
    st.tuples(st.sampled_from([LSTAT, STAT, OPENDIR, REMOVE, RMDIR, REALPATH, READLINK]), word),
    st.tuples(st.sampled_from([SETSTAT, MKDIR]), word, about),
    st.tuples(st.sampled_from([RENAME, SYMLINK]), word, word),
    st.tuples(st.just(FSETSTAT), handle, about),
    st.tuples(st.just(EXTENDED), st.sampled_from([b"fsync@openssh.com", b"what"]), handle),
    st.tuples(st.just(EXTENDED), st.just(b"limits@openssh.com")),
    st.tuples(st.just(EXTENDED), st.just(b"statvfs@openssh.com"), word),
    st.tuples(st.integers(21, 99), word),
)
said = st.tuples(
    st.one_of(st.binary(max_size=60), st.just(b"7 new\n"), st.just(bytes(40000))),
    st.sampled_from([0, 0, 1, 255]),
    st.sampled_from([b"", b"dd: x: No such file or directory", b"\xff\n"]),
)


@given(st.lists(request, max_size=30), st.lists(said, min_size=1), st.lists(st.integers(1, 99)))
def test_every_request_has_one_answer(
    requests: list[tuple[object, ...]],
    sayings: list[tuple[bytes, int, bytes]],
    sizes: list[int],
) -> None:
    engine, agent = greeted()
    stream = b"".join(packet(kind, at, *rest) for at, (kind, *rest) in enumerate(requests))  # type: ignore[arg-type]
    asked = 0
    for piece in split(stream, sizes):
        engine.receive(piece)
        for _ in lines(engine, agent):
            heard = agent.say(*sayings[asked % len(sayings)])
            asked += 1
            for part in split(heard, sizes):
                engine.hear(part)
    while not engine.idle:
        for _ in lines(engine, agent):
            engine.hear(agent.say(*sayings[asked % len(sayings)]))
            asked += 1
    names = [name for _, name, _ in answers(engine)]
    assert sorted(names) == list(range(len(requests)))


@given(st.binary(max_size=300), st.integers(0, 20))
def test_garbage_ends_the_session_cleanly(garbage: bytes, kind: int) -> None:
    for stream in (garbage, struct.pack(">IBI", len(garbage) + 5, kind, 1) + garbage):
        engine, _ = greeted()
        with suppress(Malformed):
            engine.receive(stream)
        answers(engine)


@pytest.mark.parametrize("first", [INIT + INIT, packet(STAT, 1, b"x")])
def test_init_comes_first_and_once(first: bytes) -> None:
    engine, agent = Engine(), Scripted()
    lines(engine, agent)
    engine.hear(agent.say(b"0022\n"))
    with pytest.raises(Malformed):
        engine.receive(first)


@given(st.lists(st.one_of(st.binary(max_size=50), st.just(None)), max_size=8), st.data())
def test_an_agents_output_however_it_is_split(
    said: list[bytes | None], data: st.DataObject
) -> None:
    talk, agent = Talk(), Scripted()
    list(agent.lines(talk.start()))
    # Beginnings of the mark that end an output are not the mark.
    stream = b"".join(
        agent.say(agent.end[:20]) if text is None else agent.say(text, 3, b"why\n") for text in said
    )
    heard: list[bytes | Ended] = []
    for piece in split(stream, data.draw(st.lists(st.integers(0, 60)))):
        for event in talk.feed(piece):
            if isinstance(event, bytes) and heard and isinstance(heard[-1], bytes):
                heard[-1] += event
            else:
                heard.append(event)
    meant: list[bytes | Ended] = []
    for text in said:
        output = agent.end[:20] if text is None else text
        meant += [output] if output else []
        meant.append(Ended(0, b"") if text is None else Ended(3, b"why\n"))
    assert heard == meant


def test_an_agent_that_talks_nonsense() -> None:
    for nonsense in (b"%s ? %s\n", b"%s 1" + b"x" * 70000, b"%s 1234 %s\n"):
        engine, agent = greeted()
        engine.receive(packet(STAT, 1, b"x"))
        with pytest.raises(Broken):
            engine.hear(nonsense.replace(b"%s", agent.end))
    engine, agent = greeted()
    with pytest.raises(Broken):
        engine.hear(b"out of the blue" + bytes(40))
    for mask in (b"what\n", b"", b"9" * 60):
        engine, agent = Engine(), Scripted()
        lines(engine, agent)
        with pytest.raises(Broken):
            engine.hear(agent.say(mask))


def test_an_image_that_lacks_what_the_agent_needs() -> None:
    engine, agent = Engine(), Scripted()
    lines(engine, agent)
    with pytest.raises(Unfit, match="no stat"):
        engine.hear(agent.say(b"", 1, b"no stat"))


def test_a_client_that_does_not_wait_is_held_back() -> None:
    engine, agent = greeted()
    stream = b"".join(packet(LSTAT, at, b"x") for at in range(5000))
    engine.receive(stream)
    assert engine.full
    assert len(lines(engine, agent)) == 16
    engine.go_on()
    engine.go_on()
    assert not engine.more
    assert engine.full
    for _ in range(16):
        engine.hear(agent.usual([b"attributes"]))
    assert [name for _, name, _ in answers(engine)] == list(range(16))
    assert len(finish(engine, agent)) == 5000 - 16


@pytest.mark.parametrize(
    ("kind", "rest", "share"), [(READDIR, (b"what",), 64), (EXTENDED, (b"limits@openssh.com",), 64)]
)
def test_what_is_answered_at_once_has_a_share_of_each_turn(
    kind: int, rest: tuple[bytes, ...], share: int
) -> None:
    engine, _ = greeted()
    engine.receive(b"".join(packet(kind, at, *rest) for at in range(1000)))
    taken = [len(answers(engine))]
    while engine.more:
        assert engine.full
        assert not engine.idle
        engine.go_on()
        taken.append(len(answers(engine)))
    assert (sum(taken), max(taken)) == (1000, share)
    assert not engine.full


def test_names_of_a_folder_fill_no_more_than_a_share_of_each_turn() -> None:
    engine, agent = greeted()
    engine.receive(packet(OPENDIR, 0, b"."))
    lines(engine, agent)
    record = b"81a4 5 0 0 1 2 1 root root ./" + b"x" * 200
    engine.hear(agent.say((b"\n" + agent.mark).join([b"", *[record] * 5000]) + b"\n"))
    [(_, _, handle)] = answers(engine)
    engine.receive(b"".join(packet(READDIR, at, handle[4:]) for at in range(60)))
    while engine.more:
        assert len(engine.answers) < 150_000
        engine.answers.clear()
        engine.go_on()
    assert engine.idle


def test_what_comes_before_the_agent_has_spoken_is_held_back() -> None:
    engine = Engine()
    engine.receive(INIT)
    assert not engine.full
    engine.receive(b"".join(packet(LSTAT, at, bytes(4000)) for at in range(100)))
    assert engine.full


def opened(engine: Engine, agent: Scripted, flags: int = R | W, number: int = 7) -> bytes:
    engine.receive(packet(OPEN, 0, b"x", flags, {}))
    assert len(lines(engine, agent)) == 1
    engine.hear(agent.say(b"%d old\n" % number))
    [(kind, _, body)] = answers(engine)
    assert kind == HANDLE
    return body[4:]


def heavy(kind: int, handle: bytes, offsets: Iterable[int], size: int) -> bytes:
    last = size if kind == READ else bytes(size)
    return b"".join(packet(kind, at, handle, (offset,), last) for at, offset in enumerate(offsets))


@pytest.mark.parametrize("kind", [READ, WRITE])
def test_neighbours_become_one_line(kind: int) -> None:
    engine, agent = greeted()
    handle = opened(engine, agent)
    for offset in range(0, 64 * 32768, 32768):
        engine.receive(heavy(kind, handle, [offset], 32768))
    first = lines(engine, agent)
    assert len(first) == 2  # the rest gathers meanwhile
    for words in first:
        engine.hear(agent.usual(words))
    later = lines(engine, agent)
    assert len(later) == 2
    assert {words[0] for words in later} == {b"fetch" if kind == READ else b"store"}
    moved = 0
    for words in later:
        moved += int(words[3]) * 32768 if kind == READ else int(words[2])
        engine.hear(agent.usual(words))
    assert moved == 62 * 32768
    assert len(answers(engine)) == 64
    assert engine.idle


@pytest.mark.parametrize(("kind", "kept"), [(READ, "_wanted"), (WRITE, "_ids")])
def test_tiny_neighbours_become_many_lines(kind: int, kept: str) -> None:
    """A million of a byte each would be kept as one otherwise."""
    engine, agent = greeted()
    engine.receive(heavy(kind, opened(engine, agent), range(50_000), 1))
    while engine.more:
        engine.go_on()
    assert engine.full
    assert all(len(getattr(job, kept)) <= MAX_BATCH // 128 for job in engine._waiting)


def test_reads_that_are_not_neighbours_are_not_mixed_up() -> None:
    engine, agent = greeted()
    handle, other = opened(engine, agent), opened(engine, agent, number=8)
    for at, name, offset in ((1, handle, 0), (2, handle, 5), (3, handle, 9), (4, other, 19)):
        engine.receive(packet(READ, at, name, (offset,), 10))
    found = lines(engine, agent)
    engine.hear(agent.say(b"0123456789" * 10))
    engine.hear(agent.say(b"0123456789" * 10))
    found += lines(engine, agent)
    engine.hear(agent.say(b"abcdefghijklmnopqrst"))
    engine.hear(agent.say(b"", 1, b"dd: error reading '/proc/7/fd/3': Input/output error"))
    assert [words[1] for words in found] == [b"7", b"7", b"7", b"8"]
    said = answers(engine)
    assert [body[4:] for kind, _, body in said if kind == DATA] == [
        b"0123456789",
        b"5678901234",
        b"jklmnopqrs",
    ]
    assert said[-1][:2] == (STATUS, 4)
    assert b"Input/output error" in said[-1][2]


def test_a_short_file_ends_each_read_behind_its_end() -> None:
    engine, agent = greeted()
    handle = opened(engine, agent)
    engine.receive(heavy(READ, handle, [0, 10, 20, 30], 10))
    for words in lines(engine, agent):
        engine.hear(agent.say(b"x" * 15 if words[2] == b"0" else b""))
    found = finish(engine, agent)
    assert [kind for kind, _, _ in found][:1] == [DATA]


def test_a_failed_write_fails_every_write_of_its_line() -> None:
    engine, agent = greeted()
    handle = opened(engine, agent)
    for offset in range(0, 50, 10):
        engine.receive(heavy(WRITE, handle, [offset], 10))
    for _ in lines(engine, agent):
        engine.hear(agent.say())
    for words in lines(engine, agent):
        assert words[2:] == [b"30", b"20"]
        engine.hear(agent.say(b"", 1, b"1+0 records in\ndd: x: No space left on device\n"))
    found = answers(engine)
    assert [struct.unpack(">I", body[:4])[0] for _, _, body in found] == [OK, OK] + [FAILURE] * 3
    assert all(b"No space left on device" in body for _, _, body in found[2:])


def test_what_is_unanswered_when_the_pod_goes_has_failed() -> None:
    engine, agent = greeted()
    handle = opened(engine, agent)
    engine.receive(heavy(WRITE, handle, range(0, 500, 10), 10))
    engine.receive(heavy(READ, handle, range(0, 500, 10), 10) + packet(OPENDIR, 7, b"x"))
    engine.fail("gone")
    found = answers(engine)
    assert len(found) == 101
    assert {struct.unpack(">I", body[:4])[0] for _, _, body in found} == {FAILURE}
    assert engine.idle


def test_open_handles_are_bounded() -> None:
    engine, agent = greeted()
    for _ in range(MAX_HANDLES):
        handle = opened(engine, agent)
    engine.receive(packet(OPEN, 1, b"x", R, {}) + packet(OPENDIR, 2, b"x"))
    assert [kind for kind, _, _ in answers(engine)] == [STATUS, STATUS]
    engine.receive(packet(CLOSE, 3, handle))
    finish(engine, agent)
    opened(engine, agent)


def test_listings_are_bounded() -> None:
    engine, agent = greeted()
    record = agent.mark + b"81a4 5 0 0 1 2 1 root root ./%s\n" % (b"n" * 200)
    for round_ in range(2):  # what is closed no longer counts
        engine.receive(packet(OPENDIR, 1, b"small"))
        lines(engine, agent)
        engine.hear(agent.say(b"\n" + record * 3))
        [(kind, _, body)] = answers(engine)
        assert kind == HANDLE, round_
        engine.receive(packet(OPENDIR, 2, b"huge"))
        lines(engine, agent)
        for _ in range(200):
            engine.hear(record * 1000)
        engine.hear(agent.say())
        [(kind, _, text)] = answers(engine)
        assert kind == STATUS
        assert b"Too many names" in text
        engine.receive(packet(READDIR, 3, body[4:]) + packet(CLOSE, 4, body[4:]))
        assert [kind for kind, _, _ in answers(engine)] == [NAME, STATUS]


def test_names_of_a_byte_take_no_more_memory_than_others() -> None:
    handles, folder, record = Handles(), Folder(), b"0 0 0 0 0 0 0 0 0 x"
    while handles.list(folder, record):
        pass
    # A reference to each stands in the queue.
    assert len(folder.records) * (sys.getsizeof(record) + 8) <= MAX_LISTED


def test_a_handle_that_is_guessed_before_it_is_told() -> None:
    engine, agent = greeted()
    engine.receive(packet(OPEN, 1, b"x", R, {}) + packet(OPENDIR, 2, b"x"))
    for name in (bytes(4), b"\0\0\0\1"):
        engine.receive(packet(CLOSE, 3, name) + packet(READDIR, 4, name))
    assert len(answers(engine)) == 4
    assert [words[0] for words in lines(engine, agent)] == [b"open", b"list"]
    engine.hear(agent.say(b"7 old\n") + agent.say(b"", 1, b"no"))
    assert [kind for kind, _, _ in answers(engine)] == [HANDLE, STATUS]


def listed(record: bytes) -> tuple[int, bytes]:
    """Return the answer to READDIR in a folder of which the agent says so much."""
    engine, agent = greeted()
    engine.receive(packet(OPENDIR, 1, b"x"))
    lines(engine, agent)
    engine.hear(agent.say(agent.mark + record))
    [(kind, _, body)] = answers(engine)
    assert kind == HANDLE
    engine.receive(packet(READDIR, 2, body[4:]))
    [(kind, _, body)] = answers(engine)
    return kind, body


@pytest.mark.parametrize("words", [b"a b c d e f", b"-1 1 0 0 1 1", b"1ffffffff 1 0 0 1 1"])
def test_a_listing_that_makes_no_sense(words: bytes) -> None:
    assert listed(words + b" 1 a a ./x\n")[0] == STATUS


@pytest.mark.parametrize("when", [-(2**63), 2**63 - 1, 2**99])
def test_a_time_that_no_calendar_has(when: int) -> None:
    """Some filesystems keep it, and anybody can set it."""
    kind, body = listed(b"81a4 1 0 0 1 %d 1 a a ./x\n" % when)
    assert (kind, (b" 9999 x" if when > 0 else b" 1 x") in body) == (NAME, True)


@pytest.mark.parametrize("count", [b"-1", b"9" * 30])
def test_a_disk_whose_size_makes_no_sense(count: bytes) -> None:
    engine, agent = greeted()
    engine.receive(packet(EXTENDED, 1, b"statvfs@openssh.com", b"x"))
    lines(engine, agent)
    engine.hear(agent.say(b"%s 1 2 3 4 5 6 ab 255\n" % count))
    assert len(answers(engine)) == 1


def test_names_are_quoted() -> None:
    engine, _ = greeted()
    engine.receive(packet(REMOVE, 1, b"a'b\nc") + packet(REMOVE, 2, b"x" * 5000))
    assert bytes(engine.lines) == b"remove './a'\\''b'\"$nl\"'c'\n"
    assert [(kind, name) for kind, name, _ in answers(engine)] == [(STATUS, 2)]


def test_a_packet_as_large_as_they_come() -> None:
    engine, agent = greeted()
    handle = opened(engine, agent)
    data = bytes(MAX_PACKET - 21 - 4)
    engine.receive(packet(WRITE, 1, handle, (0,), data))
    assert [words[2] for words in lines(engine, agent)] == [b"%d" % len(data)]
    with pytest.raises(Malformed):
        engine.receive(packet(WRITE, 2, handle, (0,), data + b"x"))


@pytest.mark.parametrize(
    ("complaint", "status", "message"),
    [
        (b"rm: can't remove 'x: Permission denied': No such file or directory\n", 2, None),
        (b"mkdir: x: Operation not permitted", 3, "Operation not permitted"),
        (
            b"0+1 records in\n0+1 records out\ndd: w: No space left on device",
            4,
            "No space left on device",
        ),
        (b"ln: \xff: Filename too long", 5, None),
        (b"", 4, ""),
    ],
)
def test_what_a_complaint_means(complaint: bytes, status: int, message: str | None) -> None:
    code, text = explain(complaint)
    assert code == Status(status)
    assert message is None or text == message
    assert not re.search(r"[\n:]", text)
