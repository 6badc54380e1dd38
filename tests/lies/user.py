"""What a user sees of a command: its bytes, its exit code, and what kgpud says."""

import asyncio
import json
from dataclasses import dataclass

from gateway.exec import Exec
from gateway.outcome import ExecRefused
from gateway.protocols import PodRef
from gateway.wrapper import Command, Kind
from tests.gateway.fake_api import Recorder, eventually

from .recording import END_OF_STDIN, SIZE, STDOUT, Deaf, Hear, Recording
from .replay import Replay

BROKEN = 255
_PIECE = 65536
WITHIN = 60.0


@dataclass(frozen=True)
class Seen:
    """`code` is None for who left before the end. `line` is kgpud's own sentence, or ""."""

    code: int | None
    out: bytes
    err: bytes
    line: str


async def watch(replay: Replay, recording: Recording, place: PodRef) -> Seen:
    """Run a recorded command and do with it what its user did."""
    sink = Recorder()
    command = Command(Kind.COMMAND, [b"recorded"], tty=recording.tty)
    async with asyncio.timeout(WITHIN):
        try:
            running = await replay.executor.start(place, command, sink)
        except ExecRefused as refused:
            return Seen(BROKEN, b"", b"", str(refused))
        try:
            code, line = await _act(replay, recording, place, running, sink)
        finally:
            running.leave()
    return Seen(code, bytes(sink.out), bytes(sink.err), line)


async def _act(
    replay: Replay, recording: Recording, place: PodRef, running: Exec, sink: Recorder
) -> tuple[int | None, str]:
    if recording.reads_late:
        await _read_late(replay, running, sink)
    for step in recording.steps:
        if isinstance(step, Hear):
            _send(running, step.message)
        elif isinstance(step, Deaf):
            try:
                await _fill(running, sink, step.size)
            finally:
                replay.listen_again(place)
    if recording.leaves:
        await _leave(replay, recording, running, sink)
        return None, ""
    outcome = await sink.outcome
    if outcome.broken and outcome.runs_on:
        return BROKEN, (await running.hang_up()).after(outcome.broken)
    return BROKEN if outcome.exit_code is None else outcome.exit_code, outcome.broken or ""


def _send(running: Exec, message: bytes) -> None:
    if message == END_OF_STDIN:
        running.end_stdin()
    elif message[0] == SIZE:
        size = json.loads(message[1:])
        running.resize(size["Width"], size["Height"])
    elif len(message) > 1:
        running.write(message[1:])
    else:
        running._nudge()


async def _fill(running: Exec, sink: Recorder, size: int) -> None:
    """Write as long as the other end takes it, which must not be all."""
    for _ in range(0, size, _PIECE):
        running.write(bytes(_PIECE))
        await asyncio.sleep(0)
        if sink.ready and not sink.ready[-1]:
            return
    raise AssertionError("a server that reads nothing took it all")


async def _read_late(replay: Replay, running: Exec, sink: Recorder) -> None:
    """Read nothing until the server can't send any more, then go on."""
    running.pause()
    before = len(sink.out)
    transport = replay.calls[running.nonce].writer.transport
    await eventually(lambda: transport.get_write_buffer_size() > 0)
    assert len(sink.out) == before
    running.resume()


async def _leave(replay: Replay, recording: Recording, running: Exec, sink: Recorder) -> None:
    said = recording.said(STDOUT)
    await eventually(lambda: len(sink.out) >= len(said))
    running.leave()
    await running.hang_up()
    assert running.nonce in replay.hung_up
    assert not sink.outcome.done()
