"""The process that stands beside one pod: starts its sandbox, joins it, runs commands in it.

Started as `python -I -S -c …` with one message socket. It lives outside the pod's PID
namespace and as the pod's host uid, and everything it needs is imported before it joins.

It is told, in this order:
- `boot`: {argv, uid, parent, command, path, cwd, ip, reach} → `up` {pid} with descriptors
  [log, *listeners], or `failed` {message, command: whether PID 1's command is to blame};
- `exec`: {id, argv, tty, cwd, env} with [stdin, stdout, stderr] → `started` {id, pid} with
  [master] on a terminal, or `refused` {id, message}; later `exit` {id, code};
- `kill`: {id} to a command that runs;
- `socket`: {} → `socket` with [a TCP socket of the pod's network];
- `signal`: {number} to the pod's PID 1.
When PID 1 has ended it says `gone` {code} and ends. When its socket closes it kills PID 1.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from typing import NamedTuple, NoReturn

from kgpud.localcluster import namespaces, spawn, syscalls, wire

_LOG_BYTES = 4096
# The pod's PID 1 begins only at our word on its stdin: bwrap takes the end of its block pipe for a
# go, and a helper that died before PID 1 had asked to die with bwrap would leave it behind.
# Without a command of the container's own it is ours: it reaps orphans and obeys TERM.
_SHELL = "/bin/sh"
_AT_OUR_WORD = "read -r go || exit 1; exec </dev/null; "
_OWN = _AT_OUR_WORD + 'trap "exit 143" TERM; while :; do sleep 2147483647 & wait; done'
_GIVEN = _AT_OUR_WORD + 'exec "$@"'
_NOT_STARTED = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
    "runc create failed: unable to start container process: error during container init: "
)
_BEGIN_SECONDS = 10.0


class _Pod:
    """One booted pod as its helper sees it."""

    def __init__(self, sock: socket.socket, sandbox: int, init: int) -> None:
        self.sock = sock
        self.sandbox = sandbox
        self.init = init
        self.terminals = -1
        self.commands: dict[int, int] = {}

    def serve(self) -> None:
        """Answer the cluster until the sandbox has ended or the cluster is gone."""
        wake, woken = socket.socketpair()
        wake.setblocking(False)
        woken.setblocking(False)
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        ready = selectors.DefaultSelector()
        ready.register(self.sock, selectors.EVENT_READ)
        ready.register(wake, selectors.EVENT_READ)
        while not self._reap():
            for key, _events in ready.select():
                if key.fileobj is wake:
                    with contextlib.suppress(BlockingIOError):
                        wake.recv(4096)
                elif not self._answer():
                    ready.unregister(self.sock)
                    self._signal(signal.SIGKILL)
        signal.set_wakeup_fd(-1)

    def _answer(self) -> bool:
        received = wire.receive(self.sock)
        if received is None:
            return False
        message, fds = received
        try:
            if message["op"] == "exec":
                self._exec(message, fds)
            elif message["op"] == "kill":
                self._kill(message["id"])
            elif message["op"] == "socket":
                with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
                    wire.send(self.sock, {"op": "socket"}, [made.fileno()])
            elif message["op"] == "signal":
                self._signal(message["number"])
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _exec(self, message: wire.Message, streams: list[int]) -> None:
        terminals = self.terminals if message["tty"] else None
        number = message["id"]
        try:
            started = spawn.start(
                message["argv"], message["env"], message["cwd"], streams, terminals
            )
        except (spawn.SpawnError, OSError, ValueError) as error:
            wire.send(self.sock, {"op": "refused", "id": number, "message": str(error)})
            return
        self.commands[started.pid] = number
        masters = [] if started.master is None else [started.master]
        wire.send(self.sock, {"op": "started", "id": number, "pid": started.pid}, masters)
        for master in masters:
            os.close(master)

    def _kill(self, number: int) -> None:
        for pid, command in self.commands.items():
            if command == number:  # not reaped, so the pid is still the command's
                os.kill(pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kill PID 1, and with it the pod, and return when nothing of it is left."""
        self._signal(signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            # Every command has to be reaped before the kernel lets PID 1 go.
            while os.waitpid(-1, 0)[0] != self.sandbox:
                pass

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.init, number)

    def _reap(self) -> bool:
        """Report what has ended; true once the sandbox itself has."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            code = os.waitstatus_to_exitcode(status)
            code = 128 - code if code < 0 else code
            if pid == self.sandbox:
                self._end(code)
                return True
            number = self.commands.pop(pid, None)
            if number is not None:
                wire.send(self.sock, {"op": "exit", "id": number, "code": code})

    def _end(self, code: int) -> None:
        # The kernel has ended every process of the PID namespace before its PID 1 was reaped.
        for number in self.commands.values():
            wire.send(self.sock, {"op": "exit", "id": number, "code": 128 + signal.SIGKILL})
        wire.send(self.sock, {"op": "gone", "code": code})


class _Bwrap(NamedTuple):
    """A forked bwrap and our ends of its pipes."""

    pid: int
    info: int
    block: int
    log: int
    lifeline: int


class _CommandError(Exception):
    """The container's own command can't be started, in runc's words."""


