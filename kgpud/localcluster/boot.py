"""Starting one sandbox and joining it: what a helper does first. Helper side."""

import contextlib
import json
import os
import resource
import signal
import socket
import time
from pathlib import Path
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
# Of a pod whose uid is its own, threads too, and never all that the host has numbers for.
_MOST_PROCESSES = 32 * 1024


class CommandError(Exception):
    """The container's own command can't be started, in runc's words."""


class Booted(NamedTuple):
    """A joined sandbox: bwrap's pid, a pidfd of PID 1, and a descriptor of its /dev/pts."""

    sandbox: int
    init: int
    terminals: int

    def kill(self) -> None:
        """Kill PID 1, and with it the pod, and return when nothing of it is left."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.init, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            # Every command has to be reaped before the kernel lets PID 1 go.
            while os.waitpid(-1, 0)[0] != self.sandbox:
                pass


def boot(sock: socket.socket, wanted: wire.Message) -> Booted:
    """Start the sandbox that a `boot` message wants, and join it.

    Raises CommandError when PID 1 can't be started, JoinError or OSError for all else.
    """
    _become_pod_user(wanted["uid"], wanted["parent"])
    bwrap = _start_sandbox(wanted["argv"], wanted["command"])
    told = _read_all(bwrap.info)
    if not told:
        os.waitpid(bwrap.pid, 0)
        raise namespaces.JoinError(_said(bwrap.log))
    child = json.loads(told)["child-pid"]
    booted = Booted(bwrap.pid, os.pidfd_open(child), -1)
    try:
        _join(sock, wanted, bwrap, child)
        terminals = os.open("/dev/pts", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (namespaces.JoinError, OSError) as error:
        booted.kill()
        raise namespaces.JoinError(_said(bwrap.log) or str(error)) from None
    except CommandError:
        booted.kill()
        raise
    os.close(bwrap.log)
    return booted._replace(terminals=terminals)


class _Bwrap(NamedTuple):
    """A forked bwrap and our ends of its pipes."""

    pid: int
    info: int
    block: int
    log: int
    lifeline: int


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
    except (OSError, ValueError) as error:  # ValueError: what can be no argument
        os.write(2, f"{argv[0]}: {error}".encode())
    finally:
        os._exit(1)


def _become_pod_user(uid: int | None, parent: int) -> None:
    if uid is not None:
        most = min(_MOST_PROCESSES, int(Path("/proc/sys/kernel/pid_max").read_text()) // 4)
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    syscalls.leave_session_keyring()
    syscalls.die_with_parent(parent)


def _read_all(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as reading:
        return reading.read()


def _join(sock: socket.socket, wanted: wire.Message, bwrap: _Bwrap, child: int) -> None:
    # Seen from here: in the pod's own /proc it has another number.
    process = os.open(f"/proc/{child}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    reach = [(host, port) for host, port in wanted["reach"]]
    listeners = namespaces.join(child, wanted["ip"], reach)
    syscalls.die_with_parent(wanted["parent"])
    _require_command(wanted)
    os.write(bwrap.block, b"1")
    os.close(bwrap.block)
    _await_init(process)
    wire.send(sock, {"op": "up", "pid": child}, [bwrap.log, *(one.fileno() for one in listeners)])
    for listener in listeners:
        listener.close()
    os.write(bwrap.lifeline, b"go\n")
    os.close(bwrap.lifeline)
    os.close(process)


def _require_command(wanted: wire.Message) -> None:
    if wanted["command"]:
        try:
            spawn.find(wanted["command"][0], wanted["path"], wanted["cwd"])
        except spawn.SpawnError as error:
            words = str(error).removeprefix("unable to start container process: ")
            raise CommandError(_NOT_STARTED + words) from None


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
