"""An SFTP server on stdin and stdout: the engine, with its agent in a shell of this machine.

`python -m tests.gateway.sftp FOLDER SHELL`, so that real clients can be held against it without an
SSH connection (`sftp -D`), as they can against OpenSSH's sftp-server.
"""

import os
import selectors
import shlex
import subprocess
import sys

from gateway.sftp import agent
from gateway.sftp.engine import Engine


def main(folder: str, shell: str) -> None:
    words = [shell, "sh"] if shell.endswith("busybox") else [shell]
    # What stands after `exec sh`, in words.
    bootstrap = shlex.split(agent.bootstrap((b"/nowhere",)).decode())[2:]
    process = subprocess.Popen(
        [*words, *bootstrap],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=folder,
        bufsize=0,
    )
    assert process.stdin
    assert process.stdout
    greeting = b""
    while len(greeting) < len(agent.NO_SERVER):
        greeting += os.read(process.stdout.fileno(), 1) or sys.exit("no agent")
    assert greeting == agent.NO_SERVER
    engine, client_ended = Engine(), False
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ)
    selector.register(0, selectors.EVENT_READ)
    while True:
        if engine.answers:
            _write(1, bytes(engine.answers))
            engine.answers.clear()
        if engine.lines:
            lines = bytes(engine.lines)
            engine.lines.clear()
            _write(process.stdin.fileno(), lines)
        if client_ended and engine.idle:
            process.stdin.close()
            sys.exit(process.wait(10))
        for key, _ in selector.select():
            data = os.read(key.fd, 65536)
            if key.fd == 0:
                if data:
                    engine.receive(data)
                else:
                    client_ended = True
                    selector.unregister(0)
            else:
                assert data, "the agent ended"
                engine.hear(data)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


if __name__ == "__main__":
    main(*sys.argv[1:])
