"""What the engine asks the API server, and what the user is told when it says no."""

import asyncio
import json
import socket

import pytest

from gateway.executor import Executor
from gateway.outcome import ExecRefused
from gateway.protocols import ApiServer, PodRef
from gateway.wrapper import WRAPPER, Command, Kind

from .fake_api import POD, V4, Call, FakeApi, Recorder, serving

TRUE = Command(Kind.ARGV, [b"true"])


def answer(status: str, body: str = "", *, length: bool = True) -> bytes:
    head = f"HTTP/1.1 {status}\r\n"
    head += f"Content-Length: {len(body)}\r\n" if length else "Connection: close\r\n"
    return f"{head}\r\n{body}".encode()


def document(code: int, message: str) -> str:
    fields = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return json.dumps({**fields, "message": message, "reason": "x", "code": code}) + "\n"


async def refused(raw: bytes, *, pieces: int = 1) -> str:
    async def script(call: Call) -> None:
        size = -(-len(raw) // pieces) or 1
        for start in range(0, len(raw), size):
            call.writer.write(raw[start : start + size])
            await call.writer.drain()
            await asyncio.sleep(0)

    async with serving(script) as api:
        with pytest.raises(ExecRefused) as caught:
            await api.executor.start(POD, TRUE, Recorder())
    return str(caught.value)


DOCTOR = "the cluster refused the exec: the operator should run `kgpud doctor`"
COULD_NOT = "the cluster could not run the command: "


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (answer("403 Forbidden", length=False), DOCTOR),  # an unknown sub-protocol
        (answer("403 Forbidden", document(403, 'pods "w1" is forbidden')), DOCTOR),
        (answer("401 Unauthorized", document(401, "Unauthorized")), DOCTOR),
        (answer("404 Not Found", document(404, 'pods "w1" not found')), "the pod is gone"),
        (
            answer("500 Internal Server Error", 'container not found ("main")'),
            "the pod's container is not running",
        ),
        (
            answer("400 Bad Request", document(400, "container nope is not valid for pod w1")),
            COULD_NOT + "container nope is not valid for pod w1",
        ),
        (answer("400 Bad Request", "you must specify"), COULD_NOT + "you must specify"),
        (answer("502 Bad Gateway", "a proxy's", length=False), COULD_NOT + "a proxy's"),
        (answer("503 Service Unavailable", ""), COULD_NOT + "HTTP 503"),
        (b"", "without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "without an answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "its answer has no end"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "is not ours"),
        (answer("500 x", "x" * 200_000), COULD_NOT + "xxx"),
    ],
)
async def test_a_refusal_is_explained(raw: bytes, sentence: str) -> None:
    assert sentence in await refused(raw)


async def test_a_refusal_that_comes_bit_by_bit() -> None:
    raw = answer("404 Not Found", document(404, "no"))
    assert await refused(raw, pieces=50) == "the pod is gone"


@pytest.mark.parametrize(
    ("protocol", "key"),
    [("v5.channel.k8s.io", "wrong"), ("channel.k8s.io", None), ("", None)],
)
async def test_an_upgrade_that_is_not_ours(protocol: str, key: str | None) -> None:
    async def script(call: Call) -> None:
        headers = {"Sec_WebSocket_Accept": key} if key else {}
        call.writer.write(call.switching(protocol, **headers))

    async with serving(script) as api:
        with pytest.raises(ExecRefused, match="its upgrade answer is not ours"):
            await api.executor.start(POD, TRUE, Recorder())


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ExecRefused, match=r"can't be reached \(Connection refused\)"):
        await FakeApi(port).executor.start(POD, TRUE, Recorder())


async def test_a_command_that_cannot_be_sent_asks_nobody() -> None:
    class Unasked:
        async def api_server(self) -> ApiServer:
            raise AssertionError

        def refused(self, server: ApiServer) -> None:
            pass

        def avoid(self, _server: ApiServer) -> bool:
            return False

    with pytest.raises(ExecRefused, match="NUL"):
        await Executor(Unasked()).start(POD, Command(Kind.COMMAND, [b"\0"]), Recorder())


async def test_giving_up_on_a_silent_server_leaves_nothing_open() -> None:
    async def script(call: Call) -> None:
        await call.gone()

    async with serving(script) as api:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await api.executor.start(POD, TRUE, Recorder())


WORDS = [b"printf", "ü€ 𝄞".encode(), b"q'\"&?=+%#;/", b"a\nb", b"", b" "]


@pytest.mark.parametrize("tty", [False, True])
async def test_the_request_is_what_the_api_server_wants(tty: bool) -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        call.finish(0, tty=tty)

    async with serving(script) as api:
        api.prefix = "/k8s/clusters/c1/"
        api.headers = {"Authorization": "Bearer t0ken"}
        command = Command(Kind.ARGV, WORDS, tty=tty, environment={"TERM": "x"})
        sink = Recorder()
        running = await api.executor.start(PodRef("ns", "pod-1", "main"), command, sink)
        await sink.ended()
        [call] = api.calls
        assert call.path == "/k8s/clusters/c1/api/v1/namespaces/ns/pods/pod-1/exec"
        options = dict(call.query)
        del options["command"]
        expected = {"container": "main", "stdin": "true", "stdout": "true"}
        assert options == {**expected, ("tty" if tty else "stderr"): "true"}
        mode = "tty" if tty else "pipe"
        head = ["sh", "-c", WRAPPER, running.nonce, mode, "", "", "argv", "", "TERM=x", "--"]
        assert call.command == head + [word.decode() for word in WORDS]
        assert call.headers["authorization"] == "Bearer t0ken"
        assert call.headers["host"] == f"127.0.0.1:{api.port}"
        assert call.headers["sec-websocket-version"] == "13"
        assert call.headers["sec-websocket-protocol"] == "v5.channel.k8s.io, v4.channel.k8s.io"


async def test_the_longest_raw_command_fits_a_go_server_s_head() -> None:
    async def script(call: Call) -> None:
        call.upgrade()
        call.finish(0)

    command = Command(Kind.COMMAND, [b"\xff" * (128 * 1024 - 1)])
    async with serving(script) as api:
        sink = Recorder()
        await api.executor.start(POD, command, sink)
        assert (await sink.ended()).exit_code == 0
        [call] = api.calls
        assert "".join(call.command[10:]) == "\\0377" * (128 * 1024 - 1)
        encoded = sum(len(word) + 2 * word.count("\\") for word in call.command)
        assert encoded < 1024 * 1024 - 4096


async def test_version_4_is_taken_where_there_is_no_5() -> None:
    async def script(call: Call) -> None:
        call.upgrade(V4)
        assert await call.receive() == (2, b"\0data")
        call.finish(0)
        await call.gone()

    async with serving(script) as api:
        sink = Recorder()
        running = await api.executor.start(POD, TRUE, sink)
        running.write(b"data")
        running.end_stdin()  # can't be said: a line in the log, and no frame
        assert (await sink.ended()).exit_code == 0
