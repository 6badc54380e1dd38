"""Leaving a command: the stream is dropped, and a second exec hangs it up."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.beside import Fate
from gateway.executor import Executor
from gateway.outcome import Outcome
from gateway.wrapper import HANGUP, Command, Kind

from .fake_api import (
    POD,
    SUCCESS,
    V4,
    V5,
    Call,
    FakeApi,
    Recorder,
    eventually,
    internal_error,
    serving,
)
from .through import through

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
        if call.is_hangup:
            call.hung_up()
        else:
            call.upgrade()
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


NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
AWAY = b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n"


def says(word: bytes) -> Callable[[Call], None]:
    def answer(call: Call) -> None:
        call.upgrade()
        call.stdout(word)
        call.end(SUCCESS)

    return answer


def silent(call: Call) -> None:
    del call


def away(call: Call) -> None:
    call.writer.write(AWAY)


def without_a_container(call: Call) -> None:
    call.upgrade()
    call.end(internal_error("container not found"))


@pytest.mark.parametrize(
    ("tty", "answers", "fate"),
    [
        (False, [says(b"ended\n")], Fate.ENDED),
        # The runtime may have killed the wrapper, and none of its children: a terminal hangs up.
        (False, [says(b"gone\n")], Fate.UNKNOWN),
        (True, [says(b"gone\n")], Fate.NOT_FOUND),
        (False, [lambda call: call.writer.write(NOT_FOUND)], Fate.NO_POD),
        (False, [without_a_container], Fate.NO_POD),
        # Whoever took the stream away is back in a moment.
        (
            False,
            [lambda _: None, lambda call: call.writer.write(AWAY), says(b"ended\n")],
            Fate.ENDED,
        ),
        # A word is needed: Success alone is what a stopped runtime says.
        (False, [says(b"")] * 9, Fate.UNKNOWN),
    ],
)
async def test_what_became_of_a_command(
    tty: bool, answers: list[Callable[[Call], None]], fate: Fate
) -> None:
    waiting = iter(answers)

    async def script(call: Call) -> None:
        if call.is_hangup:
            next(waiting)(call)
        else:
            call.upgrade()

    async with serving(script) as api:
        sink = Recorder()
        executor = Executor(api, beside_seconds=1.5)
        running = await executor.start(POD, SHELL if tty else CAT, sink)
        assert (await sink.ended()).runs_on
        assert await running.hang_up() is fate


@pytest.mark.parametrize("protocol", [V4, V5])
async def test_the_stream_is_dropped_after_the_hang_up(protocol: str) -> None:
    """Under v4 the runtime would kill the wrapper for it, and its children would not be found."""
    order: list[str] = []

    async def script(call: Call) -> None:
        if call.is_hangup:
            order.append("hung up")
            call.hung_up()
        else:
            call.upgrade(protocol)
            await call.gone()
            order.append("dropped")

    async with serving(script) as api:
        running = await api.executor.start(POD, CAT, Recorder())
        running.mute()
        await asyncio.sleep(0.05)
        assert await running.hang_up() is Fate.ENDED
        await eventually(lambda: order == ["hung up", "dropped"])


async def test_a_muted_command_is_given_and_gives_nothing() -> None:
    received = bytearray()

    async def script(call: Call) -> None:
        call.upgrade()
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                received.extend((await call.receive())[1])
                call.stdout(b"more")

    async with serving(script) as api:
        sink = Recorder()
        running = await api.executor.start(POD, CAT, sink)
        running.write(b"1")
        running.mute()
        running.write(b"2")
        running.end_stdin()
        await asyncio.sleep(0.05)
        running.leave()
        assert (bytes(sink.out), bytes(received)) == (b"", b"\x001")


@pytest.mark.parametrize("answers", [True, False])
async def test_what_may_run_on_is_told_with_the_end(tmp_path: Path, answers: bool) -> None:
    async def script(call: Call) -> None:
        if not call.is_hangup:
            call.upgrade()
            await call.gone()
        elif answers:
            call.hung_up()

    async with through(tmp_path, script, patience=5 if answers else 0.1) as bench:
        async with bench.raw():
            pass
        await eventually(lambda: bench.core.closed_by)
        assert bench.core.closed_by[0].runs_on is not answers
