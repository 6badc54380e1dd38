"""scp -O when something goes wrong: said, never acknowledged, and nothing left behind."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from .dev import Dev, Pod, eventually, make_key, rent
from .serve import front, serving, sign_up, write_config
from .test_memory import MIB, PER_SESSION, Watched

Client = subprocess.Popen[bytes]
CLIENTS = 4


@contextmanager
def copying(pod: Pod, *words: str) -> Iterator[Client]:
    """Run scp -O in the background. `POD:` begins a path in the pod."""
    places = [word.replace("POD:", f"{pod.where}:") for word in words]
    argv = ["scp", "-O", "-q", *pod.options, "-P", pod.port, *places]
    # A group of its own: scp and its ssh are stopped and killed together.
    client = subprocess.Popen(argv, stderr=subprocess.PIPE, process_group=0)
    try:
        yield client
    finally:
        with suppress(ProcessLookupError):  # it has ended, and so has its ssh
            os.killpg(client.pid, signal.SIGKILL)
        client.communicate()


def said(pod: Pod, *words: str) -> tuple[int, bytes]:
    """Copy; return scp's exit code and what it said."""
    with copying(pod, *words) as client:
        _, err = client.communicate(timeout=60)
        return client.returncode, err


def has_read(client: Client, size: int) -> None:
    eventually(lambda: psutil.Process(client.pid).io_counters().read_chars > size)


def copiers(pod: Pod) -> bytes:
    """Return which processes in the pod copy: the shell that runs our script, and its tools.

    The wrapper around it has the script as a part of a word. It may be writing its trailer to a
    pipe that nobody reads any more, until it is killed.
    """
    shown = pod.ssh(
        "grep -lz '^unset [K]GPU_SCP' /proc/[0-9]*/cmdline;grep -lxE 'dd|tar' /proc/[0-9]*/comm; :"
    )
    assert shown.returncode == 0
    return shown.stdout


@pytest.mark.parametrize("size", [1, 70_000, 3_000_000])
def test_a_full_disk(pod: Pod, tmp_path: Path, size: int) -> None:
    data = tmp_path / "data"
    data.write_bytes(bytes(size))
    code, err = said(pod, str(data), "POD:/dev/full")
    assert code == 1
    assert err == b"scp: /dev/full: No space left on device\n"


def test_a_full_disk_within_a_tree(pod: Pod, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("a", "full", "z"):
        (tree / name).write_bytes(b"x" * 200_000)
    pod.ssh("mkdir -p /tmp/to/tree; ln -s /dev/full /tmp/to/tree/full")
    code, err = said(pod, "-r", str(tree), "POD:/tmp/to")
    assert code == 1
    assert err == b"scp: /tmp/to/tree/full: No space left on device\n"
    assert pod.ssh("cat /tmp/to/tree/[az] | wc -c").stdout == b"400000\n"


@pytest.mark.parametrize("way", ["up", "down", "tree up"])
def test_a_client_killed_in_mid_file(pod: Pod, tmp_path: Path, way: str) -> None:
    big = tmp_path / "tree" / "big"
    big.parent.mkdir()
    with big.open("wb") as file:
        file.truncate(8 << 30)
    pod.ssh("truncate -s 8G /workspace/huge")
    words = {
        "up": (str(big), "POD:/dev/null"),
        "down": ("POD:/workspace/huge", "/dev/null"),
        "tree up": ("-r", str(big.parent), "POD:/workspace/never"),
    }[way]
    with copying(pod, *words) as client:
        has_read(client, 3_000_000)
        assert b"cmdline" in copiers(pod)
    eventually(lambda: not copiers(pod))
    pod.ssh("rm -rf /workspace/never")


def test_clients_that_stall(dev: Dev, pod: Pod) -> None:
    daemon = Watched(dev)
    pod.ssh("truncate -s 8G /workspace/huge")
    with ExitStack() as stack:
        before = daemon.size()
        for _ in range(CLIENTS):
            client = stack.enter_context(copying(pod, "POD:/workspace/huge", "/dev/null"))
            has_read(client, 100_000)
            os.killpg(client.pid, signal.SIGSTOP)
        assert daemon.settled_size() - before < CLIENTS * PER_SESSION


def test_a_pod_that_stalls(dev: Dev, pod: Pod, tmp_path: Path) -> None:
    """Somebody holds the pipe open, and never reads."""
    daemon = Watched(dev)
    data = tmp_path / "data"
    with data.open("wb") as file:
        file.truncate(64 * MIB)
    with ExitStack() as stack:
        holder = stack.enter_context(pod.start("mkfifo /tmp/p; exec 9<>/tmp/p; echo; sleep 1000"))
        stack.callback(holder.kill)
        assert holder.stdout
        assert holder.stdout.readline() == b"\n"
        before = daemon.size()
        clients = [
            stack.enter_context(copying(pod, str(data), "POD:/tmp/p")) for _ in range(CLIENTS)
        ]
        for client in clients:
            has_read(client, 300_000)
        assert daemon.settled_size() - before < CLIENTS * PER_SESSION
        assert [client.poll() for client in clients] == [None] * CLIENTS


def test_passthrough_leaves_it_to_the_pods_own(pod: Pod, kubeconfig: Path, tmp_path: Path) -> None:
    """With -v OpenSSH's tells what it does."""
    told = b"Sending file modes: C0644"
    command = "scp -v -f /etc/passwd"
    assert told not in pod.ssh(command, stdin=bytes(3)).stderr
    config = write_config(tmp_path, kubeconfig, '[gateway]\nscp = "passthrough"\n')
    with serving(config) as process:
        other = rent(front(config, process, sign_up(config)), pod.key)
        assert told in other.ssh(command, stdin=bytes(3)).stderr


def test_a_shell_that_talks_leaves_it_to_the_pods_own(dev: Dev, tmp_path: Path) -> None:
    """What it says would be taken for the protocol, with OpenSSH's server too."""
    pod = rent(dev, make_key(tmp_path / "key"), env={"BASH_ENV": "/workspace/rc"})
    # bash reads one file for us, and the other where it is told of an SSH connection.
    pod.ssh("echo 'echo welcome' | tee /workspace/rc >~/.bashrc")
    code, err = said(pod, "/etc/passwd", "POD:/workspace/")
    assert code != 0
    assert b"welcome" in err
    eventually(lambda: b"/proc" not in copiers(pod))
    pod.release()
