"""`make bench`: the bastion beside OpenSSH's own sshd, same client, same machine, in one run.

Prints medians of interleaved pairs and that of their ratios: time that passed and, for the bulk
ones, the CPU seconds per GiB of each server without its clients and commands. Absolute figures are
this machine's; the ratios are what to compare, and on a noisy machine those of CPU.
`python -m tests.bench NAME …` runs only the parts named: start, bulk, copies, crowds, tls.
"""

import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from tests.e2e.dev import Pod, eventually, make_key, rent, running
from tests.e2e.serve import front, serving, sign_up, write_config
from tests.localcluster import clusters

from .crowds import crowd, idle, keystrokes
from .figures import ROUNDS, medians, tell
from .floor import floor
from .sides import Side, daemon, one_connection, sshd, timed
from .transfers import BULK, GIB, Copies, bulk, make_small_files

PARTS = ("start", "bulk", "copies", "crowds", "tls")
COPIED = BULK // 2


def start(pod: Pod, ours: Side, theirs: Side, folder: Path) -> None:
    """Tell how long it takes until there is a pod, and until a command has run in it."""
    rents = [rent_once(pod, folder, number) for number in range(ROUNDS)]
    print(f"{'rent → ready':32} {statistics.median(rents):8.2f} s")
    true = ["true"]
    told = medians(lambda: timed([*ours.argv, *true]), lambda: timed([*theirs.argv, *true]))
    tell("ssh … true", "s", *told)
    keystrokes(ours, theirs)


def rent_once(pod: Pod, folder: Path, number: int) -> float:
    key = make_key(folder / f"rent-{number}")
    began = time.perf_counter()
    rented = rent(pod.dev, key, gpu_model="rtx3090")
    seconds = time.perf_counter() - began
    rented.release()
    eventually(lambda: rented.view()["phase"] == "Ended")
    return seconds


def both_ways(ours: Side, theirs: Side, folder: Path, name: str = "") -> None:
    """Compare bulk transfers over one open connection to each side."""
    data = folder / "data"
    data.write_bytes(os.urandom(BULK))
    with (
        one_connection(ours, folder / "ours") as mine,
        one_connection(theirs, folder / "theirs") as other,
    ):
        bulk(f"512 MiB down{name}", f"head -c {BULK} /dev/zero", mine, other)
        bulk(f"512 MiB up{name}", "cat >/dev/null", mine, other, data)
    data.unlink()


@contextmanager
def behind_tls(folder: Path) -> Iterator[Side]:
    """Run a daemon whose API server speaks HTTPS, as every real one does."""
    folder.mkdir()
    with clusters.running(folder / "cluster", "--tls") as cluster:
        config = write_config(folder, cluster.state / "kubeconfig")
        with serving(config) as process:
            pod = rent(front(config, process, sign_up(config)), make_key(folder / "key"))
            yield Side(pod.argv(), daemon(pod.dev, pod).processes, cluster.process.pid)


def copies(ours: Side, theirs: Side, folder: Path) -> None:
    """Compare the programs that copy files."""
    (folder / "sources").mkdir()
    file, tree = folder / "sources/file", make_small_files(folder / "sources/tree")
    file.write_bytes(os.urandom(COPIED))
    places = (ours, "/workspace"), (theirs, str(folder))
    for program in ("scp", "scp -O", "rsync"):
        Copies(file, *places).compare("256 MiB", program)
    for program in ("scp -O", "rsync"):
        Copies(tree, *places).compare("3,000 files", program)


def main(parts: list[str]) -> None:
    # Accounts are made in this process: no line of the table is theirs.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key = make_key(folder / "key")
        with running(folder / "state") as dev, sshd(folder) as theirs:
            pod = rent(dev, key)
            ours = daemon(dev, pod)
            if "start" in parts:
                start(pod, ours, theirs, folder)
            if "bulk" in parts:
                both_ways(ours, theirs, folder)
                print(f"{'a bare relay with AES-GCM':32} {floor(GIB):8.2f} CPU s/GiB")
            if "copies" in parts:
                copies(ours, theirs, folder)
            if "crowds" in parts:
                crowd(ours, theirs)
            if "tls" in parts:
                with behind_tls(folder / "tls") as over_tls:
                    both_ways(over_tls, theirs, folder, ", TLS to the cluster")
                    idle(over_tls, theirs)


main(sys.argv[1:] or list(PARTS))
