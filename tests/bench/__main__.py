"""`make bench`: the bastion beside OpenSSH's own sshd, same client, same machine, in one run.

Prints medians of interleaved runs and their ratio. Absolute figures are this machine's; the ratios
are what to compare.
"""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.dev import Pod, eventually, make_key, rent, running

ROUNDS = 7
BULK = 256 * 1024 * 1024

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


@contextmanager
def sshd(folder: Path, port: int) -> Iterator[list[str]]:
    """Run sshd; yield the ssh command line that reaches it."""
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
    try:
        eventually(lambda: subprocess.run([*argv, "true"], capture_output=True).returncode == 0)
        yield argv
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def timed(argv: list[str], *, stdin: int | None = subprocess.DEVNULL) -> float:
    began = time.perf_counter()
    subprocess.run(argv, stdin=stdin, stdout=subprocess.DEVNULL, check=True, timeout=120)
    return time.perf_counter() - began


def compare(name: str, ours: Callable[[], float], theirs: Callable[[], float]) -> None:
    pairs = [(ours(), theirs()) for _ in range(ROUNDS)]
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"{name:32} {mine * 1000:8.0f} ms   sshd {other * 1000:8.0f} ms   ratio {mine / other:.2f}"
    )


def sending(argv: list[str], data: Path) -> float:
    with data.open("rb") as file:
        return timed([*argv, "cat >/dev/null"], stdin=file.fileno())


def rent_once(pod: Pod, folder: Path, number: int) -> float:
    key = make_key(folder / f"rent-{number}")
    began = time.perf_counter()
    rented = rent(pod.dev, key, gpu_model="rtx3090")
    seconds = time.perf_counter() - began
    rented.release()
    eventually(lambda: rented.view()["phase"] == "Ended")
    return seconds


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key = make_key(folder / "key")
        data = folder / "data"
        data.write_bytes(os.urandom(BULK))
        began = time.perf_counter()
        with running(folder / "state") as dev, sshd(folder, 22022) as theirs:
            print(f"{'daemon ready (sshd too)':32} {(time.perf_counter() - began) * 1000:8.0f} ms")
            pod = rent(dev, key)
            rents = [rent_once(pod, folder, number) for number in range(ROUNDS)]
            print(f"{'rent → ready':32} {statistics.median(rents) * 1000:8.0f} ms")
            ours = pod.argv()
            compare("ssh … true", lambda: timed([*ours, "true"]), lambda: timed([*theirs, "true"]))
            down = f"head -c {BULK} /dev/zero"
            compare("256 MiB down", lambda: timed([*ours, down]), lambda: timed([*theirs, down]))
            compare("256 MiB up", lambda: sending(ours, data), lambda: sending(theirs, data))


main()
