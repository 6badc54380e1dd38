"""A flood of connections that never log in costs nobody who works a keystroke."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from .dev import Pod, eventually, make_key, rent
from .serve import front, serving, sign_up, write_config
from .terminal import Terminal


@contextmanager
def flood(port: str) -> Iterator[None]:
    argv = [sys.executable, "-m", "tests.e2e.flood", port]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe) as process:
        assert process.stdin
        assert process.stdout
        try:
            assert process.stdout.readline() == b"flooding\n"
            yield
            assert process.poll() is None
        finally:
            process.stdin.close()
            assert process.wait(30) == 0


def test_keystrokes_and_logins_go_on_under_a_flood(tmp_path: Path, kubeconfig: Path) -> None:
    # Without penalties, which would end the flood.
    config = write_config(
        tmp_path, kubeconfig, "exempt = []\nlogin_seconds = 5\n[ssh.penalties]\nmaximum = 0.0\n"
    )
    with serving(config) as daemon:
        pod = rent(front(config, daemon, sign_up(config)), make_key(tmp_path / "key"))
        # From now on the address is known.
        assert pod.ssh("true").returncode == 0
        terminal = Terminal(pod.argv("-tt", "echo begun; exec sed -u s/key/answer/"))
        terminal.until(b"begun")
        log = config.with_suffix(".log")
        with flood(pod.port):
            slowest = max(keystroke(terminal, number) for number in range(20))
            assert slowest < 10
            assert [pod.ssh("exit 3").returncode for _ in range(3)] == [3] * 3
        terminal.type(b"\x04")
        assert terminal_ends(terminal) == 0
    lines = log.read_text().splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    dropped = [event for event in events if event["event"] == "ssh.dropped"]
    # A line now and then, not one for each.
    assert 1 <= len(dropped) < 20
    assert sum(event["startups"] for event in dropped) > 100
    assert not [event for event in events if event["level"] in ("error", "critical")]


def keystroke(terminal: Terminal, number: int) -> float:
    began = time.monotonic()
    terminal.type(f"key {number}.\r".encode())
    # Changed on its way, so it is no echo of this side.
    terminal.until(f"answer {number}.".encode(), 30)
    return time.monotonic() - began


def terminal_ends(terminal: Terminal) -> int:
    with pytest.raises(OSError):
        terminal.until(b"never")
    return terminal.close()


def test_a_penalty_shuts_a_stranger_out_and_runs_out(tmp_path: Path, kubeconfig: Path) -> None:
    config = write_config(
        tmp_path,
        kubeconfig,
        "exempt = []\n[ssh.penalties]\nrefused = 1.0\nminimum = 2.5\nmaximum = 4.0\n",
    )
    with serving(config) as daemon:
        dev = front(config, daemon, sign_up(config))
        stranger = Pod(dev, "none", make_key(tmp_path / "stranger"))

        def refusal() -> bytes:
            return stranger.ssh("-b127.0.0.9", "true").stderr

        def shut_out() -> bool:
            return b"Permission denied" not in refusal()

        assert b"Permission denied (publickey)" in refusal()
        eventually(shut_out)
        said = refusal()
        # It says nothing of us.
        assert b"kgpud" not in said
        # Another address, and this one when its time is over.
        assert b"Permission denied" in stranger.ssh("-b127.0.0.8", "true").stderr
        eventually(lambda: not shut_out())


def test_out_of_descriptors_it_says_so_and_recovers(tmp_path: Path, kubeconfig: Path) -> None:
    config = write_config(tmp_path, kubeconfig)
    log = config.with_suffix(".log")
    with serving(config) as daemon:
        pod = rent(front(config, daemon, sign_up(config)), make_key(tmp_path / "key"))
        inside = pod.start("cat")
        assert inside.stdin
        assert inside.stdout
        inside.stdin.write(b"in\n")
        inside.stdin.flush()
        assert inside.stdout.readline() == b"in\n"
        process = psutil.Process(daemon.pid)
        limit = process.rlimit(psutil.RLIMIT_NOFILE)
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 4, limit[1]))
        with contextlib.ExitStack() as held:
            address = ("127.0.0.1", int(pod.port))
            for _ in range(30):
                held.enter_context(socket.create_connection(address, 20))
            eventually(lambda: b"ssh.accept_failed" in log.read_bytes())
            process.rlimit(psutil.RLIMIT_NOFILE, limit)
            # Those who waited meanwhile are served now.
            assert pod.ssh("exit 4").returncode == 4
        assert inside.communicate(b"still here", timeout=20)[0] == b"still here"
        assert log.read_bytes().count(b"ssh.accept_failed") < 20
