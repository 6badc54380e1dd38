"""WinSCP's two ways, emulated: it runs on Windows alone.

Its SFTP session as its log shows it (version 6 offered, a part file that is renamed at the end,
times by SETSTAT on the path), and its SCP session: one shell without a terminal, whose commands end
in a line that it waits for, and in which `scp` is started.
"""

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager

from tests.e2e.dev import Pod
from tests.gateway.sftp.client import (
    CLOSE,
    CREAT,
    EXCL,
    FSTAT,
    LSTAT,
    OK,
    READLINK,
    REALPATH,
    REMOVE,
    RENAME,
    SETSTAT,
    STAT,
    SYMLINK,
    Client,
    W,
)

from .shows import BARE, DEFAULT, shows
from .trees import OLD


@contextmanager
def session(image: Pod, *options: str) -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        argv = image.argv(*options)
        process = subprocess.Popen(
            argv, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.PIPE
        )
        theirs.close()
        ours.settimeout(20)
        try:
            yield ours
            ours.shutdown(socket.SHUT_WR)
            _, said = process.communicate(timeout=20)
            assert said == b""
        finally:
            process.kill()
            process.communicate()


@shows("WinSCP", "emulated: its SFTP session, a part file renamed at the end")
def test_sftp(image: Pod, there: str) -> None:
    at = there.encode()
    with session(image, "-s", "sftp") as sock, closing(Client(sock, offers=6)) as winscp:
        assert winscp.ask(REALPATH, b".").names[0][0] == b"/workspace"
        assert winscp.ask(REALPATH, at + b"/./../" + at[11:]).names[0][0] == at
        content = os.urandom(500_000)
        winscp.put(at + b"/data.filepart", content, W | CREAT | EXCL)
        when = {"atime": OLD, "mtime": OLD}
        assert winscp.ask(SETSTAT, at + b"/data.filepart", {"mode": 0o640, **when}).code == OK
        assert winscp.ask(STAT, at + b"/data").code != OK
        assert winscp.ask(RENAME, at + b"/data.filepart", at + b"/data").code == OK
        found = winscp.ask(LSTAT, at + b"/data").attributes
        assert (found["size"], found["mode"] & 0o7777, found["mtime"]) == (500_000, 0o640, OLD)
        # Over a file that is there: SFTP 3's own rename won't, so it removes that first.
        winscp.put(at + b"/data.filepart", content[::-1])
        assert winscp.ask(RENAME, at + b"/data.filepart", at + b"/data").code != OK
        assert winscp.ask(REMOVE, at + b"/data").code == OK
        assert winscp.ask(RENAME, at + b"/data.filepart", at + b"/data").code == OK
        assert winscp.ask(SYMLINK, b"data", at + b"/link").code == OK
        assert winscp.ask(READLINK, at + b"/link").names[0][0] == b"data"
        handle = winscp.opened(at + b"/link", 1)
        assert winscp.ask(FSTAT, handle).attributes["size"] == 500_000
        assert winscp.ask(CLOSE, handle).code == OK
        assert winscp.get(at + b"/link") == content[::-1]
        names = [name for name, _, _ in winscp.list(at).names]
        assert names == [b".", b"..", b"data", b"link"]


class ScpMode:
    """A shell in which every command's end is told by a line of ours."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file = sock.makefile("rb")

    def close(self) -> None:
        self.file.close()

    def run(self, command: str) -> tuple[int, bytes]:
        self.sock.sendall(f'{command} ; echo "WinSCP: this is end-of-file:$?"\n'.encode())
        return self.end()

    def end(self) -> tuple[int, bytes]:
        said = b""
        while not (found := re.fullmatch(rb"WinSCP: this is end-of-file:(\d+)\n", said[-99:])):
            line = self.file.readline()
            assert line, said
            said = said + line if not line.startswith(b"WinSCP: ") else line
        return int(found[1]), said


SCP_MODE = "emulated: its SCP mode, a shell that runs the image's `scp`"


@shows("WinSCP", SCP_MODE, on=(DEFAULT,))
def test_scp_mode(image: Pod, there: str) -> None:
    with session(image, "-T") as sock, closing(ScpMode(sock)) as winscp:
        assert winscp.run("unset LANG ; unset LANGUAGE")[0] == 0
        assert winscp.run(f'cd "{there}"')[0] == 0
        assert winscp.run("ls -la --full-time")[0] == 0
        content = os.urandom(100_000)
        sock.sendall(b'scp -r -p -d -t "."  ; echo "WinSCP: this is end-of-file:$?"\n')
        for message in (
            b"",
            b"T%d 0 %d 0\n" % (OLD, OLD),
            b"C0644 100000 up loaded\n",
            content + b"\0",
            b"E\n",
        ):
            sock.sendall(message)
            assert winscp.file.read(1) == b"\0"
        assert winscp.end()[0] == 0
        sock.sendall(b'scp -r -p -f "up loaded" ; echo "WinSCP: this is end-of-file:$?"\n\0')
        assert winscp.file.readline() == b"T%d 0 %d 0\n" % (OLD, OLD)
        sock.sendall(b"\0")
        assert winscp.file.readline() == b"C0644 100000 up loaded\n"
        sock.sendall(b"\0")
        assert winscp.file.read(100_001) == content + b"\0"
        sock.sendall(b"\0")
        assert winscp.end()[0] == 0
        assert winscp.run("cd /no/where 2>&1")[0] != 0


@shows("WinSCP", SCP_MODE, on=(BARE,), answer="no: the image has no `scp`; take SFTP")
def test_scp_mode_without_scp(image: Pod) -> None:
    done = image.ssh("-T", stdin=b'scp -f x ; echo "WinSCP: this is end-of-file:$?"\n')
    assert done.stdout == b"WinSCP: this is end-of-file:127\n"
    assert b"scp: not found" in done.stderr
