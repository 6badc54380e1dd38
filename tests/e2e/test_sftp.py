"""What serves SFTP in an image that has a shell and no more: when it ends, and what it leaves.

What clients do with it is in tests/clients.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.gateway.sftp.client import CREAT, OPEN, W, packet

from .dev import Pod, eventually
from .library import connected

# What a process list of the bare image shows of an agent and of the files that it holds open.
AGENT, HELD = "kgpud: no sftp-server", "sleep 2147483647"


def processes(bare: Pod, text: str) -> list[str]:
    """Return the pids of what runs in the pod with `text` in its command line."""
    look = "for d in /proc/[0-9]*; do echo ${d#/proc/} $(tr '\\0' ' ' <$d/cmdline); done"
    lines = bare.ssh(look).stdout.decode().splitlines()
    return [line.split()[0] for line in lines if text in line and look not in line]


@contextmanager
def held_open(bare: Pod) -> Iterator[subprocess.Popen[bytes]]:
    """A client with a file open and no more to ask."""
    with bare.start("-s", "sftp") as client:
        try:
            assert client.stdin
            asked = packet(1, 3) + packet(OPEN, 7, b"/workspace/held", W | CREAT, {})
            client.stdin.write(asked)
            client.stdin.flush()
            eventually(lambda: processes(bare, HELD))
            yield client
        finally:
            with suppress(ProcessLookupError):
                client.kill()


def test_when_the_client_goes_the_agent_goes(bare: Pod) -> None:
    with held_open(bare) as client:
        client.kill()
        client.wait(20)
        eventually(lambda: not processes(bare, AGENT) and not processes(bare, HELD))


def test_an_agent_that_is_killed_is_no_success(bare: Pod) -> None:
    with held_open(bare) as client:
        # Of the two that look like it, the second is the agent and the first waits for it.
        _, agent = processes(bare, AGENT)[-2:]
        bare.ssh(f"kill -9 {agent}")
        _, said = client.communicate(timeout=20)
        assert client.returncode == 137
        assert not processes(bare, HELD)
        assert said == b"kgpud: the helper in the pod ended before the session did\n"


def test_after_a_session_nothing_is_left(bare: Pod, tmp_path: Path) -> None:
    bare.scp("-s", "POD:/bin/busybox", str(tmp_path / "x"))
    with connected(bare) as client, client.open_sftp() as sftp:
        kept = [sftp.open(f"/workspace/kept{n}", "w") for n in range(3)]
        assert len(processes(bare, HELD)) == 3
        del kept
    eventually(lambda: not processes(bare, HELD) and not processes(bare, AGENT))


def test_a_file_without_a_size(bare: Pod) -> None:
    with (
        connected(bare) as client,
        client.open_sftp() as sftp,
        sftp.open("/proc/cpuinfo") as opened,
    ):
        assert b"processor" in opened.read(4096)


def test_where_a_path_begins(pod: Pod, tmp_path: Path) -> None:
    """Clients of SFTP leave out the `~/` that only the pod's shell could read."""
    (tmp_path / "file").write_bytes(b"x")
    file = str(tmp_path / "file")
    pod.scp(file, "POD:a")
    pod.scp(file, "POD:~/b")
    pod.scp("-O", file, "POD:c")
    pod.scp("-O", file, "POD:~/d")
    found = pod.ssh("ls /workspace/a /workspace/b /workspace/c ~/d")
    assert found.returncode == 0, found.stderr
