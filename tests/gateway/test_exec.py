"""A running command: stdin and its end, sizes, pressure both ways, keeping alive, leaving."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from gateway import output
from gateway.exec import Exec
from gateway.outcome import Outcome
from gateway.settings import Rhythm
from gateway.wrapper import Command, Kind

from .fake_api import (
    BINARY,
    CLOSE,
    PING,
    POD,
    PONG,
    SUCCESS,
    Call,
    Recorder,
    eventually,
    frame,
    serving,
)

CAT = Command(Kind.COMMAND, [b"cat"])
SHELL = Command(Kind.LOGIN, tty=True)
MIB = 1024 * 1024


async def check(
    serve: Callable[[Call], Awaitable[None]],
    use: Callable[[Exec], None],
    command: Command = CAT,
) -> Recorder:
    """Start a command, use it, and let the server see what came of it."""

    async def script(call: Call) -> None:
        call.upgrade()
        await serve(call)
        call.finish(0, tty=command.tty)
        call.writer.write_eof()
        await call.gone()

    async with serving(script) as api:
        sink = Recorder()
        running = await api.executor.start(POD, command, sink)
        use(running)
        assert await sink.ended() == Outcome(0)
        return sink


async def test_stdin_arrives_and_its_end_after_it() -> None:
    sent = bytes(range(256)) * (10 * MIB // 256)

    async def serve(call: Call) -> None:
        sizes, data = [], b""
        while (message := (await call.receive())[1]) != b"\xff\0":
            assert message[0] == 0
            sizes.append(len(message))
            data += message[1:]
        assert data == b"first" + sent
        assert max(sizes) <= MIB + 1
        call.stdout(b"after the end of stdin")

    def use(running: Exec) -> None:
        running.write(b"first")
        running.write(sent)
        running.end_stdin()
        running.write(b"too late")
        running.end_stdin()

    sink = await check(serve, use)
    assert sink.out == b"after the end of stdin"


async def test_with_a_tty_stdin_has_no_end() -> None:
    async def serve(call: Call) -> None:
        assert await call.receive() == (BINARY, b"\0\x04")

    def use(running: Exec) -> None:
        running.end_stdin()
        running.write(b"\x04")

    await check(serve, use, SHELL)


async def test_a_size_is_told_where_there_is_a_tty() -> None:
    async def serve(call: Call) -> None:
        opcode, message = await call.receive()
        assert (opcode, message[0]) == (BINARY, 4)
        assert json.loads(message[1:]) == {"Width": 132, "Height": 50}
        assert (await call.receive())[1] == b"\0x"

    def use(running: Exec) -> None:
        for columns, rows in ((0, 0), (0, 24), (80, 0), (132, 50)):
            running.resize(columns, rows)
        running.write(b"x")

    await check(serve, use, SHELL)


async def test_a_size_without_a_tty_is_not_told() -> None:
    """It could wedge the stream."""

    async def serve(call: Call) -> None:
        assert (await call.receive())[1] == b"\0x"

    def use(running: Exec) -> None:
        running.resize(80, 24)
        running.write(b"x")

    await check(serve, use)


async def test_a_ping_is_answered() -> None:
    async def serve(call: Call) -> None:
        for body in (b"", b"abc", b"x" * 125):
            call.writer.write(frame(PING, body))
            assert await call.receive() == (PONG, body)
        call.writer.write(frame(PONG, b"unasked"))

    await check(serve, lambda _: None)


async def test_a_close_frame_is_answered_with_its_code() -> None:
    answers = []

    async def script(call: Call) -> None:
        call.upgrade()
        call.finish(0)
        answers.append(await call.receive())
        assert await call.reader.read() == b""

    async with serving(script) as api:
        sink = Recorder()
        await api.executor.start(POD, CAT, sink)
        await sink.ended()
    assert answers == [(CLOSE, b"\x03\xe8")]


async def test_a_silent_stream_is_kept_alive() -> None:
    """By what resets containerd's idle timer; after stdin's end only a ping is left."""

    async def serve(call: Call) -> None:
        assert await call.receive() == (BINARY, b"\0")
        assert await call.receive() == (PING, b"\0\0\0\0\0\0\0\1")
        assert await call.receive() == (BINARY, b"\xff\0")
        assert await call.receive() == (PING, b"\0\0\0\0\0\0\0\2")

    def use(running: Exec) -> None:
        running._pulse.beat()
        running.end_stdin()
        running._pulse.beat()

    await check(serve, use)
    assert Rhythm().seconds <= 15


class Counter(Recorder):
    """A sink that only counts, and can hold the output back from within a call."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.paused = asyncio.Event()
        self.running: Exec | None = None

    def stdout(self, data: bytes) -> None:
        self.count += len(data)
        if self.running and not self.paused.is_set():
            self.paused.set()
            self.running.pause()


