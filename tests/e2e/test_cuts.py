"""The moment a key is rotated or a rental ends, whoever came in with it is out."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from .dev import Dev, Pod, eventually, make_key, rent
from .terminal import Terminal
from .test_audit import listed

Client = subprocess.Popen[bytes]


@contextmanager
def busy_clients(pod: Pod, master: str) -> Iterator[dict[str, Client]]:
    """Run clients of every kind, all of them well inside."""
    pod.ssh("truncate -s 20G /workspace/big")
    argv = ["sftp", *pod.options, "-P", pod.port, "-b", "-", pod.where]
    pipe = subprocess.PIPE
    clients = {
        "idle": pod.start("echo in; exec sleep 1000"),
        "terminal": pod.start("-tt", "echo in; exec cat"),
        "down": pod.start("echo in; exec cat /dev/zero"),
        "sftp": subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe),
        "master": pod.start("-M", f"-S{master}", "echo in; exec sleep 1000"),
    }
    with zeros() as source:
        up = pod.argv("echo in; exec cat >/dev/null")
        clients["up"] = subprocess.Popen(up, stdin=source, stdout=pipe, stderr=pipe)
        try:
            for name, client in clients.items():
                if name != "sftp":
                    assert client.stdout
                    assert client.stdout.readline().rstrip() == b"in"
            clients["shared"] = pod.start(f"-S{master}", "echo in; exec sleep 1000")
            assert clients["shared"].stdout
            assert clients["shared"].stdout.readline() == b"in\n"
            assert clients["sftp"].stdin
            clients["sftp"].stdin.write(b"get /workspace/big /dev/null\n")
            clients["sftp"].stdin.flush()
            copying = psutil.Process(clients["sftp"].pid)
            eventually(lambda: copying.io_counters().read_chars > 1_000_000)
            clients["no session"] = pod.start("-N", "-v")
            yield clients
        finally:
            for client in clients.values():
                client.kill()
                client.communicate()


@contextmanager
def zeros() -> Iterator[int]:
    descriptor = os.open("/dev/zero", os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_in(dev: Dev, pod: Pod) -> bool:
    return len(listed(dev, "--pod", pod.pod_id, "--open")) == 7


def closed_rows(dev: Dev, pod: Pod) -> list[dict[str, Any]]:
    """Return the rows of a pod's sessions once all are closed, before that nothing."""
    rows = listed(dev, "--pod", pod.pod_id)
    return rows if all(row["closed_at"] for row in rows) else []


@pytest.mark.parametrize(
    ("act", "reason", "told"),
    [
        (lambda pod: pod.dev.api("PATCH", f"/pods/{pod.pod_id}", {}), "key_rotated", b"replaced"),
        (lambda pod: pod.release(), "returned", b"released"),
    ],
    ids=["rotation", "release"],
)
def test_everybody_is_out_at_once(
    dev: Dev, tmp_path: Path, act: Callable[[Pod], object], reason: str, told: bytes
) -> None:
    pod = rent(dev, make_key(tmp_path / "key"))
    # Short: a socket's path has 107 bytes.
    master = f"/tmp/kgpud-cut-{os.getpid()}"
    with busy_clients(pod, master) as clients:
        eventually(lambda: is_in(dev, pod))
        wait_for_no_session(clients["no session"])
        act(pod)
        began = time.monotonic()
        for name, client in clients.items():
            out, said = client.communicate(timeout=20)
            # sftp writes to an ssh that is gone.
            codes = {255, -signal.SIGPIPE} if name == "sftp" else {255}
            assert client.returncode in codes, (name, out[:100], said)
            if name != "terminal":
                assert told in said, (name, said)
        assert time.monotonic() - began < 15
        assert b"Permission denied" in pod.ssh("true").stderr
    rows = eventually(lambda: closed_rows(dev, pod))
    # The first one made the file.
    assert {row["reason"] for row in rows if row["exit_status"] != 0} == {reason}
    with contextlib.suppress(FileNotFoundError):
        os.unlink(master)
    pod.release()


def wait_for_no_session(client: Client) -> None:
    """Read what ssh -v says until it is in."""
    assert client.stderr
    for line in iter(client.stderr.readline, b""):
        if b"Entering interactive session" in line:
            return
    raise AssertionError("it never came in")


def test_those_still_coming_in_are_out_too(dev: Dev, tmp_path: Path) -> None:
    pod = rent(dev, make_key(tmp_path / "key"))
    clients = [pod.start("echo in; exec sleep 1000") for _ in range(8)]
    try:
        # Some are inside by now, some are being authenticated, some have not even connected.
        assert clients[0].stdout
        clients[0].stdout.readline()
        pod.dev.api("PATCH", f"/pods/{pod.pod_id}", {})
        for client in clients:
            client.communicate(timeout=20)
        assert {client.returncode for client in clients} == {255}
        # Their commands are hung up on besides, which may take a moment longer.
        eventually(lambda: listed(dev, "--pod", pod.pod_id, "--open") == [])
    finally:
        for client in clients:
            client.kill()
            client.communicate()
        pod.release()


def test_who_is_in_a_pod_that_ends_by_itself_is_told_why(dev: Dev, tmp_path: Path) -> None:
    """The command's end is here first, killed by whatever ended the pod."""
    pod = rent(dev, make_key(tmp_path / "key"))
    terminal = Terminal(pod.argv("-tt"))
    terminal.until(b"# ")
    with pod.start("echo in; exec sleep 1000") as client:
        assert client.stdout
        assert client.stdout.readline() == b"in\n"
        pod.ssh("kill 1")
        out, said = client.communicate(timeout=20)
    assert (client.returncode, out) == (255, b"")
    assert said == b"kgpud: the container's first process ended, exit code 0\n"
    # On a line of its own, wherever the prompt was.
    terminal.until(b"\r\nkgpud: the container's first process ended, exit code 0\r\n")
    assert terminal.close() == 255
    pod.release()
