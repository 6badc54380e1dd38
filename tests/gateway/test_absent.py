"""What a user reads where the image lacks the other half of a client."""

import pytest

from gateway import absent
from gateway.wrapper import Command, Kind

from .shells import Shell, run


@pytest.mark.parametrize(
    ("text", "program"),
    [
        (b"rsync --server -logDtpre.iLsfxCIvu . /workspace/", b"rsync"),
        (b"git-upload-pack '/workspace/it'\\''s.git'", b"git"),
        (b"git-receive-pack 'x.git'", b"git"),
        (b"git-upload-archive 'x.git'", b"git"),
    ],
)
def test_an_image_without_it_says_what_to_install(
    shell: Shell, text: bytes, program: bytes
) -> None:
    tools = shell.folder / "bin"
    command = Command(Kind.COMMAND, [absent.explained(text)])
    ran = run(shell, command, environment={"PATH": str(tools)})
    assert ran.codes == {127}
    [line] = ran.err.splitlines()
    assert line.startswith(b"kgpud: this image has no %s; install it in the pod" % program)
    assert not ran.out


def test_an_image_with_rsync_runs_it(shell: Shell) -> None:
    tools = shell.folder / "bin"
    (tools / "rsync").write_text('#!/bin/sh\nprintf "<%s>" "$@"\nexit 5\n')
    (tools / "rsync").chmod(0o755)
    command = Command(Kind.COMMAND, [absent.explained(b"rsync --server 'a b' \xff")])
    ran = run(shell, command, environment={"PATH": f"{tools}:/usr/bin:/bin"})
    assert ran.codes == {5}
    assert ran.out == b"<--server><a b><\xff>"
    assert not ran.err


@pytest.mark.parametrize(
    "text", [b"rsync a b", b"rsync --serverless", b"echo rsync --server ", b"git status"]
)
def test_other_commands_are_left_alone(text: bytes) -> None:
    assert absent.explained(text) == text
