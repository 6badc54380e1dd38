"""How a command ended, told from what came: a success only by trailers and status together."""

import asyncio
import socket
import struct
from collections.abc import Callable

import pytest

from gateway.outcome import Outcome
from gateway.wrapper import Command, Kind

from .fake_api import (
    CLOSE,
    POD,
    SUCCESS,
    TEXT,
    Call,
    Recorder,
    failure,
    frame,
    internal_error,
    serving,
)

HELLO = Command(Kind.COMMAND, [b"echo hello"])
SHELL = Command(Kind.LOGIN, tty=True)


async def verdict(ending: Callable[[Call], None], command: Command = HELLO) -> Outcome:
    """Return the verdict on a command that wrote hello and then ended in this way."""

    async def script(call: Call) -> None:
        call.upgrade()
        call.stdout(b"hello")
        ending(call)

    async with serving(script) as api:
        sink = Recorder()
        await api.executor.start(POD, command, sink)
        outcome = await sink.ended()
        assert sink.out == b"hello"
        assert not sink.err
        return outcome


def with_both(code: int, status: bytes) -> Callable[[Call], None]:
    def ending(call: Call) -> None:
        call.stderr(call.trailer(code))
        call.stdout(call.trailer(code))
        call.end(status)

    return ending


def with_one(channel: int, code: int, status: bytes) -> Callable[[Call], None]:
    def ending(call: Call) -> None:
        call.send(channel, call.trailer(code))
        call.end(status)

    return ending


def without(status: bytes) -> Callable[[Call], None]:
    return lambda call: call.end(status)


def status_alone(call: Call) -> None:
    call.stderr(call.trailer(3))
    call.stdout(call.trailer(3))
    call.end(failure(3), close=False)


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (with_both(0, SUCCESS), 0),
        (with_both(3, failure(3)), 3),
        (with_both(255, failure(255)), 255),
        (with_both(5, SUCCESS), 5),  # the trailer is the command's own word
        (with_both(0, failure(1)), 0),
        (with_one(1, 4, failure(4)), 4),
        (with_one(2, 4, failure(4)), 4),
        (status_alone, 3),  # the server's TCP ends without a close frame
    ],
)
async def test_an_exit_code_is_told(ending: Callable[[Call], None], code: int) -> None:
    assert await verdict(ending) == Outcome(code)


async def test_a_wrapper_that_was_killed_leaves_the_runtime_s_word() -> None:
    assert await verdict(without(failure(137))) == Outcome(137, killed=True)


@pytest.mark.parametrize("code", [0, 7])
async def test_a_tty_has_one_trailer(code: int) -> None:
    status = failure(code) if code else SUCCESS
    assert await verdict(with_one(1, code, status), SHELL) == Outcome(code)


def nothing(call: Call) -> None:
    """Bare end of TCP."""


def bad_frame(call: Call) -> None:
    call.stderr(call.trailer(0))
    call.stdout(call.trailer(0))
    call.writer.write(b"\xff\xff")


def reset(call: Call) -> None:
    sock = call.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    call.writer.transport.abort()


def trailers_alone(call: Call) -> None:
    call.stderr(call.trailer(0))
    call.stdout(call.trailer(0))


def trailers_and_close(call: Call) -> None:
    trailers_alone(call)
    call.writer.write(frame(CLOSE, b"\x03\xe8"))


def close_alone(call: Call) -> None:
    call.writer.write(frame(CLOSE, b""))


def half_a_status(call: Call) -> None:
    trailers_alone(call)
    call.writer.write(frame(2, b"\3" + SUCCESS)[:-5])


def garbage_and_status(call: Call) -> None:
    trailers_alone(call)
    call.send(3, b"not a document")
    call.end(SUCCESS)


@pytest.mark.parametrize(
    ("ending", "word"),
    [
        (without(SUCCESS), "end of the output is missing"),  # containerd stopped: it lies
        (with_one(1, 0, SUCCESS), "end of the output is missing"),
        (with_one(2, 0, SUCCESS), "end of the output is missing"),
        (nothing, "closed early"),
        (trailers_alone, "closed early"),
        (half_a_status, "closed early"),
        (close_alone, "without saying how"),
        (trailers_and_close, "without saying how"),
        (with_both(0, b"garbage"), "without saying how"),
        (with_both(0, b"[]"), "without saying how"),
        (with_both(0, b'{"status":"Failure","reason":"NonZeroExitCode"}'), "without saying how"),
        (garbage_and_status, "without saying how"),
    ],
)
async def test_a_broken_stream_is_never_a_success(
    ending: Callable[[Call], None], word: str
) -> None:
    outcome = await verdict(ending)
    assert outcome.exit_code is None
    assert outcome.broken
    assert outcome.broken.startswith("the connection to the pod broke: ")
    assert word in outcome.broken


