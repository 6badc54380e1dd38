"""The cluster's side of one pod's helper: boot the sandbox, run commands, end it."""

import asyncio
import contextlib
import errno
import itertools
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kgpud.localcluster import folders, wire
from kgpud.localcluster.container_log import ContainerLog
from kgpud.localcluster.errors import CommandError, ExecRefusedError, SandboxError
from kgpud.localcluster.log_pipe import LogPipe

_IMPORT_ROOT = str(Path(__file__).resolve().parents[2])
_START = "import sys; sys.path.append(sys.argv[1]); from kgpud.localcluster import helper; "
_START += "helper.main(int(sys.argv[2]))"
_KILLED = 128 + signal.SIGKILL


@dataclass(frozen=True)
class Boot:
    """What a sandbox is started with.

    `command` becomes PID 1; without one it is ours. `reach` are numeric addresses to open in the
    sandbox's network, where it has the address `ip`. `enter` is called with the pid of the helper
    before that starts anything: to put it, and so all that runs in the sandbox, under limits.
    """

    argv: Sequence[str]
    uid: int | None
    env: Mapping[str, str]
    cwd: str
    command: Sequence[str]
    ip: str
    reach: Sequence[tuple[str, int]]
    enter: Callable[[int], None]


@dataclass(frozen=True)
class Running:
    """A started command; `code` comes once.

    `master` is the terminal's, and the caller's to close: None without a terminal, and where this
    process had no descriptor left for it.
    """

    pid: int
    master: int | None
    code: asyncio.Future[int]
    number: int


