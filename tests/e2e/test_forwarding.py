"""Forwarding of any kind is refused, with the reason where SSH carries one, and ends no session."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .dev import Pod, eventually, output
from .serve import free_port

PROHIBITED = b"administratively prohibited: forwarding is disabled here"


@contextmanager
def forwarding(pod: Pod, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a session that would forward, and end it well afterwards."""
    client = pod.start(*options, "echo in; cat; exit 3")
    try:
        assert client.stdout
        assert client.stdout.readline() == b"in\n"
        yield client
    finally:
        client.kill()
        client.communicate()


def refusal(client: "subprocess.Popen[bytes]") -> bytes:
    """End the session, which must not have suffered, and return what ssh complained of."""
    out, complaint = client.communicate(b"unharmed", timeout=20)
    assert (out, client.returncode) == (b"unharmed", 3)
    return complaint


def closed_at_once(sock: socket.socket) -> bool:
    with sock:
        sock.settimeout(20)
        return sock.recv(1) == b""


@pytest.mark.parametrize("there", ["127.0.0.1:22", "/run/docker.sock"])
def test_local_forwarding(pod: Pod, there: str) -> None:
    port = free_port()
    with forwarding(pod, f"-L127.0.0.1:{port}:{there}") as client:
        assert closed_at_once(socket.create_connection(("127.0.0.1", port), 20))
        assert PROHIBITED in refusal(client)


def test_a_local_socket(pod: Pod) -> None:
    path = f"/tmp/kgpud-fw-{os.getpid()}"
    with forwarding(pod, f"-L{path}:127.0.0.1:22") as client:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        assert closed_at_once(sock)
        assert PROHIBITED in refusal(client)
    Path(path).unlink(missing_ok=True)


def test_dynamic_forwarding(pod: Pod) -> None:
    port = free_port()
    with forwarding(pod, f"-D127.0.0.1:{port}") as client:
        url = ["--socks5-hostname", f"127.0.0.1:{port}", "http://127.0.0.1:9/"]
        assert subprocess.run(["curl", "-sS", *url], capture_output=True, timeout=20).returncode
        assert PROHIBITED in refusal(client)


@pytest.mark.parametrize(
    "spec", ["0:127.0.0.1:22", "2222:127.0.0.1:22", "/run/x:127.0.0.1:22", "0"]
)
def test_remote_forwarding(pod: Pod, spec: str) -> None:
    with forwarding(pod, f"-R{spec}") as client:
        assert b"remote port forwarding failed" in refusal(client).replace(b"streamlocal", b"port")
    strict = pod.ssh("-oExitOnForwardFailure=yes", f"-R{spec}", "true")
    assert strict.returncode == 255


def test_standard_io(pod: Pod) -> None:
    done = pod.ssh("-W127.0.0.1:22")
    assert done.returncode == 255
    assert b"forwarding is disabled here" in done.stderr


def test_an_agent_is_not_reached(pod: Pod) -> None:
    argv = pod.argv("-A", "env; ls -d /tmp/ssh-* 2>/dev/null; exit 3")
    done = subprocess.run(["ssh-agent", *argv], capture_output=True, timeout=20)
    assert (done.returncode, done.stderr) == (3, b"")
    assert b"SSH_AUTH_SOCK" not in done.stdout
    assert b"/tmp/ssh-" not in done.stdout


def test_x11(pod: Pod) -> None:
    argv = pod.argv("-Y", "-oForwardX11=yes", "env; exit 3")
    env = {**os.environ, "DISPLAY": "127.0.0.1:0"}
    done = subprocess.run(argv, capture_output=True, timeout=20, env=env)
    assert done.returncode == 3
    assert b"X11 forwarding request failed" in done.stderr
    assert b"DISPLAY=" not in done.stdout


@pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="this machine has no /dev/net/tun")
@pytest.mark.parametrize("mode", ["point-to-point", "ethernet"])
def test_a_tunnel(pod: Pod, mode: str) -> None:
    before = output(["ls", "/sys/class/net"])
    done = pod.ssh("-wany", f"-oTunnel={mode}", "exit 3")
    if b"Tunnel device open failed" in done.stderr:
        pytest.skip("this machine lets nobody open /dev/net/tun")
    assert done.returncode == 3
    assert PROHIBITED in done.stderr
    eventually(lambda: output(["ls", "/sys/class/net"]) == before)
