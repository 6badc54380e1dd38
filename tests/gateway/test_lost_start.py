"""An API server that takes a command and is gone before it says so: the command may run."""

import pytest

from gateway import capture
from gateway.beside import ExecLost, Fate
from gateway.executor import Executor
from gateway.outcome import ExecUnreachable
from gateway.serving import Request, serve
from gateway.turns import Turns
from gateway.wrapper import Command, Kind

from .fake_api import POD, SUCCESS, Call, Recorder, serving

COMMAND = Command(Kind.COMMAND, [b"python train.py"])


async def ended(command: Command, *words: bytes) -> tuple[Fate, list[Call]]:
    """Return what became of it, and the calls, where each hang-up is answered by a word."""
    waiting = list(words)

    async def script(call: Call) -> None:
        if call.is_hangup:
            call.hung_up(waiting.pop(0))

    async with serving(script) as api:
        with pytest.raises(ExecLost) as caught:
            await Executor(api).start(POD, command, Recorder())
        fate = await caught.value.hang_up()
        assert not waiting
        return fate, api.calls


async def test_it_is_ended() -> None:
    fate, [first, second] = await ended(COMMAND, b"ended")
    assert fate is Fate.ENDED
    end, begin, mode, _ = second.command[4:]
    assert (begin + end, mode) == (first.nonce, "pipe")


@pytest.mark.parametrize(("late", "fate"), [(b"ended", Fate.ENDED), (b"gone", Fate.NOT_FOUND)])
async def test_it_may_begin_a_little_later(late: bytes, fate: Fate) -> None:
    found, calls = await ended(COMMAND, b"gone", late)
    assert len(calls) == 3
    assert found is fate


@pytest.mark.parametrize(
    ("command", "mode"),
    [(Command(Kind.LOGIN, tty=True), "tty"), (Command(Kind.ARGV, [b"true"]), "all")],
)
async def test_whoever_asked(command: Command, mode: str) -> None:
    _, [_, second] = await ended(command, b"ended")
    assert second.command[6] == mode


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 1", b"HTTP/1.1 101 Switching Protocols\r\nUpgr"]
)
async def test_wherever_its_answer_is_cut(answer: bytes) -> None:
    async def script(call: Call) -> None:
        call.writer.write(answer)

    async with serving(script) as api:
        with pytest.raises(ExecLost, match="it closed the connection"):
            await Executor(api).start(POD, COMMAND, Recorder())


async def test_an_engine_s_script_that_never_spoke() -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        if call.is_hangup:
            call.stdout(b"ended\n")
            call.end(SUCCESS)

    async with serving(script) as api:
        with pytest.raises(ExecLost, match="the connection to the pod broke") as caught:
            await serve(Executor(api), POD, Request("exec", b"scp -f x"), Recorder(), Turns())
        assert await caught.value.hang_up() is Fate.ENDED
        assert [call.is_hangup for call in api.calls] == [False, True]


async def test_who_asked_over_rest_is_told_of_it() -> None:
    async def script(call: Call) -> None:
        if call.is_hangup:
            call.hung_up()

    async with serving(script) as api:
        with pytest.raises(ExecUnreachable, match="without an answer; the command was ended"):
            await capture.run(Executor(api), POD, ["true"], output_limit=9, timeout=9)
