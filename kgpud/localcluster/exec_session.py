"""One exec: a websocket on one side, a command in a pod on the other."""

import asyncio
import contextlib
import fcntl
import json
import os
import struct
import termios
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from kgpud.localcluster import exec_pipes, exec_status
from kgpud.localcluster.errors import ExecRefusedError, SandboxError
from kgpud.localcluster.sandbox import Running, Sandbox

STDIN, STDOUT, STDERR, ERROR, RESIZE = 0, 1, 2, 3, 4
_END_STDIN = b"\xff\x00"


@dataclass(frozen=True)
class Asked:
    """What the client asked for."""

    argv: Sequence[str]
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool
    protocol: str


class Session:
    """Copies bytes both ways until the command and its outputs have ended.

    A client that goes away ends stdin and nothing else: the command lives on and its output is
    read and dropped, as a kubelet does.
    """

    def __init__(self, socket: web.WebSocketResponse, sandbox: Sandbox, asked: Asked) -> None:
        self._socket = socket
        self._sandbox = sandbox
        self._asked = asked
        self._left = False

    async def run(self) -> None:
        """Run the command to its end and send the status."""
        await self._send(STDOUT, b"")
        try:
            status = await self._run()
        except ExecRefusedError as error:
            status = exec_status.refused(self._asked.protocol, str(error))
        except OSError as error:  # no descriptor or no memory is left for its pipes
            status = exec_status.refused(self._asked.protocol, str(error))
        except SandboxError:
            status = exec_status.exited(self._asked.protocol, self._asked.argv, 137)
        await self._send(ERROR, status)
        with contextlib.suppress(ConnectionError, RuntimeError):
            await self._socket.close()

    async def _run(self) -> bytes:
        if self._asked.tty:
            running = await self._sandbox.execute(self._asked.argv, tty=True)
            assert running.master is not None
            return await self._on_terminal(running, running.master)
        return await self._on_pipes()

    async def _on_terminal(self, running: Running, master: int) -> bytes:
        try:
            channel = STDOUT if self._asked.stdout else None
            given = exec_pipes.Input(master, is_terminal=True)
            return await self._copy(running, [(channel, master)], given, master)
        finally:
            os.close(master)

    async def _on_pipes(self) -> bytes:
        theirs: list[int] = []
        ours: list[int] = []
        outputs: list[tuple[int | None, int]] = []
        given: exec_pipes.Input | None = None
        try:
            stdin = -1
            if self._asked.stdin:
                end, stdin = exec_pipes.pipe_in()
                theirs.append(end)
            else:
                theirs.append(exec_pipes.nothing())
            for wanted, channel in ((self._asked.stdout, STDOUT), (self._asked.stderr, STDERR)):
                if not wanted:
                    theirs.append(exec_pipes.nothing())
                    continue
                end, our = exec_pipes.pipe_out()
                theirs.append(end)
                ours.append(our)
                outputs.append((channel, our))
            try:
                running = await self._sandbox.execute(self._asked.argv, theirs)
            except BaseException:
                if stdin >= 0:
                    os.close(stdin)
                raise
            if stdin >= 0:
                given = exec_pipes.Input(stdin, is_terminal=False)
            exec_pipes.close_all(theirs)
            theirs.clear()
            return await self._copy(running, outputs, given, None)
        finally:
            exec_pipes.close_all(theirs + ours)

    async def _copy(
        self,
        running: Running,
        outputs: Sequence[tuple[int | None, int]],
        given: exec_pipes.Input | None,
        master: int | None,
    ) -> bytes:
        """Copy until all outputs have ended and the code is known; return the status."""
        async with asyncio.TaskGroup() as group:
            inward = [group.create_task(self._receive(given, master))]
            if given is not None:
                inward.append(group.create_task(given.run()))
            async with asyncio.TaskGroup() as outward:
                for channel, fd in outputs:
                    outward.create_task(self._pump(channel, fd))
            code = await asyncio.shield(running.code)
            for task in inward:
                task.cancel()
        return exec_status.exited(self._asked.protocol, self._asked.argv, code)

    async def _pump(self, channel: int | None, fd: int) -> None:
        async for data in exec_pipes.chunks(fd):
            if channel is not None:
                await self._send(channel, data)

    async def _send(self, channel: int, data: bytes) -> None:
        if self._left:
            return
        try:
            await self._socket.send_bytes(bytes((channel,)) + data)
        except (ConnectionError, RuntimeError):
            self._left = True

    async def _receive(self, given: exec_pipes.Input | None, master: int | None) -> None:
        """Take the client's messages until it goes; then stdin has ended."""
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.BINARY:
                data = message.data
            elif message.type is WSMsgType.TEXT:
                data = message.data.encode()
            else:
                break
            if data:
                self._take(memoryview(data), given, master)
            if given is not None:
                await given.room()
        self._left = True
        if given is not None:
            given.end()

    def _take(self, data: memoryview, given: exec_pipes.Input | None, master: int | None) -> None:
        channel = data[0]
        if channel == STDIN and given is not None:
            given.feed(data[1:])
        elif channel == RESIZE and master is not None:
            _resize(master, bytes(data[1:]))
        elif self._asked.protocol == exec_status.V5 and given is not None and data == _END_STDIN:
            given.end()


def _resize(master: int, body: bytes) -> None:
    """Set the terminal's size; anything but {"Width": n, "Height": n} is passed over."""
    try:
        wanted = {key.lower(): value for key, value in json.loads(body).items()}
        size = struct.pack("HHHH", wanted["height"], wanted["width"], 0, 0)
    except (ValueError, KeyError, AttributeError, struct.error):
        return
    with contextlib.suppress(OSError):
        fcntl.ioctl(master, termios.TIOCSWINSZ, size)