class Sandbox:
    """One running pod sandbox. `gone` gets PID 1's exit code once nothing of it is left."""

    def __init__(
        self, sock: socket.socket, process: asyncio.subprocess.Process, boot: Boot
    ) -> None:
        self._sock = sock
        self._process = process
        self._boot = boot
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._started: dict[int, asyncio.Future[tuple[int, int | None]]] = {}
        self._codes: dict[int, asyncio.Future[int]] = {}
        self._sockets: deque[asyncio.Future[int]] = deque()
        self._up: asyncio.Future[list[int]] = self._loop.create_future()
        self._log_pipe: LogPipe | None = None
        self.log = ContainerLog()
        self.listeners: list[socket.socket] = []
        self.gone: asyncio.Future[int] = self._loop.create_future()

    @property
    def uid(self) -> int | None:
        """The user of ours that its root is; None: whoever runs the cluster."""
        return self._boot.uid

    @classmethod
    async def start(cls, boot: Boot) -> Self:
        """Start a sandbox and return when commands can be run in it.

        Raises CommandError when its PID 1 can't be started, SandboxError when it fails otherwise.
        """
        ours, theirs = wire.pair()
        ours.setblocking(False)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", "-c", _START, _IMPORT_ROOT, str(theirs.fileno()),
                pass_fds=[theirs.fileno()], stdin=asyncio.subprocess.DEVNULL, cwd="/", env={},
                start_new_session=True,
            )  # fmt: skip
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self = cls(ours, process, boot)
        self._loop.add_reader(ours, self._readable)
        try:
            await self._boot_up()
        except BaseException:
            await self.close()
            raise
        return self

    async def _boot_up(self) -> None:
        boot = self._boot
        await folders.in_thread(boot.enter, self._process.pid)
        message = {
            "op": "boot",
            "argv": list(boot.argv),
            "uid": boot.uid,
            "parent": os.getpid(),
            "command": list(boot.command),
            "path": boot.env.get("PATH", ""),
            "cwd": boot.cwd,
            "ip": boot.ip,
            "reach": [list(address) for address in boot.reach],
        }
        await self._send(message)
        log, *listeners = await self._up
        self.listeners = [socket.socket(fileno=fd) for fd in listeners]
        self._log_pipe = LogPipe(log, self.log)

    def _readable(self) -> None:
        """Take one message from the helper; its end means that the pod is gone."""
        try:
            received = wire.receive(self._sock)
        except BlockingIOError:
            return
        except OSError:
            received = None
        if received is None:
            self._ended(_KILLED)
        else:
            self._take(*received)

    def _take(self, message: wire.Message, fds: list[int]) -> None:
        operation = message["op"]
        if operation == "exit":
            _settle(self._codes.pop(message["id"], None), message["code"])
        elif operation == "started":
            started = self._started.pop(message["id"])
            if not _settle(started, (message["pid"], fds[0] if fds else None)):
                _close_all(fds)
        elif operation == "refused":
            self._codes.pop(message["id"]).cancel()
            _fail(self._started.pop(message["id"]), ExecRefusedError(message["message"]))
        elif operation == "up":
            self._take_up(fds)
        elif operation == "failed":
            error = CommandError if message["command"] else SandboxError
            _fail(self._up, error(message["message"]))
        elif operation == "socket":
            self._take_socket(fds)
        elif operation == "gone":
            self._ended(message["code"])

    # The kernel drops the descriptors of a message that there is no room for.
    def _take_up(self, fds: list[int]) -> None:
        """Take the log and the listeners."""
        if len(fds) <= len(self._boot.reach):
            _fail(self._up, SandboxError(os.strerror(errno.EMFILE)))
        if not _settle(self._up, fds):
            _close_all(fds)

    def _take_socket(self, fds: list[int]) -> None:
        asked = self._sockets.popleft()
        if not fds:
            _fail(asked, OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
        elif not _settle(asked, fds[0]):
            _close_all(fds)

    def _ended(self, code: int) -> None:
        self._loop.remove_reader(self._sock)
        _fail(self._up, SandboxError("the pod's helper ended"))
        for started in self._started.values():
            _fail(started, SandboxError("the pod has ended"))
        for asked in self._sockets:
            _fail(asked, SandboxError("the pod has ended"))
        for waiting in self._codes.values():
            _settle(waiting, _KILLED)
        self._sockets.clear()
        self._started.clear()
        self._codes.clear()
        _settle(self.gone, code)

    async def _send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        while True:
            try:
                wire.send(self._sock, message, fds)
            except BlockingIOError:
                await asyncio.sleep(0.001)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    raise
                raise SandboxError("the pod has ended") from error
            else:
                return

    async def execute(
        self, argv: Sequence[str], streams: Sequence[int] = (), *, tty: bool = False
    ) -> Running:
        """Start a command with `streams` as 0, 1, 2 (the caller still owns them), or a terminal.

        Raises ExecRefusedError with runc's words, SandboxError when the pod is gone, OSError when
        no descriptor is left.
        """
        if self.gone.done():
            raise SandboxError("the pod has ended")
        number = next(self._numbers)
        started: asyncio.Future[tuple[int, int | None]] = self._loop.create_future()
        code: asyncio.Future[int] = self._loop.create_future()
        self._started[number], self._codes[number] = started, code
        env = {"TERM": "xterm", **self._boot.env} if tty else dict(self._boot.env)
        message = {"op": "exec", "id": number, "argv": list(argv), "tty": tty, "env": env}
        try:
            await self._send({**message, "cwd": self._boot.cwd}, streams)
        except BaseException:
            self._started.pop(number, None)
            self._codes.pop(number, None)
            raise
        pid, master = await started
        return Running(pid, master, code, number)

    async def open_socket(self) -> socket.socket:
        """Return a new non-blocking TCP socket of the pod's network, the caller's to close.

        Raises SandboxError when the pod is gone, OSError when no descriptor is left.
        """
        if self.gone.done():
            raise SandboxError("the pod has ended")
        asked: asyncio.Future[int] = self._loop.create_future()
        self._sockets.append(asked)
        await self._send({"op": "socket"})
        made = socket.socket(fileno=await asked)
        made.setblocking(False)
        return made

    async def kill_command(self, running: Running) -> None:
        """Kill a command, not its children; nothing when it has ended."""
        with contextlib.suppress(SandboxError):
            await self._send({"op": "kill", "id": running.number})

    async def signal(self, number: signal.Signals) -> None:
        """Send a signal to the pod's PID 1; nothing when it is gone."""
        with contextlib.suppress(SandboxError):
            await self._send({"op": "signal", "number": int(number)})

    def kill(self) -> None:
        """Kill the pod: its helper, told by the end of its socket, kills PID 1."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    async def close(self) -> None:
        """Kill whatever is left of the pod and wait until its helper has ended too."""
        if self._sock.fileno() >= 0:
            self._ended(_KILLED)
            self._sock.close()
        for listener in self.listeners:
            listener.close()
        try:
            await self._process.wait()
        finally:
            if self._log_pipe is not None:
                self._log_pipe.close()
                self._log_pipe = None
            self.log.end()


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


def _settle(future: asyncio.Future[Any] | None, value: object) -> bool:
    if future is None or future.done():
        return False
    future.set_result(value)
    return True


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # Whoever waits still gets it; nobody waiting is no news.
