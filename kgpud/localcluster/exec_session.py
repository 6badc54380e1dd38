"""One exec: a stream to the client on one side, a command in a pod on the other."""

import asyncio
import contextlib
import errno
import fcntl
import os
import struct
import termios
from collections.abc import Sequence

from kgpud.localcluster import exec_status
from kgpud.localcluster.errors import ExecRefusedError, SandboxError
from kgpud.localcluster.exec_frames import Batch
from kgpud.localcluster.exec_input import Input
from kgpud.localcluster.exec_output import Output
from kgpud.localcluster.exec_pipes import Pipes
from kgpud.localcluster.exec_protocol import (
    MESSAGE_BYTES,
    STDERR,
    STDOUT,
    Action,
    EndStdin,
    Resize,
    Stdin,
    Stuck,
)
from kgpud.localcluster.exec_stream import Asked, Stream
from kgpud.localcluster.sandbox import Running, Sandbox

# How much unread stdin is taken before nothing more of the client's is read, pings included. A
# translator and its SPDY stream hold megabytes; the runtime alone hardly more than a pipe does.
_TRANSLATED_HIGH_WATER = 4 << 20
_RUNTIMES_HIGH_WATER = 64 << 10
_KILLED = 137
_MESSAGES = 16  # of output, in one read and one write


class Session:
    """Copies bytes both ways until the command and its outputs have ended.

    A terminal is closed when its command ends, as containerd does it (its shim's ShutdownConsole):
    background jobs that still have it open lose it, and keep nobody waiting.

    A client that goes away ends stdin, and the command runs on; how it left says whether its
    output is still read, and whether it is killed after all (`Stream.output`, `Stream.kills`).
    """

    def __init__(self, stream: Stream, sandbox: Sandbox, asked: Asked) -> None:
        self._stream = stream
        self._sandbox = sandbox
        self._asked = asked

    async def run(self) -> None:
        """Run the command to its end and send the status."""
        asked = self._asked
        await self._stream.begin()
        try:
            code = await (self._on_terminal() if asked.tty else self._on_pipes())
            status = exec_status.exited(asked.protocol, asked.argv, code)
        except (ExecRefusedError, OSError) as error:  # OSError: no descriptor or memory is left
            status = exec_status.refused(asked.protocol, str(error))
        except SandboxError:
            status = exec_status.exited(asked.protocol, asked.argv, _KILLED)
        await self._stream.end(status)

    async def _on_terminal(self) -> int:
        running = await self._sandbox.execute(self._asked.argv, tty=True)
        master = running.master
        if master is None:
            await self._sandbox.kill_command(running)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        try:
            given = self._input(master) if self._asked.stdin else None
            outputs = [(STDOUT if self._asked.stdout else None, master)]
            return await self._copy(running, outputs, given)
        finally:
            os.close(master)

    async def _on_pipes(self) -> int:
        asked = self._asked
        with Pipes(
            stdin=asked.stdin,
            stdout=asked.stdout,
            stderr=asked.stderr,
            owner=self._sandbox.uid,
        ) as pipes:
            running = await self._sandbox.execute(asked.argv, pipes.theirs)
            pipes.close_theirs()
            stdin = pipes.take_stdin()
            given = None if stdin is None else self._input(stdin)
            both = ((STDOUT, pipes.stdout), (STDERR, pipes.stderr))
            outputs = [(channel, fd) for channel, fd in both if fd is not None]
            return await self._copy(running, outputs, given)

    def _input(self, fd: int) -> Input:
        translated = self._asked.protocol.translated
        high_water = _TRANSLATED_HIGH_WATER if translated else _RUNTIMES_HIGH_WATER
        return Input(fd, high_water, is_terminal=self._asked.tty)

    async def _copy(
        self,
        running: Running,
        outputs: Sequence[tuple[int | None, int]],
        given: Input | None,
    ) -> int:
        """Copy until all outputs have ended and the code is known; return the code."""
        try:
            async with asyncio.TaskGroup() as group:
                inward = group.create_task(self._receive(running, given))
                async with asyncio.TaskGroup() as outward:
                    for channel, fd in outputs:
                        outward.create_task(self._pump(running, channel, fd))
                code = await asyncio.shield(running.code)
                inward.cancel()
        finally:
            if given is not None:
                given.close()
        return code

    async def _pump(self, running: Running, channel: int | None, fd: int) -> None:
        """Copy an output to its end. A terminal's is its command's, whoever else has it open."""
        batch = Batch(_MESSAGES, MESSAGE_BYTES)

        def take(size: int) -> bool:
            return channel is None or self._stream.output(channel, batch, size)

        output = Output(fd, batch.gaps, take)
        if fd == running.master:
            running.code.add_done_callback(lambda _: output.finish())
        while await output.flow() and await self._stream.wanted():
            pass

    async def _receive(self, running: Running, given: Input | None) -> None:
        """Do what the client's messages ask for until it goes; then stdin has ended."""
        stuck = False

        def act(action: Action) -> bool:
            nonlocal stuck
            stuck = isinstance(action, Stuck)
            if isinstance(action, Stdin) and given is not None:
                return given.feed(action.data)
            if isinstance(action, EndStdin) and given is not None:
                given.end()
            elif isinstance(action, Resize) and running.master is not None:
                _resize(running.master, action)
            return not stuck

        while await self._stream.flow(act):
            if stuck:
                return
            if given is not None:
                await given.room()
        if given is not None:
            given.end()
        if self._stream.kills:
            await self._sandbox.kill_command(running)


def _resize(master: int, size: Resize) -> None:
    with contextlib.suppress(OSError):
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.columns, 0, 0))
