"""Where a fault comes, whatever the pieces its stream is read in."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.fake_api import frame

from .faults import Cutter, Fault, How, Parts, Where, drawn

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
FRAMES = [frame(2, bytes(size)) for size in (0, 3, 200, 70_000)]
STREAM = HEAD + b"".join(FRAMES)
FIRST, SECOND, THIRD = (len(HEAD) + sum(map(len, FRAMES[:n])) for n in range(3))


def passed(fault: Fault, size: int) -> int | None:
    cutter = Cutter(fault)
    count = 0
    for start in range(0, len(STREAM), size):
        count += cutter.feed(STREAM[start : start + size])
        if cutter.hit:
            return count
    return None


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize(
    ("fault", "place"),
    [
        (Fault(How.END, Where.HEAD, part=0.0), 0),
        (Fault(How.END, Where.HEAD, part=0.1), 10),
        (Fault(How.END, Where.FRAME_HEAD, frame=1), FIRST + 1),
        (Fault(How.END, Where.FRAME_HEAD, frame=3), THIRD + 1),
        (Fault(How.END, Where.BETWEEN, frame=1), SECOND),
        (Fault(How.END, Where.FRAME, frame=2, part=0.5), SECOND + 2 + 1),
        (Fault(How.END, Where.FRAME, frame=3, part=0.5), THIRD + 4 + 100),
        (Fault(How.END, Where.FRAME, frame=4, part=0.5), THIRD + 204 + 10 + 35_000),
        (Fault(How.END, Where.FRAME, frame=1), None),  # it is empty
        (Fault(How.END, Where.FRAME, frame=5), None),
    ],
)
def test_a_fault_has_its_place(fault: Fault, place: int | None, size: int) -> None:
    assert passed(fault, size) == place


@given(st.binary(max_size=300), st.lists(st.integers(1, 50)))
def test_the_parts_are_the_whole(data: bytes, sizes: list[int]) -> None:
    parts, rest, out = Parts(), data, b""
    for size in [*sizes, len(data)]:
        out += b"".join(piece for _, piece in parts.feed(rest[:size]))
        rest = rest[size:]
    assert out == data


def test_a_seed_draws_the_same_again() -> None:
    random.seed()
    first = [drawn(7, number, 0.5) for number in range(200)]
    assert first == [drawn(7, number, 0.5) for number in range(200)]
    assert 60 < first.count(None) < 140
    assert {fault.where for fault in first if fault} == set(Where)
    assert {fault.how for fault in first if fault} == set(How)
