"""A command run to its end: outputs and their limit, stdin, the time limit, broken streams."""

import asyncio
from typing import Any

import pytest

from gateway import capture
from gateway.capture import Completed
from gateway.executor import Executor
from gateway.outcome import ExecBroken, ExecRefused

from .fake_api import POD, SUCCESS, Call, FakeApi, eventually, failure, serving


async def run(api: FakeApi, **options: Any) -> Completed:
    given = {"output_limit": 1000, "timeout": 10.0, **options}
    return await capture.run(api.executor, POD, ["prog", "a b"], **given)


@pytest.mark.parametrize("code", [0, 3])
async def test_what_a_command_left(code: int) -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        assert await call.stdin() == b""
        call.stdout(b"out")
        call.stderr(b"err")
        call.finish(code)

    async with serving(script) as api:
        ran = await run(api)
        assert ran == Completed(code, b"out", b"err", truncated=False, timed_out=False)
        assert api.calls[0].command[7:] == ["argv", "", "--", "prog", "a b"]


@pytest.mark.parametrize(
    ("limit", "out", "err", "truncated"),
    [
        (1000, b"12345", b"67", False),
        (7, b"12345", b"67", False),
        (6, b"12345", b"6", True),
        (5, b"12345", b"", True),
        (3, b"123", b"", True),
        (0, b"", b"", True),
    ],
)
async def test_output_past_the_limit_is_dropped(
    limit: int, out: bytes, err: bytes, truncated: bool
) -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        call.stdout(b"123")
        call.stdout(b"45")
        call.stderr(b"67")
        call.finish(4)

    async with serving(script) as api:
        ran = await run(api, output_limit=limit)
        assert ran == Completed(4, out, err, truncated=truncated, timed_out=False)


async def test_a_flood_is_read_to_its_end() -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        for _ in range(1024):
            call.stdout(b"x" * 32768)
            await call.writer.drain()
        call.finish(0)

    async with serving(script) as api:
        ran = await run(api, output_limit=100)
        assert ran == Completed(0, b"x" * 100, b"", truncated=True, timed_out=False)


async def test_a_megabyte_of_stdin() -> None:
    sent = bytes(range(256)) * 4096

    async def script(call: Call) -> None:
        call.upgrade()
        await asyncio.sleep(0.05)  # let it pile up first
        assert await call.stdin() == sent
        call.finish(0)

    async with serving(script) as api:
        assert (await run(api, stdin=sent)).exit_code == 0


async def test_stdin_that_is_never_read_does_not_hinder_the_end() -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        await asyncio.sleep(0.05)
        call.finish(5)
        call.writer.write_eof()
        await call.gone()

    async with serving(script) as api:
        assert (await run(api, stdin=bytes(32 * 1024 * 1024))).exit_code == 5


async def until_hung_up(call: Call, left: asyncio.Event) -> None:
    """Serve a command that ends by its hang-up alone."""
    if call.is_hangup:
        left.set()
        call.hung_up()
        return
    call.upgrade()
    call.stdout(b"so far")
    await left.wait()
    call.stdout(b", so good")
    call.end(failure(137))


async def test_past_its_time_a_command_is_hung_up() -> None:
    left = asyncio.Event()

    async with serving(lambda call: until_hung_up(call, left)) as api:
        ran = await run(api, timeout=0.2)
        assert (ran.exit_code, ran.timed_out, ran.truncated) == (124, True, False)
        assert ran.stdout.startswith(b"so far")
        assert len(api.calls) == 2


async def test_past_its_time_though_the_server_reads_no_stdin() -> None:
    left = asyncio.Event()

    async with serving(lambda call: until_hung_up(call, left)) as api:
        ran = await run(api, timeout=0.2, stdin=bytes(32 * 1024 * 1024))
        assert (ran.exit_code, ran.timed_out) == (124, True)
        assert len(api.calls) == 2


async def test_a_caller_who_leaves_takes_the_command_along() -> None:
    left = asyncio.Event()

    async with serving(lambda call: until_hung_up(call, left)) as api:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(run(api))
            await eventually(lambda: api.calls and api.calls[0].query)
            await asyncio.sleep(0.05)
            task.cancel()
        assert left.is_set()
        assert task.cancelled()


@pytest.mark.parametrize("document", [None, SUCCESS, b"garbage"])
async def test_a_broken_stream_is_an_exception(document: bytes | None) -> None:
    async def script(call: Call) -> None:
        if call.is_hangup:
            call.hung_up()
            return
        call.upgrade()
        call.stdout(b"half")
        if document:
            call.end(document)

    async with serving(script) as api:
        told = "^the connection to the pod broke: .*; the command was ended$"
        with pytest.raises(ExecBroken, match=told):
            await run(api)


async def test_a_refusal_is_an_exception() -> None:
    async def script(call: Call) -> None:
        call.writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    async with serving(script) as api:
        with pytest.raises(ExecRefused, match="the pod is gone"):
            await run(api)


@pytest.mark.parametrize("word", ["a\0b", "lone \ud800 half"])
async def test_what_cannot_be_handed_over_is_refused(word: str) -> None:
    with pytest.raises(ExecRefused):
        await capture.run(FakeApi().executor, POD, [word], output_limit=1, timeout=1)


@pytest.mark.parametrize("answers", [True, False])
async def test_whoever_started_it_is_told_if_it_may_run_on(answers: bool) -> None:
    async def script(call: Call) -> None:
        if not call.is_hangup:
            call.upgrade()
            await call.gone()
        elif answers:
            call.hung_up()

    told: list[str] = []
    async with serving(script) as api:
        executor = Executor(api, beside_seconds=5 if answers else 0.1)
        given: dict[str, Any] = {"output_limit": 9, "timeout": 0.05}
        ran = await capture.run(executor, POD, ["x"], left=lambda: told.append("left"), **given)
        assert ran.timed_out
    assert told == ([] if answers else ["left"])
