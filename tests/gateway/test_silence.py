"""A stream whose other end has fallen silent, and those that only seem so."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.executor import Executor
from gateway.outcome import Outcome
from gateway.settings import Rhythm
from gateway.wrapper import Command, Kind

from .fake_api import PING, POD, PONG, Call, Recorder, eventually, frame, serving

CAT = Command(Kind.COMMAND, [b"cat"])
QUICK = Rhythm(seconds=0.03, missed=3)
# So many beats that the stream would have ended several times.
MANY = 12
SILENT = "the connection to the pod broke: the API server was silent for 0 s"


async def answer_pings(call: Call, count: int) -> None:
    """Read on, and answer so many pings."""
    while count:
        opcode, payload = await call.receive()
        if opcode == PING:
            call.writer.write(frame(PONG, payload))
            count -= 1


def scripted(serve: Callable[[Call], Awaitable[None]]) -> Callable[[Call], Awaitable[None]]:
    async def script(call: Call) -> None:
        call.upgrade()
        call.stdout(b"begun")
        await serve(call)

    return script


async def test_silence_in_mid_stream_is_a_broken_stream() -> None:
    async with serving(scripted(Call.gone)) as api:
        sink = Recorder()
        await Executor(api, QUICK).start(POD, CAT, sink)
        assert (await sink.ended()).broken == SILENT
        assert sink.out == b"begun"


async def test_a_server_that_answers_pings_is_not_silent() -> None:
    async def serve(call: Call) -> None:
        await answer_pings(call, MANY)
        call.finish(0)

    async with serving(scripted(serve)) as api:
        sink = Recorder()
        running = await Executor(api, QUICK).start(POD, CAT, sink)
        running.end_stdin()
        assert await sink.ended() == Outcome(0)


async def test_a_slow_reader_is_not_cut_for_answers_that_it_keeps_waiting() -> None:
    async def serve(call: Call) -> None:
        await answer_pings(call, MANY)
        call.finish(0)
        await call.gone()

    async with serving(scripted(serve)) as api:
        sink = Recorder()
        running = await Executor(api, QUICK).start(POD, CAT, sink)
        running.pause()
        await eventually(lambda: running._pulse._pinged > MANY)
        assert not sink.outcome.done()
        running.resume()
        assert await sink.ended() == Outcome(0)


async def test_a_command_that_does_not_read_its_stdin_is_not_cut() -> None:
    """The runtime reads nothing then, no ping either. Once it has read on, silence counts again."""
    reads_on = asyncio.Event()

    async def serve(call: Call) -> None:
        await reads_on.wait()
        await answer_pings(call, MANY + 1)
        await call.gone()

    async with serving(scripted(serve)) as api:
        sink = Recorder()
        running = await Executor(api, QUICK).start(POD, CAT, sink)
        running.write(b"key")
        await eventually(lambda: running._pulse._pinged > MANY)
        assert not sink.outcome.done()
        reads_on.set()
        assert (await sink.ended()).broken == SILENT


async def test_a_peer_whose_kernel_is_gone_is_noticed_whatever_is_unread() -> None:
    """What is pinged is acknowledged at once, so no time at all is too long here."""
    gone = Rhythm(seconds=0.03, missed=1000, vanished_seconds=0.001)
    async with serving(scripted(Call.gone)) as api:
        sink = Recorder()
        running = await Executor(api, gone).start(POD, CAT, sink)
        running.write(b"key")
        reason = "the connection to the pod broke: the API server can't be reached any more"
        assert (await sink.ended()).broken == reason


async def test_the_kernel_s_word_is_in_seconds_since_the_last_acknowledgement() -> None:
    async with serving(scripted(Call.gone)) as api:
        running = await api.executor.start(POD, CAT, Recorder())
        await asyncio.sleep(0.3)
        assert 0.2 < running._link.unheard_seconds < 20
        running.write(b"key")
        await eventually(lambda: running._link.unheard_seconds < 0.2)
        running.leave()
