"""The answer to an upgrade, whole or in any pieces, well-formed or anything at all."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.answer import MAX_BODY, MAX_HEAD, Answer

HEAD = b"HTTP/1.1 404 Not Found\r\n"
REFUSALS = [
    HEAD + b"Content-Length: 4\r\n\r\ngone",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\ngo\r\n2\r\nne\r\n0\r\n\r\n",
]


@given(st.sampled_from(REFUSALS), st.lists(st.integers(1, 80)))
def test_pieces_make_no_difference(whole: bytes, cuts: list[int]) -> None:
    answer = Answer()
    places = {0, len(whole), *(cut for cut in cuts if cut < len(whole))}
    for start, end in pairwise(sorted(places)):
        assert not answer.whole
        answer.feed(whole[start:end])
    assert answer.whole
    assert (answer.status, answer.body) == (404, "gone")


@given(st.binary(max_size=200))
def test_anything_at_all_is_taken(data: bytes) -> None:
    for head in (b"", b"HTTP/1.1 ", b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n"):
        answer = Answer()
        answer.feed(head + data)
        assert len(answer.body) <= MAX_BODY
        assert answer.end() == (answer.status != 0)


def test_a_length_that_is_no_number_to_work_with() -> None:
    answer = Answer()
    answer.feed(HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\ngone")
    assert (answer.whole, answer.end(), answer.body) == (False, True, "gone")


def test_what_is_kept_is_bounded() -> None:
    endless = Answer()
    endless.feed(b"HTTP/1.1 500 x\r\nX: " + b"x" * MAX_HEAD)
    assert endless.too_long
    huge = Answer()
    huge.feed(b"HTTP/1.1 500 x\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * MAX_BODY)
    assert huge.whole
    assert len(huge.body) == MAX_BODY
