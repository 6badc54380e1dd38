"""A session over the exec stream: an sftp-server's bytes, or our own; every kind of end."""

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest

from gateway.outcome import ExecRefused, Outcome
from gateway.serving import Request, Serving, serve
from gateway.sftp.agent import NO_SERVER
from gateway.turns import Turns
from tests.gateway.fake_api import (
    POD,
    SUCCESS,
    Call,
    FakeApi,
    Recorder,
    eventually,
    internal_error,
    serving,
)

from .client import FAILURE, LSTAT, OK, OPEN, WRITE, W, packet
from .scripted import Scripted

INIT = struct.pack(">IBI", 5, 1, 3)
SFTP = Request("subsystem", b"sftp")


async def begin(api: FakeApi, request: Request = SFTP) -> tuple[Serving, Recorder]:
    recorder = Recorder()
    return await serve(api.executor, POD, request, recorder, Turns()), recorder


async def frames(call: Call) -> AsyncIterator[bytes | None]:
    """Yield stdin as it comes, and None at its end."""
    while True:
        opcode, message = await call.receive()
        assert opcode == 2
        if message == b"\xff\0":
            yield None
            return
        yield message[1:]


async def work(call: Call, *, lines: int = 100_000) -> None:
    """Be an agent for some lines, or until the client ends; it ends well then."""
    agent, done = Scripted(), 0
    call.upgrade()
    call.stdout(NO_SERVER)
    async for data in frames(call):
        if data is None:
            call.finish(0)
            return
        for words in agent.lines(data):
            done += 1
            if done > lines:
                return
            call.stdout(agent.usual(words))


def statuses(recorder: Recorder) -> list[int]:
    """Return the code of each answer; None for those that are no STATUS. Empties the recorder."""
    data, codes = bytes(recorder.out), []
    while data:
        size, kind = struct.unpack(">IB", data[:5])
        codes.append(struct.unpack(">I", data[9:13])[0] if kind == 101 else -kind)
        data = data[4 + size :]
    recorder.out.clear()
    return codes


async def test_an_sftp_servers_bytes_are_not_touched() -> None:
    sent = INIT + bytes(range(256)) * 1000
    said = b"\0\0\0\5\2\0\0\0\3" + bytes(range(256)) * 1000

    async def script(call: Call) -> None:
        call.upgrade()
        received = b""
        async for data in frames(call):
            if data is None:
                break
            if not received:
                for at in range(4):
                    call.stdout(said[at : at + 1])
            received += data
        assert received == sent
        call.stdout(said[4:])
        call.stderr(b"whatever")
        call.finish(3)

    async with serving(script) as api:
        session, recorder = await begin(api)
        for at in range(0, len(sent), 10000):
            session.write(sent[at : at + 10000])
        session.end_stdin()
        assert await recorder.ended() == Outcome(3)
        assert recorder.out == said
        assert recorder.err == b"whatever"
        assert len(api.calls) == 1


