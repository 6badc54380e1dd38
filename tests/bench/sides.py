"""The two servers that a bench compares: how to reach each, and what CPU it has used."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.e2e.dev import Dev, Pod, eventually, make_key
from tests.e2e.serve import free_port

# Without HOME bash reads no .bashrc, which could cost more than all of ssh.
_SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
StrictModes no
UsePAM no
MaxStartups 500
Subsystem sftp /usr/lib/openssh/sftp-server
SetEnv HOME=/nonexistent
"""


@dataclass
class Side:
    """One server: the ssh command line that reaches it, and its processes."""

    argv: list[str]
    processes: Callable[[], list[psutil.Process]]
    cluster: int | None = None  # the pid of the local cluster that it stands before

    def scp(self, *words: str) -> list[str]:
        """Return the command line of a copy on a connection of its own."""
        options = ["-P" if word == "-p" else word for word in self.argv[1:-1]]
        return ["scp", "-q", *options, *words]

    def cpu(self) -> float:
        """Return the CPU seconds of its living processes, without those of the commands."""
        return sum(map(_cpu, self.processes()))

    def cluster_cpu(self) -> float:
        """Return those of its local cluster, without those of the pods."""
        return _cpu(psutil.Process(self.cluster)) if self.cluster else 0.0

    def memory(self) -> int:
        """Return the bytes that its processes take, shared pages in shares."""
        return sum(process.memory_full_info().pss for process in self.processes())


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def one_connection(side: Side, control: Path) -> Iterator[Side]:
    """Open one connection and lead every command through it, so that its server stays alive."""
    shared = [side.argv[0], "-S", str(control), *side.argv[1:]]
    master = subprocess.Popen([shared[0], "-M", "-N", *shared[1:]])
    try:
        eventually(control.exists)
        yield Side(shared, side.processes, side.cluster)
    finally:
        master.terminate()
        master.wait(10)


@contextmanager
def sshd(folder: Path) -> Iterator[Side]:
    """Run OpenSSH's sshd."""
    port = free_port()
    make_key(folder / "host_key")
    config = folder / "sshd_config"
    config.write_text(_SSHD.format(port=port, folder=folder))
    # sshd's privilege separation wants this folder; Debian makes it at boot.
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    log = (folder / "sshd.log").open("wb")
    process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], stderr=log)
    argv = ["ssh", "-F", "none", "-i", str(folder / "key"), "-p", str(port)]
    argv += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    # What the bastion negotiates: the comparison is of servers, not of ciphers.
    argv += ["-o", "LogLevel=ERROR", "-c", "aes128-gcm@openssh.com", "127.0.0.1"]

    def processes() -> list[psutil.Process]:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if child.name() == "sshd"]

    try:
        eventually(lambda: subprocess.run([*argv, "true"], capture_output=True).returncode == 0)
        yield Side(argv, processes)
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def daemon(dev: Dev, pod: Pod) -> Side:
    """Return the daemon without its cluster, which stands for Kubernetes."""
    process = psutil.Process(dev.process.pid)
    children = process.children()
    return Side(pod.argv(), lambda: [process], children[0].pid if children else None)


def timed(argv: list[str], stdin: Path | None = None) -> float:
    """Run a command; return the seconds it took."""
    with (stdin or Path("/dev/null")).open("rb") as file:
        began = time.perf_counter()
        subprocess.run(argv, stdin=file, stdout=subprocess.DEVNULL, check=True, timeout=120)
        return time.perf_counter() - began
