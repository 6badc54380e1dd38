"""The lies through the whole bastion: what the user of a real ssh client sees of them."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.e2e.dev import Pod

from .expected import expected
from .made_up import TABLE
from .recording import STDERR, STDOUT, Recording
from .replay import RAW, WRAPPED

_WITHIN = 60.0

# Of each kind of end one; the others differ in nothing that ssh could tell apart.
SESSIONS = [
    ("exec-1.36-default/exit0.v5", WRAPPED),
    ("exec-1.36-default/exit0.v5", RAW),
    ("exec-1.36-default/exit3.v4", WRAPPED),
    ("exec-1.36-default/exit255.v5", WRAPPED),
    ("exec-1.36-default/sig9.v5", RAW),
    ("exec-1.36-default/sh_127.v5", WRAPPED),
    ("exec-1.36-default/bare_scp_missing.v5", RAW),
    ("exec-1.36-default/user_without_rights.v5", RAW),
    ("exec-1.36-default/no_such_pod.v5", RAW),
    ("exec-1.36-default/pod_completed.v5", RAW),
    ("exec-apiserver-translated/pod_completed.v5", RAW),
    ("exec-1.36-default/proto_bad", RAW),
    ("idle-1.36-default/idle_silent_notty.v4", RAW),
    ("restart/containerd_restart_writer.v5", RAW),
    ("restart/containerd_restart_writer.v4", RAW),
    ("restart/kubelet_kill9_writer.v5", RAW),
    ("restart/kubelet_restart_writer.v5", RAW),
    ("restart/apiserver_kill9_writer.v5", RAW),
    ("restart/apiserver_restart_graceful_writer.v5", RAW),
]
LIES = [name for name, row in TABLE.items() if not row.slow]
_AT_ONCE = 8


@dataclass(frozen=True)
class Told:
    """What ssh gave its user."""

    code: int
    out: bytes
    err: bytes


def ssh(pod: Pod, word: str, stdin: int = 0, *, tty: bool = False) -> Told:
    argv = pod.argv("-qtt" if tty else "-T", word)
    done = subprocess.run(argv, input=bytes(stdin), capture_output=True, timeout=_WITHIN)
    return Told(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def told(pod: Pod) -> dict[str, Told]:
    """Ask for all of them, some at a time."""
    with ThreadPoolExecutor(_AT_ONCE) as at_once:
        asked = {
            f"{name} {how}": at_once.submit(ssh, pod, f"play {name} {how}")
            for name, how in SESSIONS
        }
        for name in LIES:
            row = TABLE[name]
            asked[name] = at_once.submit(ssh, pod, f"play {name}", row.stdin, tty=row.tty)
        return {word: future.result() for word, future in asked.items()}


@pytest.mark.parametrize(("name", "how"), SESSIONS)
def test_a_session(told: dict[str, Told], name: str, how: str) -> None:
    user, recording, should = told[f"{name} {how}"], Recording(name), expected(name, how)
    assert user.code == should.code
    assert user.out == recording.said(STDOUT)
    check_line(user, recording.said(STDERR), should.line)


@pytest.mark.parametrize("name", LIES)
def test_a_lie(told: dict[str, Told], name: str) -> None:
    user, row = told[name], TABLE[name]
    assert user.code == row.code
    assert user.out.startswith(row.out)
    check_line(user, row.err, row.line)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.slow])
def test_a_slow_lie(pod: Pod, name: str) -> None:
    user, row = ssh(pod, f"play {name}"), TABLE[name]
    assert user.code == row.code
    check_line(user, row.err, row.line)


def check_line(user: Told, err: bytes, line: str) -> None:
    """Check that kgpud says one line, after all that the command said, or nothing."""
    assert user.err.startswith(err)
    # At a terminal it begins a line of its own.
    said = user.err.removeprefix(err).decode().removeprefix("\r\n")
    if line:
        assert said.startswith(f"kgpud: {line}")
        assert said.count("\n") == 1
        assert said.rstrip("\r\n").isprintable()
    else:
        assert not said