@pytest.mark.parametrize(
    ("ending", "word"), [(bad_frame, "reserved bits"), (reset, "connection to the API server")]
)
async def test_a_link_that_breaks_hard(ending: Callable[[Call], None], word: str) -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        await call.receive()
        ending(call)

    async with serving(script) as api:
        sink = Recorder()
        running = await api.executor.start(POD, HELLO, sink)
        running.write(b"go")
        outcome = await sink.ended()
    assert outcome.exit_code is None
    assert outcome.broken
    assert word in outcome.broken


NOT_STARTED = "error executing command in container: failed to exec in container: "
RUNC = (
    'exec failed: unable to start container process: exec: "sh": executable file not found in $PATH'
)
CRUN = "executable file `sh` not found in $PATH: No such file or directory"
NO_RUNTIME = (
    'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while '
    'dialing: dial unix /run/containerd/containerd.sock: connect: no such file or directory"'
)
NO_FOLDER = (
    "exec failed: unable to start container process: "
    'chdir to cwd ("/app") set in config.json failed: no such file or directory'
)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (RUNC, "the image has no sh"),
        (CRUN, "the image has no sh"),
        ('container not found ("main")', "container is not running"),
        (NO_RUNTIME, "could not run the command"),
        (NO_FOLDER, 'chdir to cwd ("/app")'),
        ("cannot exec in a stopped state", "could not run the command"),
    ],
)
async def test_a_command_that_never_was(message: str, sentence: str) -> None:
    outcome = await verdict(without(internal_error(NOT_STARTED + message)))
    assert outcome.exit_code is None
    assert outcome.broken
    assert sentence in outcome.broken


async def test_an_empty_first_message_on_channel_3_says_nothing() -> None:
    """An API server that translates v5 sends one where there is no stdout."""

    def ending(call: Call) -> None:
        call.send(3, b"")
        call.finish(0)

    assert await verdict(ending) == Outcome(0)


async def test_all_of_it_in_one_segment() -> None:
    """What came with the upgrade's answer, the close frame included, is not forgotten."""

    async def script(call: Call) -> None:
        body = b"".join(
            frame(2, message)
            for message in (
                b"\1",
                b"\1hello" + call.trailer(2),
                b"\2" + call.trailer(2),
                b"\3" + failure(2),
            )
        )
        call.writer.write(call.switching() + body + frame(CLOSE, b"\x03\xe8"))

    async with serving(script) as api:
        sink = Recorder()
        await api.executor.start(POD, HELLO, sink)
        assert await sink.ended() == Outcome(2)
        assert sink.out == b"hello"


async def test_a_link_that_broke_at_once() -> None:
    async def script(call: Call) -> None:
        call.writer.write(call.switching() + b"\xff\xff")

    async with serving(script) as api:
        sink = Recorder()
        await api.executor.start(POD, HELLO, sink)
        said = "the API server sent a masked frame, or reserved bits"
        assert (await sink.ended()).broken == f"the connection to the pod broke: {said}"


async def test_fragments_text_and_unknown_channels() -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        call.writer.write(frame(TEXT, b"\1as text,"))
        call.send(9, b"nobody's")
        call.writer.write(frame(2, b""))
        for piece in (b"\1 in", b" pieces", call.trailer(0)[:20]):
            first = piece.startswith(b"\1")
            call.writer.write(frame(2 if first else 0, piece, final=False))
        call.writer.write(frame(0, call.trailer(0)[20:]))
        call.stderr(call.trailer(0) + b"late")
        await call.writer.drain()
        await asyncio.sleep(0.01)
        call.end(SUCCESS)

    async with serving(script) as api:
        sink = Recorder()
        await api.executor.start(POD, HELLO, sink)
        assert await sink.ended() == Outcome(0)
        assert sink.out == b"as text, in pieces"
        assert sink.err == b"late"


async def test_what_was_held_back_for_a_trailer_is_output_in_the_end() -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        call.stdout(b"out" + call.trailer(9)[:-1])
        call.stderr(b"err\x1e")
        call.end(failure(1))

    async with serving(script) as api:
        sink = Recorder()
        running = await api.executor.start(POD, HELLO, sink)
        assert await sink.ended() == Outcome(1)
        mark = b"\x1e" + running.nonce.encode()
        assert sink.out == b"out" + mark + b" 00"
        assert sink.err == b"err\x1e"