def _start_sandbox(argv: list[str], command: list[str]) -> _Bwrap:
    info, info_out = os.pipe2(os.O_CLOEXEC)
    lifeline_in, lifeline = os.pipe2(os.O_CLOEXEC)
    block_in, block = os.pipe2(os.O_CLOEXEC)
    log, log_out = os.pipe2(os.O_CLOEXEC)
    rules = os.memfd_create("filter", os.MFD_CLOEXEC)
    os.write(rules, syscalls.chown_filter())
    os.lseek(rules, 0, os.SEEK_SET)
    control = ["--block-fd", str(block_in), "--info-fd", str(info_out), "--seccomp", str(rules)]
    # By descriptor: the environment is in the options, and every user can read command lines.
    options = os.memfd_create("options", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(options), "wb") as writing:
        writing.write(b"".join(os.fsencode(part) + b"\0" for part in argv[1:]))
    os.lseek(options, 0, os.SEEK_SET)
    init = ["-c", _GIVEN, _SHELL, *command] if command else ["-c", _OWN]
    control += ["--args", str(options), "--", _SHELL, *init]
    helper = os.getpid()
    pid = os.fork()
    if pid == 0:
        kept = (block_in, info_out, rules, options)
        _become_sandbox([argv[0], *control], kept, (lifeline_in, log_out, log_out), helper)
    for fd in (info_out, block_in, log_out, lifeline_in, rules, options):
        os.close(fd)
    return _Bwrap(pid, info, block, log, lifeline)


def _become_sandbox(
    argv: list[str], kept: tuple[int, ...], streams: tuple[int, int, int], helper: int
) -> NoReturn:
    try:
        syscalls.die_with_parent(helper)
        for fd in kept:
            os.set_inheritable(fd, True)
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
        spawn.default_signals()
        os.execve(argv[0], argv, {})  # noqa: S606  (no shell is wanted)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error}".encode())
    finally:
        os._exit(1)


def _become_pod_user(uid: int | None, parent: int) -> None:
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    syscalls.die_with_parent(parent)


def _read_all(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as reading:
        return reading.read()


def _boot(sock: socket.socket, boot: wire.Message) -> _Pod:
    _become_pod_user(boot["uid"], boot["parent"])
    bwrap = _start_sandbox(boot["argv"], boot["command"])
    told = _read_all(bwrap.info)
    if not told:
        os.waitpid(bwrap.pid, 0)
        raise namespaces.JoinError(_said(bwrap.log))
    child = json.loads(told)["child-pid"]
    pod = _Pod(sock, bwrap.pid, os.pidfd_open(child))
    try:
        _join(sock, boot, bwrap, child)
        pod.terminals = os.open("/dev/pts", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (namespaces.JoinError, OSError) as error:
        pod.kill()
        raise namespaces.JoinError(_said(bwrap.log) or str(error)) from None
    except _CommandError:
        pod.kill()
        raise
    os.close(bwrap.log)
    return pod


def _join(sock: socket.socket, boot: wire.Message, bwrap: _Bwrap, child: int) -> None:
    # Seen from here: in the pod's own /proc it has another number.
    process = os.open(f"/proc/{child}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    reach = [(host, port) for host, port in boot["reach"]]
    listeners = namespaces.join(child, boot["ip"], reach)
    syscalls.die_with_parent(boot["parent"])
    _require_command(boot)
    os.write(bwrap.block, b"1")
    os.close(bwrap.block)
    _await_init(process)
    wire.send(sock, {"op": "up", "pid": child}, [bwrap.log, *(one.fileno() for one in listeners)])
    for listener in listeners:
        listener.close()
    os.write(bwrap.lifeline, b"go\n")
    os.close(bwrap.lifeline)
    os.close(process)


def _require_command(boot: wire.Message) -> None:
    if boot["command"]:
        try:
            spawn.find(boot["command"][0], boot["path"], boot["cwd"])
        except spawn.SpawnError as error:
            words = str(error).removeprefix("unable to start container process: ")
            raise _CommandError(_NOT_STARTED + words) from None


def _await_init(process: int) -> None:
    """Wait until bwrap's child has become our PID 1: from then on it dies with bwrap."""
    deadline = time.monotonic() + _BEGIN_SECONDS
    while True:
        command = os.open("cmdline", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
        with os.fdopen(command, "rb") as reading:
            if reading.read().startswith(_SHELL.encode() + b"\0"):
                return
        if time.monotonic() > deadline:
            raise namespaces.JoinError("the sandbox did not begin in time")
        time.sleep(0.0005)


def _said(log: int) -> str:
    os.set_blocking(log, False)
    try:
        return os.read(log, _LOG_BYTES).decode(errors="replace").strip()
    except BlockingIOError:
        return ""


def main(fd: int) -> None:
    """Run the helper on the message socket `fd` until its pod has ended."""
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    spawn.default_signals()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    received = wire.receive(sock)
    if received is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        try:
            pod = _boot(sock, received[0])
        except (namespaces.JoinError, OSError) as error:
            wire.send(sock, {"op": "failed", "message": str(error), "command": False})
            return
        except _CommandError as error:
            wire.send(sock, {"op": "failed", "message": str(error), "command": True})
            return
        try:
            pod.serve()
        finally:
            pod.kill()


if __name__ == "__main__":
    main(int(sys.argv[1]))
