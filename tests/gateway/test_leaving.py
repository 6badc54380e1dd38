"""Leaving a command: the stream is dropped, and a second exec hangs it up."""

import asyncio

import pytest

from gateway.outcome import Outcome
from gateway.wrapper import HANGUP, Command, Kind

from .fake_api import POD, Call, FakeApi, Recorder, eventually, serving

CAT = Command(Kind.COMMAND, [b"cat"])
SHELL = Command(Kind.LOGIN, tty=True)


async def test_leaving_closes_the_stream_and_says_nothing_more() -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        call.stdout(b"before")
        await call.gone()
        call.stdout(b"after")

    async with serving(script) as api:
        sink = Recorder()
        running = await api.executor.start(POD, CAT, sink)
        await eventually(lambda: sink.out)
        running.leave()
        running.leave()
        running.write(b"x")
        running.end_stdin()
        running.pause()
        running.resume()
        await asyncio.sleep(0.01)
        assert not sink.outcome.done()
        assert sink.out == b"before"


async def test_using_a_command_that_is_over_is_harmless() -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        call.finish(3)

    async with serving(script) as api:
        sink = Recorder()
        running = await api.executor.start(POD, SHELL, sink)
        await sink.ended()
        running.write(b"x")
        running.resize(80, 24)
        running.pause()
        running.resume()
        running.end_stdin()
        running.leave()


async def hung_up(api: FakeApi, *, tty: bool) -> None:
    running = await api.executor.start(POD, SHELL if tty else CAT, Recorder())
    running.leave()
    await running.hang_up()


async def test_leaving_after_an_end_that_had_to_wait_for_stdin_to_drain() -> None:
    """Python 3.11 can't abort such a transport once more."""

    async def script(call: Call) -> None:
        call.upgrade()
        await asyncio.sleep(0.05)  # until neither side can buffer more
        call.finish(0)
        await call.gone()

    async with serving(script) as api:
        sink = Recorder()
        running = await api.executor.start(POD, CAT, sink)
        running.write(bytes(32 * 1024 * 1024))
        assert await sink.ended() == Outcome(0)
        await eventually(lambda: running._link._transport.get_write_buffer_size() == 0)
        await asyncio.sleep(0.05)
        running.leave()


@pytest.mark.parametrize("tty", [False, True])
async def test_a_hang_up_is_a_second_exec(tty: bool) -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        if call.is_hangup:
            call.end(b'{"metadata":{},"status":"Success"}')
        else:
            await call.gone()

    async with serving(script) as api:
        await hung_up(api, tty=tty)
        first, second = api.calls
        assert second.command[:4] == ["sh", "-c", HANGUP, "sh"]
        end, begin, mode, grace = second.command[4:]
        assert begin + end == first.nonce
        assert first.nonce not in " ".join(second.command)
        assert (mode, grace) == ("tty" if tty else "pipe", "5")
        assert ("tty", "true") not in second.query


@pytest.mark.parametrize("answer", [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b""])
async def test_a_hang_up_in_a_pod_that_is_gone_is_no_error(answer: bytes) -> None:
    async def script(call: Call) -> None:
        if call.is_hangup:
            call.writer.write(answer)
        else:
            call.upgrade()
            await call.gone()

    async with serving(script) as api:
        await hung_up(api, tty=False)
