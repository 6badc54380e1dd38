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
import os
import selectors
import signal
import socket

from kgpud.localcluster import boot, namespaces, spawn, wire

# Of an error's text: what is longer would travel by a descriptor, which the cluster may lack.
_LONGEST = 4096


class _Pod:
    """One booted pod as its helper sees it."""

    def __init__(self, sock: socket.socket, booted: boot.Booted) -> None:
        self.sock = sock
        self.sandbox = booted.sandbox
        self.init = booted.init
        self.terminals = booted.terminals
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
            said = str(error)[:_LONGEST]
            wire.send(self.sock, {"op": "refused", "id": number, "message": said})
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
            booted = boot.boot(sock, received[0])
        # ValueError: what can be no argument, such as half of a surrogate pair
        except (namespaces.JoinError, OSError, ValueError) as error:
            wire.send(sock, {"op": "failed", "message": str(error), "command": False})
            return
        except boot.CommandError as error:
            wire.send(sock, {"op": "failed", "message": str(error)[:_LONGEST], "command": True})
            return
        try:
            _Pod(sock, booted).serve()
        finally:
            booted.kill()
