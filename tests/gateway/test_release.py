"""What a trailer filter gives up when nothing follows, and that it still knows the trailer."""

import pytest

from gateway.wrapper import TrailerFilter

NONCE = "0123456789abcdef" * 2
TRAILER = b"\x1e" + NONCE.encode() + b" 007"


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_the_rest_of_a_trailer_is_recognised_after_its_beginning_was_given_up(cut: int) -> None:
    for split in range(cut, len(TRAILER)):
        output = TrailerFilter(NONCE)
        assert output.feed(b"x" + TRAILER[:cut]) == b"x"
        assert output.may_release
        assert output.release() == TRAILER[:cut]
        assert output.feed(TRAILER[cut:split]) == b""
        assert output.feed(TRAILER[split:] + b"late") == b"late"
        assert output.code == 7


@pytest.mark.parametrize("more", [b"y", b"\x1e", b"0" * 50, b"\x1e0"])
def test_what_was_given_up_is_not_said_twice(more: bytes) -> None:
    output = TrailerFilter(NONCE)
    said = output.feed(b"x\x1e") + output.release()
    said += output.feed(more) + output.feed(b"z" + TRAILER)
    assert said == b"x\x1e" + more + b"z"
    assert output.code == 7


def test_what_chance_can_hardly_produce_is_kept() -> None:
    output = TrailerFilter(NONCE)
    assert output.feed(TRAILER[:4]) == b""
    assert not output.may_release
    assert output.flush() == TRAILER[:4]
