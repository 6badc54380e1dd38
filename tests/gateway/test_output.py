"""How long an output's last bytes wait for a trailer's rest that may never come."""

import asyncio

import pytest

from gateway.output import RELEASE_SECONDS, ROOM, SOON_SECONDS, Output

from .fake_api import Recorder, eventually

NONCE = "0123456789abcdef" * 2


async def waited_longer(data: bytes, *, tty: bool = False, on_stderr: bool = False) -> bool:
    """Whether what could begin a trailer waits for more than the shorter of the two times."""
    sink, waits = Recorder(), asyncio.get_running_loop().create_future()
    output = Output(NONCE, sink, tty=tty)
    take, got = (output.stderr, sink.err) if on_stderr else (output.stdout, sink.out)
    take(data)
    output.taken()
    assert got == data[:-1]
    # Timers run in their order, however late.
    between = (SOON_SECONDS + RELEASE_SECONDS) / 2
    waits.get_loop().call_later(between, lambda: waits.set_result(got != data))
    await eventually(lambda: got == data and waits.done())
    return bool(waits.result())


@pytest.mark.parametrize("on_stderr", [False, True])
async def test_a_short_answer_is_hardly_held_up(on_stderr: bool) -> None:
    assert not await waited_longer(b"answer\x1e", on_stderr=on_stderr)
    assert not await waited_longer(bytes(ROOM - 2) + b"\x1e", on_stderr=on_stderr)


async def test_where_a_trailer_may_come_in_pieces_there_is_more_time() -> None:
    assert await waited_longer(bytes(ROOM - 1) + b"\x1e")
    assert await waited_longer(b"answer\x1e", tty=True)


async def test_on_request_nothing_is_held() -> None:
    sink = Recorder()
    output = Output(NONCE, sink, tty=False)
    output.hold_nothing()
    for data in (bytes(ROOM) + b"\x1e", b"0", b"x", b"\x1e" + NONCE.encode() + b" 007"):
        output.stdout(data)
        output.taken()
    assert sink.out == bytes(ROOM) + b"\x1e0x"
    assert output.out_code == 7
