"""SFTP servers without an SSH connection: ours, with its agent in a shell here, and OpenSSH's."""

import os
import selectors
import shlex
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gateway.sftp import agent
from gateway.sftp.engine import Engine

OPENSSH = "/usr/lib/openssh/sftp-server"
SHELLS = ("dash", "bash", "busybox")
# What stands after `exec sh`, in words.
BOOTSTRAP = shlex.split(agent.bootstrap((b"/nowhere",)).decode())[2:]


def environment(shell: str, folder: Path) -> Mapping[str, str]:
    """Return an environment in which `sh` and, for busybox, every tool is that shell's."""
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"no {shell} on this machine")
    programs = folder / f"bin-{shell}"
    programs.mkdir(exist_ok=True)
    names = ["sh"]
    if shell == "busybox":
        listed = subprocess.run([path, "--list"], capture_output=True, check=True, text=True)
        names = listed.stdout.split()
    for name in names:
        (programs / name).unlink(missing_ok=True)
        (programs / name).symlink_to(path)
    host = "" if shell == "busybox" else ":/usr/bin:/bin"
    return {"PATH": f"{programs}{host}", "HOME": str(folder)}


def start(
    shell: str, folder: Path, where: Path, user: int | None = None
) -> subprocess.Popen[bytes]:
    """Start the bootstrap in `where`; it has said already that there is no sftp-server."""
    given = environment(shell, folder)
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        ["sh", *BOOTSTRAP],
        executable=Path(given["PATH"].split(":")[0], "sh"),
        stdin=pipe,
        stdout=pipe,
        env=given,
        cwd=where,
        bufsize=0,
        start_new_session=True,
        user=user,
    )
    greeting = b""
    while len(greeting) < len(agent.NO_SERVER):
        greeting += process.stdout.read(1) or pytest.fail("no agent") if process.stdout else b""
    assert greeting == agent.NO_SERVER
    return process


def pump(client_in: int, client_out: int, process: subprocess.Popen[bytes]) -> None:
    """Carry bytes between a client, an engine and its agent until the client ends."""
    assert process.stdin
    assert process.stdout
    engine, client_ended = Engine(), False
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(client_in, selectors.EVENT_READ)
        while not (client_ended and engine.idle):
            for key, _ in selector.select():
                data = os.read(key.fd, 65536)
                if key.fd != client_in:
                    assert data, "the agent ended"
                    engine.hear(data)
                elif data:
                    engine.receive(data)
                else:
                    client_ended = True
                    selector.unregister(client_in)
            while engine.more:
                engine.go_on()
            _write(client_out, engine.answers)
            _write(process.stdin.fileno(), engine.lines)
    process.stdin.close()


def _write(fd: int, data: bytearray) -> None:
    while data:
        del data[: os.write(fd, data)]


@contextmanager
def ours(shell: str, folder: Path, where: Path, user: int | None = None) -> Iterator[socket.socket]:
    """Serve `where` by our server; yield the client's end."""
    process = start(shell, folder, where, user)
    near, far = socket.socketpair()

    def serve() -> None:
        with suppress(BrokenPipeError), far:
            pump(far.fileno(), far.fileno(), process)

    thread = threading.Thread(target=serve)
    with near, process:
        thread.start()
        try:
            yield near
        finally:
            near.shutdown(socket.SHUT_WR)
            thread.join(10)
            code = process.wait(10)
    assert (thread.is_alive(), code) == (False, 0)


@contextmanager
def openssh(where: Path, user: int | None = None) -> Iterator[socket.socket]:
    """Serve `where` by OpenSSH's server; yield the client's end."""
    near, far = socket.socketpair()
    with (
        near,
        subprocess.Popen(
            [OPENSSH], stdin=far.fileno(), stdout=far.fileno(), cwd=where, user=user
        ) as process,
    ):
        far.close()
        try:
            yield near
        finally:
            near.shutdown(socket.SHUT_WR)
            process.wait(10)
