"""A small API server for exec: raw sockets and its own codec, so that no bug is on both ends."""

import asyncio
import base64
import hashlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ssl import SSLContext
from urllib.parse import parse_qsl, urlsplit

from gateway.executor import Executor
from gateway.outcome import Outcome
from gateway.protocols import ApiServer, PodRef
from gateway.wrapper import BETWEEN, HANGUP

POD = PodRef("default", "w1", "main")
V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
SUCCESS = b'{"metadata":{},"status":"Success"}'
WITHIN = 30.0

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def failure(code: int) -> bytes:
    return (
        b'{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code",'
        b'"reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"%d"}]}}'
    ) % code


def internal_error(message: str) -> bytes:
    text = message.replace('"', '\\"')
    return (
        f'{{"metadata":{{}},"status":"Failure","message":"Internal error occurred: {text}",'
        '"reason":"InternalError","code":500}'
    ).encode()


def frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    first = opcode | (0x80 if final else 0)
    if len(payload) < 126:
        return struct.pack("!BB", first, len(payload)) + payload
    if len(payload) < 65536:
        return struct.pack("!BBH", first, 126, len(payload)) + payload
    return struct.pack("!BBQ", first, 127, len(payload)) + payload


class Call:
    """One request, as the server has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.path = ""
        self.query: list[tuple[str, str]] = []
        self.headers: dict[str, str] = {}

    @property
    def command(self) -> list[str]:
        """What is to run, its words put together."""
        given = [value for name, value in self.query if name == "command"]
        return [word.replace(BETWEEN, "") for word in given]

    @property
    def nonce(self) -> str:
        return self.command[3]

    @property
    def is_hangup(self) -> bool:
        return self.command[2] == HANGUP

    def trailer(self, code: int) -> bytes:
        return b"\x1e" + self.nonce.encode() + b" %03d" % code

    async def read_request(self) -> None:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        request_line, *lines = head.rstrip().split("\r\n")
        method, target, version = request_line.split(" ")
        assert (method, version) == ("GET", "HTTP/1.1")
        split = urlsplit(target)
        self.path = split.path
        self.query = parse_qsl(split.query, keep_blank_values=True, strict_parsing=True)
        self.headers = {
            name.lower(): value for name, value in (line.split(": ", 1) for line in lines)
        }

    def switching(self, protocol: str = V5, **headers: str) -> bytes:
        salted = self.headers["sec-websocket-key"] + _GUID
        accept = base64.b64encode(hashlib.sha1(salted.encode()).digest()).decode()
        lines = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept,
            "Sec-WebSocket-Protocol": protocol,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"HTTP/1.1 101 Switching Protocols\r\n{head}\r\n".encode()

    def upgrade(self, protocol: str = V5) -> None:
        """Answer 101 and, as the real one does, an empty stdout message."""
        self.writer.write(self.switching(protocol))
        self.send(1, b"")

    def send(self, channel: int, data: bytes) -> None:
        self.writer.write(frame(BINARY, bytes([channel]) + data))

    def stdout(self, data: bytes) -> None:
        self.send(1, data)

    def stderr(self, data: bytes) -> None:
        self.send(2, data)

    def end(self, status: bytes, *, close: bool = True) -> None:
        self.send(3, status)
        if close:
            self.writer.write(frame(CLOSE, b"\x03\xe8"))

    def finish(self, code: int, *, tty: bool = False) -> None:
        """End as a wrapped command does: the trailers, the status, the close frame."""
        if not tty:
            self.stderr(self.trailer(code))
        self.stdout(self.trailer(code))
        self.end(failure(code) if code else SUCCESS)

    def hung_up(self, word: bytes = b"ended") -> None:
        """Answer a hang-up."""
        self.upgrade()
        self.stdout(word + b"\n")
        self.end(SUCCESS)

    async def receive(self) -> tuple[int, bytes]:
        """Return the next frame, whole by contract and unmasked; raise EOFError at the end."""
        first, second = await self.reader.readexactly(2)
        assert first & 0x80, "the real one breaks fragmented messages"
        assert not first & 0x70
        assert second & 0x80
        length = second & 0x7F
        if length > 125:
            length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8), "big")
        mask = int.from_bytes(await self.reader.readexactly(4), "big")
        body = await self.reader.readexactly(length)
        whole = -(-length // 4)
        key = int.from_bytes(mask.to_bytes(4, "big") * whole, "big")
        padded = int.from_bytes(body.ljust(whole * 4, b"\0"), "big")
        return first & 0x0F, (padded ^ key).to_bytes(whole * 4, "big")[:length]

    async def stdin(self) -> bytes:
        """Read stdin to its end."""
        data = bytearray()
        while (message := (await self.receive())[1]) != b"\xff\0":
            assert message[0] == 0
            data += message[1:]
        return bytes(data)

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass


Script = Callable[[Call], Awaitable[None]]


@dataclass
class FakeApi:
    port: int = 0
    prefix: str = ""
    tls: SSLContext | None = None
    headers: dict[str, str] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    async def api_server(self) -> ApiServer:
        scheme = "https" if self.tls else "http"
        url = f"{scheme}://127.0.0.1:{self.port}{self.prefix}"
        return ApiServer(url, ssl=self.tls, headers=self.headers)

    def refused(self, server: ApiServer) -> None:
        pass

    def avoid(self, _server: ApiServer) -> bool:
        return False

    @property
    def executor(self) -> Executor:
        return Executor(self)


@asynccontextmanager
async def serving(script: Script, tls: SSLContext | None = None) -> AsyncIterator[FakeApi]:
    """Serve each request by `script`, which must be through when the block ends."""
    api = FakeApi()
    idle = asyncio.Condition()
    busy: list[Call] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = Call(reader, writer)
        api.calls.append(call)
        busy.append(call)
        try:
            await call.read_request()
            await script(call)
        except Exception as error:  # noqa: BLE001 - raised where the test sees it
            api.failures.append(error)
        finally:
            writer.close()
            async with idle:
                busy.remove(call)
                idle.notify_all()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=4 * 1024 * 1024, ssl=tls)
    api.port = server.sockets[0].getsockname()[1]
    try:
        yield api
        with suppress(TimeoutError):
            async with asyncio.timeout(WITHIN), idle:
                await idle.wait_for(lambda: not busy)
        assert not busy, [call.path for call in busy]
    finally:
        server.close()
        for call in api.calls:
            # Python 3.11 can't abort a transport that drained and ended after its close.
            with suppress(AttributeError):
                call.writer.transport.abort()
        await server.wait_closed()
    assert not api.failures, api.failures


async def eventually(true: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN):
        while True:
            if true():
                return
            await asyncio.sleep(0.001)


class Recorder:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.out, self.err = bytearray(), bytearray()
        self.ready: list[bool] = []
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def stdout(self, data: bytes) -> None:
        assert not self.outcome.done(), "output after the end"
        assert data
        self.out += data

    def stderr(self, data: bytes) -> None:
        assert not self.outcome.done(), "output after the end"
        assert data
        self.err += data

    def stdin_ready(self, *, ready: bool) -> None:
        self.ready.append(ready)

    def finished(self, outcome: Outcome) -> None:
        self.outcome.set_result(outcome)

    async def ended(self) -> Outcome:
        async with asyncio.timeout(WITHIN):
            return await self.outcome
