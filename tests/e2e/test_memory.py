"""What the daemon holds is bounded, whatever both ends of its sessions do."""

import hashlib
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from .dev import Dev, Pod, eventually

MIB = 1024 * 1024
SESSIONS = 8
# One window, what the link and the connection may hold, and what asyncio copies meanwhile.
PER_SESSION = 4 * MIB


class Watched:
    """The daemon's memory."""

    def __init__(self, dev: Dev) -> None:
        self.process = psutil.Process(dev.process.pid)

    def size(self) -> int:
        return int(self.process.memory_info().rss)

    def settled_size(self) -> int:
        """Return the memory once the daemon has nothing to do any more."""

        def idle() -> bool:
            before = sum(self.process.cpu_times()[:2])
            time.sleep(0.3)
            return bool(sum(self.process.cpu_times()[:2]) - before < 0.03)

        eventually(idle, 30)
        return self.size()


@contextmanager
def client(pod: Pod, command: str, stdin: str = "/dev/null") -> Iterator[subprocess.Popen[bytes]]:
    with open(stdin, "rb") as file:
        process = subprocess.Popen(pod.argv(command), stdin=file, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def began(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout
    assert process.stdout.read(1)


@pytest.mark.parametrize("stopped", [False, True], ids=["unread", "stopped"])
def test_output_that_nobody_reads(dev: Dev, pod: Pod, stopped: bool) -> None:
    daemon = Watched(dev)
    with ExitStack() as stack:
        before = daemon.size()
        for _ in range(SESSIONS):
            process = stack.enter_context(client(pod, "cat /dev/zero"))
            began(process)
            if stopped:
                process.send_signal(signal.SIGSTOP)
        assert daemon.settled_size() - before < SESSIONS * PER_SESSION


def test_input_that_no_pod_reads(dev: Dev, pod: Pod) -> None:
    daemon = Watched(dev)
    with ExitStack() as stack:
        before = daemon.size()
        for _ in range(SESSIONS):
            began(stack.enter_context(client(pod, "echo; exec sleep 1000", "/dev/zero")))
        assert daemon.settled_size() - before < SESSIONS * PER_SESSION


def test_a_pod_that_reads_slowly(dev: Dev, pod: Pod) -> None:
    """Credit for more than was passed on would add up: by 20 MiB here, in asyncssh's way."""
    daemon = Watched(dev)
    slowly = "while dd bs=128k count=1 of=/dev/null status=none; do printf .; done"
    with client(pod, slowly, "/dev/zero") as process:
        assert process.stdout
        began(process)
        before = daemon.size()
        assert len(process.stdout.read(1200)) == 1200
        assert daemon.size() - before < 2 * PER_SESSION


def test_new_keys_in_mid_transfer(pod: Pod, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(hashlib.shake_128(b"x").digest(12 * MIB))
    argv = pod.argv("-oRekeyLimit=1M", "-oLogLevel=DEBUG1", "cat; exit 7")
    with data.open("rb") as file:
        done = subprocess.run(argv, stdin=file, capture_output=True, timeout=60)
    assert done.returncode == 7
    assert done.stdout == data.read_bytes()
    assert done.stderr.count(b"SSH2_MSG_NEWKEYS received") > 5


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_gigabytes_leave_nothing_behind(dev: Dev, pod: Pod) -> None:
    """Far enough for asyncssh's own new keys, once a gigabyte."""
    daemon = Watched(dev)
    size = 5 * 1024 * MIB
    make = f"openssl enc -aes-128-ctr -pass pass:x -nosalt </dev/zero 2>/dev/null | head -c {size}"
    whole = subprocess.run(["sh", "-c", make + " | sha256sum"], capture_output=True).stdout
    before = daemon.size()
    local = subprocess.Popen(["sh", "-c", make], stdout=subprocess.PIPE)
    up = subprocess.run(pod.argv("sha256sum"), stdin=local.stdout, capture_output=True)
    assert local.stdout
    local.stdout.close()
    local.wait()
    assert up.stdout == whole
    assert daemon.size() - before < 3 * PER_SESSION
    there = subprocess.Popen(pod.argv(make), stdout=subprocess.PIPE)
    down = subprocess.run(["sha256sum"], stdin=there.stdout, capture_output=True)
    assert there.wait() == 0
    assert there.stdout
    there.stdout.close()
    assert down.stdout == whole
    assert daemon.size() - before < 3 * PER_SESSION
