"""Ours and OpenSSH's server without root's rights: what is refused, and what can be done anyway."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from . import client as sftp
from .client import DENIED, OK, Client, R, W
from .local import openssh, ours

NOBODY = 65534


@pytest.fixture(params=["dash", "bash", "busybox", "openssh"])
def folder(request: pytest.FixtureRequest) -> Iterator[tuple[Client, Path]]:
    """A client of a server that runs as nobody in a folder of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    with ExitStack() as stack:
        top = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        top.chmod(0o755)
        (top / "own").mkdir()
        os.chown(top / "own", NOBODY, NOBODY)
        if request.param == "openssh":
            sock = stack.enter_context(openssh(top / "own", NOBODY))
        else:
            sock = stack.enter_context(ours(request.param, top, top / "own", NOBODY))
        yield stack.enter_context(closing(Client(sock))), top


def test_what_is_not_allowed(folder: tuple[Client, Path]) -> None:
    client, top = folder
    (top / "secret").write_text("x")
    (top / "secret").chmod(0o600)
    (top / "readable").write_text("x")
    (top / "closed").mkdir(mode=0o700)
    (top / "names").mkdir(mode=0o711)
    path = os.fsencode(top) + b"/"
    asked = [
        client.ask(sftp.OPEN, path + b"secret", R, {}),
        client.ask(sftp.OPEN, path + b"readable", W, {}),
        client.ask(sftp.OPEN, path + b"new", W | sftp.CREAT, {}),
        client.ask(sftp.OPENDIR, path + b"closed"),
        client.ask(sftp.OPENDIR, path + b"names"),
        client.ask(sftp.STAT, path + b"closed/x"),
        client.ask(sftp.MKDIR, path + b"new", {}),
        client.ask(sftp.REMOVE, path + b"readable"),
        client.ask(sftp.SETSTAT, path + b"readable", {"mode": 0o777}),
        client.ask(sftp.SETSTAT, path + b"readable", {"atime": 1, "mtime": 1}),
        client.ask(sftp.SETSTAT, path + b"readable", {"size": 0}),
        client.ask(sftp.SETSTAT, b".", {"uid": 0, "gid": 0}),
        client.ask(sftp.RENAME, path + b"readable", b"mine"),
    ]
    assert [answer.code for answer in asked] == [DENIED] * len(asked)
    assert (top / "readable").read_text() == "x"
    assert sorted(os.listdir(top / "own")) == []


@pytest.mark.parametrize("mode", [0o444, 0o000, 0o200])
def test_a_file_that_is_read_only_once_it_is_written(
    folder: tuple[Client, Path], mode: int
) -> None:
    client, top = folder
    handle = client.opened(b"file", R | W | sftp.CREAT | sftp.EXCL, mode=mode)
    assert client.ask(sftp.WRITE, handle, (0,), b"hello").code == OK
    assert client.ask(sftp.WRITE, handle, (5,), b" again").code == OK
    assert client.ask(sftp.CLOSE, handle).code == OK
    assert (top / "own" / "file").stat().st_mode & 0o7777 == mode
    assert (top / "own" / "file").read_text() == "hello again"
