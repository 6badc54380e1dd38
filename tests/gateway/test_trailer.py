"""Taking the trailer out of an output: the rest passes unchanged, and nearly at once."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.wrapper import TrailerFilter, new_nonce

NONCE = "0123456789abcdef0123456789abcdef"
MARK = b"\x1e" + NONCE.encode() + b" "
TRAILER_SIZE = len(MARK) + 3

# Outputs rich in what could begin a trailer and then doesn't.
pieces = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([b"\x1e", b"\x1e\x1e", MARK, MARK[:-1], MARK + b"12", MARK + b"1x3", b"007"]),
    st.integers(1, len(MARK)).map(lambda size: MARK[:size]),
)
outputs = st.lists(pieces, max_size=8).map(b"".join)
cuts = st.lists(st.integers(0, 1 << 16), max_size=20)


def whole_trailer_in(data: bytes) -> bool:
    at = data.find(MARK)
    while at >= 0:
        digits = data[at + len(MARK) : at + TRAILER_SIZE]
        if len(digits) == 3 and digits.isdigit():
            return True
        at = data.find(MARK, at + 1)
    return False


def may_begin(tail: bytes) -> bool:
    """Whether bytes could yet come that make a trailer of this tail."""
    head, digits = tail[: len(MARK)], tail[len(MARK) :]
    return MARK.startswith(head) and len(digits) < 3 and (not digits or digits.isdigit())


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def filtered(trailer: TrailerFilter, stream: bytes, cuts: list[int]) -> bytes:
    """Feed a stream in pieces; what is held back is short, and each byte waits for a reason."""
    seen = passed = b""
    for piece in split(stream, cuts):
        seen += piece
        passed += trailer.feed(piece)
        if trailer.code is not None:
            assert len(passed) == len(seen) - TRAILER_SIZE
            continue
        held = seen[len(passed) :]
        assert seen == passed + held
        assert len(held) < TRAILER_SIZE
        assert not held or may_begin(held)
    return passed + trailer.flush()


@settings(deadline=None, max_examples=200)
@given(outputs, outputs, st.integers(0, 255), cuts)
@example(b"\x1e" * 40, b"", 0, list(range(80)))
@example(MARK + b"12", MARK + b"999", 7, list(range(200)))
def test_the_output_is_the_input_less_the_trailer(
    before: bytes, after: bytes, code: int, cuts: list[int]
) -> None:
    sent = MARK + b"%03d" % code
    if whole_trailer_in(before + sent[:-1]):
        before = b""  # such an output's own trailer would be taken for ours
    trailer = TrailerFilter(NONCE)
    assert filtered(trailer, before + sent + after, cuts) == before + after
    assert trailer.code == code


@settings(deadline=None, max_examples=200)
@given(outputs, cuts)
def test_without_a_trailer_all_of_it_passes(output: bytes, cuts: list[int]) -> None:
    if whole_trailer_in(output):
        return
    trailer = TrailerFilter(NONCE)
    assert filtered(trailer, output, cuts) == output
    assert trailer.code is None
    assert trailer.flush() == b""


@pytest.mark.parametrize("prompt", [b"$ ", b"\x1b[?2004h# ", b"\x1e ", b"a\x1eb", MARK + b"x"])
def test_a_prompt_never_waits(prompt: bytes) -> None:
    assert TrailerFilter(NONCE).feed(prompt) == prompt


@settings(deadline=None, max_examples=200)
@given(outputs, outputs, st.integers(0, 255), cuts, st.lists(st.booleans(), max_size=25))
@example(b"\x1e", b"", 3, [1], [True])
@example(b"", b"x", 3, [1, 2, 3, 4, 5], [True] * 6)
def test_a_release_loses_nothing_and_the_trailer_is_still_known(
    before: bytes, after: bytes, code: int, cuts: list[int], releases: list[bool]
) -> None:
    sent = MARK + b"%03d" % code
    if whole_trailer_in(before + sent[:-1]):
        before = b""
    trailer = TrailerFilter(NONCE)
    passed = b""
    for at, piece in enumerate(split(before + sent + after, cuts)):
        passed += trailer.feed(piece)
        if trailer.may_release and (releases[at : at + 1] or [False])[0]:
            passed += trailer.release()
            assert not trailer.may_release
    passed += trailer.flush()
    assert trailer.code == code
    # The one harm: what was released may have been a trailer's first bytes.
    assert passed in {before + sent[:leaked] + after for leaked in range(len(sent))}


@settings(deadline=None, max_examples=200)
@given(outputs, cuts)
def test_releases_leave_an_output_as_it_is(output: bytes, cuts: list[int]) -> None:
    if whole_trailer_in(output):
        return
    trailer = TrailerFilter(NONCE)
    seen = passed = b""
    for piece in split(output, cuts):
        seen += piece
        passed += trailer.feed(piece)
        if trailer.may_release:
            passed += trailer.release()
            assert passed == seen
    assert passed + trailer.flush() == output


@pytest.mark.parametrize("code", [0, 1, 127, 137, 255])
def test_any_place_to_split_it(code: int) -> None:
    stream = b"out" + MARK + b"%03d" % code + b"late"
    for at in range(len(stream) + 1):
        trailer = TrailerFilter(NONCE)
        assert trailer.feed(stream[:at]) + trailer.feed(stream[at:]) == b"outlate"
        assert trailer.code == code


def test_another_exec_s_trailer_is_output() -> None:
    trailer = TrailerFilter(NONCE)
    other = b"\x1e" + new_nonce().encode() + b" 000"
    assert trailer.feed(other) + trailer.flush() == other
    assert trailer.code is None


def test_nonces_are_fresh() -> None:
    assert len({new_nonce() for _ in range(100)}) == 100
    assert {len(new_nonce()) for _ in range(10)} == {32}
