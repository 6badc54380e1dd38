"""The recorded sessions, played by a real server to whoever asks.

Which one is in the pod's name: namespace and name make the recording's. Its container is how it
is played: `RAW` as it was recorded, with no wrapper around the command, or `WRAPPED`, with the
trailers that the wrapper would have written before its status.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ssl import SSLContext

from gateway.executor import Executor
from gateway.protocols import PodRef
from tests.gateway.fake_api import BINARY, CLOSE, Call, FakeApi, frame, serving

from .recording import (
    STATUS,
    STDIN,
    Close,
    Deaf,
    Flood,
    Hear,
    Left,
    Recording,
    Refuse,
    Say,
    Step,
    Upgrade,
)

RAW, WRAPPED = "raw", "wrapped"

# As the real one's: no stdout message is longer.
_PIECE = 32768


def pod(name: str, how: str) -> PodRef:
    """Return where a recording is played."""
    folder, _, session = name.partition("/")
    return PodRef(folder, session, how)


@dataclass
class Replay:
    """A running server. `calls` are by nonce; `hung_up` has the nonces of who was hung up."""

    api: FakeApi
    calls: dict[str, Call] = field(default_factory=dict)
    hung_up: set[str] = field(default_factory=set)
    _undeafened: dict[str, asyncio.Event] = field(default_factory=dict)

    @property
    def executor(self) -> Executor:
        return self.api.executor

    def listen_again(self, place: PodRef) -> None:
        """End the deafness of a recording that reads no stdin."""
        self._event(place).set()

    def _runs(self, nonce: str) -> bool:
        """Whether a command's process outlived its stream, as far as anybody looked."""
        *_, folder, _pods, session, _exec = self.calls[nonce].path.split("/")
        return Recording(f"{folder}/{session}").outlived is not False

    def _event(self, place: PodRef) -> asyncio.Event:
        return self._undeafened.setdefault(f"{place.namespace}/{place.name}", asyncio.Event())

    async def serve(self, call: Call) -> None:
        if call.is_hangup:
            end, begin, *_ = call.command[4:]
            self.hung_up.add(begin + end)
            call.hung_up(b"ended" if self._runs(begin + end) else b"gone")
            return
        self.calls[call.nonce] = call
        *_, folder, _pods, session, _exec = call.path.split("/")
        recording = Recording(f"{folder}/{session}")
        how = dict(call.query)["container"]
        await play(call, recording, how, self._event(pod(recording.name, how)))


async def play(
    call: Call, recording: Recording, how: str, listens: asyncio.Event | None = None
) -> None:
    """Do to one caller what the recorded server did, deaf until it `listens` where it was."""
    for step in recording.steps:
        if isinstance(step, Deaf):
            assert listens is not None
            await _be_deaf(call, listens)
        else:
            await _take(call, step, recording, how)
        await asyncio.sleep(0)


async def _be_deaf(call: Call, listens: asyncio.Event) -> None:
    transport = call.writer.transport
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading()
    await listens.wait()
    transport.resume_reading()


async def _take(call: Call, step: Step, recording: Recording, how: str) -> None:
    match step:
        case Say(message):
            code = recording.exit_code
            if how == WRAPPED and message[0] == STATUS and code is not None:
                _write_trailers(call, code, tty=recording.tty)
            call.writer.write(frame(BINARY, message))
        case Flood(size):
            for start in range(0, size, _PIECE):
                call.stdout(bytes(min(_PIECE, size - start)))
                await call.writer.drain()
        case Hear(message):
            await _hear(call, message)
        case Left():
            await call.gone()
        case Upgrade() | Refuse() | Close():
            call.writer.write(_answer(call, step))


def _answer(call: Call, step: Upgrade | Refuse | Close) -> bytes:
    if isinstance(step, Upgrade):
        return call.switching(step.protocol)
    if isinstance(step, Close):
        return frame(CLOSE, step.code.to_bytes(2, "big"))
    lines = "".join(f"{name}: {value}\r\n" for name, value in step.headers.items())
    return f"HTTP/1.1 {step.status} Recorded\r\n{lines}\r\n{step.body}".encode()


def _write_trailers(call: Call, code: int, *, tty: bool) -> None:
    if not tty:
        call.stderr(call.trailer(code))
    call.stdout(call.trailer(code))


async def _hear(call: Call, message: bytes) -> None:
    """Read one message; stdin may come in several."""
    heard = (await call.receive())[1]
    while heard[0] == message[0] == STDIN and len(heard) < len(message):
        heard += (await call.receive())[1][1:]
    assert heard == message


@asynccontextmanager
async def replaying(tls: tuple[SSLContext, SSLContext] | None = None) -> AsyncIterator[Replay]:
    """Play recordings while the block runs. What went wrong on this side is raised at its end.

    `tls` has a server's and its client's context.
    """

    async def serve(call: Call) -> None:
        with suppress(ConnectionError):  # what its user saw of that is what counts
            await replay.serve(call)

    server, client = tls or (None, None)
    async with serving(serve, server) as api:
        api.tls = client
        replay = Replay(api)
        yield replay