async def test_output_waits_at_the_server_while_the_sink_is_full() -> None:
    total, sent = 64 * MIB, 0

    async def script(call: Call) -> None:
        nonlocal sent
        call.upgrade()
        await call.receive()
        while sent < total:
            call.stdout(bytes(32768))
            await call.writer.drain()
            sent += 32768
        call.finish(0)

    async with serving(script) as api:
        sink = Counter()
        sink.running = await api.executor.start(POD, CAT, sink)
        sink.running.write(b"go")
        await sink.paused.wait()
        await settled(lambda: sent)
        taken = sink.count
        assert taken <= MIB
        assert sent < 16 * MIB  # no more than the kernel's buffers
        await asyncio.sleep(0.05)
        assert sink.count == taken
        sink.running.resume()
        assert await sink.ended() == Outcome(0)
        assert sink.count == total


async def settled(value: Callable[[], int]) -> None:
    before = -1
    while before != value():
        before = value()
        await asyncio.sleep(0.1)


async def test_a_server_that_does_not_read_holds_stdin_back() -> None:
    read = asyncio.Event()
    received = 0

    async def script(call: Call) -> None:
        nonlocal received
        call.upgrade()
        await read.wait()
        received = len(await call.stdin())
        call.finish(0)

    async with serving(script) as api:
        sink = Recorder()
        running = await api.executor.start(POD, CAT, sink)
        written = 0
        while not sink.ready:
            running.write(bytes(65536))
            written += 65536
            assert written < 64 * MIB
            await asyncio.sleep(0)
        assert sink.ready == [False]
        read.set()
        await eventually(lambda: sink.ready[-1])
        assert sink.ready == [False, True]
        running.end_stdin()
        assert await sink.ended() == Outcome(0)
        assert received == written


@pytest.mark.parametrize("channel", [1, 2])
async def test_an_answer_whose_last_byte_could_begin_a_trailer_arrives(channel: int) -> None:
    """A client that waits for it would otherwise wait for ever, as sftp's did."""
    sink = Recorder()

    async def script(call: Call) -> None:
        call.upgrade()
        call.send(channel, b"answer\x1e")
        await call.receive()
        call.send(channel, b"next")
        call.finish(0)

    async with serving(script) as api:
        running = await api.executor.start(POD, CAT, sink)
        got = sink.out if channel == 1 else sink.err
        await eventually(lambda: got == b"answer\x1e")
        running.write(b"go on")
        assert await sink.ended() == Outcome(0)
        assert got == b"answer\x1enext"


async def test_while_paused_nothing_is_given_up() -> None:
    """The rest of a trailer may be on its way."""
    sink = Recorder()

    async def script(call: Call) -> None:
        call.upgrade()
        call.stdout(b"out" + call.trailer(0)[:2])
        await call.receive()
        call.stdout(call.trailer(0)[2:])
        call.stderr(call.trailer(0))
        call.end(SUCCESS)

    async with serving(script) as api:
        running = await api.executor.start(POD, CAT, sink)
        await eventually(lambda: sink.out == b"out")
        running.pause()
        running.write(b"go on")
        await asyncio.sleep(2 * output.RELEASE_SECONDS)
        assert sink.out == b"out"
        running.resume()
        assert await sink.ended() == Outcome(0)
        assert sink.out == b"out"
