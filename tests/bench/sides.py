"""The two servers that a bench compares: how to reach each, and what CPU it has used."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.e2e.dev import Dev, Pod, eventually, make_key

# Without HOME bash reads no .bashrc, which could cost more than all of ssh.
_SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
StrictModes no
UsePAM no
SetEnv HOME=/nonexistent
"""


@dataclass
class Side:
    """One server: the ssh command line that reaches it, and its processes."""

    argv: list[str]
    processes: Callable[[], list[psutil.Process]]

    def scp(self, *words: str) -> list[str]:
        """Return the command line of a copy over the old protocol, on a connection of its own."""
        options = ["-P" if word == "-p" else word for word in self.argv[1:-1]]
        return ["scp", "-O", "-q", *options, *words]

    def cpu(self) -> float:
        """Return the CPU seconds of its living processes, without those of the commands."""
        times = [process.cpu_times() for process in self.processes()]
        return sum(time.user + time.system for time in times)


@contextmanager
def one_connection(side: Side, control: Path) -> Iterator[Side]:
    """Open one connection and lead every command through it, so that its server stays alive."""
    shared = [side.argv[0], "-S", str(control), *side.argv[1:]]
    master = subprocess.Popen([shared[0], "-M", "-N", *shared[1:]])
    try:
        eventually(control.exists)
        yield Side(shared, side.processes)
    finally:
        master.terminate()
        master.wait(10)


@contextmanager
def sshd(folder: Path, port: int) -> Iterator[Side]:
    """Run OpenSSH's sshd."""
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
    return Side(pod.argv(), lambda: [psutil.Process(dev.process.pid)])


def timed(argv: list[str], stdin: Path | None = None) -> float:
    """Run a command; return the seconds it took."""
    with (stdin or Path("/dev/null")).open("rb") as file:
        began = time.perf_counter()
        subprocess.run(argv, stdin=file, stdout=subprocess.DEVNULL, check=True, timeout=120)
        return time.perf_counter() - began