class Watch(Recorder):
    """Notes whether what followed the first piece came while the loop did nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.turned = False
        self.turns: list[bool] = []

    def stdout(self, data: bytes) -> None:
        super().stdout(data)
        self.turns.append(self.turned)
        asyncio.get_running_loop().call_soon(setattr, self, "turned", True)


async def test_an_answer_never_waits_for_what_could_follow() -> None:
    """Or a file whose time ends with that byte would take a tenth of a second to look at."""
    said = b"\0\0\0\5\2\0\0\0\x1e"

    async def script(call: Call) -> None:
        call.upgrade()
        call.stdout(said)
        await call.receive()
        call.finish(0)

    async with serving(script) as api:
        watch = Watch()
        session = await serve(api.executor, POD, SFTP, watch, Turns())
        await eventually(lambda: watch.out == said)
        assert watch.turns == [False, False]
        session.write(INIT)
        assert await watch.ended() == Outcome(0)


async def test_a_client_that_does_not_wait_for_the_first_answer_is_held_back() -> None:
    async def script(call: Call) -> None:
        if call.is_hangup:
            call.hung_up()
            return
        call.upgrade()
        received = 0
        while received < 100_000:
            received += len((await call.receive())[1]) - 1
        call.stdout(b"\0\0\0\5")
        await call.gone()

    async with serving(script) as api:
        session, recorder = await begin(api)
        session.write(bytes(60_000))
        assert False not in recorder.ready
        session.write(bytes(40_000))
        assert recorder.ready[-1] is False
        await eventually(lambda: recorder.ready[-1])
        session.mute()
        await session.hang_up()


@pytest.mark.parametrize("size", [1, 5, 100])
@pytest.mark.parametrize("early", [False, True])
async def test_without_a_server_ours_answers(size: int, early: bool) -> None:
    async def script(call: Call) -> None:
        agent = Scripted()
        call.upgrade()
        if not early:
            assert (await call.receive())[1] == b"\0" + INIT
        for at in range(0, len(NO_SERVER), size):
            call.stdout(NO_SERVER[at : at + size])
        async for data in frames(call):
            for words in agent.lines(data or b""):
                call.stdout(agent.usual(words))
        call.finish(0)

    async with serving(script) as api:
        session, recorder = await begin(api)
        session.write(INIT)
        session.end_stdin()  # what was asked is answered all the same
        assert await recorder.ended() == Outcome(0)
        assert recorder.out[4:9] == b"\2\0\0\0\3"
        assert not recorder.err


async def test_a_client_that_asks_nothing() -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        call.stdout(NO_SERVER)
        await call.stdin()
        call.finish(0)

    async with serving(script) as api:
        session, recorder = await begin(api)
        session.end_stdin()
        assert await recorder.ended() == Outcome(0)


@pytest.mark.parametrize("path", [b"/usr/lib/openssh/sftp-server", b"/opt/x-1.2/sftp-server"])
async def test_a_server_asked_for_by_path_is_looked_for_first(path: bytes) -> None:
    async with serving(work) as api:
        session, recorder = await begin(api, Request("exec", path))
        session.write(INIT)
        session.end_stdin()
        assert await recorder.ended() == Outcome(0)
        assert f" sh '{path.decode()}' '/usr/lib" in api.calls[0].command[-1]


@pytest.mark.parametrize("text", [b"/x/sftp-server -e", b"sftp-server", b"echo;/x/sftp-server"])
async def test_other_commands_are_commands(text: bytes) -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        assert call.command[-1] == text.decode()
        call.finish(0)

    async with serving(script) as api:
        _, recorder = await begin(api, Request("exec", text))
        assert await recorder.ended() == Outcome(0)


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (INIT + b"\xff\xff\xff\xff", "a packet of 4294967295 bytes"),
        (b"GET / HTTP/1.1\r\n\r\n", "a packet of 1195725856 bytes"),
        (packet(LSTAT, 1, b"x"), "INIT comes first"),
        (INIT + packet(LSTAT, 1, b"x")[:4] + b"\x07" * 20, "ends before its fields do"),
    ],
)
async def test_a_client_that_breaks_the_protocol(sent: bytes, why: str) -> None:
    async with serving(work) as api:
        session, recorder = await begin(api)
        session.write(sent)
        assert await recorder.ended() == Outcome(11, runs_on=True)
        assert why.encode() in recorder.err
        assert recorder.err.count(b"\n") == 1


async def test_a_client_that_said_much_before_ours_spoke_may_go_on() -> None:
    async def script(call: Call) -> None:
        agent, received = Scripted(), 0
        call.upgrade()
        async for data in frames(call):
            if data is None:
                call.finish(0)
                return
            received += len(data)
            if received == sent:
                call.stdout(NO_SERVER)
            for words in agent.lines(data) if received > sent else ():
                call.stdout(agent.usual(words))

    asked = INIT + b"".join(packet(LSTAT, n, bytes(4000).replace(b"\0", b"x")) for n in range(20))
    sent = len(asked)
    async with serving(script) as api:
        session, recorder = await begin(api)
        session.write(asked)
        assert recorder.ready[-1] is False
        await eventually(lambda: recorder.ready[-1])
        session.end_stdin()
        assert await recorder.ended() == Outcome(0)


async def test_an_image_that_lacks_a_tool() -> None:
    async def script(call: Call) -> None:
        agent = Scripted()
        call.upgrade()
        call.stdout(NO_SERVER)
        async for data in frames(call):
            for _ in agent.lines(data or b""):
                call.stdout(agent.say(b"", 1, b"no stat -c"))
        call.finish(0)

    async with serving(script) as api:
        session, recorder = await begin(api)
        session.write(INIT)
        assert await recorder.ended() == Outcome(127, runs_on=True)
        assert b"this image has no sftp-server, and no stat -c" in recorder.err
        assert b"install openssh-sftp-server" in recorder.err
        assert not recorder.out


async def test_a_helper_that_does_not_end_by_itself() -> None:
    async def script(call: Call) -> None:
        if call.is_hangup:
            call.hung_up()
            return
        call.upgrade()
        call.stdout(NO_SERVER + bytes(1000))
        await call.gone()

    async with serving(script) as api:
        session, recorder = await begin(api)
        session.write(INIT)
        assert await recorder.ended() == Outcome(1, runs_on=True)
        assert recorder.err == b"kgpud: the helper in the pod sent a greeting without an end\n"
        await session.hang_up()


@pytest.mark.parametrize("asked", ["subsystem", "exec"])
async def test_an_image_without_sh(asked: str) -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        call.end(internal_error('exec: "sh": executable file not found in $PATH'))

    request = SFTP if asked == "subsystem" else Request("exec", b"true")
    async with serving(script) as api:
        _, recorder = await begin(api, request)
        outcome = await recorder.ended()
        assert outcome.exit_code is None
        assert outcome.broken == "the image has no sh, so no command can run in it"
        assert not recorder.err


async def test_an_image_without_sh_that_is_known_at_once() -> None:
    async def script(call: Call) -> None:
        body = b'exec: "sh": executable file not found in $PATH'
        head = b"HTTP/1.1 500 x\r\nContent-Length: %d\r\n\r\n" % len(body)
        call.writer.write(head + body)

    async with serving(script) as api:
        with pytest.raises(ExecRefused, match="the image has no sh"):
            await begin(api)


@pytest.mark.parametrize("how", ["cut", "success", "code"])
async def test_when_the_pod_goes_what_is_unanswered_has_failed(how: str) -> None:
    async def script(call: Call) -> None:
        await work(call, lines=4)
        if how == "success":
            call.end(SUCCESS)
        elif how == "code":
            call.finish(137)

    async with serving(script) as api:
        session, recorder = await begin(api)
        session.write(INIT + packet(OPEN, 0, b"x", W, {}))
        await eventually(lambda: recorder.out[-8:-4] == bytes([0, 0, 0, 4]))
        handle = bytes(recorder.out[-4:])
        statuses(recorder)
        session.write(b"".join(packet(WRITE, n, handle, (n * 9,), b"x") for n in range(2)))
        await eventually(lambda: recorder.out.count(b"Success") == 2)
        assert statuses(recorder) == [OK, OK]
        session.write(b"".join(packet(WRITE, n, handle, (n * 9,), b"x") for n in range(20)))
        outcome = await recorder.ended()
        assert statuses(recorder) == [FAILURE] * 20
        if how == "code":
            assert outcome == Outcome(137)
            assert recorder.err == b"kgpud: the helper in the pod ended before the session did\n"
        else:
            assert outcome.exit_code is None
            assert "the connection to the pod broke" in str(outcome.broken)


async def test_something_else_writes_to_the_agents_output() -> None:
    async with serving(work) as api:
        session, recorder = await begin(api)
        session.write(INIT + packet(LSTAT, 0, b"x"))
        await eventually(lambda: len(recorder.out) > 200)
        api.calls[0].stdout(b"out of the blue" + bytes(40))
        assert await recorder.ended() == Outcome(1, runs_on=True)
        assert b"the helper in the pod sent output that nobody asked for" in recorder.err


async def test_a_client_that_does_not_read_is_not_read_either() -> None:
    async with serving(work) as api:
        session, recorder = await begin(api)
        session.write(INIT)
        await eventually(lambda: recorder.out)
        session.pause()
        assert recorder.ready[-1] is False
        session.resume()
        assert recorder.ready[-1] is True
        session.write(b"".join(packet(LSTAT, n, b"x") for n in range(3000)))
        assert recorder.ready[-1] is False
        await eventually(lambda: recorder.ready[-1])
        session.end_stdin()
        assert await recorder.ended() == Outcome(0)
        assert len(statuses(recorder)) == 3001
