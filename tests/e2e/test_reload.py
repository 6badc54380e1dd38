"""`kgpud reload`: an upgrade that refuses no connection and drops no session."""

import subprocess
from pathlib import Path

import psutil

from .dev import Pod, make_key, rent
from .serve import front, kgpud, serving, sign_up

Client = subprocess.Popen[bytes]


def reload(config: Path) -> psutil.Process:
    """Reload; return the daemon that serves then."""
    kgpud("reload", "--config", str(config))
    return owner(config)


def owner(config: Path) -> psutil.Process:
    return psutil.Process(int((config.parent / "state" / "kgpud.lock").read_text()))


def begun(pod: Pod, command: str) -> Client:
    """Start a command that says when it is in."""
    client = pod.start(f"echo in; {command}")
    assert client.stdout
    assert client.stdout.readline() == b"in\n"
    return client


def test_a_session_goes_on_across_a_reload(config: Path, tmp_path: Path) -> None:
    with serving(config) as elder:
        pod = rent(front(config, elder, sign_up(config)), make_key(tmp_path / "key"))
        client = begun(pod, "read line; echo got $line; exit 3")
        heir = reload(config)
        assert heir.pid != elder.pid
        assert pod.ssh("echo new").stdout == b"new\n"
        out, _ = client.communicate(b"hello\n", timeout=20)
        assert (out, client.returncode) == (b"got hello\n", 3)
        assert elder.wait(20) == 0
        heir.terminate()
        heir.wait(20)
